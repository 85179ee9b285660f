"""Redefining a study's space: what changes make of it, and which earlier results it takes over."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from idds.domain.errors import Problem
from idds.domain.redefinition import Add, Change, Choose, Constrain, Drop, Fix, Narrow, Unconstrain, Widen
from idds.domain.space import ModelId, Parameter, Point, Segment, Space, Value, is_present
from idds.domain.workflow import Samples
from idds.engine.foreign_spaces import MODEL
from idds.engine.spaces import (
    COMMAND,
    LARGEST,
    Checks,
    against,
    is_segmented,
    model_of,
    parameter_problems,
    problems,
    spaces_of,
)
from idds.engine.study_size import choices_of, choices_problem

MOST_CONSTRAINTS = 100


@dataclass(slots=True)
class _Draft:
    """A space as it becomes. A method that finds a problem has changed nothing."""

    parameters: dict[str, Parameter]
    fixed: dict[str, Value]
    constraints: list[str]

    def apply(self, change: Change, place: str) -> Iterator[Problem]:
        match change:
            case Add():
                yield from self._add(change, place)
            case Constrain():
                yield from self._constrain(change, place)
            case Unconstrain():
                yield from self._unconstrain(change, place)
            case _ if change.parameter not in self.parameters:
                yield Problem(f"{place}/parameter", f"there is no parameter {change.parameter!r} in this space")
            case Narrow() | Widen():
                yield from self._bound(change, self.parameters[change.parameter], place)
            case Choose():
                yield from self._choose(change, self.parameters[change.parameter], place)
            case Drop():
                yield from self._drop(change, self.parameters[change.parameter], place)
            case Fix():
                yield from self._fix(change, self.parameters[change.parameter], place)

    def _bound(self, change: Narrow | Widen, parameter: Parameter, place: str) -> Iterator[Problem]:
        found = list(_bound_problems(change, parameter, place))
        if not found:
            low = parameter.low if change.low is None else change.low
            high = parameter.high if change.high is None else change.high
            bounded = replace(parameter, low=low, high=high, step=None if low == high else parameter.step)
            found = list(parameter_problems(bounded, place))
            if not found:
                self.parameters[change.parameter] = bounded
        yield from found

    def _choose(self, change: Choose, parameter: Parameter, place: str) -> Iterator[Problem]:
        if parameter.type != "categorical":
            yield Problem(f"{place}/parameter", f"{change.parameter!r} is a number: it has no choices")
            return
        chosen = replace(parameter, choices=change.choices)
        branches: dict[str, Parameter] = {}
        found = list(parameter_problems(chosen, place))
        checks = Checks({change.parameter: chosen})
        for name, branch in self._branches(change.parameter) if not found else ():
            assert branch.when is not None
            left = tuple(value for value in branch.when.values if checks.against(change.parameter, value) is None)
            if not left:
                found.append(Problem(f"{place}/choices", f"{name!r} is there with none of these: drop it before"))
            else:
                branches[name] = replace(branch, when=replace(branch.when, values=left))
        if not found:
            self.parameters |= {change.parameter: chosen, **branches}
        yield from found

    def _drop(self, change: Drop, parameter: Parameter, place: str) -> Iterator[Problem]:
        found = [
            Problem(f"{place}/parameter", f"{name!r} hangs on {change.parameter!r}: drop it before")
            for name, _ in self._branches(change.parameter)
        ]
        if change.only is not None and (reason := against(parameter, change.only)):
            found.append(Problem(f"{place}/only", f"{change.parameter!r} never had this value: {reason}"))
        found += self._last(place)
        if not found:
            del self.parameters[change.parameter]
        yield from found

    def _fix(self, change: Fix, parameter: Parameter, place: str) -> Iterator[Problem]:
        found = [*self._last(place)]
        if reason := against(parameter, change.value):
            found.append(Problem(f"{place}/value", f"{change.parameter!r} never has this value: {reason}"))
        if change.within and parameter.type == "categorical":
            found.append(Problem(f"{place}/within", "only numbers are near each other"))
        if not found:
            del self.parameters[change.parameter]
            self.fixed[change.parameter] = change.value
            self._settle_branches(change.parameter, change.value)
        yield from found

    def _settle_branches(self, name: str, value: Value) -> None:
        """Of a parameter that has one value only, what hangs on it is always there, or never."""
        for each, branch in self._branches(name):
            assert branch.when is not None
            if value in branch.when.values:
                self.parameters[each] = replace(branch, when=None)
            else:
                self._remove(each)

    def _remove(self, name: str) -> None:
        """With all that hangs on it."""
        gone = [name]
        for each in gone:
            del self.parameters[each]
            gone += [branch for branch, _ in self._branches(each)]

    def _add(self, change: Add, place: str) -> Iterator[Problem]:
        found: list[Problem] = []
        if change.parameter in self.parameters:
            found.append(Problem(f"{place}/parameter", f"there is a parameter {change.parameter!r} already"))
        found += parameter_problems(change.space, f"{place}/space")
        if change.earlier is not None:
            if change.parameter in self.fixed:
                found.append(Problem(f"{place}/earlier", "earlier results have the value that it was fixed at"))
            elif not found and (reason := against(change.space, change.earlier)):
                found.append(Problem(f"{place}/earlier", f"{change.parameter!r} never has this value: {reason}"))
        if not found:
            self.parameters[change.parameter] = change.space
            self.fixed.pop(change.parameter, None)
        yield from found

    def _constrain(self, change: Constrain, place: str) -> Iterator[Problem]:
        if change.expression in self.constraints:
            yield Problem(f"{place}/expression", "this constraint holds already")
        elif len(self.constraints) >= MOST_CONSTRAINTS:
            yield Problem(f"{place}/expression", f"a study has {MOST_CONSTRAINTS} constraints at most")
        else:
            self.constraints.append(change.expression)

    def _unconstrain(self, change: Unconstrain, place: str) -> Iterator[Problem]:
        if change.expression in self.constraints:
            self.constraints.remove(change.expression)
        else:
            yield Problem(f"{place}/expression", "there is no such constraint: give it as it was written")

    def _branches(self, name: str) -> list[tuple[str, Parameter]]:
        return [(n, p) for n, p in self.parameters.items() if p.when is not None and p.when.parameter == name]

    def _last(self, place: str) -> Iterator[Problem]:
        if len(self.parameters) == 1:
            yield Problem(f"{place}/parameter", "nothing would be left to search")


def _bound_problems(change: Narrow | Widen, parameter: Parameter, place: str) -> Iterator[Problem]:
    if parameter.type == "categorical":
        yield Problem(f"{place}/parameter", f"{change.parameter!r} has choices, and no range")
        return
    if change.low is None and change.high is None:
        yield Problem(place, "give low, high or both")
    assert parameter.low is not None
    assert parameter.high is not None
    inwards = isinstance(change, Narrow)
    if change.low is not None and (change.low < parameter.low if inwards else change.low > parameter.low):
        yield Problem(f"{place}/low", f"low is {parameter.low:g}: that is no way to {change.change} it")
    if change.high is not None and (change.high > parameter.high if inwards else change.high < parameter.high):
        yield Problem(f"{place}/high", f"high is {parameter.high:g}: that is no way to {change.change} it")
    if change.low is not None and parameter.step is not None:
        steps = (change.low - parameter.low) / parameter.step
        if not abs(steps) <= LARGEST or abs(steps - round(steps)) > 1e-9 * max(1, abs(steps)):
            yield Problem(f"{place}/low", "no step leads there")


def _choices(changes: Iterable[Change]) -> Iterator[Sequence[Value]]:
    for change in changes:
        match change:
            case Choose(choices=choices):
                yield choices
            case Add(parameter=name, space=parameter):
                yield from choices_of({name: parameter})
            case _:
                pass


class _Drafts:
    """The space of a study, or those of its segments, by their models."""

    def __init__(self, samples: Samples) -> None:
        self._constraints = list(samples.constraints)
        self._drafts = {
            model_of(samples, space.fixed): _Draft(dict(space.parameters), dict(space.fixed), self._constraints)
            for space in spaces_of(samples)
        }
        self.applied: list[Change] = []
        """Each for the segment that it is of."""

    def apply(self, change: Change, place: str) -> Iterator[Problem]:
        if isinstance(change, Constrain | Unconstrain):  # they hold in all segments
            yield from next(iter(self._drafts.values())).apply(change, place)
            self.applied.append(change)
            return
        models, found = self._meant(change), list[Problem]()
        if not models and change.model_id is not None:
            found.append(Problem(f"{place}/{MODEL}", f"there is no segment of model {change.model_id!r} in this study"))
        elif not models:
            found.append(Problem(f"{place}/parameter", f"there is no parameter {change.parameter!r} in any segment"))
        for model in models:
            found += self._drafts[model].apply(change, place)
            self.applied.append(replace(change, model_id=model))
        # What is wrong with it in several segments is said once.
        yield from dict.fromkeys(found)

    def _meant(self, change: Narrow | Widen | Choose | Drop | Fix | Add) -> list[ModelId | None]:
        if change.model_id is not None:
            return [change.model_id] if change.model_id in self._drafts else []
        if None in self._drafts or isinstance(change, Add):
            return list(self._drafts)
        return [model for model, draft in self._drafts.items() if change.parameter in draft.parameters]

    def study(self, samples: Samples) -> Samples:
        """With these spaces in our own words, whatever they were given in."""
        bare = replace(samples, space={}, segments=(), opt_space=None, constraints=tuple(self._constraints))
        if (only := self._drafts.get(None)) is not None:
            return replace(bare, space=only.parameters, fixed=only.fixed)
        segments: list[Segment] = []
        for model, each in self._drafts.items():
            assert model is not None
            fixed = {name: value for name, value in each.fixed.items() if name != MODEL}
            segments.append(Segment(model_id=model, space=each.parameters, fixed=fixed))
        return replace(bare, fixed={}, segments=tuple(segments))


def in_our_words(samples: Samples) -> Samples:
    """The same study, whatever its space was given in; a command's is its own matter, and stays."""
    return samples if samples.sampler == COMMAND else _Drafts(samples).study(samples)


