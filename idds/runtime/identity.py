"""Who this process is, in claims."""

import os
import secrets
import socket


def owner_name() -> str:
    """Unlike that of any other process, also of one that had its number before."""
    return f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(3)}"
