"""The workflow graph: what is wrong with one, what may be released, what it all came to."""

from collections.abc import Iterable, Iterator, Mapping
from graphlib import CycleError, TopologicalSorter

from idds.domain.errors import Problem
from idds.domain.identifiers import Did
from idds.domain.statuses import Status
from idds.domain.workflow import Input, Samples, Work, Workflow
from idds.engine import pruning, spaces, stopping
from idds.engine.study_size import workflow_problem

_USABLE = frozenset({Status.FINISHED, Status.SUBFINISHED})
_SOURCES = ("dataset", "outputs", "samples", "registered")


def problems(workflow: Workflow) -> list[Problem]:
    """Everything that makes the document impossible to carry out, each at its place."""
    if problem := workflow_problem(workflow):
        return [problem]
    found = [*_name_problems(workflow)]
    names = {work.name: work for work in workflow.works}
    for index, work in enumerate(workflow.works):
        place = f"/works/{index}"
        found += _reference_problems(work, names, place)
        if work.input is not None:
            found += _input_problems(work.input, f"{place}/input")
            found += _range_problems(work, work.input, names, place)
        found += _delivery_problems(work, place)
    if not found:
        found += _cycle_problems(workflow)
    return found


def _name_problems(workflow: Workflow) -> Iterator[Problem]:
    seen: set[str] = set()
    for index, work in enumerate(workflow.works):
        if work.name in seen:
            yield Problem(f"/works/{index}/name", f"{work.name!r} names another work already")
        seen.add(work.name)


def _reference_problems(work: Work, names: Mapping[str, Work], place: str) -> Iterator[Problem]:
    for number, name in enumerate(work.after):
        if name not in names:
            yield Problem(f"{place}/after/{number}", f"there is no work {name!r}")
    source = work.input.outputs if work.input else None
    if source is None:
        return
    if source not in names:
        yield Problem(f"{place}/input/outputs", f"there is no work {source!r}")
    elif names[source].output is None:
        yield Problem(f"{place}/input/outputs", f"work {source!r} declares no output")


def _input_problems(source: Input, place: str) -> Iterator[Problem]:
    given = [name for name in _SOURCES if getattr(source, name) is not None]
    if len(given) != 1 and not (source.ranges and source.ranges.counted_by):
        yield Problem(place, f"give exactly one of {', '.join(_SOURCES)}; there are {len(given)}")
    if source.dataset is not None:
        yield from _did_problems(source.dataset, f"{place}/dataset")
    yield from _rule_problems(source, place)
    if source.outputs is not None and source.window != type(source.window)():
        yield Problem(f"{place}/window", "outputs of another work are on disk already: no window bounds them")
    if source.registered is not None and not source.is_staged and source.window != type(source.window)():
        yield Problem(f"{place}/window", "what is registered is available at once: only what is staged needs a window")
    if source.samples is not None:
        if source.window.bytes is not None:
            yield Problem(f"{place}/window/bytes", "samples have no bytes: bound them by files, one a sample")
        if source.batch == "all":
            yield Problem(f"{place}/batch", "samples are drawn while they are evaluated: give a number")
        elif source.window.files is not None and source.window.files < source.batch:
            yield Problem(f"{place}/window/files", f"a batch of {source.batch} samples does not fit into it")
        yield from _study_problems(source, source.samples, f"{place}/samples")


def _study_problems(source: Input, samples: Samples, place: str) -> Iterator[Problem]:
    yield from spaces.problems(samples, place)
    yield from pruning.problems(samples, place)
    yield from stopping.problems(samples, place)
    iterations = samples.iterations
    if iterations is not None and isinstance(source.batch, int) and iterations.samples % source.batch:
        text = f"an iteration has whole batches of {source.batch} samples"
        yield Problem(f"{place}/iterations/samples", text)


