"""All pages."""

from idds.web import overview, requests
from idds.web.page import Page

PAGES: tuple[Page, ...] = (*overview.PAGES, *requests.PAGES)
