"""Tokens of an issuer: taken when all is well with them, refused with a reason when not."""

import asyncio
import base64
import json
import time
from collections.abc import AsyncIterator
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from idds.domain.access import Grant, Proof
from idds.domain.errors import Forbidden, Unauthenticated, Unavailable
from idds.domain.request import Principal, Role
from idds.identity.oidc import EVERY_SERVICE, OidcIssuers
from idds.identity.options import GrantOptions, IssuerOptions
from tests.servers.issuer import AUDIENCE, CLIENT, Issuer, Key

GRANTS = (
    GrantOptions(group="/atlas", role=Role.USER),
    GrantOptions(group="/atlas/production", role=Role.WFMS),
    GrantOptions(group="/atlas/physics", role=Role.WFMS, shares=frozenset({"physics"})),
    GrantOptions(group="/atlas/reprocessing", role=Role.WFMS, shares=frozenset({"reprocessing"})),
    GrantOptions(scope="idds.operate", role=Role.OPERATOR),
    GrantOptions(group="/atlas/visitors", role=Role.READER),
)


class World:
    """An issuer, and a service that trusts it; the service's clock is moved by hand."""

    def __init__(self, issuer: Issuer) -> None:
        self.issuer = issuer
        self.now = 1000.0
        self.others: list[OidcIssuers] = []
        self.issuers = self.trusting()

    def trusting(self, **changes: Any) -> OidcIssuers:
        options = {"url": self.issuer.url, "audiences": frozenset({AUDIENCE}), "vo": "atlas", "grants": GRANTS}
        made = OidcIssuers({"iam": IssuerOptions(**(options | changes))}, lambda: self.now)
        self.others.append(made)
        return made

    async def verify(self, token: str | None = None, **claims: Any) -> Grant:
        return await self.issuers.verify(token or self.issuer.sign(self.issuer.claims(**claims)))

    async def refusal(self, token: str | None = None, **claims: Any) -> str:
        token = token or self.issuer.sign(self.issuer.claims(**claims))
        with pytest.raises(Unauthenticated) as refused:
            await self.issuers.verify(token)
        assert not any(len(part) > 4 and part in str(refused.value) for part in token.split("."))
        return str(refused.value)


@pytest.fixture
async def world() -> AsyncIterator[World]:
    async with Issuer().running() as issuer:
        world = World(issuer)
        yield world
        for each in world.others:
            await each.close()


async def test_a_good_token_gives_what_its_groups_say(world: World) -> None:
    exp = int(time.time()) + 600
    grant = await world.verify(exp=exp)
    assert grant == Grant(Principal("alice", "atlas", Role.WFMS), None, Proof.OIDC, exp * 1_000_000, None)


@pytest.mark.parametrize("algorithm", ["RS256", "ES256", "ES384", "PS256", "RS512"])
async def test_each_signature_that_is_allowed_is_taken(world: World, algorithm: str) -> None:
    key = Key(algorithm)
    del key.public["alg"]
    world.issuer.keys = [key]
    world.issuers = world.trusting(algorithms=frozenset({algorithm}))
    assert (await world.verify()).principal.owner == "alice"
    world.issuers = world.trusting(algorithms=frozenset({"EdDSA"}))
    assert await world.refusal() == "the token is not signed as its issuer signs"


