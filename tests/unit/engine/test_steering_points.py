"""What a steering command is given and what it may answer."""

from typing import Any

import pytest

from idds.domain.workflow import Parameter, Samples, Steering
from idds.engine import steering_points
from idds.engine.spaces import problems

STEERING = Steering(argv=("steer", "--in=%IN", "--out=%OUT", "-n%NUM_POINTS/%MAX_POINTS"))
SPACE = {"x": Parameter(type="float", low=0, high=1)}


def a_study(**changes: Any) -> Samples:
    return Samples(**{"count": 10, "sampler": "command", "steering": STEERING, **changes})


def test_the_command_is_told_its_files_and_numbers() -> None:
    argv = steering_points.argv(STEERING, points=3, most=10)
    assert argv == ("steer", "--in=input.json", "--out=output.json", "-n3/10")


def test_it_reads_all_points_with_their_losses_and_the_space_as_it_was_given() -> None:
    foreign = {"A": {"type": "Choice", "params": {"choices": [1, 2]}}}
    points = [({"A": 1}, 0.5), ({"A": 2}, None)]
    document = steering_points.document(a_study(opt_space=foreign), points)
    assert document == {"points": [[{"A": 1}, 0.5], [{"A": 2}, None]], "opt_space": foreign}
    ours = steering_points.document(a_study(space=SPACE), [])["opt_space"]["x"]
    assert (ours["type"], ours["low"], ours["high"]) == ("float", 0, 1)


def test_no_more_points_are_taken_than_were_wanted_and_what_is_fixed_stays() -> None:
    assert steering_points.read(b'[{"x": 1}, {"x": 2}, {"x": 3}]', {"y": "a"}, 2) == [
        {"y": "a", "x": 1},
        {"y": "a", "x": 2},
    ]
    assert steering_points.read(b"[]", {}, 2) == []


@pytest.mark.parametrize(
    ("written", "word"),
    [
        (b"", "no JSON"),
        (b"{}", "no list of points, but dict"),
        (b"[[1]]", "point 0 is no object"),
        (b'[{"x": 1}, {}]', "point 1 is no object"),
        (b'[{"x": [1]}]', "at 'x'"),
        (b'[{"x": NaN}]', "at 'x'"),
        (b'[{"x": null}]', "at 'x'"),
        (b'[{"x": 99999999999999999999}]', "at 'x'"),
        (b'[{"x": "a\\u0000b"}]', "at 'x'"),
        (b'[{"x": "\\ud800"}]', "at 'x'"),
        (b'[{"\\udcff": 1}]', "at "),
        (b"[" * 100_000, "nested too deep"),
    ],
)
def test_what_is_no_list_of_points_is_told(written: bytes, word: str) -> None:
    with pytest.raises(steering_points.Unreadable, match=word):
        steering_points.read(written, {}, 10)


@pytest.mark.parametrize(
    ("changes", "pointer"),
    [
        ({"steering": None}, "/steering"),
        ({"steering": Steering(argv=("steer", "%IN", "-n", "%NUM_POINTS"))}, "/steering/argv"),
        ({"sampler": "random", "space": SPACE}, "/steering"),
        ({"space": SPACE, "opt_space": {"a": {}}}, "/opt_space"),
        ({"constraints": ("x > 0",)}, "/constraints"),
        ({"directions": ("minimize", "maximize")}, "/directions"),
        ({"options": {"startup": 3}}, "/options/startup"),
    ],
)
def test_a_study_that_cannot_be_steered_is_refused_at_its_place(changes: dict[str, Any], pointer: str) -> None:
    assert [problem.pointer for problem in problems(a_study(**changes), "")] == [pointer]
    assert problems(a_study(), "") == []
