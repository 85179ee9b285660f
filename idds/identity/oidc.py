"""Tokens of OpenID Connect issuers: JSON Web Tokens (RFC 7519), after the WLCG Common JWT Profile 1.

https://github.com/WLCG-AuthZ-WG/common-jwt-profile
"""

import re
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jwt

from idds.domain.access import Grant, Proof
from idds.domain.errors import Forbidden, Unauthenticated
from idds.domain.request import Principal, Role
from idds.identity.documents import Documents
from idds.identity.keys import Keys
from idds.identity.options import IssuerOptions
from idds.ports.identity import Issuer

EVERY_SERVICE = "https://wlcg.cern.ch/jwt/v1/any"
_MAJOR_1 = re.compile(r"1\.[0-9]+")
_CAPABILITIES = ("storage.", "compute.")
_KINDS = {
    **dict.fromkeys(("RS256", "RS384", "RS512", "PS256", "PS384", "PS512"), ("RSA", None)),
    "ES256": ("EC", "P-256"),
    "ES384": ("EC", "P-384"),
    "ES512": ("EC", "P-521"),
    "EdDSA": ("OKP", "Ed25519"),
}
"""Which key, on which curve, makes which signature."""
_REQUIRED = ["iss", "sub", "aud", "exp", "iat"]
_MALFORMED = (jwt.PyJWTError, ValueError, TypeError, OverflowError, RecursionError)
"""PyJWT lets some through that come of claims of a wrong type, or nested too deep."""


class OidcIssuers:
    """Fulfils `idds.ports.identity.Issuers`; `close` it at the end."""

    def __init__(self, issuers: Mapping[str, IssuerOptions], clock: Callable[[], float] = time.monotonic) -> None:
        self._documents = Documents()
        self._issuers = {it.url: (it, Keys(it, self._documents, clock)) for it in issuers.values()}
        self.known: Sequence[Issuer] = [
            Issuer(name, it.url, it.client_id, it.scopes, min(it.audiences))
            for name, it in sorted(issuers.items())
            if it.client_id
        ]

    async def verify(self, token: str) -> Grant:
        """As the port has it."""
        header, issuer = _read_unverified(token)
        if issuer not in self._issuers:
            raise Unauthenticated("the token is of an issuer that is not trusted here")
        options, keys = self._issuers[issuer]
        algorithm, kid = header.get("alg"), header.get("kid")
        if not isinstance(algorithm, str) or algorithm not in options.algorithms:
            raise Unauthenticated("the token is not signed as its issuer signs")
        if not isinstance(kid, str):
            raise Unauthenticated("the token does not say by which key it is signed")
        if "crit" in header:
            raise Unauthenticated("the token asks for what is not understood here")
        key = await keys.find(kid)
        if key is None:
            raise Unauthenticated("the token is signed by a key that its issuer does not have")
        return _grant(options, _verified(token, options, key, algorithm))

    async def close(self) -> None:
        await self._documents.close()


def _read_unverified(token: str) -> tuple[Mapping[str, Any], object]:
    """The header, and who is said to be the issuer: only to know whose keys to ask for."""
    try:
        read = jwt.decode_complete(token, options={"verify_signature": False})
    except _MALFORMED:
        raise Unauthenticated("this token is not known, and no JSON Web Token") from None
    issuer = read["payload"].get("iss")
    return read["header"], issuer if isinstance(issuer, str) else None


def _verified(token: str, options: IssuerOptions, key: Mapping[str, Any], algorithm: str) -> Mapping[str, Any]:
    """The claims of a token that is signed, for this service, and valid now."""
    if (key.get("kty"), key.get("crv")) != _KINDS[algorithm] or key.get("alg", algorithm) != algorithm:
        raise Unauthenticated("the token is not signed as its key signs")
    audiences = {*options.audiences, *([EVERY_SERVICE] if options.any_audience else [])}
    try:
        return jwt.decode(
            token,
            jwt.PyJWK(dict(key), algorithm),
            algorithms=[algorithm],
            audience=audiences,
            issuer=options.url,
            leeway=options.leeway_s,
            options={"require": _REQUIRED, "enforce_minimum_key_length": True},
        )
    except _MALFORMED as error:
        raise Unauthenticated(_reason(error)) from None


def _reason(error: Exception) -> str:
    """What is wrong, without a word of the token."""
    match error:
        case jwt.ExpiredSignatureError():
            return "the token has ended"
        case jwt.ImmatureSignatureError():
            return "the token is not valid yet"
        case jwt.InvalidAudienceError():
            return "the token is for another service"
        case jwt.MissingRequiredClaimError(claim=claim):
            return f"the token has no {claim}"
        case jwt.InvalidSignatureError():
            return "the token's signature is wrong"
        case jwt.InvalidKeyError() | jwt.PyJWKError():
            return "the token's key is no good"
        case _:
            return "the token is not as tokens of its issuer are"


def _grant(options: IssuerOptions, claims: Mapping[str, Any]) -> Grant:
    is_wlcg = options.profile == "wlcg"
    version = claims.get("wlcg.ver")
    if is_wlcg and not (isinstance(version, str) and _MAJOR_1.fullmatch(version)):
        raise Unauthenticated("the token has no wlcg.ver, or one that is not understood here")
    owner = claims.get(options.owner_claim)
    if not isinstance(owner, str) or not 1 <= len(owner) <= 255 or not owner.isprintable():
        raise Unauthenticated(f"the token names no owner in {options.owner_claim}")
    scope, listed = claims.get("scope"), claims.get(options.groups_claim)
    scopes = set(scope.split()) if isinstance(scope, str) else set()
    groups = {group for group in listed if isinstance(group, str)} if isinstance(listed, list) else set()
    if is_wlcg and any(each.startswith(_CAPABILITIES) for each in scopes):
        # Section 2.2.3: made for certain deeds only, it says nothing by its groups.
        groups = set()
    role, shares = _given(options, groups, scopes)
    principal = Principal(owner, options.vo, role, shares)
    return Grant(principal, by=Proof.OIDC, expires_at=int(claims["exp"]) * 1_000_000)


def _given(options: IssuerOptions, groups: set[str], scopes: set[str]) -> tuple[Role, frozenset[str] | None]:
    """The highest role that groups and scopes give, with all shares that come with it."""
    given = [it for it in options.grants if it.group in groups or it.scope in scopes]
    if not given:
        raise Forbidden("the token is valid, but none of its groups and scopes gives a role here")
    order = list(Role)
    role = max((it.role for it in given), key=order.index)
    shares: set[str] = set()
    for each in given:
        if each.role is role:
            if each.shares is None:
                return role, None
            shares |= each.shares
    return role, frozenset(shares)
