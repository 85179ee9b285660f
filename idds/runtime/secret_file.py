"""Secrets in files that only their owner reads."""

import os
from pathlib import Path


def leave_secret(path: Path, secret: str) -> None:
    """Write a secret where only this user can read it, whole or not at all."""
    fresh = path.with_name(path.name + ".part")
    descriptor = os.open(fresh, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(secret + "\n")
    fresh.replace(path)