def resolved(samples: Samples, changes: Sequence[Change]) -> tuple[Change, ...]:
    """Sound changes, each of a study in segments made one for each segment that it is of."""
    if not is_segmented(samples):
        return tuple(changes)
    drafts = _Drafts(samples)
    for change in changes:
        assert not list(drafts.apply(change, ""))
    return tuple(drafts.applied)


def redefined(samples: Samples, changes: Sequence[Change]) -> tuple[Samples, list[Problem]]:
    """A study with these changes, one after the other; or as far as it came, and what is wrong with them.

    Whether constraints leave anything of the space is not looked at. The places are in a document of `changes`.
    """
    if samples.sampler == COMMAND:
        return samples, [Problem("/changes", "a study with a command of its own is redefined by that command")]
    if problem := choices_problem(_choices(changes), "/changes"):
        return samples, [problem]
    drafts = _Drafts(samples)
    found = [p for number, change in enumerate(changes) for p in drafts.apply(change, f"/changes/{number}")]
    after = drafts.study(samples)
    if not found:
        # What hangs together wrongly lies in no single one of them. Initial points are looked at when they are due.
        whole = problems(replace(after, initial=()), "")
        found = [Problem("/changes", f"{problem.pointer}: {problem.message}") for problem in whole]
    return after, found


