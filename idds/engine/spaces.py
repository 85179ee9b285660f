"""Search spaces of a study: what is wrong with them, and in which order their parameters are chosen."""

from collections.abc import Iterator, Mapping
from graphlib import CycleError, TopologicalSorter
from itertools import islice
from typing import Any

from idds.domain.errors import Problem
from idds.domain.space import ModelId, Parameter, Point, Space, Value, is_present
from idds.domain.workflow import Samples
from idds.engine.foreign_spaces import MODEL, read
from idds.engine.study_size import carried_problem, choices_of, choices_problem, segments_problem

ROUNDING = 1e-9
LARGEST = 2**53
"""Up to here floating-point numbers tell whole ones apart."""

_PATIENCE = {"patience": (0, 86_400)}
_POPULATION, _STARTUP = {"population": (2, 10_000), **_PATIENCE}, {"startup": (1, 100_000), **_PATIENCE}
OPTIONS: Mapping[str, Mapping[str, tuple[float, float]]] = {
    "random": {},
    "grid": {},
    "qmc": {},
    "tpe": {**_STARTUP, "history": (0, 10_000_000)},
    "cmaes": {**_POPULATION, "sigma": (1e-9, 1e9)},
    "nsgaii": _POPULATION,
    "nsgaiii": _POPULATION,
    "gp": {**_STARTUP, "history": (0, 10_000_000)},
    "command": {},
}
"""What may be said to a sampler, and between which bounds."""
LEARNING = frozenset(OPTIONS) - {"random", "grid", "qmc"}
"""Samplers that choose by what came of the samples before. The others' points are known from the first."""
NO_CHOICE = "it is none of the choices"
COMMAND = "command"
"""The user's own: it is no sampler of the service, which only has it run."""
_FRACTIONS = frozenset({"sigma", "patience"})
_ONE_OBJECTIVE = frozenset({"cmaes", COMMAND})
_UNCONSTRAINED = frozenset({"cmaes", COMMAND})
"""Samplers that cannot be told which results are feasible."""


def spaces_of(samples: Samples) -> tuple[Space, ...]:
    """The spaces of a study in which nothing is wrong; the sample with number n is of the (n modulo their count)th."""
    if samples.sampler == COMMAND:
        return (Space({}, samples.fixed),)  # what its points are like is the command's own matter
    if samples.segments:
        return tuple(_space(each.space, samples, {**each.fixed, MODEL: each.model_id}) for each in samples.segments)
    if samples.opt_space is None:
        return (_space(samples.space, samples, {}),)
    found, _ = read(samples.opt_space, "")
    return tuple(_space(parameters, samples, fixed) for parameters, fixed in found)


def is_segmented(samples: Samples) -> bool:
    """Whether each point has the name of a model, of the segment that it is of."""
    return bool(samples.segments) or isinstance(samples.opt_space, list | tuple)


def model_of(samples: Samples, point: Point) -> ModelId | None:
    """Which segment a point is of; None: the study is in none."""
    if not is_segmented(samples):
        return None
    model = point[MODEL]
    assert isinstance(model, str | int)
    return model


def _space(parameters: Mapping[str, Parameter], samples: Samples, fixed: Point) -> Space:
    ordered = {name: parameters[name] for name in _sorter(parameters).static_order()}
    return Space(ordered, {**samples.fixed, **fixed}, samples.constraints)


def _sorter(parameters: Mapping[str, Parameter]) -> "TopologicalSorter[str]":
    # By name, as a database may give them back in another order than they were written in.
    named = sorted(parameters.items())
    return TopologicalSorter({name: [p.when.parameter] if p.when is not None else [] for name, p in named})


def values_wanted(samples: Samples, n: int) -> str | None:
    """Why a sample cannot be reported done with `n` values, if so. What nobody learns from needs none."""
    wanted = len(samples.directions)
    if n == wanted or (n == 0 and samples.sampler not in LEARNING):
        return None
    named = f"{wanted} objective value{'s' if wanted > 1 else ''}"
    return f"this study wants {named} of each sample; there {'is' if n == 1 else 'are'} {n}"


