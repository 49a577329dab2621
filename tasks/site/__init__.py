"""The board as a page: one file of HTML that needs no other, no network and no server."""

from tasks.site.page import page

__all__ = ["page"]
