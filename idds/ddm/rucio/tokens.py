"""Tokens of Rucio's client: kept apart for each RucioDDM, and of an identity provider read from the file that it is in.

By itself the client keeps them by user and account, the same for every Rucio, and asks a person to log in.
"""

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rucio.client import Client


def connect(tokens: Path, bearer: Path | None, **terms: Any) -> "Client":
    """A client that keeps its tokens in the folder `tokens`, and takes those of oidc from the file `bearer`.

    That file may change at any time: it is read again whenever a token is refused. Raises what Rucio raises.
    """
    client: Client = _class()(tokens, bearer, **terms)
    return client


@cache
def _class() -> Any:
    """Made late: Rucio's client takes its time to load."""
    from rucio.client import Client

    class OwnTokens(Client):  # type: ignore[misc]
        def __init__(self, tokens: Path, bearer: Path | None, **terms: Any) -> None:
            self._tokens, self._bearer = tokens, bearer
            super().__init__(**terms)

        def _get_auth_tokens(self) -> tuple[None, str, str, str]:
            return None, str(self._tokens / "expiry"), str(self._tokens / "token"), str(self._tokens)

        def _BaseClient__get_token_oidc(self) -> bool:  # noqa: N802 -- what the base class calls by its private name
            try:
                self.auth_token = self._bearer.read_text().strip() if self._bearer is not None else ""
            except OSError:
                self.auth_token = ""
            return bool(self.auth_token)

    return OwnTokens
