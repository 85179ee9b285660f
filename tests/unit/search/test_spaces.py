"""What is wrong with a study is told at its place."""

from typing import Any

import pytest

from idds.domain.errors import Problem
from idds.domain.redefinition import Add, Choose
from idds.domain.space import Parameter, Segment, Value, When
from idds.domain.workflow import Input, Samples, Steering, Work, Workflow
from idds.engine import graph
from idds.engine.foreign_spaces import MOST_CHOICES
from idds.engine.redefinition import redefined
from idds.engine.spaces import Checks, given_for, problems, spaces_of, values_wanted
from idds.engine.study_size import MOST_CHOICES as MOST_CHOICES_IN_ALL
from idds.engine.study_size import MOST_PARAMETERS, MOST_SEGMENTS, is_large
from idds.search import feasibility

X = Parameter(type="float", low=0, high=1)
KIND = Parameter(type="categorical", choices=("a", "b"))


def on(name: str, *values: Any) -> Parameter:
    return Parameter(type="int", low=0, high=1, when=When(parameter=name, values=values))


def study(space: dict[str, Parameter] | None = None, **more: Any) -> Samples:
    return Samples(space=space or {"x": X, "kind": KIND}, count=10, **more)


@pytest.mark.parametrize(
    ("samples", "pointer", "message"),
    [
        (Samples(count=1), "/space", "give either space, segments or opt_space"),
        (
            study(opt_space={"A": {"type": "Scalar", "bounds": [0, 1]}}),
            "/space",
            "give either space, segments or opt_space",
        ),
        (
            study({"a~/b": Parameter(type="float", low=2, high=1)}),
            "/space/a~0~1b/low",
            "low 2 is above high 1",
        ),
        (
            study({"x": Parameter(type="categorical", choices=("a", 1, True))}),
            "/space/x/choices/2",
            "true is among the choices already, as 1: the two are equal",
        ),
        (
            study({"x": Parameter(type="categorical", choices=("a", "a"))}),
            "/space/x/choices/1",
            "'a' is among the choices already",
        ),
        (
            study({"x": Parameter(type="float", low=-1e308, high=1e308)}),
            "/space/x",
            "high - low is more than the largest number",
        ),
        (
            study({"x": Parameter(type="categorical", choices=("a",), low=1)}),
            "/space/x/low",
            "a categorical parameter has choices only",
        ),
        (
            study({"x": Parameter(type="int", low=0, high=1, choices=(1,))}),
            "/space/x/choices",
            "a number has low and high, and no choices",
        ),
        (
            study({"x": Parameter(type="float", low=1, high=9, log=True, step=1)}),
            "/space/x/step",
            "a logarithmic parameter has no step",
        ),
        (
            study({"x": Parameter(type="int", low=1, high=9, step=0.5)}),
            "/space/x/step",
            "the step of an int is a whole number",
        ),
        (
            study({"x": Parameter(type="float", low=1, high=2, step=3)}),
            "/space/x/step",
            "this step goes into the range not once, or too often",
        ),
        (
            study({"x": Parameter(type="int", low=0, high=2**60)}),
            "/space/x",
            "whole numbers have 53 bits at most",
        ),
        (
            study({"kind": KIND, "x": on("sort", "a")}),
            "/space/x/when/parameter",
            "there is no parameter 'sort' in this space",
        ),
        (
            study({"kind": KIND, "x": on("kind", "a", "c")}),
            "/space/x/when/values/1",
            "'kind' never has this value: it is none of the choices",
        ),
        (
            study({"y": X, "x": on("y", 0.5)}),
            "/space/x/when/parameter",
            "'y' is a float: branches hang on whole numbers and choices",
        ),
        (
            study({"a": on("b", 1), "b": on("c", 0), "c": on("a", 1)}),
            "/space/a/when",
            "the parameters depend on each other in a circle: a -> b -> c -> a",
        ),
        (study(sampler="grid"), "/space/x/step", "a grid needs the step of a float"),
        (
            study(fixed={"x": 1}),
            "/fixed/x",
            "this is a parameter of the space: it cannot be fixed too",
        ),
        (
            study(options={"startup": 5, "speed": 2}),
            "/options/speed",
            "sampler 'tpe' has no such option; it has history, patience, startup",
        ),
        (
            study(sampler="qmc", options={"startup": 5}),
            "/options/startup",
            "sampler 'qmc' has no such option; it has none",
        ),
        (study(options={"startup": 0}), "/options/startup", "give a number from 1 to 100000"),
        (study(options={"startup": 1.5}), "/options/startup", "give a whole number"),
        (
            study(sampler="cmaes", directions=("minimize", "maximize")),
            "/directions",
            "sampler 'cmaes' knows one objective only",
        ),
        (study(initial=({"x": 0.5}, {"z": 1})), "/initial/1/z", "there is no parameter 'z' in this space"),
        (study(initial=({"x": 2.0},)), "/initial/0/x", "'x' never has this value: it is not between 0 and 1"),
        (
            study({"kind": KIND, "x": on("kind", "a")}, initial=({"x": 1},)),
            "/initial/0/x",
            "'x' is there only with 'kind' as its `when` says",
        ),
        (study(constraints=("x <",)), "/constraints/0", "Failed to parse expression 'x <'"),
        (study(constraints=("x < 1.0", "y < 1.0")), "/constraints/1", "there is no parameter 'y'"),
        (study(constraints=("x + 1.0",)), "/constraints/0", "it is neither true nor false, but float"),
        (study(constraints=("x + 1 < 2.0",)), "/constraints/0", "Unsupported operation: float + int"),
        (
            study(constraints=("[x].exists(y, y > 0.0)",)),
            "/constraints/0",
            "exists() may go over a list",
        ),
        (study(constraints=("[x].existsOne(x, x > 0.0)",)), "/constraints/0", "existsOne() may go over a list"),
        (study(constraints=("[x].all//\n(x, x > 0.0)",)), "/constraints/0", "no constraint may hold a comment"),
        (study(constraints=("[x][3] > 0.0",)), "/constraints/0", "index out of bounds"),
        (study(constraints=("{'a': x}['b'] > 0.0",)), "/constraints/0", "'b'"),
        (
            study(constraints=("x > 0.5", "x < 0.5")),
            "/constraints/1",
            "none of 1,000 points that were drawn fulfils it, along with those before",
        ),
        (
            study(constraints=("x > 0.5",), initial=({"x": 0.7}, {"x": 0.2, "kind": "a"})),
            "/initial/1",
            "the constraints do not let this point through",
        ),
        (
            study(
                {"n": Parameter(type="int", low=0, high=10**9)},
                constraints=("7 / n >= 0",),
                initial=({"n": 7}, {"n": 0}),
            ),
            "/initial/1",
            "the constraints do not let this point through",
        ),
    ],
)
def test_what_is_wrong_is_told_at_its_place(samples: Samples, pointer: str, message: str) -> None:
    found = problems(samples, "") or feasibility.problems(samples, "")
    assert found
    assert found[0].pointer == pointer
    assert found[0].message.startswith(message)


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        (
            {
                "A": {"type": "Choice", "params": {"choices": ["u", 2], "deterministic": True}, "bounds": None},
                "B": {"type": "Scalar", "bounds": [0, 5], "params": {"init": 2}},
            },
            {"A": Parameter(type="categorical", choices=("u", 2)), "B": Parameter(type="float", low=0, high=5)},
        ),
        (
            {
                "n": {"method": "uniformint", "dimension": {"low": 3, "high": 10}},
                "lr": {"method": "loguniform", "dimension": {"low": 1e-5, "high": 1e-2, "base": 10}},
                "m": {"method": "quniform", "dimension": {"low": 0.5, "high": 1.0, "q": 0.1}},
                "b": {"method": "categorical", "dimension": {"categories": [32, 64, 32], "grid_search": 0}},
            },
            {
                "n": Parameter(type="int", low=3, high=10),
                "lr": Parameter(type="float", low=1e-5, high=1e-2, log=True),
                "m": Parameter(type="float", low=0.5, high=1.0, step=0.1),
                "b": Parameter(type="categorical", choices=(32, 64)),
            },
        ),
    ],
)
def test_spaces_as_workload_managers_write_them(document: dict[str, Any], expected: dict[str, Parameter]) -> None:
    samples = Samples(opt_space=document, count=1)
    assert problems(samples, "") == []
    assert dict(spaces_of(samples)[0].parameters) == expected


