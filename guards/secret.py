"""The installation's secret: 32 bytes of this user, from which keys for one purpose are drawn."""

from __future__ import annotations

import hmac
import os
import stat
from pathlib import Path

from guards.errors import UsageError
from guards.files import write_atomically

_SECRET = 32


def draw(purpose: bytes) -> bytes:
    """The key of a purpose: HMAC(installation secret, purpose), the same in every run.

    Raises:
        UsageError: the secret cannot be made or read, or somebody else can read it.
    """
    return hmac.digest(_installed(), purpose, "sha256")


def _installed() -> bytes:
    home = os.environ.get("TOADSTONE_HOME")
    directory = Path(home) if home else Path.home() / ".local" / "state" / "toadstone"
    path = directory / "secret"
    try:
        if not path.exists():
            directory.mkdir(parents=True, exist_ok=True)
            write_atomically(path, os.urandom(_SECRET), mode=0o600)
        secret = path.read_bytes() if path.is_file() else b""
        status = path.stat()
    except OSError as error:
        raise UsageError(f"installation secret {path}: {error}; set TOADSTONE_HOME") from error
    if len(secret) != _SECRET:
        # With an empty or guessed secret a producer could try seeds in advance.
        raise UsageError(f"installation secret {path}: is not {_SECRET} bytes; remove it")
    if stat.S_IMODE(status.st_mode) & 0o077:
        raise UsageError(f"installation secret {path}: others can read it; remove it")
    return secret