class Fitting:
    """Which points belong to a space: made once, for many of them. Constraints are not looked at."""

    def __init__(self, space: Space) -> None:
        self._space = space
        self._checks = Checks(space.parameters)

    def fitted(self, point: Mapping[str, Value]) -> Point | None:
        """What of a point belongs to the space, where that is a point of it; None: it is not.

        What the space does not know is left out, and what it has fixed is taken for granted where the point says
        nothing.
        """
        if any(name in point and not _same(point[name], value) for name, value in self._space.fixed.items()):
            return None
        found: dict[str, Value] = dict(self._space.fixed)
        for name, parameter in self._space.parameters.items():
            if is_present(parameter, found):
                if name not in point or self._checks.against(name, point[name]) is not None:
                    return None
                found[name] = point[name]
        return found

    def carried(self, point: Point, since: Iterable[Sequence[Change]]) -> Point | None:
        """The same of an earlier point; the versions of the space after that one were made by `since`."""
        values: dict[str, Value] = dict(point)
        model = point.get(MODEL)
        for change in (change for changes in since for change in changes):
            match change:
                case Constrain() | Unconstrain():
                    pass
                case _ if change.model_id is not None and change.model_id != model:
                    pass
                case Drop(parameter=name, only=only):
                    held = values.pop(name, None)
                    if only is not None and not _same(held, only):
                        return None
                case Fix(parameter=name, value=value, within=within):
                    if not _near(values.get(name), value, within):
                        return None
                    values[name] = value
                case Add(parameter=name, earlier=earlier) if earlier is not None:
                    values.setdefault(name, earlier)
                case _:
                    pass
        return self.fitted(values)


def _same(one: Value | None, other: Value) -> bool:
    return one == other and isinstance(one, bool) is isinstance(other, bool)


def _near(held: Value | None, value: Value, within: float) -> bool:
    if isinstance(held, int | float) and isinstance(value, int | float) and within:
        return abs(held - value) <= within
    return _same(held, value)