def test_what_was_taken_in_with_words_that_are_refused_by_now_is_read_as_it_was() -> None:
    samples = Samples(opt_space={"A": {"type": "Scalar", "bounds": [0, 5], "integer": True}}, count=1)
    assert problems(samples, "")
    assert dict(spaces_of(samples)[0].parameters) == {"A": Parameter(type="float", low=0, high=5)}


def test_segments_are_a_space_each_with_its_model_fixed() -> None:
    inside = {"B": {"type": "Scalar", "bounds": [0, 5]}}
    segments = ({"model_id": 7, "search_space": inside}, {"model_id": "x", "search_space": inside})
    samples = Samples(opt_space=segments, fixed={"z": 1}, count=1)
    assert problems(samples, "") == []
    assert [dict(space.fixed) for space in spaces_of(samples)] == [{"z": 1, "model_id": 7}, {"z": 1, "model_id": "x"}]


B: dict[str, Any] = {"B": {"type": "Scalar", "bounds": [0, 5]}}


@pytest.mark.parametrize(
    ("document", "pointer"),
    [
        ({f"p{n}": {"type": "Scalar", "bounds": [0, 1]} for n in range(MOST_PARAMETERS + 1)}, "/opt_space"),
        (
            {"A": {"type": "Choice", "params": {"choices": list(range(MOST_CHOICES + 1))}}},
            "/opt_space/A/params/choices",
        ),
        (tuple({"model_id": n, "search_space": B} for n in range(MOST_SEGMENTS + 1)), "/opt_space"),
        ({"": {"type": "Scalar", "bounds": [0, 1]}}, "/opt_space/"),
        ({"a" * 129: {"type": "Scalar", "bounds": [0, 1]}}, f"/opt_space/{'a' * 129}"),
        (({"model_id": "m" * 129, "search_space": B},), "/opt_space/0/model_id"),
        ({}, "/opt_space"),
        ({"A": 1}, "/opt_space/A"),
        ({"A": {"type": "Choice", "params": {}}}, "/opt_space/A/params/choices"),
        ({"A": {"type": "Choice", "params": {"choices": []}}}, "/opt_space/A"),
        ({"A": {"type": "Choice", "params": {"choices": [None]}}}, "/opt_space/A/params/choices"),
        ({"A": {"type": "Scalar", "bounds": [1]}}, "/opt_space/A/bounds"),
        ({"A": {"type": "Scalar", "bounds": [True, 1]}}, "/opt_space/A/bounds/0"),
        ({"A": {"type": "Scalar", "bounds": [2, 1]}}, "/opt_space/A"),
        ({"A": {"type": "Log"}}, "/opt_space/A/type"),
        ({"A": {"method": "normal", "dimension": {}}}, "/opt_space/A/method"),
        ({"A": {"method": ["x"], "dimension": {}}}, "/opt_space/A/method"),
        ({"A": {"method": "uniform"}}, "/opt_space/A/dimension"),
        ({"A": {"method": "uniform", "dimension": {"low": 0}}}, "/opt_space/A/dimension/high"),
        ({"A": {"method": "quniform", "dimension": {"low": 0, "high": 1, "q": 0}}}, "/opt_space/A/dimension/q"),
        ({"A": {"type": "Scalar", "bounds": [0, 5], "integer": True}}, "/opt_space/A/integer"),
        ({"A": {"type": "Scalar", "bounds": [0, 5], "params": {"lower": 1}}}, "/opt_space/A/params/lower"),
        ({"A": {"type": "Scalar", "bounds": [0, 5], "params": [1]}}, "/opt_space/A/params"),
        ({"A": {"type": "Choice", "params": {"choices": [1], "repetitions": 2}}}, "/opt_space/A/params/repetitions"),
        ({"A": {"method": "uniform", "dimension": {"low": 0, "high": 1, "q": 0.1}}}, "/opt_space/A/dimension/q"),
        ({"A": {"method": "uniform", "dimension": {"low": 0, "high": 1}, "log~/": 1}}, "/opt_space/A/log~0~1"),
        (
            {"A": {"method": "categorical", "dimension": {"categories": [1, 2], "grid_search": 1}}},
            "/opt_space/A/dimension/grid_search",
        ),
        (({"search_space": B},), "/opt_space/0/model_id"),
        (({"model_id": 1},), "/opt_space/0/search_space"),
        (({"model_id": 1, "search_space": B}, {"model_id": 1, "search_space": B}), "/opt_space/1/model_id"),
        (({"model_id": 1, "search_space": {"model_id": B["B"]}},), "/opt_space/0/search_space/model_id"),
        (
            ({"model_id": 1, "search_space": {"B": {"type": "Scalar", "bounds": [2, 1]}}},),
            "/opt_space/0/search_space/B",
        ),
    ],
)
def test_what_cannot_be_read_of_those_is_told_at_its_place(document: Any, pointer: str) -> None:
    assert [problem.pointer for problem in problems(Samples(opt_space=document, count=1), "")] == [pointer]