def _range_problems(work: Work, source: Input, names: Mapping[str, Work], place: str) -> Iterator[Problem]:
    if source.ranges is None:
        return
    name = source.ranges.counted_by
    if name is None:
        if source.dataset is None:
            yield Problem(f"{place}/input/ranges", "give the dataset whose files are cut, or counted_by")
        return
    at = f"{place}/input/ranges/counted_by"
    if any(getattr(source, other) is not None for other in _SOURCES):
        yield Problem(at, f"the files are those of work {name!r}: leave {', '.join(_SOURCES)} out")
    counting = names[name].input if name in names else None
    if name not in names:
        yield Problem(at, f"there is no work {name!r}")
    elif counting is None or counting.samples is not None or counting.ranges is not None:
        yield Problem(at, f"work {name!r} takes no whole files that it could count")
    if source.window != type(source.window)() or source.rse is not None:
        at = f"{place}/input/{'window' if source.rse is None else 'rse'}"
        yield Problem(at, f"the files stay where work {name!r} has them, within its window: say it there")
    if source.batch != 1:
        yield Problem(f"{place}/input/batch", "a file stays on disk until its batch is complete: counted ones go alone")
    if work.after:
        yield Problem(f"{place}/after", f"the files stay on disk from when work {name!r} counts them: let that wait")


def _rule_problems(source: Input, place: str) -> Iterator[Problem]:
    if source.rule is not None and source.dataset is None:
        yield Problem(f"{place}/rule", "a rule brings a dataset somewhere: name the dataset, too")
    if source.rule is not None and source.rse is not None:
        yield Problem(f"{place}/rse", "the rule says where the files go")


def _did_problems(text: str, place: str) -> Iterator[Problem]:
    try:
        Did.parse(text)
    except ValueError as error:
        yield Problem(place, str(error))


def _delivery_problems(work: Work, place: str) -> Iterator[Problem]:
    if work.input is None and work.payload is None:
        yield Problem(place, "a work without an input needs a payload")
    samples = work.samples
    if samples is not None and samples.pruner is not None and work.payload is not None:
        yield Problem(f"{place}/input/samples/pruner", "what a provider runs says nothing on its way")
    if work.output is not None:
        yield from _did_problems(work.output.dataset, f"{place}/output/dataset")
        if work.payload is None:
            yield Problem(f"{place}/output", "outputs are registered by a payload; this work has none")


def _cycle_problems(workflow: Workflow) -> Iterator[Problem]:
    try:
        TopologicalSorter({work.name: parents(work) for work in workflow.works}).prepare()
    except CycleError as error:
        cycle = list(reversed(error.args[1]))
        index = next(i for i, work in enumerate(workflow.works) if work.name in cycle)
        yield Problem(f"/works/{index}", "the works wait for each other in a circle: " + " -> ".join(cycle))


def parents(work: Work) -> tuple[str, ...]:
    """The works that this one depends on, in any way."""
    source = work.input.feeder if work.input else None
    return (*work.after, *((source,) if source else ()))


def fed_by(workflow: Workflow, names: Iterable[str]) -> set[str]:
    """The works that these feed, and those, and so on."""
    taking: dict[str, list[str]] = {}
    for work in workflow.works:
        if work.input is not None and work.input.feeder is not None:
            taking.setdefault(work.input.feeder, []).append(work.name)
    found: set[str] = set()
    ahead = list(names)
    while ahead:
        fed = [name for name in taking.get(ahead.pop(), ()) if name not in found]
        found.update(fed)
        ahead += fed
    return found


def barred_by(work: Work, states: Mapping[str, Status]) -> str | None:
    """Why this work can never start: a parent that ended, and not well."""
    for name in parents(work):
        if states[name].is_terminal and states[name] not in _USABLE:
            return f"it needs work {name!r}, which ended {states[name]}"
    return None


def may_start(work: Work, states: Mapping[str, Status]) -> bool:
    """Whether all that it waits for is there. What feeds it needs only to have started."""
    if not all(states[name] in _USABLE for name in work.after):
        return False
    source = work.input.feeder if work.input else None
    return source is None or states[source] is not Status.NEW


def verdict(states: Mapping[str, Status]) -> Status:
    """What a request came to, all of whose works have ended."""
    ends = set(states.values())
    if ends <= {Status.FINISHED}:
        return Status.FINISHED
    if ends & _USABLE:
        return Status.SUBFINISHED
    return Status.FAILED
