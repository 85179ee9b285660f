"""The pages of studies."""

import asyncio
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Annotated

from pydantic import Field

from idds.api.bodies import NoQuery, StudiesQuery
from idds.domain.errors import InvalidInput, Problem
from idds.domain.identifiers import CollectionId, RequestId
from idds.domain.space import Parameter
from idds.domain.statuses import ContentStatus
from idds.domain.study import Study, StudySummary
from idds.domain.study_series import StudyCurves, StudyPoint, StudyPoints, StudySeries
from idds.domain.workflow import Samples
from idds.engine.foreign_spaces import MODEL
from idds.engine.spaces import spaces_of
from idds.web import studies_charts as charts
from idds.web.page import Page, View, Visit
from idds.web.progress import OF_SAMPLES, Bar
from idds.web.studies_drawing import written
from idds.web.studies_words import of_change, of_parameter

SHOWN = 50
AXES = 12
"""So many parameters have an axis at once: more nobody tells apart."""
ROWS, VERSIONS, STEPS = 100, 50, 200


class ChartsQuery(NoQuery):
    """What charts show: an objective, counted from 0, and some of the parameters."""

    objective: Annotated[int, Field(ge=0, le=9, description="Counted from 0.")] = 0
    parameter: Annotated[
        tuple[Annotated[str, Field(max_length=128)], ...], Field(max_length=AXES, description="Those with an axis.")
    ] = ()


async def show_list(visit: Visit[StudiesQuery]) -> View:
    query = visit.query
    request = None if query.request is None else RequestId(query.request)
    limit = min(query.limit, SHOWN)
    found = await visit.doors.studies.studies(visit.principal, request=request, before=query.before, limit=limit + 1)
    page = found[:limit]
    values = {
        "studies": [(each, bar_of(each)) for each in page],
        "query": query,
        "next": page[-1].id if len(found) > limit else None,
    }
    return View("studies.html", "Studies", values, events="/v1/events")


@dataclass(frozen=True, slots=True)
class Found:
    """What the charts of a study are drawn of; `axes` are the parameters that have one."""

    study: Study
    series: StudySeries
    points: StudyPoints
    curves: StudyCurves
    objective: int
    axes: Mapping[str, Parameter]

    @property
    def direction(self) -> str:
        return self.study.directions[self.objective]


async def show(visit: Visit[ChartsQuery]) -> View:
    identifier, principal, told = CollectionId(visit.number), visit.principal, visit.doors.study_charts
    study = await visit.doors.studies.study(principal, identifier)
    known = parameters_of(study.definition)
    found = Found(
        study,
        await told.series(principal, identifier),
        await told.points(principal, identifier),
        await told.curves(principal, identifier),
        _objective(study, visit.query),
        _axes(known, visit.query),
    )
    values = {
        **{each.name: getattr(found, each.name) for each in fields(found)},
        # Thousands of points: a thread lets others be served meanwhile.
        **await asyncio.to_thread(_drawn, found),
        "bar": bar_of(study),
        # Whether something may be said of a sample that is being evaluated, which no event tells of.
        "is_moving": study.counts[ContentStatus.LEASED] > 0 and bool(found.curves.curves or study.definition.pruner),
        "known": known,
        "rows": _rows(found),
        "delivery": await told.delivery(principal, identifier),
        "versions": await visit.doors.redefining.newest(principal, identifier, limit=VERSIONS),
        "written": written,
        "of_parameter": of_parameter,
        "of_change": of_change,
        "as_json": json.dumps,
    }
    events = None if study.status.is_terminal else f"/v1/events?entity=collection:{identifier}"
    return View("study.html", f"{study.work} · study {identifier}", values, events)


def _drawn(found: Found) -> Mapping[str, object]:
    points, objective, direction = found.points.points, found.objective, found.direction
    return {
        "best_over_time": charts.best_over_time(found.series, points, objective),
        "fronts": charts.fronts(points, found.study.best, found.study.directions),
        "parallel": charts.parallel(points, found.axes, objective, direction),
        "slices": charts.slices(points, found.axes, objective, direction),
        "on_the_way": charts.curves_on_the_way(found.curves.curves, found.curves.direction),
    }


