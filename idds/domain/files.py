"""Files as data management knows them."""

from dataclasses import dataclass

from idds.domain.identifiers import Did


@dataclass(frozen=True, slots=True)
class File:
    """A file of a dataset. `bytes` is its size; `adler32` its checksum as eight hex digits, None when unknown.

    `events` is how many events are in it, None when nobody has told the data management.
    """

    did: Did
    bytes: int
    adler32: str | None = None
    events: int | None = None


@dataclass(frozen=True, slots=True)
class FilePage:
    """Some files of a dataset in a stable order.

    `next` asks for the page after this one, None at the end. `is_open` says that the dataset may still grow.
    """

    files: tuple[File, ...]
    next: str | None
    is_open: bool = False


@dataclass(frozen=True, slots=True)
class Upload:
    """A file on this machine's disk that shall become a replica. Raises nothing; the adapter checks `adler32`."""

    did: Did
    path: str
    bytes: int
    adler32: str
