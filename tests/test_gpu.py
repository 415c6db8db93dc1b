"""The path of a GPU, on a simulated one: no tensor is on the wrong device, and no hot loop waits."""

import json

import pytest
import tiny_study
import torch
from commands import ROOT, run

from fourlenses.artifacts import load_tensors

STARTS_AT_RANDOM = {"adversarial", "fast", "half"}  # whose streams are read in another order than on the CPU
REFUSED = """
import simulated_gpu
import torch

with simulated_gpu.SimulatedGpu():
    there, here = torch.ones(2, device="cuda:0"), torch.ones(2)
    for wrong in (lambda: there + here, lambda: torch.stack([there, here]), there.numpy, lambda: here[there.long()]):
        try:
            wrong()
        except (RuntimeError, TypeError):
            continue
        raise SystemExit("that was not refused")
    assert not simulated_gpu.waits
    assert (there + torch.tensor(1.0)).sum().item() == 4 and simulated_gpu.waits.total() == 1
    assert there.cpu().numpy().sum() == 2 and simulated_gpu.waits.total() == 2
    assert there[there > 0].device.type == "cuda" and simulated_gpu.waits.total() == 3
"""


@pytest.fixture(scope="module")
def loops(tmp_path_factory) -> tuple[dict, dict]:
    """Numbers of both devices, and of each loop the waits that doubling its steps adds."""
    out = tmp_path_factory.mktemp("loops") / "loops.safetensors"
    code, stderr = run(out.parent, str(ROOT / "tests/gpu_loops.py"), str(out))
    assert code == 0, stderr
    numbers, manifest = load_tensors(out)
    return numbers, manifest["waits"]


def test_what_a_gpu_refuses_is_refused_and_waits_are_counted(tmp_path):
    code, stderr = run(tmp_path, "-c", f"import sys; sys.path.insert(0, {str(ROOT / 'tests')!r})\n{REFUSED}")
    assert code == 0, stderr


def test_every_stage_runs_on_a_gpu_and_goes_on_there(tmp_path):
    folder = tiny_study.make(tmp_path / "study")
    code, stderr = run(folder, str(ROOT / "tests/on_gpu.py"), str(folder))
    assert code == 0, stderr
    manifests = {path.stem: json.loads(path.read_text()) for path in (folder / "results/manifests").glob("*.json")}
    devices = {name: manifest["environment"].get("device") for name, manifest in manifests.items()}
    assert len(devices) > 20 and set(devices.values()) == {"a simulated GPU"}, devices


def test_the_networks_of_the_papers_run_on_a_gpu(tmp_path):
    code, stderr = run(tmp_path, str(ROOT / "tests/gpu_paper_scale.py"))
    assert code == 0, stderr


def test_no_hot_loop_waits_for_the_gpu(loops):
    waits = loops[1]
    assert len(waits) > 20 and not {name: more for name, more in waits.items() if more}


def test_a_gpu_has_the_numbers_of_the_cpu(loops):
    numbers = loops[0]
    for name in loops[1]:
        there, here = numbers[f"gpu/{name}"], numbers[f"cpu/{name}"]
        assert torch.isfinite(there).all()
        if name.removeprefix("training, ").split("-")[0] not in STARTS_AT_RANDOM:
            torch.testing.assert_close(there, here, rtol=1e-5, atol=1e-6, msg=name)