@pytest.mark.parametrize(
    ("claims", "reason"),
    [
        ({"iss": "https://elsewhere.example.org"}, "the token is of an issuer that is not trusted here"),
        ({"iss": None}, "the token is of an issuer that is not trusted here"),
        ({"iss": ["a"]}, "the token is of an issuer that is not trusted here"),
        ({"exp": 1_000_000_000}, "the token has ended"),
        ({"exp": -31}, "the token has ended"),
        ({"nbf": +90}, "the token is not valid yet"),
        ({"iat": +90}, "the token is not valid yet"),
        ({"aud": "https://elsewhere.example.org"}, "the token is for another service"),
        ({"aud": EVERY_SERVICE}, "the token is for another service"),
        ({"aud": []}, "the token has no aud"),
        ({"aud": None}, "the token has no aud"),
        ({"sub": None}, "the token has no sub"),
        ({"exp": None}, "the token has no exp"),
        ({"iat": None}, "the token has no iat"),
        ({"wlcg__ver": None}, "the token has no wlcg.ver, or one that is not understood here"),
        ({"wlcg__ver": "2.0"}, "the token has no wlcg.ver, or one that is not understood here"),
        ({"wlcg__ver": 1.0}, "the token has no wlcg.ver, or one that is not understood here"),
        ({"sub": ""}, "the token names no owner in sub"),
        ({"sub": "a\nb"}, "the token names no owner in sub"),
        ({"sub": "x" * 256}, "the token names no owner in sub"),
    ],
)
async def test_a_token_is_refused_with_the_reason(world: World, claims: dict[str, Any], reason: str) -> None:
    relative = {name: time.time() + v if isinstance(v, int) and abs(v) < 100 else v for name, v in claims.items()}
    assert await world.refusal(**relative) == reason


WRONG: dict[str, list[Any]] = {
    "exp": [[], {}, "x", True, 1e400],
    "iat": [[], {}, "x", 1e400],
    "nbf": [[], {}, "x", 1e400],
    "sub": [[], {}, True, 7],
    "aud": [{}, "x", True, [7], 1e400],
    "jti": [[], {}, True, 7],
}


@pytest.mark.parametrize(("name", "value"), [(name, value) for name, values in WRONG.items() for value in values])
async def test_claims_of_a_wrong_type_are_refused(world: World, name: str, value: Any) -> None:
    await world.refusal(**{name: value})


async def test_a_clock_may_be_off_a_little(world: World) -> None:
    await world.verify(exp=time.time() - 20)
    await world.verify(nbf=time.time() + 20, iat=time.time() + 20)


def spoiled(token: str, header: dict[str, Any], signature: str = "") -> str:
    """The token's claims under another header and signature."""
    encoded = base64.urlsafe_b64encode(json.dumps(header).encode()).rstrip(b"=").decode()
    return f"{encoded}.{token.split('.')[1]}.{signature or token.split('.')[2]}"


async def test_what_anybody_could_have_signed_is_refused(world: World) -> None:
    token, key = world.issuer.sign(), world.issuer.keys[0]
    pem = key.private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    for algorithm in ("none", "None", "HS256", "HS512", None, ["ES256"], {}, 7):
        refusal = await world.refusal(spoiled(token, {"alg": algorithm, "kid": key.kid}))
        assert refusal in (
            "the token is not signed as its issuer signs",
            "this token is not known, and no JSON Web Token",
        )
    header, payload, _ = spoiled(token, {"alg": "HS256", "kid": key.kid}).split(".")
    by_public_key = jwt.get_algorithm_by_name("HS256").sign(f"{header}.{payload}".encode(), pem)  # type: ignore[call-arg]
    encoded = base64.urlsafe_b64encode(by_public_key).rstrip(b"=").decode()
    assert await world.refusal(f"{header}.{payload}.{encoded}") == "the token is not signed as its issuer signs"


async def test_another_key_under_the_name_of_a_good_one_is_refused(world: World) -> None:
    stranger = Key("ES256", kid=world.issuer.keys[0].kid)
    assert await world.refusal(world.issuer.sign(key=stranger)) == "the token's signature is wrong"
    of_another_kind = Key("RS256", kid=world.issuer.keys[0].kid)
    assert await world.refusal(world.issuer.sign(key=of_another_kind)) == "the token is not signed as its key signs"


async def test_a_key_that_is_no_good_is_refused(world: World) -> None:
    token = world.issuer.sign()
    world.issuer.keys[0].public["x"] = "AAAA"
    assert await world.refusal(token) == "the token's key is no good"


