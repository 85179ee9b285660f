"""All pages."""

from idds.web import carousel, files, overview, requests, studies
from idds.web.page import Page

PAGES: tuple[Page, ...] = (*overview.PAGES, *requests.PAGES, *studies.PAGES, *carousel.PAGES, *files.PAGES)
