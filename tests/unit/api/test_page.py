"""The page of the API: complete, sound, readable, and closed to whatever somebody might write into the document."""

import base64
import copy
import hashlib
import json
import re
from html.parser import HTMLParser
from itertools import pairwise
from typing import Any

import pytest

from idds.api.page import Page, present
from idds.api.registry import ROUTES, openapi

VOID = {"meta", "link", "br"}


class Reading(HTMLParser):
    """What stands in a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words = ""
        self._open: list[str] = []
        self.feed(text)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self._open[-1:] != ["style"]:
            self.words += data

    def all(self, attribute: str) -> list[str]:
        return [str(attributes[attribute]) for _, attributes in self.tags if attribute in attributes]


def sorted_by_noun() -> list[list[Any]]:
    """The operations of each noun, in the order of the page."""
    operations = [operation for methods in openapi()["paths"].values() for operation in methods.values()]
    return [[each for each in operations if each["tags"] == [tag["name"]]] for tag in openapi()["tags"]]


@pytest.fixture(scope="module")
def page() -> Page:
    return present(openapi())


@pytest.fixture(scope="module")
def reading(page: Page) -> Reading:
    return Reading(page.text)


def test_everything_is_on_it(reading: Reading) -> None:
    anchors = set(reading.all("id"))
    assert {route.name for route in ROUTES} <= anchors
    assert {f"schema-{name}" for name in openapi()["components"]["schemas"]} <= anchors
    assert {tag["name"] for tag in openapi()["tags"]} <= anchors
    for route in ROUTES:
        assert route.summary.replace("`", "") in reading.words
        assert f'"$IDDS{route.path.replace("{id}", "1").replace("{stream}", "stdout")}"' in reading.words


def test_its_examples_can_be_sent(reading: Reading) -> None:
    found = re.findall(r" -d '(.*?)' \\\n", reading.words, flags=re.DOTALL)
    assert [json.loads(example) for example in found] == [
        operation["requestBody"]["content"]["application/json"]["example"]
        for operations in sorted_by_noun()
        for operation in operations
        if "application/json" in operation.get("requestBody", {}).get("content", ())
    ]


def test_every_link_leads_somewhere_on_this_service(reading: Reading) -> None:
    anchors = reading.all("id")
    assert len(anchors) == len(set(anchors))
    links = set(reading.all("href")) - {"data:,", "/v1/openapi.json"}
    assert links <= {f"#{anchor}" for anchor in anchors}
    assert {str(label) for label in reading.all("aria-labelledby")} <= set(anchors)


def test_nothing_runs_and_nothing_comes_from_elsewhere(page: Page, reading: Reading) -> None:
    assert not {tag for tag, _ in reading.tags} & {"script", "img", "iframe", "form", "object"}
    assert not [
        name for _, attributes in reading.tags for name in attributes if name in ("src", "style") or name[:2] == "on"
    ]
    style = re.search(r"<style>(.*?)</style>", page.text, flags=re.DOTALL)
    assert style is not None
    assert "url(" not in style[1]
    assert "@import" not in style[1]
    digest = base64.b64encode(hashlib.sha256(style[1].encode()).digest()).decode()
    assert "default-src 'none'" in page.policy
    assert f"style-src 'sha256-{digest}';" in page.policy


def test_it_can_be_read_aloud(reading: Reading) -> None:
    levels = [int(tag[1]) for tag, _ in reading.tags if re.fullmatch(r"h[1-6]", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))
    tags = dict(reading.tags)
    assert tags["html"]["lang"] == "en"
    assert "width=device-width" in reading.all("content")[0]
    assert all("scope" in attributes for tag, attributes in reading.tags if tag == "th")
    assert all(attributes.get("aria-label") for tag, attributes in reading.tags if attributes.get("class") == "anchor")


def test_texts_have_contrast_by_day_and_by_night(page: Page) -> None:
    """WCAG 2.2, 1.4.3: 4.5 to 1."""
    palettes = [
        dict(re.findall(r"--(\w+): (#\w{6})", block)) for block in re.findall(r":root \{(.*?)\}", page.text, re.DOTALL)
    ]
    assert len(palettes) == 2
    for palette in palettes:
        for text in ("text", "soft", "link", "get", "post"):
            for ground in ("ground", "shade"):
                assert _contrast(palette[text], palette[ground]) >= 4.5, (text, ground)


def _contrast(one: str, other: str) -> float:
    light, dark = sorted((_luminance(one), _luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def _luminance(colour: str) -> float:
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def test_what_stands_in_the_document_is_text() -> None:
    document = copy.deepcopy(openapi())
    bad = "</style><script>alert(1)</script>\"'><img src=x>"
    document["info"]["description"] = bad
    operation = document["paths"]["/v1/requests"]["post"]
    operation["summary"] = bad
    operation["requestBody"]["content"]["application/json"]["example"] = {"it's": bad}
    document["components"]["schemas"]["SubmitBody"]["description"] = bad
    reading = Reading(present(document).text)
    assert not {tag for tag, _ in reading.tags} & {"script", "img"}
    assert reading.words.count("<script>") == 4