class _Compared(str):
    """A choice that counts how often it is compared."""

    times = 0

    def __eq__(self, other: object) -> bool:
        _Compared.times += 1
        return str.__eq__(self, other)

    __hash__ = str.__hash__


def test_values_are_looked_up_among_the_choices_not_compared_with_each() -> None:
    """Ten thousand of each, as a document may have, held up everybody for seconds."""
    choices = tuple(_Compared(n) for n in range(200))
    given = tuple({"a": _Compared(n)} for n in range(200))
    samples = study({"a": Parameter(type="categorical", choices=choices), "b": on("a", *choices)}, initial=given)
    _Compared.times = 0
    assert problems(samples, "") == []
    assert _Compared.times < 10 * len(choices)
    redefined(samples, [Choose(parameter="a", choices=choices)])
    assert _Compared.times < 20 * len(choices)


def test_initial_points_belong_to_the_segment_whose_turn_it_is() -> None:
    segments = tuple({"model_id": name, "search_space": {name: B["B"]}} for name in ("one", "two"))

    def at(*points: dict[str, Value]) -> Samples:
        return Samples(opt_space=segments, count=9, initial=points)

    assert problems(at({"one": 1.0}, {}, {}, {"two": 2.0}), "") == []
    assert problems(at({"one": 1.0}, {"one": 2.0}), "") == [
        Problem("/initial/1/one", "there is no parameter 'one' in this space")
    ]
    samples = at({"one": 1.0}, {}, {}, {"two": 2.0})
    spaces = spaces_of(samples)
    given = [given_for(n, samples, spaces[n % 2], Checks(spaces[n % 2].parameters)) for n in range(5)]
    assert given == [{"one": 1.0}, None, None, {"two": 2.0}, None]


