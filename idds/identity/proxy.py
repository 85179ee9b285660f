"""A web server before this one that checks X.509 certificates, and tells whose they are in a header."""

import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from idds.domain.access import Grant, Proof
from idds.domain.addresses import is_within
from idds.domain.errors import InvalidInput, Problem, Unauthenticated
from idds.domain.request import Principal, Role
from idds.identity.options import ProxyOptions


class _Named(BaseModel):
    """Whom a subject's name stands for."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    owner: str = Field(min_length=1, max_length=256)
    vo: str = Field(min_length=1, max_length=256)
    role: Role = Role.USER
    shares: frozenset[str] | None = Field(None, min_length=1)


class CertificateProxy:
    """Fulfils `idds.ports.identity.Proxy`. The file of names is read once, at the start. Raises InvalidInput."""

    def __init__(self, options: ProxyOptions) -> None:
        assert options.names is not None
        self.header = options.header
        self._ranges = options.ranges
        self._grants = {
            name: Grant(Principal(it.owner, it.vo, it.role, it.shares), by=Proof.PROXY)
            for name, it in _read(options.names).items()
        }

    def identify(self, peer: str, names: Sequence[str]) -> Grant | None:
        """As the port has it."""
        if not is_within(peer, self._ranges):
            return None
        if len(names) != 1:
            raise Unauthenticated("the proxy tells of more than one certificate")
        grant = self._grants.get(names[0])
        if grant is None:
            raise Unauthenticated("this certificate is not known here")
        return grant


def _read(path: Path) -> Mapping[str, _Named]:
    place = "/access/proxy/names"
    try:
        return TypeAdapter(dict[str, _Named]).validate_python(tomllib.loads(path.read_text(encoding="utf-8")))
    except ValidationError as error:
        raise InvalidInput(
            [Problem(place, f"{path}: {'.'.join(map(str, e['loc']))}: {e['msg']}") for e in error.errors()]
        ) from None
    except (OSError, ValueError) as error:
        raise InvalidInput([Problem(place, f"{path} cannot be read: {error}")]) from None
