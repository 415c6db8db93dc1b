"""The benchmarks start, and the table that they write says what its README promises; nothing here is timed."""

import subprocess
import sys

import pytest
import torch

from benchmarks import side_by_side
from benchmarks.scaling import write_scaling
from benchmarks.side_by_side import COLUMNS, RESULTS, interleaved, record
from fourlenses.artifacts import read_csv
from fourlenses.runtime import ROOT

SCRIPTS = {
    "adversarial-training": "adversarial_training", "inversion": "inversion", "loading": "loading", "cka": "linear_cka",
    "snnl": "soft_nearest_neighbor", "glow": "glow", "processes": "processes", "pgd": "pgd",
    "compile": "compiled",
}  # fmt: skip


def check_ratio(row) -> None:
    wanted = row.peer / row.ours if row.unit == "s" else row.ours / row.peer
    assert row.ratio == pytest.approx(wanted, abs=0.006)


@pytest.mark.parametrize("script", SCRIPTS.values())
def test_help(script):
    command = [sys.executable, "-m", f"benchmarks.{script}", "--help"]
    shown = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert shown.returncode == 0, shown.stderr
    assert "--repetitions" in shown.stdout


def test_results():
    table = read_csv(RESULTS)
    assert list(table.columns) == COLUMNS
    assert set(SCRIPTS) <= set(table["name"])
    assert not table.duplicated(["name", "device"]).any()
    assert table.notna().all(axis=None)
    for row in table.itertuples():
        assert row.unit == "s" or row.unit.endswith("/s")
        check_ratio(row)


def test_record_replaces_its_own_row_only(tmp_path, capsys):
    out = tmp_path / "results.csv"
    cpu = {"device": "cpu", "threads": 2}
    record("inversion", cpu, 2.0, 7.0, "peer", "s", "old", out)
    record("loading", cpu, 900.0, 100.0, "peer", "images/s", "faster", out)
    record("inversion", {"device": "gpu", "threads": 1}, 1.0, 3.0, "peer", "s", "elsewhere", out)
    record("inversion", cpu, 2.0, 6.0, "peer", "s", "new", out)
    table = read_csv(out)
    assert table[["name", "device", "ratio"]].values.tolist() == [
        ["inversion", "cpu", 3.0],
        ["inversion", "gpu", 3.0],
        ["loading", "cpu", 9.0],
    ]
    assert table["note"].tolist() == ["2 threads; new", "1 thread; elsewhere", "2 threads; faster"]
    for row in table.itertuples():
        check_ratio(row)
    assert capsys.readouterr().out.splitlines()[-1].startswith("inversion: 3.00 times peer on cpu")


def test_sides_take_turns():
    order = []
    _, results = interleaved(3, ours=lambda k: order.append(("ours", k)) or k, peer=lambda k: order.append(("peer", k)))
    assert order == [("ours", 0), ("peer", 0), ("peer", 1), ("ours", 1), ("ours", 2), ("peer", 2)]
    assert results == {"ours": [0, 1, 2], "peer": [None] * 3}


def test_sizes_grow_one_at_a_time(tmp_path):
    seen = []

    def sides(images: int, steps: int):
        seen.append((images, steps))
        return {"ours": lambda _: None, "peer": lambda _: None}

    path = tmp_path / "scaling.csv"
    write_scaling(path, 1, {"images": 4, "steps": 2}, {"images": [1, 4, 8], "steps": [1, 2]}, sides)
    assert seen == [(1, 2), (4, 2), (8, 2), (4, 1), (4, 2)]
    table = read_csv(path)
    assert list(table.columns) == ["varied", "images", "steps", "side", "seconds"]
    assert table["varied"].tolist() == ["images"] * 6 + ["steps"] * 4 and set(table["side"]) == {"ours", "peer"}
    assert (table["seconds"] >= 0).all() and path.with_suffix(".svg").read_text().count("<svg") == 1


def test_operations_are_multiplications_and_additions_and_their_share_is_of_a_large_product(monkeypatch):
    assert side_by_side.operations(lambda: torch.ones(4, 8) @ torch.ones(8, 16)) == 2 * 4 * 8 * 16
    monkeypatch.setattr(side_by_side, "seconds", lambda action: (0.25, None))
    assert side_by_side.share_of_peak(2 * 2048**3, 0.5, torch.device("cpu")) == pytest.approx(0.5)