def test_of_a_space_in_their_words_initial_points_are_looked_at_too() -> None:
    assert problems(Samples(opt_space=B, count=1, initial=({"B": 1.0},)), "") == []
    found = problems(Samples(opt_space=B, count=1, initial=({"B": 6.0},)), "")
    assert [problem.pointer for problem in found] == ["/initial/0/B"]


def choices(number: int, length: int = 6) -> Parameter:
    return Parameter(type="categorical", choices=tuple(f"{n:0{length}}" for n in range(number)))


def test_a_sample_carries_only_so_much() -> None:
    """A text of a megabyte that all samples had was stored with each, and leased by the hundred."""
    long = "y" * 10_000
    one, too_long = Parameter(type="categorical", choices=(long,)), Parameter(type="categorical", choices=(long + "y",))
    command: dict[str, Any] = {"sampler": "command", "steering": Steering(argv=("steer", "%OUT"))}
    segment = Segment(model_id="a", space={"x": X}, fixed={"f": long})
    assert problems(study({"x": X}, fixed={"f": long}), "") == problems(study({"c": one}), "") == []
    assert problems(Samples(count=1, fixed={"f": long}, **command), "") == []
    for samples in (
        study(fixed={"f": long, "g": "y"}),
        study({"c": too_long}),
        study({"c": one}, fixed={"g": "y"}),
        Samples(segments=(segment,), count=1, fixed={"g": "y"}),
        Samples(count=1, fixed={"f": long, "g": "y"}, **command),
    ):
        [problem] = problems(samples, "/samples")
        assert problem.pointer == "/samples"
        assert "more than 10,000 characters" in problem.message


