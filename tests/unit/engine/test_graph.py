"""What is wrong with a workflow, each fault at its place."""

from dataclasses import replace

import pytest

from idds.domain.statuses import Status
from idds.domain.workflow import Input, Output, Parameter, Registered, Samples, WindowLimits, Work, Workflow
from idds.engine import graph
from tests.unit.engine.examples import PAYLOAD, SPACE, files, makes, study, takes


def faults(*works: Work) -> list[tuple[str, str]]:
    return [(problem.pointer, problem.message) for problem in graph.problems(Workflow(name="x", works=works))]


def test_good_workflows_have_no_problem() -> None:
    assert faults(files(), makes("a"), takes("b", "a"), study()) == []
    assert faults(Work(name="announced", input=Input(dataset="data:set"))) == []
    for source in (Input(registered=Registered()), Input(registered=Registered(), rse="DISK")):
        assert faults(Work(name="open", input=source)) == []
    staged = Input(registered=Registered(stage=True), window=WindowLimits(files=1), batch="all")
    assert faults(Work(name="staged", input=staged)) == []


def of_space(parameter: Parameter, name: str = "x") -> Work:
    return replace(study(), input=Input(samples=Samples(space={name: parameter}, sampler="random", count=5)))


def of_samples(**changes: object) -> Work:
    source = Input(samples=Samples(space=SPACE, sampler="random", count=5), **changes)  # type: ignore[arg-type]
    return replace(study(), input=source)


@pytest.mark.parametrize(
    ("works", "pointer", "message"),
    [
        ((files("a"), files("a")), "/works/1/name", "'a' names another work already"),
        ((files("a", after=("b",)),), "/works/0/after/0", "there is no work 'b'"),
        ((makes("a"), files("b", after=("a", "c"))), "/works/1/after/1", "there is no work 'c'"),
        ((takes("b", "a"),), "/works/0/input/outputs", "there is no work 'a'"),
        ((files("a"), takes("b", "a")), "/works/1/input/outputs", "work 'a' declares no output"),
        (
            (Work(name="a", input=Input(), payload=PAYLOAD),),
            "/works/0/input",
            "give exactly one of dataset, outputs, samples, registered; there are 0",
        ),
        (
            (makes("a"), Work(name="b", payload=PAYLOAD, input=Input(dataset="data:set", outputs="a"))),
            "/works/1/input",
            "give exactly one of dataset, outputs, samples, registered; there are 2",
        ),
        (
            (files(input=Input(dataset="nothing")),),
            "/works/0/input/dataset",
            "'nothing' is not a DID: write scope:name",
        ),
        (
            (makes("a"), Work(name="b", payload=PAYLOAD, input=Input(outputs="a", window=WindowLimits(files=1)))),
            "/works/1/input/window",
            "outputs of another work are on disk already: no window bounds them",
        ),
        (
            (of_samples(window=WindowLimits(bytes=1)),),
            "/works/0/input/window/bytes",
            "samples have no bytes: bound them by files, one a sample",
        ),
        (
            (of_samples(batch="all"),),
            "/works/0/input/batch",
            "samples are drawn while they are evaluated: give a number",
        ),
        (
            (of_samples(batch=4, window=WindowLimits(files=3)),),
            "/works/0/input/window/files",
            "a batch of 4 samples does not fit into it",
        ),
        (
            (of_space(Parameter(type="categorical")),),
            "/works/0/input/samples/space/x/choices",
            "a categorical parameter needs at least one choice",
        ),
        (
            (of_space(Parameter(type="float", low=1)),),
            "/works/0/input/samples/space/x",
            "a number needs low and high",
        ),
        (
            (of_space(Parameter(type="float", low=2, high=1)),),
            "/works/0/input/samples/space/x/low",
            "low 2 is above high 1",
        ),
        (
            (of_space(Parameter(type="float", low=0, high=float("inf"))),),
            "/works/0/input/samples/space/x",
            "low and high must be finite",
        ),
        (
            (of_space(Parameter(type="float", low=float("nan"), high=1)),),
            "/works/0/input/samples/space/x",
            "low and high must be finite",
        ),
        (
            (of_space(Parameter(type="int", low=0.5, high=2)),),
            "/works/0/input/samples/space/x",
            "low and high of an int are whole numbers",
        ),
        (
            (of_space(Parameter(type="float", low=0, high=1, log=True)),),
            "/works/0/input/samples/space/x/low",
            "a logarithmic parameter needs low > 0",
        ),
        (
            (of_space(Parameter(type="float"), "a/b~c"),),
            "/works/0/input/samples/space/a~1b~0c",
            "a number needs low and high",
        ),
        (
            (Work(name="a", input=Input(registered=Registered(), window=WindowLimits(files=1))),),
            "/works/0/input/window",
            "what is registered is available at once: only what is staged needs a window",
        ),
        ((Work(name="a"),), "/works/0", "a work without an input needs a payload"),
        (
            (makes("a", output=Output(dataset="out")),),
            "/works/0/output/dataset",
            "'out' is not a DID: write scope:name",
        ),
        (
            (files(payload=None, output=Output(dataset="data:out")),),
            "/works/0/output",
            "outputs are registered by a payload; this work has none",
        ),
        (
            (makes("a", after=("a",)),),
            "/works/0",
            "the works wait for each other in a circle: a -> a",
        ),
    ],
)
def test_each_fault_is_told_at_its_place(works: tuple[Work, ...], pointer: str, message: str) -> None:
    assert (pointer, message) in faults(*works)


