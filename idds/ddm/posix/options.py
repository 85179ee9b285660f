"""The options of a PosixDDM: which RSEs there are, and how fast the emulated tapes are."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from annotated_types import Ge, Le, MaxLen, MinLen
from pydantic import ConfigDict, Field, TypeAdapter, ValidationError

from idds.domain.errors import InvalidInput, Problem

RseName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]*$"), MaxLen(64)]
"""Names a folder, so it holds no dot and no slash."""
Seconds = Annotated[float, Ge(0), Le(86400)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Disk:
    """A disk RSE: staged to, uploaded to, opened by payloads."""

    kind: Literal["disk"] = "disk"

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")


@dataclass(frozen=True, slots=True, kw_only=True)
class Tape:
    """A tape RSE. `seek_s` is from end to end of a cartridge; `bytes_per_s` is of one drive, 0 for no limit."""

    kind: Literal["tape"] = "tape"
    drives: Annotated[int, Ge(1), Le(64)] = 1
    mount_s: Seconds = 0.0
    seek_s: Seconds = 0.0
    bytes_per_s: Annotated[float, Ge(0), Le(1e12)] = 0.0

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")


@dataclass(frozen=True, slots=True, kw_only=True)
class PosixOptions:
    """`root` holds a folder per RSE and the catalogue; it is made when missing."""

    root: Path
    rses: Annotated[dict[RseName, Annotated[Disk | Tape, Field(discriminator="kind")]], MinLen(1)]

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid", allow_inf_nan=False)

    @classmethod
    def parse(cls, options: Mapping[str, Any]) -> "PosixOptions":
        """Raises InvalidInput naming every place that is wrong; a key that is not known is wrong."""
        try:
            return _ADAPTER.validate_python(dict(options))
        except ValidationError as error:
            problems = [Problem(_pointer(each["loc"]), each["msg"]) for each in error.errors()]
            raise InvalidInput(problems) from None

    @property
    def disks(self) -> tuple[str, ...]:
        return tuple(name for name, rse in self.rses.items() if isinstance(rse, Disk))

    @property
    def tapes(self) -> dict[str, Tape]:
        return {name: rse for name, rse in self.rses.items() if isinstance(rse, Tape)}


_ADAPTER = TypeAdapter(PosixOptions)


def _pointer(place: Sequence[int | str]) -> str:
    """Pydantic puts the union's tag after the RSE's name, and marks a bad key: neither stands in the document."""
    keys = [str(key) for n, key in enumerate(place) if not (place[0] == "rses" and n == 2)]
    return "".join("/" + key.replace("~", "~0").replace("/", "~1") for key in keys)
