"""Every stage of a tiny study on a simulated GPU, in one process, for tests/test_gpu.py.

    python tests/on_gpu.py FOLDER

Each stage is stopped when it has saved twice, and run again to its end.
"""

import os
import runpy
import sys
from pathlib import Path
from unittest.mock import patch

import simulated_gpu
import tiny_study
from commands import ROOT
from ruamel.yaml import YAML

from fourlenses.resume import Resume

ELSEWHERE = {"fetch", "claims", "draw", "paper"}  # without torch; the images are the tiny study's own


class Stopped(Exception):
    """Stands for a signal."""


def commands() -> list[tuple[str, list[str]]]:
    """Stages of dvc.yaml in its order, each with its module and arguments for the tiny study."""
    found = []
    for name, stage in YAML(typ="safe").load(ROOT / "dvc.yaml")["stages"].items():
        for key in tiny_study.PARAMS["networks"] if "foreach" in stage else [""]:
            command = stage.get("do", stage)["cmd"].replace("${key}", key)
            words = command.replace("${measure.plain}", tiny_study.PARAMS["measure"]["plain"]).split()
            if name not in ELSEWHERE:
                found.append((words[2], words[3:]))
    return found


def run(module: str, arguments: list[str]) -> None:
    sys.argv = [module, *arguments]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


def stopped_and_run_again(module: str, arguments: list[str]) -> bool:
    """Whether there was anything to stop."""
    save, saved = Resume.save, []

    def save_twice(self: Resume, *given: object) -> None:
        save(self, *given)
        saved.append(given)
        if len(saved) == 2:
            raise Stopped

    try:
        with patch.object(Resume, "save", save_twice):
            run(module, arguments)
    except Stopped:
        run(module, arguments)
        return True
    return False


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    os.chdir(folder)
    os.environ["FOURLENSES_DEVICE"] = "cuda"
    with simulated_gpu.SimulatedGpu():
        for module, arguments in commands():
            print(
                module, *arguments[:2], "stopped" if stopped_and_run_again(module, arguments) else "whole", flush=True
            )
