"""Identity: who somebody is whom others vouch for."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from idds.domain.access import Grant


@dataclass(frozen=True, slots=True)
class Issuer:
    """Where a person gets a token that this service takes, and what to ask for there: see RFC 8628."""

    name: str
    issuer: str
    client_id: str
    scopes: Sequence[str]
    audience: str | None
    """For whom the token is to be; None where the issuer needs not be told."""


class Issuers(Protocol):
    """Those whose tokens are taken."""

    @property
    def known(self) -> Sequence[Issuer]:
        """Those that people can log in at."""
        ...

    async def verify(self, token: str) -> Grant:
        """What this token gives.

        Raises Unauthenticated for one that is not theirs or not valid, saying what is wrong but never the token;
        Forbidden for a valid one that gives nothing here; Unavailable when its issuer cannot be asked for its keys.
        """
        ...


class Proxy(Protocol):
    """A web server before this one that checks certificates, and tells whose they are in a header."""

    @property
    def header(self) -> str:
        """The header's name."""
        ...

    def identify(self, peer: str, names: Sequence[str]) -> Grant | None:
        """What the certificate gives that `peer` (an IP address) tells of; None where it is no trusted proxy.

        `names` are all values of the header. Raises Unauthenticated for a name that is not known here, or several.
        """
        ...
