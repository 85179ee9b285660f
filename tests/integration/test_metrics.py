"""What the service tells Prometheus: read by Prometheus' own parser, compared with what was done."""

import pytest
from prometheus_client.parser import text_string_to_metric_families

from idds.domain.errors import Unavailable
from idds.services.metering import Metering
from tests.integration.api import Api, api_on

Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


def parse(text: str) -> Samples:
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def value(samples: Samples, name: str, **labels: str) -> float:
    return samples[name, frozenset(labels.items())]


async def scraped(api: Api) -> Samples:
    answer = await api.call("GET", "/metrics")
    assert (answer.status, answer.headers["Content-Type"]) == (200, "text/plain; version=0.0.4; charset=utf-8")
    return parse(answer.document.decode())


async def test_what_is_told_is_what_was_done(database_url: str) -> None:
    async with api_on(database_url) as api:
        api.doors.metering._memory_s = 0
        request = await api.submit()
        samples = await scraped(api)
        print(samples)