def test_a_circle_is_told_once_with_all_that_are_in_it() -> None:
    ((pointer, message),) = faults(makes("z"), makes("a", after=("c",)), takes("b", "a", output=Output(dataset="d:o")),
                                   takes("c", "b"))  # fmt: skip
    assert pointer == "/works/1"
    circle = message.removeprefix("the works wait for each other in a circle: ").split(" -> ")
    assert circle[0] == circle[-1]
    assert sorted(circle[:-1]) == ["a", "b", "c"]


def test_all_faults_are_told_at_once() -> None:
    pointers = [pointer for pointer, _ in faults(Work(name="a", after=("x",)), files("a", input=Input()))]
    assert pointers == ["/works/1/name", "/works/0/after/0", "/works/0", "/works/1/input"]


@pytest.mark.parametrize(
    ("ends", "verdict"),
    [
        ({Status.FINISHED}, Status.FINISHED),
        ({Status.FINISHED, Status.FAILED}, Status.SUBFINISHED),
        ({Status.SUBFINISHED}, Status.SUBFINISHED),
        ({Status.FAILED, Status.CANCELLED}, Status.FAILED),
        ({Status.CANCELLED}, Status.FAILED),
    ],
)
def test_the_verdict(ends: set[Status], verdict: Status) -> None:
    assert graph.verdict({f"w{i}": status for i, status in enumerate(sorted(ends))}) is verdict


def test_a_work_after_one_and_taking_the_outputs_of_another_waits_for_both() -> None:
    work = takes("c", "b", after=("a",))
    assert graph.parents(work) == ("a", "b")
    assert not graph.may_start(work, {"a": Status.RUNNING, "b": Status.RUNNING, "c": Status.NEW})
    assert not graph.may_start(work, {"a": Status.FINISHED, "b": Status.NEW, "c": Status.NEW})
    assert graph.may_start(work, {"a": Status.FINISHED, "b": Status.RUNNING, "c": Status.NEW})
    failed = {"a": Status.RUNNING, "b": Status.FAILED, "c": Status.NEW}
    assert graph.barred_by(work, failed) == "it needs work 'b', which ended failed"
    assert graph.barred_by(work, {"a": Status.FINISHED, "b": Status.SUBFINISHED, "c": Status.NEW}) is None
