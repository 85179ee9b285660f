"""Who may call which route, from the registry and what lets callers in."""

from collections.abc import Iterator

from idds.api.authentication import admit
from idds.api.registry import ROUTES
from idds.api.route import Caller
from idds.domain.access import Grant
from idds.domain.errors import Forbidden
from idds.domain.identifiers import CollectionId
from idds.domain.request import HOUSE, Principal, Role

OWN = 1
COLUMNS: dict[str, Grant | None] = {
    "nobody": None,
    "payload": Grant(Principal("owner", "vo"), CollectionId(OWN)),
    **{role.value: Grant(Principal("owner", "vo", role)) for role in Role},
    f"reader of `{HOUSE}`": Grant(Principal("owner", HOUSE, Role.READER)),
}


def page() -> str:
    """Markdown with a row a route."""
    return "\n".join(_lines()) + "\n"


def _lines() -> Iterator[str]:
    yield "# Who may call what"
    yield ""
    yield "Made from `idds/api/registry.py` by `python -m tests.docs`; each is tried by"
    yield "`tests/integration/test_api_permissions.py`. [access.md](access.md) tells who has which role."
    yield "A payload may do this for its own collection only."
    yield ""
    yield f"| route | what for | {' | '.join(COLUMNS)} |"
    yield f"| --- | --- |{' :-: |' * len(COLUMNS)}"
    for route in sorted(ROUTES, key=lambda route: (route.path, route.method)):
        marks = " | ".join("yes" if _may(route.caller, grant) else "" for grant in COLUMNS.values())
        yield f"| `{route.method} {route.path}` | {route.summary} | {marks} |"


def _may(caller: Caller, grant: Grant | None) -> bool:
    if grant is None:
        return caller is Caller.PUBLIC
    try:
        admit(caller, grant, OWN)
    except Forbidden:
        return False
    return True
