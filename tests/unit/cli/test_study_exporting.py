"""A study that is exported while it runs."""

import csv
import io
from collections.abc import AsyncGenerator
from types import SimpleNamespace
from typing import Any

from idds.cli.study_exporting import _write
from idds.domain.identifiers import ContentId
from idds.domain.statuses import ContentStatus
from idds.domain.study import Origin, Sample


def sample(number: int, version: int, parameters: dict[str, float]) -> Sample:
    return Sample(
        number=number,
        id=ContentId(number + 1),
        version=version,
        status=ContentStatus.DONE,
        origin=Origin.SAMPLER,
        parameters=parameters,
        objective_values=(0.5,),
        constraint_values=None,
        is_pruned=False,
        attempt=1,
        lessee=None,
        lease_until=None,
        reason=None,
        changed_at=7,
    )


class Redefined:
    """A study whose second version comes between its being looked at and being read."""

    async def study(self, study: int) -> Any:
        return SimpleNamespace(id=study, version=1, directions=("minimize",))

    async def samples(self, study: int) -> AsyncGenerator[Sample, None]:
        yield sample(0, 1, {"x": 0.25})
        yield sample(1, 2, {"x": 9.0, "new": 1.0})


async def test_what_a_study_is_redefined_to_meanwhile_is_left_out() -> None:
    table = io.StringIO()
    client: Any = Redefined()
    assert await _write(client, 1, table) == 1
    (row,) = csv.DictReader(io.StringIO(table.getvalue()))
    assert (row["number"], row["params_x"], row["value"]) == ("0", "0.25", "0.5")
    assert "params_new" not in row
