"""What can go wrong between a client and the service, beyond what `idds.domain.errors` has."""

from idds.domain.errors import Conflict, IddsError, NotFound, Unavailable


class Unreachable(Unavailable):
    """Nobody answers there. What was asked has not been done."""


class Stale(Conflict):
    """The one report that was sent came too late."""


class NoContent(NotFound):
    """The one report that was sent is of a content that is none of the collection."""


class Broken(IddsError):
    """The service, or something in between, answered what it should not: a defect there, or another service."""
