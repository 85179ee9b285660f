"""Who may: what a caller was given, and by what it is known."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from idds.domain.identifiers import CollectionId, TokenId
from idds.domain.request import Principal, Role


class Proof(StrEnum):
    """By what a caller is known."""

    TOKEN = "token"  # noqa: S105
    """A token of this service's own."""
    OIDC = "oidc"
    """A token of an issuer that this service trusts."""
    PROXY = "proxy"
    """A certificate, of which a trusted proxy tells."""


@dataclass(frozen=True, slots=True)
class Grant:
    """What a caller may be. With a `collection_id` it is good for that collection's leases and reports only.

    It ends at `expires_at` (microseconds UTC; None: it doesn't by itself). `token_id` is that of a local token.
    """

    principal: Principal
    collection_id: CollectionId | None = None
    by: Proof = Proof.TOKEN
    expires_at: int | None = None
    token_id: TokenId | None = None


@dataclass(frozen=True, slots=True)
class Token:
    """A local token; its secret is known to its holder alone. Times are microseconds UTC."""

    id: TokenId
    owner: str
    vo: str
    role: Role
    shares: frozenset[str] | None
    collection_id: CollectionId | None
    note: str | None
    created_at: int
    expires_at: int | None
    last_used_at: int | None
    revoked_at: int | None


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """That a principal did something, at a time in microseconds UTC. `call` is the id of the HTTP request."""

    id: int
    at: int
    owner: str
    vo: str
    role: Role
    action: str
    entity: str
    call: str | None
    details: Mapping[str, Any] | None
