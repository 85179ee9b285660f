"""Secrets in files that only their owner reads."""

import os
from pathlib import Path


def leave_secret(path: Path, secret: str) -> None:
    """Write a secret where only this user can read it, whole or not at all."""
    fresh = path.with_name(path.name + ".part")
    # Never into a file that is there already: others may have it open, or may read it.
    fresh.unlink(missing_ok=True)
    descriptor = os.open(fresh, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(secret + "\n")
    fresh.replace(path)