async def show_importance(visit: Visit[None]) -> View:
    """A page of its own, as it takes a second or two to find: the page of the study has it come after."""
    identifier = CollectionId(visit.number)
    study = await visit.doors.studies.study(visit.principal, identifier)
    importance = await visit.doors.study_charts.importance(visit.principal, identifier)
    return View("study-importance.html", f"Importance · study {identifier}", {"study": study, "importance": importance})


async def show_sample(visit: Visit[None]) -> View:
    identifier, number = CollectionId(visit.number), int(visit.request.match_info["number"])
    study = await visit.doors.studies.study(visit.principal, identifier)
    story = await visit.doors.studies.sample(visit.principal, identifier, number)
    sample, said = story.sample, story.intermediates
    every = max(1, -(-len(said) // STEPS))
    values = {
        "study": study,
        "sample": sample,
        "said": said[-STEPS:],
        "n_said": len(said),
        "is_moving": sample.status is ContentStatus.LEASED and bool(said or study.definition.pruner),
        "on_the_way": charts.on_the_way(sample, [*said[:-1:every], *said[-1:]], study.directions[0]),
        "written": written,
    }
    events = None if sample.status.is_terminal else f"/v1/events?entity=collection:{identifier}"
    return View("study-sample.html", f"Sample {number} · {study.work}", values, events)


def bar_of(study: StudySummary) -> Bar:
    """Of all that are wanted, also of what is not drawn yet; once it has ended of what there was."""
    drawn = sum(study.counts.values())
    return Bar(drawn if study.status.is_terminal else max(study.wanted, drawn), study.counts, OF_SAMPLES)


def parameters_of(samples: Samples) -> Mapping[str, Parameter]:
    """The parameters of all segments by name, and which segment it is. What is wider in another one a chart widens."""
    spaces = spaces_of(samples)
    found: dict[str, Parameter] = {}
    if len(spaces) > 1:
        found[MODEL] = Parameter(type="categorical", choices=tuple(space.fixed[MODEL] for space in spaces))
    for space in spaces:
        for name, parameter in space.parameters.items():
            found.setdefault(name, parameter)
    return found


def _objective(study: Study, query: ChartsQuery) -> int:
    if query.objective >= len(study.directions):
        raise InvalidInput([Problem("/objective", f"this study has {len(study.directions)}, counted from 0")])
    return query.objective


def _axes(known: Mapping[str, Parameter], query: ChartsQuery) -> Mapping[str, Parameter]:
    for place, name in enumerate(query.parameter):
        if name not in known:
            raise InvalidInput([Problem(f"/parameter/{place}", f"there is no parameter {name!r} in this space")])
    wanted = query.parameter or tuple(known)[:AXES]
    return {name: known[name] for name in known if name in wanted}


def _rows(found: Found) -> Sequence[StudyPoint]:
    """Those of the charts, the best first."""
    is_maximized = found.direction == "maximize"
    return sorted(found.points.points, key=lambda each: each.values[found.objective], reverse=is_maximized)[:ROWS]


PAGES = (
    Page("/studies", "studies", show_list, query=StudiesQuery, json=("/v1/studies",)),
    Page(
        "/studies/{id}",
        "study",
        show,
        query=ChartsQuery,
        json=(
            "/v1/studies/{id}",
            "/v1/studies/{id}/series",
            "/v1/studies/{id}/points",
            "/v1/studies/{id}/best",
            "/v1/studies/{id}/importance",
            "/v1/studies/{id}/curves",
            "/v1/studies/{id}/delivery",
            "/v1/studies/{id}/samples",
            "/v1/studies/{id}/versions",
        ),
    ),
    Page("/studies/{id}/samples/{number}", "sample", show_sample, json=("/v1/studies/{id}/samples/{number}",)),
    Page("/studies/{id}/importance", "importance", show_importance, json=("/v1/studies/{id}/importance",)),
)
