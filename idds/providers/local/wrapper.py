"""The shell script around a job's command, which leaves on disk what came of it, whoever is alive to see it."""

import os
import signal
from pathlib import Path

from idds.domain.job import JobSpec

# `started` is a symbolic link: made in one step with its content, and only once, so that of two wrappers of one job
# a single one runs the command; the other vanishes. SIGTERM to all ends the command, or keeps it from being started;
# the wrapper stays to record it, and takes with it what outlives the command. Nothing but builtins runs in it before
# that: dash loses a signal that comes while it starts a program. `exec` takes no builtin for the command.
SCRIPT = """\
told=
trap told=1 HUP INT TERM
cd "$1" || exit
shift
read -r stat </proc/$$/stat && read -r boot </proc/sys/kernel/random/boot_id || exit
(
  [ -z "$told" ] && /bin/ln -s "$stat $boot" started || kill -KILL 0
  exec </dev/null >stdout 2>stderr
  exec "$@"
)
code=$?
{ echo "$code"; times; } >exit.new && /bin/mv exit.new exit
kill -KILL 0
"""

INHERITED = ("PATH", "HOME", "LANG")
"""All that a job sees of the service's environment."""

SIGNALS = (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM, signal.SIGPIPE, signal.SIGXFSZ)


def environment(folder: Path, spec: JobSpec) -> dict[str, str]:
    """The whole environment of the job."""
    return {
        "PATH": os.defpath,
        **{name: os.environ[name] for name in INHERITED if name in os.environ},
        "TMPDIR": str(folder / "tmp"),
        "IDDS_INPUT": str(folder / "input.json"),
        "IDDS_OUTPUT": str(folder / "output.json"),
        "IDDS_JOB": spec.key,
        **spec.payload.environment,
    }


def spawn(folder: Path, spec: JobSpec) -> int:
    """Start the wrapper in a session of its own; its pid. Raises OSError."""
    return os.posix_spawn(
        "/bin/sh",
        ["sh", "-c", SCRIPT, "idds", str(folder), *spec.payload.argv],
        environment(folder, spec),
        file_actions=[
            (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
            (os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0),
            (os.POSIX_SPAWN_OPEN, 2, os.devnull, os.O_WRONLY, 0),
        ],
        setsid=True,
        setsigmask=[],
        setsigdef=SIGNALS,
    )
