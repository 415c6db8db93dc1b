"""What every stage shares: random streams, lock, manifest, run log, and how it ends."""

import errno
import os
import signal
from pathlib import Path

import pytest
import torch
from commands import ROOT, is_one_line, run, start, wait_for
from hypothesis import given, settings
from hypothesis import strategies as st

from fourlenses import runtime
from fourlenses.artifacts import read_csv, read_json, sha256_file, write_json
from fourlenses.errors import UserError

part = st.integers() | st.text(st.characters(codec="ascii", exclude_characters=":"), min_size=1, max_size=9)


def numbers(*parts) -> list[int]:
    return torch.randint(2**60, (4,), generator=runtime.generator(*parts)).tolist()


@settings(deadline=None)
@given(first=st.lists(part, min_size=1, max_size=4), second=st.lists(part, min_size=1, max_size=4))
def test_streams_are_the_same_for_the_same_parts_only(first, second):
    before = torch.random.get_rng_state()
    assert numbers(*first) == numbers(*first)
    assert (numbers(*first) == numbers(*second)) == ([str(p) for p in first] == [str(p) for p in second])
    assert torch.equal(torch.random.get_rng_state(), before)


def test_stream_of_a_purpose_is_fixed_for_ever():
    """Changing it would change every result of every study."""
    assert runtime.generator(0, "initial weights", "resnet-standard").initial_seed() == 2211113879852202269


def test_progress_gives_the_items_and_tells_the_name(capsys):
    assert list(runtime.progress(iter("abc"), "counting", 3)) == ["a", "b", "c"]
    assert "counting" in capsys.readouterr().err


@pytest.mark.parametrize("threads", ["0", "-1", "two", "1.5"])
def test_wrong_thread_count_is_refused(monkeypatch, threads):
    monkeypatch.setenv("FOURLENSES_THREADS", threads)
    with pytest.raises(UserError, match=f"FOURLENSES_THREADS={threads}; expected a whole number from 1"):
        runtime.environment()


@pytest.mark.parametrize("name", ["abacus", "cuda:99", "meta:x"])
def test_absent_device_is_one_line(monkeypatch, name):
    monkeypatch.setenv("FOURLENSES_DEVICE", name)
    with pytest.raises(UserError, match=f"FOURLENSES_DEVICE={name} .*; expected cpu or a GPU of this machine"):
        runtime.device()


def test_environment_names_what_changes_last_bits(monkeypatch):
    before = torch.get_num_threads()
    monkeypatch.setenv("FOURLENSES_THREADS", "3")
    monkeypatch.setenv("FOURLENSES_DEVICE", "cpu")
    try:
        found = runtime.environment()
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(before)
    assert (found["threads"], found["device"], found["torch"]) == (3, "cpu", torch.__version__)
    assert set(found) == {"torch", "numpy", "device", "threads", "cpu"}


def test_algorithms_are_deterministic_when_asked_and_the_manifest_says_so(monkeypatch):
    before = torch.backends.cudnn.benchmark
    try:
        for asked in ("1", "0"):
            monkeypatch.setenv("FOURLENSES_DETERMINISTIC", asked)
            assert runtime.environment().get("deterministic", False) is (asked == "1")
            assert torch.are_deterministic_algorithms_enabled() is (asked == "1")
            assert torch.backends.cudnn.benchmark is (asked == "0")
    finally:
        torch.use_deterministic_algorithms(False)
        torch.backends.cudnn.benchmark = before


@pytest.mark.parametrize("piece", ["-1", "soon", "inf", "nan"])
def test_wrong_piece_is_one_line(study, monkeypatch, piece):
    monkeypatch.setenv("FOURLENSES_PIECE", piece)
    with pytest.raises(UserError, match=f"FOURLENSES_PIECE={piece}; expected seconds, 0 or more"), study():
        pass


def test_piece_reaches_the_loops(study, monkeypatch):
    monkeypatch.setenv("FOURLENSES_PIECE", "2.5")
    with study() as this:
        assert this.resume.piece == 2.5


@pytest.fixture
def study(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "in.json").write_text("1")

    def stage(item="", **changes):
        defaults = {"decides": {"x": 1}, "inputs": [tmp_path / "in.json"], "outputs": [], "uses_torch": False}
        return runtime.stage("test", item, **defaults | changes)

    return stage


def test_manifest_says_what_decided_the_outputs(study, tmp_path):
    with study("unit", outputs=[Path("out.json")]):
        write_json("out.json", {"found": 2})
    manifest = read_json("results/manifests/test@unit.json")
    assert manifest["stage"] == "test@unit" and manifest["params"] == {"x": 1} and manifest["environment"] == {}
    assert manifest["inputs"] == {str(tmp_path / "in.json"): sha256_file("in.json")}
    assert manifest["outputs"] == {"out.json": sha256_file("out.json")}
    assert len(manifest["code"]) == 64


def test_failed_stage_leaves_no_manifest_and_goes_on_where_it_stopped(study):
    with pytest.raises(KeyboardInterrupt), study() as this:
        this.resume.save("unit", {}, {"epoch": 3})
        raise KeyboardInterrupt
    assert not os.path.exists("results/manifests/test.json")
    with study() as this:
        assert this.resume.load("unit")[1] == {"epoch": 3}
    assert read_csv("results/runs.csv")["resumed"].tolist() == [1]
    with study() as this:
        assert this.resume.load("unit") is None
    assert read_csv("results/runs.csv")["resumed"].tolist() == [0]


