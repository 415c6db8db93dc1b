"""Running stages and scripts as a user's shell would, in tests."""

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).parents[1]


def start(folder: Path, *arguments: str, **environment: str) -> subprocess.Popen:
    """Start Python in a folder, on one thread, with this checkout on its path."""
    variables = os.environ | {"PYTHONPATH": str(ROOT), "FOURLENSES_THREADS": "1", "OMP_NUM_THREADS": "1"} | environment
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen([sys.executable, *arguments], cwd=folder, env=variables, **pipes)


def run(folder: Path, *arguments: str, **environment: str) -> tuple[int, str]:
    """Run Python in a folder to its end; returns the exit code and what it said on standard error."""
    process = start(folder, *arguments, **environment)
    _, stderr = process.communicate(timeout=600)
    return process.returncode, stderr


def wait_for(condition: Callable[[], object], process: subprocess.Popen | None = None, seconds: float = 300) -> None:
    """Wait until something is so; fails when the process ends before, or after too long."""
    end = time.monotonic() + seconds
    while not condition():
        assert process is None or process.poll() is None, f"ended before: {process.communicate()}"
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.002)


def is_one_line(stderr: str) -> bool:
    """Whether the last words are one error line, and no traceback."""
    lines = [line for line in stderr.splitlines() if line.startswith("error: ")]
    return len(lines) == 1 and stderr.rstrip().endswith(lines[0]) and "Traceback" not in stderr
