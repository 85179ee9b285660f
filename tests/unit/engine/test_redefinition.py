"""Redefining a space: what changes make of it, what is refused at which place, which results count on."""

from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from idds.domain.redefinition import Add, Change, Choose, Constrain, Drop, Fix, Narrow, Unconstrain, Widen
from idds.domain.space import Parameter, Point, Segment, When
from idds.domain.workflow import Samples
from idds.engine.redefinition import Fitting, redefined, resolved
from idds.engine.spaces import spaces_of
from idds.search.points import draw
from idds.search.seeds import generator
from tests.unit.search.spaces import spaces

SGD = When(parameter="optimizer", values=("sgd", "nesterov"))
STUDY = Samples(
    space={
        "lr": Parameter(type="float", low=1e-4, high=1.0, log=True),
        "dropout": Parameter(type="float", low=0, high=0.5, step=0.1),
        "layers": Parameter(type="int", low=1, high=8),
        "optimizer": Parameter(type="categorical", choices=("adam", "sgd", "nesterov")),
        "momentum": Parameter(type="float", low=0, high=1, when=SGD),
    },
    fixed={"dataset": "digits"},
    constraints=("layers < 6 || lr < 0.1",),
    count=10,
)
POINT: Point = {"dataset": "digits", "lr": 0.01, "dropout": 0.2, "layers": 3, "optimizer": "sgd", "momentum": 0.9}


def after(*changes: Change) -> Samples:
    samples, problems = redefined(STUDY, changes)
    assert problems == []
    return samples


def carry(*changes: Change, point: Point = POINT) -> Point | None:
    return Fitting(spaces_of(after(*changes))[0]).carried(point, [changes])


def without(*names: str, **more: Any) -> Point:
    return {**{name: value for name, value in POINT.items() if name not in names}, **more}


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (Narrow(parameter="lr", high=0.1), POINT),
        (Narrow(parameter="lr", low=0.02), None),
        (Narrow(parameter="dropout", low=0.2), POINT),
        (Narrow(parameter="layers", low=3, high=3), POINT),
        (Widen(parameter="layers", low=0, high=20), POINT),
        (Choose(parameter="optimizer", choices=("sgd", "lamb")), POINT),
        (Choose(parameter="optimizer", choices=("adam", "nesterov")), None),
        (Drop(parameter="dropout"), without("dropout")),
        (Drop(parameter="dropout", only=0.2), without("dropout")),
        (Drop(parameter="dropout", only=0.3), None),
        (Fix(parameter="layers", value=3), POINT),
        (Fix(parameter="layers", value=4), None),
        (Fix(parameter="layers", value=4, within=1), without(layers=4)),
        (Fix(parameter="optimizer", value="sgd"), POINT),
        (Fix(parameter="optimizer", value="adam"), None),
        (Fix(parameter="momentum", value=0.5, within=0.3), None),
        (Add(parameter="warmup", space=Parameter(type="int", low=0, high=9), earlier=0), without(warmup=0)),
        (Add(parameter="warmup", space=Parameter(type="int", low=0, high=9)), None),
        (Add(parameter="dataset", space=Parameter(type="categorical", choices=("digits", "wine"))), POINT),
        (Add(parameter="dataset", space=Parameter(type="categorical", choices=("wine", "iris"))), None),
        (Constrain(expression="lr < 0.5"), POINT),
        (Unconstrain(expression="layers < 6 || lr < 0.1"), POINT),
    ],
)
def test_which_results_count_on(change: Change, expected: Point | None) -> None:
    assert carry(change) == expected


def test_what_hangs_on_a_parameter_that_is_fixed_is_always_there_or_never() -> None:
    always = after(Fix(parameter="optimizer", value="sgd"))
    assert always.space["momentum"].when is None
    assert always.fixed == {"dataset": "digits", "optimizer": "sgd"}
    assert "momentum" not in after(Fix(parameter="optimizer", value="adam")).space
    # With other choices a branch keeps those of its values that there still are.
    fewer = after(Choose(parameter="optimizer", choices=("adam", "sgd")))
    assert fewer.space["momentum"].when == When(parameter="optimizer", values=("sgd",))


def test_a_long_chain_goes_with_what_it_hangs_on() -> None:
    chain = {
        f"p{n}": Parameter(type="int", low=0, high=1, when=When(parameter=f"p{n - 1}", values=(1,)) if n else None)
        for n in range(999)
    }
    study = Samples(space={**chain, "x": Parameter(type="float", low=0, high=1)}, count=1)
    samples, problems = redefined(study, [Fix(parameter="p0", value=0)])
    assert (problems, list(samples.space)) == ([], ["x"])