def problems(samples: Samples, place: str) -> list[Problem]:
    """Everything that makes a study impossible to carry out, each at its place; of constraints, nothing."""
    found = [*_sampler_problems(samples, place)]
    if samples.sampler == COMMAND:
        return [*found, *_command_problems(samples, place), *_carried_problems(samples, place)]
    if [bool(samples.space), bool(samples.segments), samples.opt_space is not None].count(True) != 1:
        return [*found, Problem(f"{place}/space", "give either space, segments or opt_space")]
    if samples.segments:
        found += _segment_problems(samples, place)
    elif samples.opt_space is None:
        if problem := choices_problem(choices_of(samples.space), f"{place}/space"):
            return [*found, problem]
        found += _space_problems(samples.space, samples, f"{place}/space", place)
    else:
        read_spaces, odd = read(samples.opt_space, f"{place}/opt_space")
        found += odd
        for number, (parameters, fixed) in enumerate(read_spaces) if not odd else ():
            at = f"{place}/opt_space/{number}/search_space" if MODEL in fixed else f"{place}/opt_space"
            # Inside a parameter their words are not ours: the place is the parameter itself.
            found += [_shortened(problem, at) for problem in _space_problems(parameters, samples, at, place)]
    return found or [*_carried_problems(samples, place), *_initial_problems(samples, f"{place}/initial")]


def _carried_problems(samples: Samples, place: str) -> Iterator[Problem]:
    """What is wrong with the first space of which samples would be too large."""
    found = (carried_problem(space, place) for space in spaces_of(samples))
    yield from islice(filter(None, found), 1)


def _segment_problems(samples: Samples, place: str) -> Iterator[Problem]:
    if problem := segments_problem(samples.segments, f"{place}/segments"):
        yield problem
        return
    known: set[ModelId] = set()
    for number, segment in enumerate(samples.segments):
        at = f"{place}/segments/{number}"
        if segment.model_id in known:
            yield Problem(f"{at}/{MODEL}", f"model {segment.model_id!r} has a segment already")
        known.add(segment.model_id)
        for where in ("space", "fixed"):
            if MODEL in getattr(segment, where):
                yield Problem(f"{at}/{where}/{MODEL}", "this names the segment: no parameter may")
        yield from _space_problems(segment.space, samples, f"{at}/space", place)
        for name in segment.fixed.keys() & segment.space.keys():
            yield Problem(f"{at}/fixed/{_escape(name)}", "this is a parameter of the space: it cannot be fixed too")


def _initial_problems(samples: Samples, place: str) -> Iterator[Problem]:
    spaces = spaces_of(samples)
    checks = [Checks(space.parameters) for space in spaces]
    for number, point in enumerate(samples.initial):
        segment = number % len(spaces)
        yield from _misplaced(point, spaces[segment], checks[segment], f"{place}/{number}")


def _command_problems(samples: Samples, place: str) -> Iterator[Problem]:
    if samples.steering is None:
        yield Problem(f"{place}/steering", "sampler 'command' needs the command that is to be run")
    elif not any("%OUT" in argument for argument in samples.steering.argv):
        yield Problem(f"{place}/steering/argv", "%OUT stands nowhere: it would not know where to write its points")
    if samples.segments:
        yield Problem(f"{place}/segments", "a command has one space, as `space` or `opt_space`")
    if samples.space and samples.opt_space is not None:
        yield Problem(f"{place}/opt_space", "give either space or opt_space, or none")
    if samples.constraints:
        yield Problem(f"{place}/constraints", "the command's points are its own: nothing else bounds them")
    if samples.iterations is not None:
        yield Problem(f"{place}/iterations", "the command chooses its own region: it is asked by refills")


def _shortened(problem: Problem, place: str) -> Problem:
    if not problem.pointer.startswith(f"{place}/"):
        return problem
    return Problem("/".join(problem.pointer.split("/")[: place.count("/") + 2]), problem.message)


