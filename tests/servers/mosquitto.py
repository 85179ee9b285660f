"""A real Mosquitto, from the system's package."""

import shutil
import signal
import subprocess
import tempfile
from pathlib import Path

from tests.servers.loopback import free_port, is_listening, wait_until

CONFIGURATION = """\
listener {port} 127.0.0.1
allow_anonymous {anonymous}
persistence true
persistence_location {folder}/
autosave_on_changes true
autosave_interval 1
max_queued_messages 0
log_dest stderr
log_type error
log_type warning
"""


class MosquittoServer:
    """A broker on a loopback port. What it took with QoS 1 outlives `save`, `kill` and `start`, on the same port.

    Mosquitto acknowledges what it took before it writes it to disk, also with `autosave_on_changes`.

    With `username` and `password` it refuses anonymous clients.
    """

    def __init__(self, *, username: str | None = None, password: str | None = None) -> None:
        self._binary = find_mosquitto()
        self._folder = Path(tempfile.mkdtemp(prefix="idds-mosquitto-"))
        self._process: subprocess.Popen[bytes] | None = None
        self.port = free_port()
        self.username = username
        self.password = password
        anonymous = "true" if username is None else f"false\npassword_file {self._folder}/passwords"
        if username is not None and password is not None:
            self._write_passwords(username, password)
        text = CONFIGURATION.format(port=self.port, folder=self._folder, anonymous=anonymous)
        self._configuration.write_text(text + ("user root\n" if self._folder.owner() == "root" else ""))

    @property
    def url(self) -> str:
        return f"mqtt://127.0.0.1:{self.port}"

    def start(self) -> None:
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [self._binary, "-c", str(self._configuration)], stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        wait_until(lambda: is_listening(self.port), self._process, self._log)

    def save(self) -> None:
        """Return when all that it acknowledged until now is on disk."""
        assert self._process is not None
        before = self._saved()
        self._process.send_signal(signal.SIGUSR1)
        wait_until(lambda: self._saved() != before, self._process, self._log)

    def kill(self) -> None:
        """SIGKILL; returns when it is gone."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def remove(self) -> None:
        self.kill()
        shutil.rmtree(self._folder)

    @property
    def _configuration(self) -> Path:
        return self._folder / "mosquitto.conf"

    @property
    def _log(self) -> Path:
        return self._folder / "log"

    def _saved(self) -> int | None:
        """It writes a new file and renames it."""
        try:
            return (self._folder / "mosquitto.db").stat().st_mtime_ns
        except FileNotFoundError:
            return None

    def _write_passwords(self, username: str, password: str) -> None:
        passwords = self._folder / "passwords"
        passwords.write_text(f"{username}:{password}\n")
        passwords.chmod(0o600)
        subprocess.run(["mosquitto_passwd", "-U", str(passwords)], check=True, capture_output=True)


def find_mosquitto() -> str:
    """Its path. Raises RuntimeError that says what to install: a missing server fails a test, it skips none."""
    found = shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/local/sbin:/usr/sbin:/opt/homebrew/sbin")
    if found is None:
        raise RuntimeError("Mosquitto is missing: apt-get install mosquitto (macOS: brew install mosquitto)")
    return found
