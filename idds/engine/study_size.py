"""How large a study may be: its space is read again with every look at it, and written again with every version."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from idds.domain.errors import Problem
from idds.domain.space import Parameter, Segment, Space, Value
from idds.domain.workflow import Samples, Workflow

MOST_SEGMENTS = 1000
MOST_PARAMETERS = 10_000
"""In all segments together."""
MOST_CHOICES = 100_000
"""In all studies of a workflow together; values that branches hang on count as choices."""
MOST_CHARACTERS = 1_000_000
"""Of those choices that are texts, together."""
MOST_CARRIED = 10_000
"""Characters of a sample's texts: they are stored with each, and thousands of samples may be leased in one call."""
LARGE = 1000
"""With so many parts it takes a moment to look through, and others are to be served meanwhile."""

Foreign = Mapping[str, Any] | Sequence[Mapping[str, Any]]


def foreign_problem(document: Foreign, place: str) -> Problem | None:
    """Why a space as workload managers write it, or the segments of one, are not even read, if so."""
    if not isinstance(document, Mapping) and len(document) > MOST_SEGMENTS:
        return Problem(place, f"there are {len(document):,} segments in it, and {MOST_SEGMENTS:,} at most are taken")
    if sum(map(len, _foreign_spaces(document))) > MOST_PARAMETERS:
        return Problem(place, f"there are more than {MOST_PARAMETERS:,} parameters in it")
    return choices_problem(_foreign_choices(document), place)


def choices_problem(lists: Iterable[Sequence[Value]], place: str) -> Problem | None:
    """Why there is too much to choose from, if so."""
    number = characters = 0
    for choices in lists:
        number += len(choices)
        if number > MOST_CHOICES:
            return Problem(place, f"there are more than {MOST_CHOICES:,} choices in all")
        characters += sum(len(choice) for choice in choices if isinstance(choice, str))
        if characters > MOST_CHARACTERS:
            return Problem(place, f"its choices have more than {MOST_CHARACTERS:,} characters in all")
    return None


def segments_problem(segments: Sequence[Segment], place: str) -> Problem | None:
    """Why the segments of a study are too large together, if so."""
    if sum(len(segment.space) for segment in segments) > MOST_PARAMETERS:
        return Problem(place, f"there are more than {MOST_PARAMETERS:,} parameters in it")
    return choices_problem((each for segment in segments for each in choices_of(segment.space)), place)


def carried_problem(space: Space, place: str) -> Problem | None:
    """Why the samples of a space would be too large, each of them, if so."""
    longest = [max(map(_length, each.choices), default=0) for each in space.parameters.values()]
    if sum(longest) + sum(map(_length, space.fixed.values())) > MOST_CARRIED:
        return Problem(place, f"a sample would have more than {MOST_CARRIED:,} characters of fixed values and choices")
    return None


def _length(value: Value) -> int:
    return len(value) if isinstance(value, str) else 0


def choices_of(parameters: Mapping[str, Parameter]) -> Iterator[Sequence[Value]]:
    """What is to be chosen from in a space, parameter by parameter, and what its branches hang on."""
    for parameter in parameters.values():
        yield parameter.choices
        if parameter.when is not None:
            yield parameter.when.values


def workflow_problem(workflow: Workflow) -> Problem | None:
    """At which study there is too much to choose from in all of them together, if so."""
    lists: list[Sequence[Value]] = []
    for index, work in enumerate(workflow.works):
        if work.input is not None and work.input.samples is not None:
            lists += _choices(work.input.samples)
            if problem := choices_problem(lists, f"/works/{index}/input/samples"):
                return problem
    return None


def is_large(workflow: Workflow) -> bool:
    """Whether looking it through takes a moment."""
    parts = len(workflow.works)
    for work in workflow.works:
        samples = work.samples
        if samples is not None:
            parts += len(samples.space) + len(samples.initial) + sum(map(len, _choices(samples)))
            parts += sum(len(segment.space) for segment in samples.segments)
            if samples.opt_space is not None:
                parts += sum(map(len, _foreign_spaces(samples.opt_space)))
        if parts > LARGE:
            return True
    return False


def _choices(samples: Samples) -> Iterator[Sequence[Value]]:
    yield from choices_of(samples.space)
    for segment in samples.segments:
        yield from choices_of(segment.space)
    if samples.opt_space is not None:
        yield from _foreign_choices(samples.opt_space)


def _foreign_spaces(document: Foreign) -> Iterator[Mapping[str, Any]]:
    if isinstance(document, Mapping):
        yield document
        return
    for segment in document:
        space = segment.get("search_space")
        if isinstance(space, Mapping):
            yield space


def _foreign_choices(document: Foreign) -> Iterator[Sequence[Value]]:
    """What stands where choices belong, whatever it is: whether it may is said where it is read."""
    for space in _foreign_spaces(document):
        for parameter in space.values():
            for outer, inner in (("params", "choices"), ("dimension", "categories")):
                inside = parameter.get(outer) if isinstance(parameter, Mapping) else None
                choices = inside.get(inner) if isinstance(inside, Mapping) else None
                if isinstance(choices, list | tuple):
                    yield choices
