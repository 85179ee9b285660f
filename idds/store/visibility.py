"""Who sees what: filtered here, in the statements themselves, and nowhere else."""

from typing import Any

from sqlalchemy import ColumnElement, Select, select

from idds.domain.request import Principal, Role
from idds.engine.transitions import PINNING
from idds.store.schema import contents, replicas, requests, tokens
from idds.store.sets import is_status


def visible(query: Select[Any], principal: Principal | None) -> Select[Any]:
    """A query over `requests`, held to what the principal may see (None: the service itself, which sees all)."""
    if principal is None:
        return query
    if principal.shares is not None:
        query = query.where(requests.c.share.in_(sorted(principal.shares)))
    if principal.role is Role.OPERATOR:
        return query
    query = query.where(requests.c.vo == principal.vo)
    return query.where(requests.c.owner == principal.owner) if principal.role is Role.USER else query


def sees(principal: Principal, *, owner: str | None, vo: str | None, share: str | None) -> bool:
    """The same rule for what is at hand already: whether the principal may see what belongs to these."""
    if principal.shares is not None and share not in principal.shares:
        return False
    if principal.role is Role.OPERATOR:
        return True
    return vo == principal.vo and (principal.role is not Role.USER or owner == principal.owner)


def pinned_in(vo: str) -> ColumnElement[bool]:
    """That something of a VO needs a replica: one that several VOs need counts for each of them."""
    pin = select(contents.c.id).join(requests, requests.c.id == contents.c.request_id).where(requests.c.vo == vo)
    return pin.where(contents.c.replica_id == replicas.c.id, is_status(contents.c.status, *PINNING)).exists()


def visible_tokens(query: Select[Any], principal: Principal) -> Select[Any]:
    """A query over `tokens`: a user's own; a workload manager's, all of its VO unless it is held to shares."""
    if principal.role is Role.OPERATOR:
        return query
    query = query.where(tokens.c.vo == principal.vo)
    sees_all = principal.role is Role.WFMS and principal.shares is None
    return query if sees_all else query.where(tokens.c.owner == principal.owner)