@pytest.mark.parametrize(
    "token",
    [
        "x",
        "a.b",
        "a.b.c",
        "....",
        "eyJhbGciOiJFUzI1NiJ9.e30.AAAA",
        base64.urlsafe_b64encode(b"[" * 4000).decode().rstrip("=") + ".e30.AAAA",
        "eyJhbGciOiJFUzI1NiJ9." + base64.urlsafe_b64encode(b'{"a":' * 3000).decode().rstrip("=") + ".AAAA",
        "eyJhbGciOiJFUzI1NiJ9." + base64.urlsafe_b64encode(b"1" * 6000).decode().rstrip("=") + ".AAAA",
        "eyJhbGciOiJFUzI1NiJ9.bnVsbA.AAAA",
    ],
)
async def test_what_is_no_token_is_refused(world: World, token: str) -> None:
    await world.refusal(token)
    assert world.issuer.fetched["keys"] == 0


async def test_a_header_that_asks_for_more_is_refused(world: World) -> None:
    token = world.issuer.sign()
    header = {"alg": "ES256", "kid": world.issuer.keys[0].kid, "crit": ["exp"], "exp": 1}
    await world.refusal(spoiled(token, header))
    reason = await world.refusal(spoiled(token, {"alg": "ES256"}))
    assert reason == "the token does not say by which key it is signed"
    assert await world.refusal(spoiled(token, {"alg": "ES256", "kid": 7})) != ""


async def test_tokens_for_every_service_are_taken_where_the_settings_say_so(world: World) -> None:
    world.issuers = world.trusting(any_audience=True)
    await world.verify(aud=EVERY_SERVICE)
    await world.verify(aud=["https://elsewhere.example.org", EVERY_SERVICE])
    await world.refusal(aud="https://elsewhere.example.org")


async def test_a_token_for_several_services_is_taken(world: World) -> None:
    await world.verify(aud=["https://elsewhere.example.org", AUDIENCE])


async def test_a_newer_minor_version_of_the_profile_is_taken(world: World) -> None:
    await world.verify(wlcg__ver="1.9")


async def test_a_plain_issuer_needs_no_version_and_may_name_things_otherwise(world: World) -> None:
    world.issuers = world.trusting(profile="plain", owner_claim="email", groups_claim="groups")
    grant = await world.verify(wlcg__ver=None, email="alice@example.org", groups=["/atlas"], wlcg__groups=None)
    assert grant.principal == Principal("alice@example.org", "atlas", Role.USER)


@pytest.mark.parametrize(
    ("claims", "role", "shares"),
    [
        ({"wlcg__groups": ["/atlas"]}, Role.USER, None),
        ({"wlcg__groups": ["/atlas/visitors"]}, Role.READER, None),
        ({"wlcg__groups": ["/atlas", "/atlas/physics"]}, Role.WFMS, {"physics"}),
        ({"wlcg__groups": ["/atlas/reprocessing", "/atlas/physics"]}, Role.WFMS, {"physics", "reprocessing"}),
        ({"wlcg__groups": ["/atlas/production", "/atlas/physics"]}, Role.WFMS, None),
        ({"wlcg__groups": None, "scope": "openid idds.operate"}, Role.OPERATOR, None),
        ({"wlcg__groups": ["/atlas", 7, None], "scope": 7}, Role.USER, None),
    ],
)
async def test_groups_and_scopes_become_a_role(
    world: World, claims: dict[str, Any], role: Role, shares: set[str] | None
) -> None:
    principal = (await world.verify(**claims)).principal
    assert (principal.role, principal.shares) == (role, shares)


@pytest.mark.parametrize(
    "claims",
    [
        {"wlcg__groups": None},
        {"wlcg__groups": ["/atlas/productions", "/cms", "atlas"]},
        {"wlcg__groups": "/atlas"},
        {"wlcg__groups": None, "scope": "idds"},
        # Made for certain deeds at storages: what its holder is a member of does not count.
        {"scope": "storage.read:/ openid"},
        {"scope": "compute.create"},
    ],
)
async def test_who_has_no_group_that_counts_is_refused(world: World, claims: dict[str, Any]) -> None:
    with pytest.raises(Forbidden, match="none of its groups and scopes gives a role"):
        await world.verify(**claims)