def test_changes_come_one_after_the_other_and_versions_too() -> None:
    first = [Fix(parameter="layers", value=3), Narrow(parameter="lr", high=0.1)]
    second = [Add(parameter="layers", space=Parameter(type="int", low=2, high=16)), Widen(parameter="lr", high=10)]
    samples, problems = redefined(after(*first), second)
    assert problems == []
    space = spaces_of(samples)[0]
    assert Fitting(space).carried(POINT, [first, second]) == POINT
    assert Fitting(space).carried({**POINT, "lr": 5.0}, [second]) == {**POINT, "lr": 5.0}
    assert Fitting(space).carried({**POINT, "layers": 4}, [first, second]) is None


@pytest.mark.parametrize(
    ("change", "place", "message"),
    [
        (Narrow(parameter="nothing", low=1), "parameter", "there is no parameter"),
        (Narrow(parameter="optimizer", low=1), "parameter", "choices, and no range"),
        (Narrow(parameter="lr"), "", "give low, high or both"),
        (Narrow(parameter="lr", high=2), "high", "high is 0.5: that is no way to narrow it"),
        (Narrow(parameter="layers", low=5, high=4), "low", "low 5 is above high 4"),
        (Narrow(parameter="layers", low=1.5), "", "whole numbers"),
        (Narrow(parameter="dropout", low=0.15), "low", "no step leads there"),
        (Widen(parameter="dropout", low=-1.7e308), "low", "no step leads there"),
        (Widen(parameter="lr", low=0), "low", "low > 0"),
        (Widen(parameter="layers", high=7), "high", "high is 8: that is no way to widen it"),
        (Choose(parameter="lr", choices=(1,)), "parameter", "is a number: it has no choices"),
        (Choose(parameter="optimizer", choices=("a", "a")), "choices/1", "among the choices already"),
        (Choose(parameter="optimizer", choices=("adam",)), "choices", "'momentum' is there with none of these"),
        (Drop(parameter="optimizer"), "parameter", "'momentum' hangs on 'optimizer'"),
        (Drop(parameter="dropout", only=0.7), "only", "never had this value"),
        (Fix(parameter="optimizer", value="lamb"), "value", "none of the choices"),
        (Fix(parameter="optimizer", value="sgd", within=1), "within", "only numbers"),
        (Add(parameter="lr", space=Parameter(type="int", low=1, high=2)), "parameter", "already"),
        (Add(parameter="a", space=Parameter(type="int", low=3, high=2)), "space/low", "above high"),
        (Add(parameter="a", space=Parameter(type="int", low=1, high=2), earlier=3), "earlier", "never has this value"),
        (Add(parameter="dataset", space=STUDY.space["layers"], earlier=1), "earlier", "that it was fixed at"),
        (Constrain(expression="layers < 6 || lr < 0.1"), "expression", "holds already"),
        (Unconstrain(expression="lr < 0.1"), "expression", "no such constraint"),
    ],
)
def test_what_is_wrong_is_told_at_its_place(change: Change, place: str, message: str) -> None:
    _, (problem,) = redefined(STUDY, [Narrow(parameter="lr", high=0.5), change])
    assert problem.pointer == f"/changes/1/{place}".rstrip("/")
    assert message in problem.message


def test_what_hangs_together_wrongly_is_told_of_all_changes() -> None:
    looped = Parameter(type="int", low=1, high=2, when=When(parameter="nothing", values=(1,)))
    _, (problem,) = redefined(STUDY, [Add(parameter="a", space=looped)])
    assert (problem.pointer, problem.message) == (
        "/changes",
        "/space/a/when/parameter: there is no parameter 'nothing' in this space",
    )
    _, problems = redefined(Samples(space={"x": STUDY.space["lr"]}, count=1), [Drop(parameter="x")])
    assert [problem.message for problem in problems] == ["nothing would be left to search"]


def test_what_was_found_elsewhere_belongs_as_far_as_it_is_of_the_space() -> None:
    space = spaces_of(STUDY)[0]
    assert Fitting(space).fitted({**without("dataset"), "batch": 32}) == POINT
    assert Fitting(space).fitted(without(dataset="wine")) is None
    assert Fitting(space).fitted(without("lr")) is None
    assert Fitting(space).fitted(without(optimizer="adam")) == without("momentum", optimizer="adam")
    assert Fitting(space).fitted(without(layers=True)) is None


