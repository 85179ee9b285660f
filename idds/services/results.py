"""What a payload left: `output.json`, read with care. Its format stands in `idds.sdk.payload`."""

from typing import Annotated, Any

import msgspec

from idds.domain.content import Outcome
from idds.domain.identifiers import ContentId
from idds.engine.numbers import NotFinite, worded

Adler32 = Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{8}$")]
EventCount = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]
OutputName = Annotated[str, msgspec.Meta(min_length=1, max_length=255, pattern=r"^[A-Za-z0-9][A-Za-z0-9._+-]*$")]


class ContentResult(msgspec.Struct, forbid_unknown_fields=True):
    id: int
    status: Annotated[str, msgspec.Meta(pattern="^(done|failed)$")]
    reason: str | None = None
    retry: bool = True
    objective_values: list[float | NotFinite] = []
    events: EventCount | None = None
    constraint_values: list[float | NotFinite] = []
    pruned: bool = False


class OutputResult(msgspec.Struct, forbid_unknown_fields=True):
    name: OutputName
    bytes: Annotated[int, msgspec.Meta(ge=0)]
    adler32: Adler32


class Result(msgspec.Struct, forbid_unknown_fields=True):
    """`contents` that are not named get their outcome from the exit code."""

    contents: list[ContentResult] = []
    outputs: list[OutputResult] = []
    message: Any = None

    def outcomes(self, held: set[ContentId]) -> dict[ContentId, Outcome]:
        """The outcomes of those contents that the processing holds."""
        return {
            ContentId(each.id): Outcome(
                ContentId(each.id),
                0,
                done=each.status == "done",
                reason=_short(each.reason) if each.status == "failed" else None,
                retry=each.retry,
                objective_values=tuple(map(float, each.objective_values)),
                events=each.events,
                constraint_values=tuple(map(float, each.constraint_values)),
                is_pruned=each.pruned,
            )
            for each in self.contents
            if each.id in held
        }


class BadResult(Exception):
    """The payload's `output.json` is not what it should be; at which place, and why."""


def read_result(document: bytes | None) -> Result:
    """Raises BadResult."""
    if document is None:
        return Result()
    try:
        return msgspec.json.decode(worded(document), type=Result)
    except msgspec.MsgspecError as error:
        raise BadResult(f"output.json: {error}") from error


def _short(reason: str | None) -> str:
    return storable(reason or "the payload gave no reason")[:1000]


def storable(text: str) -> str:
    """Text as every database takes it: PostgreSQL refuses the character NUL."""
    return text.replace("\x00", "\ufffd")
