"""The options of a RucioDDM: which Rucio, as whom, and for how long its rules hold."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from annotated_types import Ge, Gt, Le, MinLen
from pydantic import ConfigDict, Field, TypeAdapter, ValidationError

from idds.domain.errors import InvalidInput, Problem

Text = Annotated[str, MinLen(1)]


@dataclass(frozen=True, slots=True, kw_only=True)
class RucioOptions:
    """`instance` marks the rules of this service, as their comment: two services on one account need different ones.

    `password_file` is for `auth_type` userpass, `token_file` for oidc, `x509_proxy` for the last.

    What is not given is Rucio's own configuration's to say. `lifetime_s` is how long a rule holds when nobody keeps it
    alive: the safety net; `activity` is what its transfers are accounted to; `changes_s` how often Rucio is asked what
    changed.
    """

    url: Text
    auth_url: Text | None = None
    account: Text
    instance: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9 ._-]{0,63}$")]
    auth_type: Literal["userpass", "oidc", "x509_proxy"] = "userpass"
    username: Text | None = None
    password_file: Path | None = None
    token_file: Path | None = None
    x509_proxy: Path | None = None
    vo: Text | None = None
    ca_cert: Path | None = None
    lifetime_s: Annotated[int, Ge(3600), Le(365 * 86400)] = 7 * 86400
    activity: Text = "Staging"
    threads: Annotated[int, Ge(1), Le(64)] = 4
    changes_s: Annotated[float, Gt(0), Le(3600)] = 5.0
    timeout_s: Annotated[float, Gt(0), Le(600)] = 60.0

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid", allow_inf_nan=False)

    @classmethod
    def parse(cls, options: Mapping[str, Any]) -> "RucioOptions":
        """Raises InvalidInput naming every place that is wrong; a key that is not known is wrong."""
        try:
            found = _ADAPTER.validate_python(dict(options))
        except ValidationError as error:
            problems = [Problem(_pointer(each["loc"]), each["msg"]) for each in error.errors(include_input=False)]
            raise InvalidInput(problems) from None
        needed = {
            "userpass": ("username", "password_file"),
            "oidc": ("token_file",),
            "x509_proxy": ("x509_proxy",),
        }[found.auth_type]
        if missing := [name for name in needed if getattr(found, name) is None]:
            raise InvalidInput([Problem(f"/{name}", f"auth_type {found.auth_type} needs it") for name in missing])
        return found


_ADAPTER = TypeAdapter(RucioOptions)


def _pointer(place: Sequence[int | str]) -> str:
    return "".join(f"/{key}" for key in place)