JUST_BELOW_ZERO = Parameter(type="float", low=-1, high=-1e-74, step=1)


@example(parameters={"x": JUST_BELOW_ZERO}, number=2)
@given(parameters=spaces(), number=st.integers(0, 100))
def test_a_point_is_one_of_its_own_space(parameters: dict[str, Parameter], number: int) -> None:
    space = spaces_of(Samples(space=parameters, count=1))[0]
    point = draw(space, generator(number))
    assert Fitting(space).carried(point, []) == point
    for name, value in point.items():
        if not any(each.when is not None for each in parameters.values()) and len(parameters) > 1:
            after, problems = redefined(Samples(space=parameters, count=1), [Fix(parameter=name, value=value)])
            assert problems == []
            fixed = [[Fix(parameter=name, value=value)]]
            assert Fitting(spaces_of(after)[0]).carried(point, fixed) == point


SEGMENTS = Samples(
    segments=(
        Segment(model_id="a", space={name: STUDY.space[name] for name in ("lr", "layers")}),
        Segment(model_id=2, space={name: STUDY.space[name] for name in ("lr", "dropout")}),
    ),
    fixed={"dataset": "digits"},
    constraints=("lr < 0.5",),
    count=10,
)


def test_a_change_is_of_its_segment_or_of_all_that_have_the_parameter() -> None:
    changes = [
        Narrow(parameter="lr", high=0.4),
        Narrow(parameter="lr", low=0.01, model_id=2),
        Fix(parameter="layers", value=3),
        Add(parameter="warmup", space=STUDY.space["layers"], earlier=1, model_id="a"),
        Constrain(expression="lr < 0.3"),
    ]
    samples, problems = redefined(SEGMENTS, changes)
    assert problems == []
    first, second = spaces_of(samples)
    assert (first.parameters["lr"].low, second.parameters["lr"].low) == (1e-4, 0.01)
    assert (first.parameters["lr"].high, second.parameters["lr"].high) == (0.4, 0.4)
    assert dict(first.fixed) == {"dataset": "digits", "layers": 3, "model_id": "a"}
    assert dict(second.fixed) == {"dataset": "digits", "model_id": 2}
    assert ("warmup" in first.parameters, "warmup" in second.parameters) == (True, False)
    assert first.constraints == second.constraints == ("lr < 0.5", "lr < 0.3")
    told = resolved(SEGMENTS, changes)
    assert [getattr(each, "model_id", None) for each in told] == ["a", 2, 2, "a", "a", None]
    of_a: Point = {"dataset": "digits", "model_id": "a", "lr": 0.02, "layers": 3}
    of_b: Point = {"dataset": "digits", "model_id": 2, "lr": 0.02, "dropout": 0.2}
    assert Fitting(first).carried(of_a, [told]) == {**of_a, "warmup": 1}
    assert Fitting(second).carried(of_b, [told]) == of_b, "what was fixed in the other says nothing of this one"
    assert Fitting(second).carried({**of_b, "lr": 0.001}, [told]) is None
    # The same again, on what that became.
    assert spaces_of(redefined(samples, [Drop(parameter="dropout")])[0])[1].parameters.keys() == {"lr"}


@pytest.mark.parametrize(
    ("change", "place", "message"),
    [
        (Narrow(parameter="lr", low=0.1, model_id="b"), "/changes/0/model_id", "there is no segment of model 'b'"),
        (Drop(parameter="layers", model_id=2), "/changes/0/parameter", "there is no parameter 'layers' in this space"),
        (Drop(parameter="momentum"), "/changes/0/parameter", "there is no parameter 'momentum' in any segment"),
        (Narrow(parameter="lr", low=1e-5), "/changes/0/low", "that is no way to narrow it"),
        (Add(parameter="layers", space=STUDY.space["layers"]), "/changes/0/parameter", "there is a parameter"),
        (Add(parameter="model_id", space=STUDY.space["layers"]), "/changes", "this names the segment"),
    ],
)
def test_what_is_no_change_of_segments_is_said_once(change: Change, place: str, message: str) -> None:
    _, problems = redefined(SEGMENTS, [change])
    found = [problem for problem in problems if message in problem.message]
    assert [problem.pointer for problem in found][:1] == [place]
    assert len({(problem.pointer, problem.message) for problem in problems}) == len(problems)


def test_a_study_in_one_piece_has_no_segments() -> None:
    _, problems = redefined(STUDY, [Narrow(parameter="lr", low=0.1, model_id="a")])
    assert [problem.pointer for problem in problems] == ["/changes/0/model_id"]
