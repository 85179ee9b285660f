"""Searches of workload managers that bring an algorithm of their own: what is made of them."""

from typing import Any

import pytest

from idds.api.facade.studies import Search, study_of
from idds.domain.errors import InvalidInput
from idds.domain.workflow import Samples, Workflow
from idds.engine.graph import problems

SPACE = {"A": {"type": "Choice", "params": {"choices": [1, 2]}}}


def samples_of(**changes: Any) -> Samples:
    search = Search(max_points=50, num_points_per_generation=5, min_unevaluated_points=2, opt_space=SPACE, **changes)
    work = study_of(search)
    assert list(problems(Workflow(name="hpo", works=(work,)))) == []
    assert work.input is not None
    assert work.input.samples is not None
    return work.input.samples


def test_a_command_is_run_by_a_shell_with_what_stands_in_it() -> None:
    samples = samples_of(arguments="steer --in %IN --out %OUT -n %NUM_POINTS")
    assert samples.sampler == "command"
    assert samples.steering is not None
    assert samples.steering.argv == ("/bin/sh", "-c", "steer --in %IN --out %OUT -n %NUM_POINTS")
    assert samples.opt_space == SPACE
    assert samples.refill is not None
    assert (samples.count, samples.refill.points, samples.refill.below) == (50, 5, 2)


def test_a_container_gets_the_image_and_the_command_as_arguments_of_their_own() -> None:
    """Nothing of them is read by the outer shell: an image is no piece of a command."""
    samples = samples_of(arguments="steer %OUT; rm x", sandbox="registry/steering:1", executable="docker")
    assert samples.steering is not None
    *shell, script, image, command = samples.steering.argv
    assert shell == ["/bin/sh", "-c"]
    assert (image, command) == ("registry/steering:1", "steer %OUT; rm x")
    assert "docker run" in script
    assert '"$0"' in script
    assert '"$1"' in script


def test_points_to_begin_with_come_before_those_of_the_command() -> None:
    samples = samples_of(arguments="steer %IN %OUT", initial_points=[{"A": 1}, [{"A": 2}, None]])
    assert samples.initial == ({"A": 1}, {"A": 2})


@pytest.mark.parametrize("method", ["command", "docker", None])
def test_a_command_may_be_named_as_the_method(method: str | None) -> None:
    assert samples_of(arguments="steer %IN %OUT", method=method).sampler == "command"


def test_a_sampler_that_is_named_goes_before_a_command() -> None:
    samples = samples_of(arguments="steer %IN %OUT", method="random")
    assert (samples.sampler, samples.steering) == ("random", None)


SEGMENTS = [{"model_id": n, "search_space": {"x": {"type": "Scalar", "bounds": [0, n]}}} for n in (1, 2, 3)]


def begun(given: list[Any], space: Any = SEGMENTS) -> Samples:
    work = study_of(Search(max_points=50, opt_space=space, initial_points=given))
    assert problems(Workflow(name="hpo", works=(work,))) == []
    assert work.input is not None
    assert work.input.samples is not None
    return work.input.samples


def test_points_to_begin_with_come_at_the_turn_of_the_segment_that_they_name_or_of_each() -> None:
    given = [{"x": 0.5}, [2, {"x": 1.5}], [[3, {"x": 2.5}], None], [{"x": 0.25}, None]]
    assert begun(given).initial == (
        *({"x": 0.5}, {"x": 0.5}, {"x": 0.5}),
        *({"x": 0.25}, {"x": 1.5}, {"x": 2.5}),
        *({}, {"x": 0.25}, {"x": 0.25}),
    )
    assert begun([]).initial == ()


@pytest.mark.parametrize(
    ("given", "space", "place"),
    [
        ([{"x": 0.5}, [1, {"x": 1.5}]], SEGMENTS, "/1/x"),
        ([[2, {"x": 0.5}], {"x": 1.5}], SEGMENTS, "/1/x"),
        ([[4, {"x": 0.5}]], SEGMENTS, "/0"),
        ([["a", {"A": 1}]], SPACE, "/0"),
        ([[{"A": 1}, 0.5]], SPACE, "/0/1"),
        ([{"x": 0.5}] * 3334, SEGMENTS, ""),
    ],
)
def test_what_is_wrong_with_such_a_point_is_told_where_it_was_given(given: list[Any], space: Any, place: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        begun(given, space)
    assert [each.pointer for each in refused.value.problems] == [f"/request_metadata/initial_points{place}"]
