"""Logging in at an issuer by device flow (RFC 8628); a token refreshed (RFC 6749, section 6), or revoked (RFC 7009)."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import aiohttp

from idds.domain.addresses import is_safe
from idds.domain.errors import Forbidden, Unauthenticated, Unavailable
from idds.sdk.errors import Broken
from idds.sdk.views import Issuer

DESCRIBED_AT = "/.well-known/openid-configuration"
DEVICE_CODE = "urn:ietf:params:oauth:grant-type:device_code"
TIMEOUT_S = 30.0
INTERVAL_S, SHORTEST_S = 5.0, 1.0
SLOWER_S = 5.0

Form = Mapping[str, str]
Pause = Callable[[float], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Prompt:
    """What a person has to do with a browser. `whole_url` holds the code already, where the issuer gives one."""

    url: str
    code: str
    whole_url: str | None
    lasts_s: float


@dataclass(frozen=True, slots=True)
class Login:
    """What was got. `expires_at` is in seconds UTC; the tokens are never shown."""

    token_endpoint: str
    client_id: str
    access_token: str = field(repr=False)
    expires_at: float | None = None
    refresh_token: str | None = field(default=None, repr=False)
    revocation_endpoint: str | None = None


async def log_in(issuer: Issuer, tell: Callable[[Prompt], None], pause: Pause = asyncio.sleep) -> Login:
    """Have a person log in at the issuer: `tell` is to show what to do, then this waits until it is done.

    Raises Forbidden when it is denied, Unauthenticated when it takes too long, Unavailable when the issuer does not
    answer, Broken when it answers what makes no sense.
    """
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=TIMEOUT_S)) as session:
        described = await _describe(session, issuer.issuer)
        asked = {"client_id": issuer.client_id, "scope": " ".join(issuer.scopes)}
        if issuer.audience is not None:
            asked["audience"] = issuer.audience
        started = await _post(session, _text(described, "device_authorization_endpoint"), asked)
        if "error" in started:
            raise Forbidden(f"{issuer.issuer} starts no login: {_words(started)}")
        prompt = _prompt(started)
        tell(prompt)
        form = {
            "grant_type": DEVICE_CODE,
            "device_code": _text(started, "device_code"),
            "client_id": issuer.client_id,
        }
        endpoint = _text(described, "token_endpoint")
        # Whatever is told: without a pause it would never be over.
        interval_s = max(SHORTEST_S, _number(started, "interval", INTERVAL_S))
        granted = await _poll(session, endpoint, form, (interval_s, prompt.lasts_s), pause)
        revoked_at = described.get("revocation_endpoint")
        login = _login(endpoint, issuer.client_id, granted)
        return replace(login, revocation_endpoint=revoked_at if isinstance(revoked_at, str) else None)


async def refresh(login: Login) -> Login:
    """A fresh token for one that ends. Raises Unauthenticated when the issuer gives none, and as `log_in` does."""
    if login.refresh_token is None:
        raise Unauthenticated("the login has ended")
    form = {"grant_type": "refresh_token", "refresh_token": login.refresh_token, "client_id": login.client_id}
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=TIMEOUT_S)) as session:
        granted = await _post(session, login.token_endpoint, form)
    if "error" in granted:
        raise Unauthenticated(f"the login has ended: {_words(granted)}")
    fresh = _login(login.token_endpoint, login.client_id, granted)
    # An issuer that gives no new one leaves the old one good.
    kept = fresh.refresh_token or login.refresh_token
    return replace(fresh, refresh_token=kept, revocation_endpoint=login.revocation_endpoint)


async def revoke(login: Login) -> bool:
    """Have the issuer take back what can be refreshed; False where it has no such thing, or did not do it.

    The token for the service itself stays good until it ends where the issuer keeps no account of those.
    """
    if login.revocation_endpoint is None or not is_safe(login.revocation_endpoint):
        return False
    form = {"token": login.refresh_token or login.access_token, "client_id": login.client_id}
    try:
        async with (
            aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=TIMEOUT_S)) as session,
            session.post(login.revocation_endpoint, data=form, allow_redirects=False) as response,
        ):
            return response.status == 200
    except (aiohttp.ClientError, TimeoutError):
        return False


async def _poll(
    session: aiohttp.ClientSession, endpoint: str, form: Form, times_s: tuple[float, float], pause: Pause
) -> Mapping[str, Any]:
    """Ask whether it is done, as often as told and not more often, until the code ends: RFC 8628, section 3.5."""
    interval_s, left_s = times_s
    while left_s > 0:
        await pause(interval_s)
        left_s -= interval_s
        try:
            answer = await _post(session, endpoint, form)
        except Unavailable:
            interval_s *= 2
            continue
        match answer.get("error"):
            case None:
                return answer
            case "authorization_pending":
                pass
            case "slow_down":
                interval_s += SLOWER_S
            case "access_denied":
                raise Forbidden("the login was denied")
            case "expired_token":
                break
            case _:
                raise Broken(f"the issuer gives no token: {_words(answer)}")
    raise Unauthenticated("the code has ended before anybody entered it")


async def _describe(session: aiohttp.ClientSession, issuer: str) -> Mapping[str, Any]:
    described = await _ask(session, "GET", issuer.rstrip("/") + DESCRIBED_AT)
    if described.get("issuer") != issuer:
        raise Broken(f"{issuer} describes another issuer")
    if "device_authorization_endpoint" not in described:
        raise Broken(f"{issuer} knows no login of this kind, the device flow")
    return described


async def _post(session: aiohttp.ClientSession, url: str, form: Form) -> Mapping[str, Any]:
    return await _ask(session, "POST", url, form)


async def _ask(session: aiohttp.ClientSession, method: str, url: str, form: Form | None = None) -> Mapping[str, Any]:
    """The object that is answered; errors of OAuth 2.0 are such, too."""
    if not is_safe(url):
        raise Broken(f"{url} is neither https nor on this machine")
    try:
        async with session.request(method, url, data=form, allow_redirects=False) as response:
            if response.status >= 500:
                raise Unavailable(f"{url} answers with status {response.status}")
            document = await response.json(content_type=None)
    except (aiohttp.ClientConnectionError, aiohttp.ClientPayloadError, TimeoutError) as error:
        raise Unavailable(f"{url} does not answer: {type(error).__name__}") from None
    except (aiohttp.ClientError, ValueError):
        raise Broken(f"{url} answers no JSON") from None
    if not isinstance(document, dict) or (response.status != 200 and "error" not in document):
        raise Broken(f"{url} answers what makes no sense, with status {response.status}")
    return document


def _prompt(started: Mapping[str, Any]) -> Prompt:
    whole = started.get("verification_uri_complete")
    return Prompt(
        _text(started, "verification_uri"),
        _text(started, "user_code"),
        whole if isinstance(whole, str) else None,
        _number(started, "expires_in", 0.0),
    )


def _login(endpoint: str, client_id: str, granted: Mapping[str, Any]) -> Login:
    lasts_s = _number(granted, "expires_in", 0.0)
    refresh_token = granted.get("refresh_token")
    return Login(
        token_endpoint=endpoint,
        client_id=client_id,
        access_token=_text(granted, "access_token"),
        expires_at=time.time() + lasts_s if lasts_s else None,
        refresh_token=refresh_token if isinstance(refresh_token, str) else None,
    )


def _text(document: Mapping[str, Any], name: str) -> str:
    value = document.get(name)
    if not isinstance(value, str) or not value:
        raise Broken(f"the issuer's answer has no {name}")
    return value


def _number(document: Mapping[str, Any], name: str, otherwise: float) -> float:
    value = document.get(name, otherwise)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value < 1e9:
        raise Broken(f"the issuer's answer has no {name} that makes sense")
    return float(value)


def _words(answer: Mapping[str, Any]) -> str:
    """The error and its description, as OAuth 2.0 has them: neither holds a secret."""
    return ", ".join(str(answer[name])[:200] for name in ("error", "error_description") if name in answer)
