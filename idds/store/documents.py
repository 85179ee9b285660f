"""Workflow documents, back from the database. What is stored was validated at the door."""

from collections.abc import Mapping
from typing import Any

from idds.domain.course import Around, Iterations, Plateau, Result, Stop, WarmStart
from idds.domain.space import Parameter, Segment, When
from idds.domain.workflow import (
    Input,
    Output,
    Payload,
    Pruner,
    Ranges,
    Refill,
    Registered,
    Resources,
    Samples,
    Steering,
    WindowLimits,
    Work,
    Workflow,
)


def read_workflow(document: Mapping[str, Any]) -> Workflow:
    works = tuple(_work(work) for work in document["works"])
    return Workflow(name=document["name"], works=works, version=document["version"])


def _work(work: Mapping[str, Any]) -> Work:
    return Work(
        name=work["name"],
        after=tuple(work["after"]),
        input=_input(work["input"]) if work["input"] else None,
        payload=_payload(work["payload"]) if work["payload"] else None,
        output=Output(**work["output"]) if work["output"] else None,
        resources=Resources(**work["resources"]),
        provider=work["provider"],
        attempts=work["attempts"],
    )


def _payload(payload: Mapping[str, Any]) -> Payload:
    return Payload(argv=tuple(payload["argv"]), environment=dict(payload["environment"]))


def _input(source: Mapping[str, Any]) -> Input:
    values = dict(source)
    values["window"] = WindowLimits(**source["window"])
    values["samples"] = _samples(source["samples"]) if source["samples"] else None
    # Documents stored before there were such don't name them.
    registered = source.get("registered")
    values["registered"] = None if registered is None else Registered(**registered)
    values["ranges"] = Ranges(**source["ranges"]) if source.get("ranges") else None
    return Input(**values)


def _samples(samples: Mapping[str, Any]) -> Samples:
    values = {**samples, "space": {name: read_parameter(each) for name, each in samples["space"].items()}}
    for name in ("constraints", "directions", "initial"):
        if name in values:
            values[name] = tuple(values[name])
    values["segments"] = tuple(map(read_segment, samples.get("segments") or ()))
    if isinstance(values.get("opt_space"), list):
        values["opt_space"] = tuple(values["opt_space"])
    values["refill"] = Refill(**samples["refill"]) if samples.get("refill") else None
    values["steering"] = _steering(samples["steering"]) if samples.get("steering") else None
    values["pruner"] = Pruner(**samples["pruner"]) if samples.get("pruner") else None
    values["stop"] = _stop(samples["stop"]) if samples.get("stop") else None
    values["iterations"] = _iterations(samples["iterations"]) if samples.get("iterations") else None
    values["warm_start"] = _warm_start(samples["warm_start"]) if samples.get("warm_start") else None
    return Samples(**values)


def _steering(steering: Mapping[str, Any]) -> Steering:
    resources = Resources(**steering["resources"])
    return Steering(**{**steering, "argv": tuple(steering["argv"]), "resources": resources})


def _stop(stop: Mapping[str, Any]) -> Stop:
    return Stop(**{**stop, "plateau": Plateau(**stop["plateau"]) if stop["plateau"] else None})


def _iterations(iterations: Mapping[str, Any]) -> Iterations:
    redefine = iterations["redefine"]
    return Iterations(samples=iterations["samples"], redefine=Around(**redefine) if redefine else None)


def _warm_start(given: Mapping[str, Any]) -> WarmStart:
    results = (
        Result(
            parameters=each["parameters"],
            values=tuple(each["values"]),
            constraint_values=tuple(each.get("constraint_values", ())),
        )
        for each in given["results"]
    )
    return WarmStart(study=given["study"], results=tuple(results))


def read_segment(segment: Mapping[str, Any]) -> Segment:
    """A segment, as `dataclasses.asdict` tells of it."""
    space = {name: read_parameter(each) for name, each in segment["space"].items()}
    return Segment(model_id=segment["model_id"], space=space, fixed=segment["fixed"])


def read_parameter(parameter: Mapping[str, Any]) -> Parameter:
    """A parameter, as `dataclasses.asdict` tells of it."""
    values = {**parameter, "choices": tuple(parameter["choices"])}
    if branch := values.get("when"):
        values["when"] = When(parameter=branch["parameter"], values=tuple(branch["values"]))
    return Parameter(**values)
