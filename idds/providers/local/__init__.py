"""Jobs as processes of this machine: `LocalProvider`. Needs Linux (pidfd and /proc)."""

from idds.providers.local.options import LocalOptions
from idds.providers.local.provider import LocalProvider

__all__ = ["LocalOptions", "LocalProvider"]
