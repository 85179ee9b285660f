"""A small OpenID Connect issuer: it describes itself, shows its keys, signs tokens, and knows the device flow."""

import asyncio
import json
import secrets
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import jwt
from aiohttp import web
from aiohttp.test_utils import TestServer
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from jwt.algorithms import ECAlgorithm, RSAAlgorithm

GRANT = "urn:ietf:params:oauth:grant-type:device_code"
CLIENT = "idds-cli"
AUDIENCE = "https://idds.example.org"


class Key:
    """A key pair, and its public half as a JSON Web Key."""

    def __init__(self, algorithm: str = "ES256", kid: str | None = None) -> None:
        self.algorithm = algorithm
        self.kid = kid or secrets.token_hex(4)
        self.private: Any
        if algorithm.startswith("ES"):
            curves = {"ES256": ec.SECP256R1(), "ES384": ec.SECP384R1()}
            self.private = ec.generate_private_key(curves[algorithm])
            public = ECAlgorithm.to_jwk(self.private.public_key(), as_dict=True)
        else:
            self.private = rsa.generate_private_key(65537, 2048)
            public = RSAAlgorithm.to_jwk(self.private.public_key(), as_dict=True)
        self.public: dict[str, Any] = {**public, "kid": self.kid, "use": "sig", "alg": algorithm}


@dataclass
class Device:
    """A device that waits for its user."""

    user_code: str
    scopes: str
    audience: str | None
    is_allowed: bool | None = None
    polled_at: list[float] = field(default_factory=list)


class Issuer:
    """What it does is set by its fields; what it was asked for is counted."""

    def __init__(self) -> None:
        self.url = ""
        self.keys = [Key()]
        self.named: str | None = None
        """The issuer that its description names, if it lies."""
        self.keys_at: str | None = None
        self.is_down = False
        self.answer: str | None = None
        """What it shows instead of its keys."""
        self.fetched = {"description": 0, "keys": 0}
        self.may_go_on = asyncio.Event()
        """Keys are shown only while it is set."""
        self.may_go_on.set()
        self.devices: dict[str, Device] = {}
        self.interval_s = 1
        self.codes_last_s = 600
        self.refusals: list[str] = []
        """Errors that the next polls are answered with."""
        self.refresh_tokens: dict[str, str] = {}
        self.revokes = True
        self.token_lifetime_s = 3600
        self.subject = "alice"
        self.groups = ["/atlas", "/atlas/production"]

    def claims(self, **changes: Any) -> dict[str, Any]:
        """Those of a good token; changed ones that are None are left out."""
        now = int(time.time())
        claims = {
            "iss": self.url,
            "sub": self.subject,
            "aud": AUDIENCE,
            "iat": now,
            "nbf": now,
            "exp": now + self.token_lifetime_s,
            "jti": secrets.token_hex(8),
            "wlcg.ver": "1.0",
            "wlcg.groups": self.groups,
            "scope": "openid offline_access",
        }
        claims |= {name.replace("__", "."): value for name, value in changes.items()}
        return {name: value for name, value in claims.items() if value is not None}

    def sign(
        self, claims: Mapping[str, Any] | None = None, key: Key | None = None, headers: Mapping[str, Any] | None = None
    ) -> str:
        key = key or self.keys[0]
        payload = json.dumps(self.claims() if claims is None else claims).encode()
        named: dict[str, Any] = {"typ": "JWT", "kid": key.kid, **(headers or {})}
        return jwt.PyJWS().encode(payload, key.private, algorithm=key.algorithm, headers=named)

    def allow(self, user_code: str, *, is_allowed: bool = True) -> None:
        """What a person does with a browser."""
        device = next(it for it in self.devices.values() if it.user_code == user_code)
        device.is_allowed = is_allowed

    @asynccontextmanager
    async def running(self) -> AsyncIterator["Issuer"]:
        application = web.Application()
        application.router.add_get("/.well-known/openid-configuration", self._describe)
        application.router.add_get("/jwks", self._keys)
        application.router.add_post("/device", self._device)
        application.router.add_post("/token", self._token)
        application.router.add_post("/revoke", self._revoke)
        async with TestServer(application) as server:
            self.url = f"http://127.0.0.1:{server.port}"
            yield self

    async def _describe(self, _request: web.Request) -> web.Response:
        self.fetched["description"] += 1
        if self.is_down:
            return web.Response(status=503)
        return web.json_response(
            {
                "issuer": self.named or self.url,
                "jwks_uri": self.keys_at or f"{self.url}/jwks",
                "token_endpoint": f"{self.url}/token",
                "device_authorization_endpoint": f"{self.url}/device",
                **({"revocation_endpoint": f"{self.url}/revoke"} if self.revokes else {}),
            }
        )

    async def _keys(self, _request: web.Request) -> web.Response:
        self.fetched["keys"] += 1
        await self.may_go_on.wait()
        if self.answer is not None:
            return web.Response(text=self.answer)
        return web.json_response({"keys": [key.public for key in self.keys]})

    async def _device(self, request: web.Request) -> web.Response:
        form = await request.post()
        if form.get("client_id") != CLIENT:
            return web.json_response({"error": "invalid_client"}, status=401)
        code, user_code = secrets.token_urlsafe(16), f"{len(self.devices):04}-WXYZ"
        audience = form.get("audience")
        self.devices[code] = Device(user_code, str(form.get("scope", "")), str(audience) if audience else None)
        return web.json_response(
            {
                "device_code": code,
                "user_code": user_code,
                "verification_uri": f"{self.url}/enter",
                "verification_uri_complete": f"{self.url}/enter?user_code={user_code}",
                "expires_in": self.codes_last_s,
                "interval": self.interval_s,
            }
        )

    async def _token(self, request: web.Request) -> web.Response:
        form = await request.post()
        if form.get("grant_type") == "refresh_token":
            known = self.refresh_tokens.pop(str(form.get("refresh_token")), None)
            return self._refuse("invalid_grant") if known is None else self._granted(known)
        device = self.devices.get(str(form.get("device_code")))
        if form.get("grant_type") != GRANT or device is None:
            return self._refuse("invalid_grant")
        device.polled_at.append(time.monotonic())
        if self.refusals:
            return self._refuse(self.refusals.pop(0))
        if device.is_allowed is None:
            return self._refuse("authorization_pending")
        return self._granted(device.scopes) if device.is_allowed else self._refuse("access_denied")

    async def _revoke(self, request: web.Request) -> web.Response:
        form = await request.post()
        self.refresh_tokens.pop(str(form.get("token")), None)
        return web.Response(status=200 if form.get("client_id") == CLIENT else 401)

    def _refuse(self, error: str) -> web.Response:
        return web.json_response({"error": error}, status=400)

    def _granted(self, scopes: str) -> web.Response:
        granted = {"access_token": self.sign(), "token_type": "Bearer", "expires_in": self.token_lifetime_s}
        if "offline_access" in scopes:
            refresh = secrets.token_urlsafe(16)
            self.refresh_tokens[refresh] = scopes
            granted["refresh_token"] = refresh
        return web.json_response(granted)
