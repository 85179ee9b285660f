"""Who sees what: filtered here, in the statements themselves, and nowhere else."""

from typing import Any

from sqlalchemy import Select

from idds.domain.request import Principal, Role
from idds.store.schema import requests


def visible(query: Select[Any], principal: Principal | None) -> Select[Any]:
    """A query over `requests`, held to what the principal may see (None: the service itself, which sees all)."""
    if principal is None or principal.role is Role.OPERATOR:
        return query
    query = query.where(requests.c.vo == principal.vo)
    if principal.shares is not None:
        query = query.where(requests.c.share.in_(sorted(principal.shares)))
    return query.where(requests.c.owner == principal.owner) if principal.role is Role.USER else query