@pytest.mark.parametrize("change", ["parameter", "input"])
def test_changed_settings_start_over_and_say_so(study, tmp_path, capsys, change):
    with pytest.raises(ZeroDivisionError), study() as this:
        this.resume.save("unit", {}, {})
        raise ZeroDivisionError
    if change == "input":
        (tmp_path / "in.json").write_text("2")
    with study(**{"decides": {"x": 2}} if change == "parameter" else {}) as this:
        assert this.resume.load("unit") is None
    assert "settings changed" in capsys.readouterr().err


def test_absent_input_is_one_line(study):
    with pytest.raises(UserError, match="no file other.json; expected the output of an earlier stage"), study(
        inputs=[Path("other.json")]
    ):
        pass


def test_run_log_has_one_row_for_each_stage_and_item(study):
    for item in ("b", "a", "", "b"):
        with study(item):
            pass
    log = read_csv("results/runs.csv").fillna("")
    assert list(zip(log["stage"], log["item"], strict=True)) == [("test", ""), ("test", "a"), ("test", "b")]
    assert (log["seconds"] >= 0).all() and (log["peak_memory_mib"] > 1).all() and (log["cores"] >= 1).all()


def script(folder, body: str, before: str = "") -> str:
    lines = "".join(f"    {line}\n" for line in body.strip().splitlines())
    head = "import signal, time\nfrom pathlib import Path\nfrom fourlenses import runtime\n"
    head += "signal.signal(signal.SIGINT, signal.default_int_handler)\n"  # ignored where tests run in the background
    head += "from fourlenses.artifacts import write_json, atomic_path\nfrom fourlenses.errors import UserError\n"
    (folder / "script.py").write_text(f"{head}{before}\ndef main(n: int = 0) -> None:\n{lines}\nruntime.run(main)\n")
    return "script.py"


def test_users_mistake_is_one_line_and_exit_code_two(tmp_path):
    name = script(tmp_path, 'raise UserError("a", "b", "c")')
    assert run(tmp_path, name) == (2, "error: a; expected b; c\n")
    code, stderr = run(tmp_path, name, FOURLENSES_DEBUG="1")
    assert code == 1 and "Traceback" in stderr


def test_mistake_of_ours_keeps_its_traceback(tmp_path):
    code, stderr = run(tmp_path, script(tmp_path, "1 / 0"))
    assert code == 1 and "ZeroDivisionError" in stderr


def test_unknown_argument_is_exit_code_two(tmp_path):
    code, stderr = run(tmp_path, script(tmp_path, "pass"), "--m", "3")
    assert code == 2 and "Traceback" not in stderr


def test_full_disk_is_one_line_and_the_old_file_stays(tmp_path):
    write_json(tmp_path / "out.json", "old")
    (tmp_path / ".tmp-out.json").symlink_to("/dev/full")
    code, stderr = run(tmp_path, script(tmp_path, 'write_json("out.json", "new" * 9999)'))
    assert code == 2 and is_one_line(stderr) and os.strerror(errno.ENOSPC) in stderr and "run the same" in stderr
    assert read_json(tmp_path / "out.json") == "old" and not (tmp_path / ".tmp-out.json").is_symlink()


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_signals_end_a_stage_with_their_code_and_nothing_half_written(tmp_path, number, code):
    body = 'with atomic_path("out") as path:\n    path.write_text("half")\n    time.sleep(60)'
    process = start(tmp_path, script(tmp_path, body))
    wait_for((tmp_path / ".tmp-out").exists, process)
    process.send_signal(number)
    _, stderr = process.communicate(timeout=30)
    assert process.returncode == code and "Traceback" not in stderr
    assert {path.name for path in tmp_path.iterdir()} == {"script.py"}


HOLD = """
with runtime.stage("test", str(n), decides={}, outputs=[], uses_torch=False):
    Path("held").touch()
    time.sleep(0 if Path("go").exists() else 60)
"""


def test_second_run_of_a_stage_is_refused_until_the_first_is_dead(tmp_path):
    name = script(tmp_path, HOLD)
    process = start(tmp_path, name)
    wait_for((tmp_path / "held").exists, process)
    (tmp_path / "go").touch()
    code, stderr = run(tmp_path, name)
    assert code == 2 and is_one_line(stderr) and "stage test@0 runs already" in stderr
    assert run(tmp_path, name, "--n", "1")[0] == 0, "another item is another stage"
    process.kill()
    process.communicate()
    assert run(tmp_path, name)[0] == 0


@pytest.mark.skipif(not os.path.exists("/proc"), reason="a stage dies with its parent on Linux only")
def test_stage_dies_with_its_parent(tmp_path):
    body = 'try:\n    Path("held").touch()\n    time.sleep(60)\nfinally:\n    Path("ended").touch()'
    child = script(tmp_path, body)
    parent = start(tmp_path, "-c", f"import subprocess, sys; subprocess.run([sys.executable, '{child}'])")
    wait_for((tmp_path / "held").exists, parent)
    parent.kill()
    wait_for((tmp_path / "ended").exists, seconds=50)
    parent.wait()


def test_code_digest_covers_what_was_imported_whatever_the_path_to_it(tmp_path):
    (tmp_path / "link").symlink_to(ROOT)
    name = script(tmp_path, "print(runtime._code_digest())")
    digests = [start(tmp_path, name, PYTHONPATH=str(path)).communicate()[0] for path in (ROOT, tmp_path / "link")]
    more = script(tmp_path, "print(runtime._code_digest())", "import fourlenses.params")
    digests.append(start(tmp_path, more).communicate()[0])
    assert digests[0] == digests[1] != digests[2] and len(digests[0]) == 65
