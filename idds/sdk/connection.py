"""Where the service is, and the token to show it."""

import os
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from idds.domain.errors import InvalidInput, Problem

DEFAULT_URL = "http://127.0.0.1:8080"


@dataclass(frozen=True, slots=True)
class Connection:
    """`token` is never shown."""

    url: str
    token: str | None = field(default=None, repr=False)


def find_connection(
    url: str | None = None,
    token: str | None = None,
    token_file: Path | str | None = None,
    configuration: Path | None = None,
) -> Connection:
    """What was given, or else IDDS_URL, IDDS_TOKEN and IDDS_TOKEN_FILE of the environment, or else `configuration`.

    `configuration` is a TOML file with `url` and `token_file`, which need not be there. A token goes before a token
    file that was given in the same way. Raises InvalidInput, naming the place.
    """
    written = _read_configuration(configuration)
    if token is None and token_file is None:
        token = os.environ.get("IDDS_TOKEN") or None
        token_file = None if token else os.environ.get("IDDS_TOKEN_FILE") or written.get("token_file")
    if token is None and token_file is not None:
        token = _read_token(Path(token_file).expanduser())
    url = url or os.environ.get("IDDS_URL") or written.get("url") or DEFAULT_URL
    return Connection(_check_url(url), _check_token(token))


def _read_configuration(path: Path | None) -> dict[str, str]:
    if path is None or not path.is_file():
        return {}
    import tomllib

    try:
        written = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InvalidInput([Problem("", f"{path} cannot be read: {error}")]) from None
    problems = [
        Problem(f"/{name}", f"{path} knows url and token_file, each a text")
        for name, value in written.items()
        if name not in ("url", "token_file") or not isinstance(value, str)
    ]
    if problems:
        raise InvalidInput(problems)
    return written


def _read_token(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8").strip()
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no text"
        raise InvalidInput([Problem("", f"the token file {path} cannot be read: {reason}")]) from None


def _check_url(url: str) -> str:
    try:
        parts = urlsplit(url)
        good = parts.scheme in ("http", "https") and parts.hostname and (parts.port is None or parts.port > 0)
    except ValueError:
        good = False
    if not good or parts.query or parts.fragment or parts.username or parts.password:
        raise InvalidInput([Problem("", "the URL of the service is to be as in https://idds.example.org:8443")])
    return url.rstrip("/")


def _check_token(token: str | None) -> str | None:
    """A header holds neither line breaks nor anything beyond ASCII; the token itself is not repeated here."""
    if token is None:
        return None
    if not token or not token.isascii() or not token.isprintable() or " " in token:
        raise InvalidInput([Problem("", "the token is empty, or holds characters that no token has")])
    return token
