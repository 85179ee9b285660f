"""The study that docs/hpo.md shows can be submitted; its table has every sampler and option."""

import re
from pathlib import Path

from idds.api.bodies import SubmitBody
from idds.api.documents import parse
from idds.engine import graph
from idds.engine.spaces import OPTIONS
from idds.search import feasibility

PAGE = (Path(__file__).parents[3] / "docs" / "hpo.md").read_text()


def test_the_study_that_is_shown_can_be_submitted() -> None:
    found = re.search(r"```json\n(.*?)```", PAGE, re.DOTALL)
    assert found is not None
    workflow = parse(found[1].encode(), SubmitBody).workflow
    assert graph.problems(workflow) == []
    source = workflow.works[0].input
    assert source is not None
    assert source.samples is not None
    assert feasibility.problems(source.samples, "") == []


def test_every_sampler_and_option_is_told_of() -> None:
    rows: dict[str, str] = {}
    for row in re.findall(r"^\| `.*", PAGE, re.MULTILINE):
        rows |= dict.fromkeys(re.findall(r"`(\w+)`", row[:40]), row)
    for sampler, options in OPTIONS.items():
        assert set(re.findall(r"`(\w+)`", rows[sampler])) >= set(options), sampler