async def test_keys_are_fetched_once_for_all_who_wait(world: World) -> None:
    world.issuer.may_go_on.clear()
    calls = [asyncio.create_task(world.verify()) for _ in range(20)]
    async with asyncio.timeout(60):
        while not world.issuer.fetched["keys"]:
            await asyncio.sleep(0)
    world.issuer.may_go_on.set()
    await asyncio.gather(*calls)
    assert world.issuer.fetched == {"description": 1, "keys": 1}


async def test_a_new_key_is_found_and_an_old_one_goes(world: World) -> None:
    old = world.issuer.sign()
    await world.verify(old)
    world.issuer.keys = [Key()]
    world.now += 11
    await world.verify()
    assert world.issuer.fetched["keys"] == 2
    assert await world.refusal(old) == "the token is signed by a key that its issuer does not have"


async def test_an_unknown_key_is_looked_for_once_in_a_while_only(world: World) -> None:
    await world.verify()
    world.now += 11
    for _ in range(5):
        await world.refusal(world.issuer.sign(key=Key()))
    assert world.issuer.fetched["keys"] == 2
    await world.verify()
    world.now += 11
    await world.refusal(world.issuer.sign(key=Key()))
    assert world.issuer.fetched["keys"] == 3


async def test_keys_are_fetched_anew_after_a_while(world: World) -> None:
    await world.verify()
    world.now += 6 * 3600 - 1
    await world.verify()
    assert world.issuer.fetched["keys"] == 1
    world.now += 1
    await world.verify()
    assert world.issuer.fetched["keys"] == 2


async def test_who_is_known_does_not_wait_while_keys_are_fetched_anew(world: World) -> None:
    await world.verify()
    world.now += 6 * 3600
    world.issuer.may_go_on.clear()
    first = asyncio.create_task(world.verify())
    async with asyncio.timeout(60):
        while world.issuer.fetched["keys"] < 2:
            await asyncio.sleep(0)
        await world.verify()
    assert not first.done()
    world.issuer.may_go_on.set()
    await first


async def test_while_the_issuer_is_down_its_keys_are_good_for_two_days(world: World) -> None:
    await world.verify()
    world.issuer.is_down = True
    world.now += 2 * 86400 - 1
    await world.verify()
    world.now += 11
    with pytest.raises(Unavailable, match="cannot be had for now"):
        await world.verify()
    world.issuer.is_down = False
    world.now += 11
    await world.verify()


async def test_without_its_keys_nothing_of_an_issuer_is_believed(world: World) -> None:
    world.issuer.is_down = True
    for _ in range(3):
        with pytest.raises(Unavailable):
            await world.verify()
    assert world.issuer.fetched["description"] == 1, "it is left alone for a while"
    world.issuer.is_down = False
    world.now += 11
    await world.verify()


@pytest.mark.parametrize(
    "lie",
    [
        {"named": "https://elsewhere.example.org"},
        {"keys_at": "http://192.0.2.1/jwks"},
        {"keys_at": "file:///etc/passwd"},
        {"answer": "no JSON"},
        {"answer": "[]"},
        {"answer": '{"keys": 7}'},
        {"answer": "x" * (2**20 + 1)},
    ],
)
async def test_an_issuer_that_makes_no_sense_is_not_believed(world: World, lie: dict[str, str]) -> None:
    for name, value in lie.items():
        setattr(world.issuer, name, value)
    with pytest.raises(Unavailable):
        await world.verify()


async def test_what_is_no_key_is_passed_over(world: World) -> None:
    good = world.issuer.keys[0]
    odd = [7, {}, {"kid": 7}, {**Key().public, "use": "enc"}, {"kid": "oct", "kty": "oct", "k": "AAAA"}, good.public]
    world.issuer.answer = json.dumps({"keys": odd})
    await world.verify()


async def test_people_can_log_in_where_there_is_a_client(world: World) -> None:
    assert list(world.issuers.known) == []
    [known] = world.trusting(client_id=CLIENT, scopes=("openid",)).known
    assert (known.name, known.issuer, known.client_id, known.scopes) == ("iam", world.issuer.url, CLIENT, ("openid",))
    assert known.audience == AUDIENCE