def test_a_study_has_only_so_much_to_choose_from() -> None:
    """All of it is read again with every look at the study, and written again with every version."""
    full = {f"p{n}": choices(10_000) for n in range(MOST_CHOICES_IN_ALL // 10_000)}
    assert problems(study(full), "") == []
    more = Problem("/space", "there are more than 100,000 choices in all")
    assert problems(study({**full, "one": choices(1)}), "") == [more]
    assert problems(study({**full, "x": on("p0", "000001")}), "") == [more], "what branches hang on counts"
    long = {f"p{n}": choices(10_000, 26) for n in range(4)}
    assert [each.message for each in problems(study(long), "")] == [
        "its choices have more than 1,000,000 characters in all"
    ]
    theirs = {name: {"type": "Choice", "params": {"choices": list(each.choices)}} for name, each in full.items()}
    assert problems(Samples(opt_space=theirs, count=1), "") == []
    theirs["one"] = {"method": "categorical", "dimension": {"categories": ["x"]}}
    assert [each.pointer for each in problems(Samples(opt_space=theirs, count=1), "")] == ["/opt_space"]


def test_nor_can_it_be_redefined_to_more() -> None:
    full = study({f"p{n}": choices(10_000) for n in range(MOST_CHOICES_IN_ALL // 10_000)})
    _, found = redefined(full, [Add(parameter="one", space=choices(1))])
    assert found == [Problem("/changes", "/space: there are more than 100,000 choices in all")]
    again = [Choose(parameter="kind", choices=choices(10_000).choices)] * 11
    assert redefined(study(), again)[1] == [Problem("/changes", "there are more than 100,000 choices in all")]


def test_nor_has_a_workflow_of_several_studies() -> None:
    half = study({f"p{n}": choices(10_000) for n in range(6)})
    works = tuple(Work(name=f"w{n}", input=Input(samples=half)) for n in range(3))
    assert graph.problems(Workflow(name="x", works=works)) == [
        Problem("/works/1/input/samples", "there are more than 100,000 choices in all")
    ]
    assert is_large(Workflow(name="x", works=works[:1]))
    assert not is_large(Workflow(name="x", works=(Work(name="w", input=Input(samples=study())),)))


def test_how_many_values_a_sample_is_reported_with() -> None:
    two = study(directions=("minimize", "maximize"))
    assert values_wanted(two, 2) is None
    assert values_wanted(two, 1) == "this study wants 2 objective values of each sample; there is 1"
    assert values_wanted(study(), 0) == "this study wants 1 objective value of each sample; there are 0"
    assert values_wanted(study(sampler="random"), 0) is None, "nobody learns from them"


def test_a_branch_that_is_not_taken_is_null_to_a_constraint() -> None:
    samples = study({"kind": KIND, "n": on("kind", "a")}, constraints=("n == null || n == 1",))
    assert problems(samples, "") == []
    assert feasibility.problems(samples, "") == []
