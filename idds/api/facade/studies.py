"""Searches for hyperparameters as workload managers ask for them (`hpoRequestData` of panda-server), made studies."""

from typing import Annotated, Any

from pydantic import BaseModel, Field

from idds.api.facade.initial_points import MOST, Point, alone, in_turns, read
from idds.domain.errors import InvalidInput, Problem
from idds.domain.workflow import Input, Refill, Samples, Steering, WindowLimits, Work
from idds.engine.spaces import COMMAND
from idds.engine.study_size import foreign_problem

POINTS = 10
"""A generation, where nothing is said."""
_PLACE = "/request_metadata"
_METHODS = {None: "tpe", "nevergrad": "tpe"}
"""Samplers by the names that are no names of ours. What is asked of nevergrad, the default can."""
_STEERED = frozenset({COMMAND, "container", "docker", "sandbox"})
_EXECUTABLES = frozenset({None, "docker"})
_Points = Annotated[int, Field(gt=0, le=100_000)]


class Search(BaseModel):
    """What is read of it."""

    opt_space: dict[str, Any] | list[dict[str, Any]] | None = None
    initial_points: Annotated[list[Any], Field(max_length=MOST)] | None = None
    max_points: Annotated[int, Field(gt=0, le=10_000_000)] | None = None
    num_points_per_generation: _Points | None = None
    min_unevaluated_points: _Points | None = None
    method: Annotated[str, Field(max_length=128)] | None = None
    executable: str | None = None
    sandbox: Annotated[str, Field(max_length=1000)] | None = None
    arguments: Annotated[str, Field(max_length=100_000)] | None = None


def study_of(search: Search) -> Work:
    """The work that draws its samples; they are evaluated by whoever asks for them. Raises InvalidInput."""
    is_steered = search.method in _STEERED or (search.method is None and search.arguments is not None)
    if not search.opt_space and not is_steered:
        raise InvalidInput([Problem(f"{_PLACE}/opt_space", "there is no search space")])
    if search.opt_space and (problem := foreign_problem(search.opt_space, f"{_PLACE}/opt_space")):
        raise InvalidInput([problem])
    if search.max_points is None:
        raise InvalidInput([Problem(f"{_PLACE}/max_points", "say how many points at most")])
    points = search.num_points_per_generation or POINTS
    refill = Refill(points=points, below=search.min_unevaluated_points or 1)
    if is_steered:
        samples = _steered(search, search.max_points, refill)
    else:
        sampler = _METHODS.get(search.method) or search.method or ""
        space, initial = _begun(search, search.max_points)
        samples = Samples(opt_space=space, initial=initial, count=search.max_points, sampler=sampler, refill=refill)
    window = WindowLimits(files=points + refill.below - 1)
    return Work(name="hpo", input=Input(samples=samples, window=window))


def _steered(search: Search, count: int, refill: Refill) -> Samples:
    """A search by the user's own command, in a container where it names one. Raises InvalidInput."""
    if not search.arguments:
        raise InvalidInput([Problem(f"{_PLACE}/arguments", "there is no steering command")])
    if search.executable not in _EXECUTABLES:
        raise InvalidInput(
            [Problem(f"{_PLACE}/executable", f"give one of {', '.join(sorted(filter(None, _EXECUTABLES)))}")]
        )
    if search.sandbox is not None and not search.sandbox[:1].isalnum():
        raise InvalidInput([Problem(f"{_PLACE}/sandbox", "give the name of an image")])
    argv: tuple[str, ...] = ("/bin/sh", "-c", search.arguments)
    if search.sandbox is not None:
        # The job's own folder, where its files are, is the container's, too.
        inside = 'docker run --rm --volume "$PWD:/idds" --workdir /idds "$0" /bin/sh -c "$1"'
        argv = ("/bin/sh", "-c", inside, search.sandbox, search.arguments)
    space = tuple(search.opt_space) if isinstance(search.opt_space, list) else search.opt_space
    return Samples(
        opt_space=space or None,
        initial=alone(read(search.initial_points or [])),
        count=count,
        sampler=COMMAND,
        steering=Steering(argv=argv),
        refill=refill,
    )


def _begun(search: Search, count: int) -> tuple[Any, tuple[Point, ...]]:
    """The space in their words, and the points to begin with. Raises InvalidInput."""
    given = read(search.initial_points or [])
    if not isinstance(search.opt_space, list):
        return search.opt_space, alone(given)
    return tuple(search.opt_space), in_turns(search.opt_space, given, count) if given else ()