def _sampler_problems(samples: Samples, place: str) -> Iterator[Problem]:
    if samples.steering is not None and samples.sampler != COMMAND:
        yield Problem(f"{place}/steering", "only sampler 'command' is steered by one")
    if samples.sampler not in OPTIONS:
        return  # whoever offers samplers says which there are
    allowed = OPTIONS[samples.sampler]
    for name, value in samples.options.items():
        at = f"{place}/options/{_escape(name)}"
        if name not in allowed:
            known = f"it has {', '.join(sorted(allowed))}" if allowed else "it has none"
            yield Problem(at, f"sampler {samples.sampler!r} has no such option; {known}")
        elif not allowed[name][0] <= value <= allowed[name][1]:
            yield Problem(at, f"give a number from {allowed[name][0]:g} to {allowed[name][1]:g}")
        elif name not in _FRACTIONS and value % 1:
            yield Problem(at, "give a whole number")
    if len(samples.directions) > 1 and samples.sampler in _ONE_OBJECTIVE:
        yield Problem(f"{place}/directions", f"sampler {samples.sampler!r} knows one objective only")
    if samples.result_constraints and samples.sampler in _UNCONSTRAINED:
        yield Problem(f"{place}/result_constraints", f"sampler {samples.sampler!r} knows no constraints on results")


def _space_problems(parameters: Mapping[str, Parameter], samples: Samples, place: str, study: str) -> Iterator[Problem]:
    checks = Checks(parameters)
    for name, parameter in parameters.items():
        at = f"{place}/{_escape(name)}"
        yield from parameter_problems(parameter, at)
        if parameter.when is not None:
            yield from _branch_problems(checks, parameter.when.parameter, parameter.when.values, f"{at}/when")
        if samples.sampler == "grid" and parameter.type == "float" and parameter.step is None:
            yield Problem(f"{at}/step", "a grid needs the step of a float")
        if name in samples.fixed:
            yield Problem(f"{study}/fixed/{_escape(name)}", "this is a parameter of the space: it cannot be fixed too")
    try:
        _sorter(parameters).prepare()
    except CycleError as error:
        cycle = list(reversed(error.args[1]))
        at = f"{place}/{_escape(cycle[0])}/when"
        yield Problem(at, "the parameters depend on each other in a circle: " + " -> ".join(cycle))


def _escape(name: str) -> str:
    return name.replace("~", "~0").replace("/", "~1")


def _branch_problems(checks: "Checks", name: str, values: tuple[Value, ...], place: str) -> Iterator[Problem]:
    parameter = checks.parameters.get(name)
    if parameter is None:
        yield Problem(f"{place}/parameter", f"there is no parameter {name!r} in this space")
    elif parameter.type == "float":
        yield Problem(f"{place}/parameter", f"{name!r} is a float: branches hang on whole numbers and choices")
    else:
        for number, value in enumerate(values):
            if reason := checks.against(name, value):
                yield Problem(f"{place}/values/{number}", f"{name!r} never has this value: {reason}")


def parameter_problems(parameter: Parameter, place: str) -> Iterator[Problem]:
    """What is wrong with a parameter by itself."""
    if parameter.type == "categorical":
        yield from _choice_problems(parameter, place)
        return
    if parameter.choices:
        yield Problem(f"{place}/choices", "a number has low and high, and no choices")
    low, high, step = parameter.low, parameter.high, parameter.step
    if low is None or high is None:
        yield Problem(place, "a number needs low and high")
        return
    if not low <= high:
        yield Problem(f"{place}/low", f"low {low} is above high {high}")
    if reason := _against_width(low, high):
        yield Problem(place, reason)
        return
    if parameter.type == "int" and (low % 1 or high % 1):
        yield Problem(place, "low and high of an int are whole numbers")
    elif parameter.type == "int" and max(abs(low), abs(high)) > LARGEST:
        yield Problem(place, "whole numbers have 53 bits at most")
    if parameter.log and low <= 0:
        yield Problem(f"{place}/low", "a logarithmic parameter needs low > 0")
    if step is not None:
        yield from _step_problems(parameter, step, place)


def _against_width(low: float, high: float) -> str | None:
    if not (abs(low) < float("inf") and abs(high) < float("inf")):
        return "low and high must be finite"
    return None if high - low < float("inf") else "high - low is more than the largest number there is, some 1.8e308"


