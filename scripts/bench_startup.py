"""How long `segexp --help` takes beside an interpreter that does nothing, pair by pair.

Goal: at most three times `python -c pass`, plus 0.15 s.

    .venv/bin/python scripts/bench_startup.py
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time

PAIRS = 15
COMMANDS = {
    "segexp --help": ["--help"],
    "segexp options": ["options"],
    "segexp _complete run model=": ["_complete", "run", "model="],
}


def seconds(command: list[str]) -> float:
    start = time.perf_counter()
    subprocess.run(command, check=True, capture_output=True)
    return time.perf_counter() - start


def main() -> None:
    nothing = [sys.executable, "-c", "pass"]
    for name, words in COMMANDS.items():
        command = [sys.executable, "-m", "segexp", *words]
        seconds(nothing), seconds(command)  # warm the file cache
        pairs = [(seconds(nothing), seconds(command)) for _ in range(PAIRS)]
        floor = statistics.median(base for base, _ in pairs)
        took = statistics.median(own for _, own in pairs)
        within = statistics.median(own - 3 * base for base, own in pairs)
        print(
            f"{name}: median {took:.3f} s, python -c pass {floor:.3f} s; "
            f"above three times that: {within:+.3f} s (goal: at most +0.150 s)"
        )


if __name__ == "__main__":
    main()
