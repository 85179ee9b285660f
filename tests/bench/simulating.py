"""`python -m tests.bench.simulating [SCENARIO...]`: what simulations cost, each in a process of its own."""

import resource
import subprocess
import sys
import time
from pathlib import Path

from idds.simulation.running import STRATEGIES, Trial
from idds.simulation.scenario import read_scenario

FOLDER = Path(__file__).parents[2] / "config" / "scenarios"


def measure(path: Path, strategy: str) -> tuple[str, str, str]:
    """CPU seconds of one run, files a CPU second, and the peak of memory; the layout and the bound count too."""
    began = time.process_time()
    outcome = Trial.of(read_scenario(path)).run(strategy)
    took = time.process_time() - began
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return (
        f"{path.stem}, {strategy}: {outcome.files:,} files in {outcome.requests} requests",
        f"{took:.1f} s CPU, {outcome.files / took:,.0f} files/s",
        f"peak memory {peak:.0f} MB",
    )


def main(arguments: list[str]) -> None:
    if len(arguments) == 2 and arguments[0].startswith("--only="):
        print("| " + " | ".join(measure(Path(arguments[1]), arguments[0].removeprefix("--only="))) + " |")
        return
    print("| what | figure | |\n| --- | --- | --- |")
    sys.stdout.flush()
    for path in [Path(name) for name in arguments] or sorted(FOLDER.glob("*.toml")):
        for strategy in STRATEGIES:
            subprocess.run([sys.executable, "-m", "tests.bench.simulating", f"--only={strategy}", path], check=True)


if __name__ == "__main__":
    main(sys.argv[1:])
