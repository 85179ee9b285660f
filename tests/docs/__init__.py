"""Pages of docs/ that are made from the code. `python -m tests.docs` writes them; a test tells when they drift."""

from collections.abc import Callable, Mapping
from pathlib import Path

from idds.api.openapi import as_page
from idds.api.registry import openapi
from tests.docs import example, metrics, permissions, settings, states

FOLDER = Path(__file__).parents[2] / "docs"
PAGES: Mapping[str, Callable[[], str]] = {
    "openapi.json": lambda: as_page(openapi()),
    "metrics.md": metrics.page,
    "permissions.md": permissions.page,
    "settings.md": settings.page,
    "../config/idds.toml": example.page,
    "states.md": states.page,
}
