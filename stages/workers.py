"""Run a study's stages on several workers: independent ones side by side, on this machine or through Slurm.

DVC runs one stage after the other, and several `dvc repro` at once collide on its locks. Here workers run the stages'
own commands, and this process alone speaks to DVC: it asks which stages changed, and enters what a worker has made.
"""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from graphlib import TopologicalSorter
from pathlib import Path
from typing import Any, Literal

from tyro.conf import Positional

from fourlenses import runtime
from fourlenses.errors import UserError

LOGS = runtime.SCRATCH / "workers"
VISIBLE = "CUDA_VISIBLE_DEVICES"
PAUSE = 1.0  # seconds between two looks at the jobs


def main(
    targets: Positional[list[str]] = [],  # noqa: B006
    workers: int = 2,
    engine: Literal["local", "slurm"] = "local",
    devices: list[str] = [],  # noqa: B006
    threads: int | None = None,
    minutes: int = 600,
    gpus: int = 0,
    partition: str | None = None,
) -> None:
    """Bring the study in the current folder up to date with several stages at a time.

    Goes on where an interrupted run stopped; after a failure no stage is started, those that run are waited for, and
    the exit code is 2. Stopped by a signal, it stops its stages; killed outright, it leaves them to end by themselves.
    What DVC remembers of an earlier run is taken from its cache. Logs: .resume/workers.

    Args:
        targets: stages to make, with all that they stand on (default: all)
        workers: stages at a time
        engine: processes of this machine, or jobs of Slurm (on a file system that all machines share)
        devices: one a worker, such as cuda:0 cuda:1 (default: as a stage alone, so that all share one GPU)
        threads: of each stage (default: the cores of this machine, shared; on Slurm those of the job)
        minutes: most that a stage may take
        gpus: GPUs of a Slurm job
        partition: of Slurm
    """
    if workers < 1 or (devices and len(devices) != workers):
        given = f"{workers} workers and {len(devices)} devices"
        raise UserError(given, "one worker or more, and a device for each or none", "correct the options")
    if engine == "local" and threads is None:
        threads = max(1, runtime.cores() // workers)
    settings = {"local": {}, "slurm": {"gpus_per_node": gpus, "slurm_partition": partition}}[engine]
    with runtime.lock(runtime.SCRATCH / "workers.lock", "stages.workers"), _repository() as repo:
        shutil.rmtree(LOGS, ignore_errors=True)  # a job is known by the number of its process, which may come again
        executor = _executor(engine, {key: value for key, value in settings.items() if value}, minutes)
        _run(repo, _order(repo, targets), executor, workers, devices, threads)


def _executor(engine: str, settings: dict[str, Any], minutes: int) -> Any:
    import submitit

    executor = submitit.AutoExecutor(folder=LOGS / "%j", cluster=engine)
    executor.update_parameters(timeout_min=minutes, name="fourlenses", **settings)
    return executor


@contextmanager
def _repository() -> Iterator[Any]:
    from dvc.exceptions import DvcException
    from dvc.repo import Repo

    try:
        repo = Repo(_wait_for_lock=True)
        yield repo
    except DvcException as error:
        raise UserError(f"DVC: {error}", "a study that DVC can read", "see `dvc status`") from None


def _order(repo: Any, targets: list[str]) -> dict[str, tuple[Any, set[str]]]:
    """Each stage to look at, with the names of those that it stands on; upstream before downstream."""
    from dvc.stage import PipelineStage

    here, graph = str(Path("dvc.yaml").absolute()), repo.index.graph
    stages = {stage.name: stage for stage in graph if isinstance(stage, PipelineStage) and stage.path == here}
    needs = {name: {other.name for other in graph.successors(stage)} & stages.keys() for name, stage in stages.items()}
    unknown = [target for target in targets if not any(_is(name, target) for name in stages)]
    if unknown or not stages:
        given = f"no stage {', '.join(unknown) or 'here'}"
        raise UserError(given, f"one of {', '.join(sorted(stages)) or 'those of a dvc.yaml'}", "correct the targets")
    wanted = {name for name in stages if not targets or any(_is(name, target) for target in targets)}
    while new := set().union(*(needs[name] for name in wanted)) - wanted:
        wanted |= new
    order = TopologicalSorter({name: sorted(needs[name]) for name in sorted(wanted)}).static_order()
    return {name: (stages[name], needs[name]) for name in order}


def _is(name: str, target: str) -> bool:
    """Whether a stage is the target, or an item of it."""
    return name == target or name.partition("@")[0] == target


def _run(
    repo: Any, order: dict[str, tuple[Any, set[str]]], executor: Any, workers: int, devices: list[str],
    threads: int | None,
) -> None:  # fmt: skip
    running: dict[str, tuple[Any, int]] = {}  # jobs and their workers
    try:
        _keep_busy(repo, order, executor, workers, devices, threads, running)
    finally:
        for job, _ in running.values():
            job.cancel(check=False)


def _keep_busy(
    repo: Any, order: dict[str, tuple[Any, set[str]]], executor: Any, workers: int, devices: list[str],
    threads: int | None, running: dict[str, tuple[Any, int]],
) -> None:  # fmt: skip
    waiting, done, failed = list(order), set(), []
    bar = iter(runtime.progress(range(len(order)), "stages"))
    while waiting or running:
        for name, (job, _) in list(running.items()):
            if job.done():
                if job.exception() is None and job.result() == 0:
                    repo.commit(name, force=True)
                    done.add(name)
                    next(bar, None)
                else:
                    said = (job.stderr() or "").strip().splitlines()[-1:]
                    failed.append(f"{name} ({''.join(said)}; {LOGS / job.job_id})")
                del running[name]
        ready = [name for name in waiting if order[name][1] <= done]
        for name in [] if failed else ready:
            if len(running) == workers:
                break
            waiting.remove(name)
            stage = order[name][0]
            with repo.lock:
                if changed := stage.changed():
                    stage.remove_outs()  # as DVC does, lest a folder keep what is made no longer
                restored = changed and _restored(repo, stage)
            if restored:
                repo.commit(name, force=True)
            if restored or not changed:
                done.add(name)
                next(bar, None)
                continue
            slot = min(set(range(workers)) - {slot for _, slot in running.values()})
            # on this machine submitit would hide its GPUs
            variables = {VISIBLE: os.environ.get(VISIBLE)} if executor.cluster == "local" else {}
            variables |= {"FOURLENSES_DEVICE": devices[slot]} if devices else {}
            variables |= {"FOURLENSES_THREADS": str(threads)} if threads else {}
            running[name] = executor.submit(work, stage.cmd, str(Path.cwd()), variables), slot
            print(f"{name}: worker {slot}, job {running[name][0].job_id}", file=sys.stderr)
        if failed and not running:
            raise UserError(f"failed: {', '.join(failed)}", "stages that end well", "mend them and run this again")
        time.sleep(PAUSE if running else 0)


def _restored(repo: Any, stage: Any) -> bool:
    """Whether an earlier run from the same dependencies and parameters was in DVC's cache, and its outputs are back."""
    from dvc.stage.cache import RunCacheNotFoundError

    try:
        repo.stage_cache.restore(stage)
    except RunCacheNotFoundError:
        return False
    return True


def work(command: str, folder: str, variables: dict[str, str | None]) -> int:
    """Run a stage's command in the study's folder, on whichever machine; returns its exit code.

    Arguments: `variables`, of its environment; None for one that it must not have.
    """
    environment = {name: value for name, value in (os.environ | variables).items() if value is not None}
    return subprocess.run(command, shell=True, cwd=folder, env=environment, check=False).returncode


if __name__ == "__main__":
    runtime.run(main, outlives=True)
