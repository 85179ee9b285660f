"""Whom this service trusts to say who somebody is, and what it gives them."""

from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from idds.domain.addresses import is_safe, is_within
from idds.domain.request import Role

Algorithm = Literal["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"]
"""Signatures by a key that only the issuer has (RFC 7518, RFC 8037); those by a shared secret are not among them."""


class _Options(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


def _safe(url: str) -> str:
    if not is_safe(url) or urlsplit(url).query:
        raise ValueError("give an https URL, or an http one of this machine")
    return url


def _network(text: str) -> str:
    ip_network(text)
    return text


class GrantOptions(_Options):
    """What a group or a scope gives. `shares` are those that it is held to; none for any."""

    group: str | None = Field(None, min_length=1, description="A group, as it stands in the token: /atlas/production.")
    scope: str | None = Field(None, min_length=1, description="Or a scope, as it stands in the token.")
    role: Role = Field(description="The role that it gives.")
    shares: frozenset[str] | None = Field(None, min_length=1, description="The shares it is held to; none for any.")

    @model_validator(mode="after")
    def _one_of_both(self) -> "GrantOptions":
        if (self.group is None) == (self.scope is None):
            raise ValueError("name either a group or a scope")
        return self


class IssuerOptions(_Options):
    """An OpenID Connect issuer whose tokens are taken."""

    url: Annotated[str, AfterValidator(_safe)] = Field(
        description="The issuer, letter by letter as `iss` of its tokens has it."
    )
    audiences: frozenset[str] = Field(min_length=1, description="What `aud` of a token may be: names of this service.")
    vo: str = Field(min_length=1, max_length=256, description="The VO of who comes with its tokens.")
    grants: tuple[GrantOptions, ...] = Field(
        (), description="What groups and scopes give; who has none of them is refused. The highest role counts."
    )
    profile: Literal["wlcg", "plain"] = Field(
        "wlcg", description="Tokens after the WLCG Common JWT Profile 1, or any that are signed."
    )
    any_audience: bool = Field(False, description="Take WLCG tokens that are for every service, too.")
    owner_claim: str = Field("sub", min_length=1, description="The claim that names the owner.")
    groups_claim: str = Field("wlcg.groups", min_length=1, description="The claim that lists groups.")
    algorithms: frozenset[Algorithm] = Field(
        frozenset(("RS256", "ES256")), min_length=1, description="Signatures that are taken."
    )
    leeway_s: int = Field(30, ge=0, le=300, description="How far its clock may be off.")
    keys_refresh_s: int = Field(6 * 3600, ge=60, description="After how long its keys are fetched anew.")
    keys_kept_s: int = Field(2 * 86400, ge=60, description="How long they are good when it cannot be reached.")
    keys_pause_s: int = Field(10, ge=1, le=600, description="Pause between two attempts to fetch them.")
    client_id: str = Field("", description="The public client of `idds login`; empty for no login there.")
    scopes: tuple[str, ...] = Field(
        ("openid", "offline_access", "wlcg", "wlcg.groups"), description="What `idds login` asks for."
    )

    @model_validator(mode="after")
    def _kept_as_long_as_fresh(self) -> "IssuerOptions":
        if self.keys_kept_s < self.keys_refresh_s:
            raise ValueError("keys_kept_s is below keys_refresh_s")
        return self


class ProxyOptions(_Options):
    """A web server before this one that checks X.509 certificates. Off unless networks and names are given."""

    networks: tuple[Annotated[str, AfterValidator(_network)], ...] = Field(
        (), description="Where it calls from: addresses or networks as in 10.0.0.0/28; nobody else is believed."
    )
    header: str = Field(
        "X-SSL-Client-S-DN", pattern=r"^[A-Za-z0-9-]{1,64}$", description="The header that holds the subject's name."
    )
    names: Path | None = Field(None, description="TOML file: for each name an owner, a vo, a role and its shares.")

    @model_validator(mode="after")
    def _both_or_none(self) -> "ProxyOptions":
        if bool(self.networks) != (self.names is not None):
            raise ValueError("networks and names go together")
        return self

    @property
    def ranges(self) -> tuple[IPv4Network | IPv6Network, ...]:
        return tuple(ip_network(text) for text in self.networks)


class OpenSamples(_Options):
    """Payloads of a workload manager that show nothing. Nobody is let in so unless networks and a VO are given."""

    networks: tuple[Annotated[str, AfterValidator(_network)], ...] = Field(
        (), description="Whence they may fetch and report samples of tasks without a token, as in 10.0.0.0/28."
    )
    vo: str | None = Field(None, min_length=1, max_length=256, description="The VO whose tasks these are.")

    @model_validator(mode="after")
    def _both_or_none(self) -> "OpenSamples":
        if bool(self.networks) != (self.vo is not None):
            raise ValueError("networks and vo go together")
        return self

    def vo_of(self, peer: str) -> str | None:
        """The VO whose samples are open to this address; None: none's."""
        return self.vo if is_within(peer, map(ip_network, self.networks)) else None