def _step_problems(parameter: Parameter, step: float, place: str) -> Iterator[Problem]:
    if parameter.log:
        yield Problem(f"{place}/step", "a logarithmic parameter has no step")
    if parameter.type == "int" and step % 1:
        yield Problem(f"{place}/step", "the step of an int is a whole number")
    assert parameter.low is not None
    assert parameter.high is not None
    if not LARGEST >= (parameter.high - parameter.low) / step >= 1 - ROUNDING:
        yield Problem(f"{place}/step", "this step goes into the range not once, or too often")


def _choice_problems(parameter: Parameter, place: str) -> Iterator[Problem]:
    if not parameter.choices:
        yield Problem(f"{place}/choices", "a categorical parameter needs at least one choice")
    seen: dict[Value, Value] = {}
    for number, choice in enumerate(parameter.choices):
        if choice in seen:
            before = "" if type(choice) is type(seen[choice]) else f", as {_written(seen[choice])}: the two are equal"
            yield Problem(f"{place}/choices/{number}", f"{_written(choice)} is among the choices already{before}")
        seen.setdefault(choice, choice)
    given = [name for name in ("low", "high", "step") if getattr(parameter, name) is not None]
    for name in [*given, *(["log"] if parameter.log else [])]:
        yield Problem(f"{place}/{name}", "a categorical parameter has choices only")


def _written(value: Value) -> str:
    """As in JSON."""
    return str(value).lower() if isinstance(value, bool) else repr(value)


def against(parameter: Parameter, value: Any) -> str | None:
    """Why a parameter cannot have this value, if so."""
    if parameter.type == "categorical":
        same = any(value == choice and type(value) is type(choice) for choice in parameter.choices)
        return None if same else NO_CHOICE
    if isinstance(value, bool) or not isinstance(value, int | float):
        return "it is no number"
    if parameter.type == "int" and not isinstance(value, int):
        return "it is no whole number"
    assert parameter.low is not None
    assert parameter.high is not None
    if not parameter.low <= value <= parameter.high:
        return f"it is not between {parameter.low:g} and {parameter.high:g}"
    if parameter.step is not None:
        steps = (value - parameter.low) / parameter.step
        return None if abs(steps - round(steps)) < 1e-9 * max(1, steps) else "no step leads there"
    return None


class Checks:
    """The same for many values of the parameters of a space: choices are looked up, not gone through for each."""

    def __init__(self, parameters: Mapping[str, Parameter]) -> None:
        self.parameters = parameters
        self._choices: dict[str, frozenset[tuple[type, Value]]] = {}

    def against(self, name: str, value: Any) -> str | None:
        """Why the parameter of this name cannot have this value, if so."""
        parameter = self.parameters[name]
        if parameter.type != "categorical":
            return against(parameter, value)
        if name not in self._choices:
            self._choices[name] = frozenset((type(choice), choice) for choice in parameter.choices)
        return None if (type(value), value) in self._choices[name] else NO_CHOICE


def given_for(number: int, samples: Samples, space: Space, checks: "Checks") -> Point | None:
    """The initial point that the sample with this number has, where one was given that is of the space by now.

    An empty one only keeps a place: it says nothing of the sample.
    """
    if number >= len(samples.initial) or any(_misplaced(samples.initial[number], space, checks, "")):
        return None
    return samples.initial[number] or None


def _misplaced(point: Point, space: Space, checks: Checks, place: str) -> Iterator[Problem]:
    """What is wrong with an initial point."""
    for name, value in point.items():
        at = f"{place}/{_escape(name)}"
        if name not in space.parameters:
            yield Problem(at, f"there is no parameter {name!r} in this space")
            continue
        parameter = space.parameters[name]
        if reason := checks.against(name, value):
            yield Problem(at, f"{name!r} never has this value: {reason}")
        elif parameter.when is not None and not is_present(parameter, {**space.fixed, **point}):
            yield Problem(at, f"{name!r} is there only with {parameter.when.parameter!r} as its `when` says")
