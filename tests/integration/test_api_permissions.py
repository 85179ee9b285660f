"""Who may call which route: every role on every route of the registry."""

from typing import Any

from idds.api.registry import ROUTES
from idds.api.route import Caller
from idds.domain.request import Principal, Role
from tests.integration.api import STUDY, Api, api_on

PUBLIC, PAYLOAD, READER, USER, OPERATOR = Caller.PUBLIC, Caller.PAYLOAD, Caller.READER, Caller.USER, Caller.OPERATOR
LEASE = {"lessee": "a"}
HEARTBEAT = {"held": [{"id": 1, "attempt": 1}]}
REPORT = {"reports": [{"id": 1, "attempt": 1, "status": "done"}]}

EXPECTED: dict[str, tuple[Caller, Any]] = {
    "submitRequest": (USER, {"workflow": STUDY}),
    "listRequests": (READER, None),
    "showRequest": (READER, None),
    "cancelRequest": (USER, None),
    "suspendRequest": (USER, None),
    "resumeRequest": (USER, None),
    "finishRequest": (USER, None),
    "retryRequest": (USER, {}),
    "extendRequest": (USER, {"lifetime_s": None}),
    "listProcessings": (READER, None),
    "listMoves": (READER, None),
    "explainRequest": (READER, None),
    "showCollection": (READER, None),
    "listContents": (READER, None),
    "registerContents": (USER, {"contents": [{"name": "a"}]}),
    "closeCollection": (USER, None),
    "leaseContents": (PAYLOAD, LEASE),
    "extendLeases": (PAYLOAD, HEARTBEAT),
    "reportContents": (PAYLOAD, REPORT),
    "returnContents": (PAYLOAD, HEARTBEAT),
    "issueToken": (USER, {}),
    "readLogs": (READER, None),
    "listWindows": (OPERATOR, None),
    "countReplicas": (OPERATOR, None),
    "whoami": (Caller.HOLDER, None),
    "listIssuers": (PUBLIC, None),
    "makeToken": (USER, {}),
    "listTokens": (USER, None),
    "revokeToken": (USER, None),
    "listAudit": (OPERATOR, None),
    "listenToEvents": (READER, None),
    "listenToRequest": (READER, None),
    "healthz": (PUBLIC, None),
    "readyz": (PUBLIC, None),
    "openapi": (PUBLIC, None),
    "docs": (PUBLIC, None),
}
HOLDER = Caller.HOLDER
ADMITTED = {
    "nobody": {PUBLIC},
    "unknown": {PUBLIC},
    "expired": {PUBLIC},
    "revoked": {PUBLIC},
    "payload": {PUBLIC, HOLDER, PAYLOAD},
    "payload of another": {PUBLIC, HOLDER},
    "reader": {PUBLIC, HOLDER, READER},
    "user": {PUBLIC, HOLDER, PAYLOAD, READER, USER},
    "wfms": {PUBLIC, HOLDER, PAYLOAD, READER, USER, Caller.WFMS},
    "operator": set(Caller),
}
UNKNOWN = {"nobody", "unknown", "expired", "revoked"}
NOBODYS = 10**12
"""The id of nothing."""


async def test_every_route_lets_in_whom_it_is_for_and_nobody_else(sqlite_url: str) -> None:
    assert {route.name: route.caller for route in ROUTES} == {name: caller for name, (caller, _) in EXPECTED.items()}
    async with api_on(sqlite_url) as api:
        number = await _one_for_all(api)
        tokens = await _tokens(api, number)
        for route in ROUTES:
            # Who is let in revokes nothing that is still needed.
            target = NOBODYS if route.name == "revokeToken" else number
            path = route.path.replace("{id}", str(target)).replace("{stream}", "stdout")
            caller, body = EXPECTED[route.name]
            for role, admitted in ADMITTED.items():
                answer = await api.call(route.method, path, body, token=tokens[role])
                place = (route.name, role, answer.document)
                if caller in admitted:
                    assert answer.status not in (401, 403), place
                elif role in UNKNOWN:
                    assert answer.status == 401, place
                    assert answer.headers["WWW-Authenticate"].startswith("Bearer"), place
                else:
                    assert answer.status == 403, place


async def _one_for_all(api: Api) -> int:
    """A number that is a request's and a collection's."""
    request = await api.submit()
    assert await api.input_of(request) == request == 1
    return request


async def _tokens(api: Api, collection: int) -> dict[str, str]:
    other = await api.input_of(await api.submit())
    issued = [(await api.post(f"/v1/collections/{each}:token", {}))["token"] for each in (collection, other)]
    revoked = await api.post("/v1/tokens", {})
    await api.post(f"/v1/tokens/{revoked['id']}:revoke", None)
    return {
        "nobody": "",
        "unknown": "idds_unknown",
        "expired": await api.doors.access.issue(Principal("owner", "vo"), lifetime=0),
        "revoked": revoked["token"],
        "payload": issued[0],
        "payload of another": issued[1],
        "reader": await api.new_token("reader", role=Role.READER),
        "user": api.token,
        "wfms": await api.new_token("wfms", role=Role.WFMS),
        "operator": await api.new_token("operator", role=Role.OPERATOR),
    }


async def test_tokens_that_are_none_are_refused(sqlite_url: str) -> None:
    async with api_on(sqlite_url) as api:
        for header in ("", "Bearer", "Bearer ", "Basic YTpi", f"Bearer {api.token} x", "Bearer \xe4", api.token):
            answer = await api.call("GET", "/v1/requests", token="", headers={"Authorization": header})
            assert answer.status == 401, header
            assert api.token not in str(answer.document)
