"""One sample at a time for a command that need not know of this service: a point in a file, a loss in another.

`input.json` holds the parameters of the sample, and nothing else. The command leaves `output.json`:

    {
      "status": 0 or "done",            anything else is a failure; may be left out
      "loss": 0.5,                      or, with several objectives,
      "losses": [0.5, 120],             one for each direction of the study
      "constraints": [-1.0],            of a study with constraints on results; may be left out
      "message": "...",                 why it failed; may be left out
      "retry": true                     false when trying again is pointless; may be left out
    }

and may, on its way there, append lines to `progress.ndjson`: `{"step": 3, "loss": 0.7}`. Where by these no more is
wanted of a sample, the command is told to end (SIGTERM) and the sample is pruned, unless there is an `output.json`.

All lie in the folder in which it runs; IDDS_INPUT, IDDS_OUTPUT and IDDS_PROGRESS name them, IDDS_SAMPLE and
IDDS_ATTEMPT say which sample it is, for which time. IDDS_CHECKPOINT, where there are checkpoints, is a folder: what a
command writes there is there again when the sample is gone on with, by the same payload or another one.
"""

import json
import shutil
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from idds.domain.errors import InvalidInput, Problem
from idds.sdk.checkpoints import Checkpoint, Checkpoints
from idds.sdk.dialects import Along, Lines, Run, Told, read_output
from idds.sdk.reading import Unreadable, read
from idds.sdk.views import LeasedContent

INPUT, OUTPUT, PROGRESS = "input.json", "output.json", "progress.ndjson"
GOOD = (0, "0", "done", None)


class Points:
    """Commands run in `folder`, where nobody else's may run at the same time."""

    def __init__(self, folder: Path, checkpoints: Checkpoints | None = None) -> None:
        self._folder = folder.absolute()
        self._checkpoints = checkpoints

    @property
    def is_resumable(self) -> bool:
        return self._checkpoints is not None

    def begin(self, contents: Sequence[LeasedContent]) -> Run:
        (sample,) = contents
        return _Point(self._folder, sample, self._checkpoints)


class _Point:
    def __init__(self, folder: Path, sample: LeasedContent, checkpoints: Checkpoints | None) -> None:
        self.folder = folder
        self._sample = sample
        self._checkpoints = checkpoints
        self._checkpoint: Checkpoint | None = None
        self._lines = Lines(self._progress)

    def open(self) -> Mapping[str, str]:
        if self._sample.parameters is None:
            raise InvalidInput([Problem("", "this is no study: its contents are files, which `idds pilot` is for")])
        self._remove()
        self._input.write_text(json.dumps(self._sample.parameters), encoding="utf-8")
        told = {
            "IDDS_INPUT": str(self._input),
            "IDDS_OUTPUT": str(self._output),
            "IDDS_PROGRESS": str(self._progress),
            "IDDS_SAMPLE": str(self._sample.id),
            "IDDS_ATTEMPT": str(self._sample.attempt),
        }
        if self._checkpoints is not None:
            self._checkpoint = self._checkpoints.take(self._sample.id)
            if self._checkpoint is None:
                sys.stderr.write(
                    f"idds: another payload writes the checkpoint of sample {self._sample.id}: none here\n"
                )
            else:
                told["IDDS_CHECKPOINT"] = str(self._checkpoint.path)
        return told

    @property
    def _input(self) -> Path:
        return self.folder / INPUT

    @property
    def _output(self) -> Path:
        return self.folder / OUTPUT

    @property
    def _progress(self) -> Path:
        return self.folder / PROGRESS

    def _remove(self) -> None:
        for path in (self._input, self._output, self._progress):
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)

    def news(self) -> Sequence[Told | Along]:
        said: list[Along] = []
        for document in self._lines.new():
            with suppress(Unreadable):
                step = read(_Step, document)
                said.append(Along(self._sample.id, step.step, step.loss))
        return said

    def conclusion(self) -> Sequence[Told]:
        document = read_output(self._output)
        if document is None:
            return []
        try:
            return [read(_Output, document).told(self._sample.id)]
        except Unreadable as error:
            raise ValueError(f"{OUTPUT}: {error}") from None

    def silence(self, content: int) -> Told:
        return Told(content, "failed", f"the command wrote no {OUTPUT}")

    def is_resumable(self) -> bool:
        return self._checkpoint is not None and self._checkpoint.is_written()

    def close(self, finished: frozenset[int]) -> None:
        self._remove()
        if self._checkpoint is None:
            return
        if self._sample.id in finished:
            self._checkpoint.remove()
        else:
            self._checkpoint.leave()


@dataclass(frozen=True, slots=True)
class _Step:
    step: int
    loss: float


@dataclass(frozen=True, slots=True)
class _Output:
    """What a command leaves."""

    status: int | str | None = None
    loss: float | None = None
    losses: tuple[float, ...] = ()
    constraints: tuple[float, ...] = ()
    message: str | None = None
    retry: bool = True

    def told(self, sample: int) -> Told:
        if self.status not in GOOD:
            return Told(sample, "failed", self.message or f"the command says status {self.status}", self.retry)
        values = self.losses if self.loss is None else (self.loss,)
        return Told(sample, "done", objective_values=values, constraint_values=self.constraints)
