"""All pages."""

from idds.web import carousel, files, overview, requests
from idds.web.page import Page

PAGES: tuple[Page, ...] = (*overview.PAGES, *requests.PAGES, *carousel.PAGES, *files.PAGES)
