"""Checkpoints of an interrupted stage."""

import pytest
import torch

from fourlenses import resume as resume_module
from fourlenses.resume import Resume


def value(resume: Resume, name: str = "unit"):
    saved = resume.load(name)
    return saved and (float(saved[0]["x"]), saved[1])


def save(resume: Resume, number: float, name: str = "unit") -> None:
    resume.save(name, {"x": torch.tensor(number)}, {"epoch": number, "history": [0.1 + 0.2]})


def test_newest_checkpoint_and_its_state_come_back_exactly(tmp_path):
    resume = Resume(tmp_path, "key")
    assert value(resume) is None
    for number in (1.0, 2.0, 3.0):
        save(resume, number)
    save(resume, 9.0, "other unit, seed 1")
    assert value(Resume(tmp_path, "key")) == (3.0, {"epoch": 3.0, "history": [0.30000000000000004]})
    assert value(resume, "other unit, seed 1")[0] == 9.0


def test_torn_checkpoint_falls_back_to_the_one_before(tmp_path):
    resume = Resume(tmp_path, "key")
    for number in (1.0, 2.0, 3.0):
        save(resume, number)
    current = resume.folder / "unit.safetensors"
    current.write_bytes(current.read_bytes()[:-2])
    assert value(resume)[0] == 2.0
    current.unlink()
    assert value(resume)[0] == 2.0
    (resume.folder / "unit.previous.safetensors").write_bytes(b"")
    assert value(resume) is None
    save(resume, 4.0)
    assert value(resume)[0] == 4.0


def test_flipped_bit_falls_back_to_the_one_before(tmp_path):
    resume = Resume(tmp_path, "key")
    save(resume, 1.0)
    save(resume, 2.0)
    current = resume.folder / "unit.safetensors"
    data = bytearray(current.read_bytes())
    data[-1] ^= 64
    current.write_bytes(data)
    assert value(resume)[0] == 1.0


def test_other_settings_start_over_and_their_checkpoints_go(tmp_path):
    old = Resume(tmp_path, "old")
    save(old, 1.0)
    new = Resume(tmp_path, "new")
    assert new.stale == [old.folder] and not old.folder.exists()
    assert value(new) is None
    save(new, 2.0)
    assert Resume(tmp_path, "new").stale == [] and value(Resume(tmp_path, "new"))[0] == 2.0


def test_clear_deletes_everything_also_when_there_is_nothing(tmp_path):
    resume = Resume(tmp_path, "key")
    resume.clear()
    save(resume, 1.0)
    resume.clear()
    assert value(resume) is None and list(tmp_path.iterdir()) == []


class Killed(BaseException):
    """What no handler catches."""


def count(resume: Resume, clock, until: int, seconds: float = 1.0, killed: int | None = None):
    """A loop of `until` steps of so many seconds each, from where it stopped."""

    def steps():
        state, history = resume.reached("loop")
        for i in range(len(history), until):
            clock.now += seconds
            if i == killed:
                raise Killed
            state, history = {"x": state.get("x", torch.tensor(0)) + i}, [*history, {"step": i}]
            yield state, history

    return resume.finish("loop", steps())


@pytest.fixture
def clock(monkeypatch):
    class Clock:
        now = 0.0

        def monotonic(self):
            return self.now

    clock = Clock()
    monkeypatch.setattr(resume_module, "time", clock)
    return clock


@pytest.mark.parametrize(("piece", "repeated"), [(0.0, 0), (1.0, 0), (2.0, 1), (3.0, 1), (100.0, 7)])
def test_killed_loop_repeats_a_piece_at_most_and_ends_the_same(tmp_path, clock, piece, repeated):
    whole = count(Resume(tmp_path / "whole", "key", piece=piece), clock, 10)
    with pytest.raises(Killed):
        count(Resume(tmp_path, "key", piece=piece), clock, 10, killed=7)
    left = Resume(tmp_path, "key", piece=piece)
    assert 7 - len(left.reached("loop")[1]) == repeated
    state, history = count(left, clock, 10)
    assert (int(state["x"]), history) == (int(whole[0]["x"]), whole[1]) == (45, [{"step": i} for i in range(10)])


def test_finished_loop_is_kept_whatever_the_piece_and_not_repeated(tmp_path, clock):
    count(Resume(tmp_path, "key", piece=100.0), clock, 3)
    again = Resume(tmp_path, "key")
    assert len(again.reached("loop")[1]) == 3
    state, history = count(again, clock, 3, killed=0)
    assert int(state["x"]) == 3 and len(history) == 3


def test_only_the_first_process_deletes_and_keeps_what_loops_reach(tmp_path, clock):
    old = Resume(tmp_path, "old")
    save(old, 1.0)
    other = Resume(tmp_path, "new", first=False)
    assert other.stale == [old.folder] and old.folder.exists()
    assert int(count(other, clock, 3)[0]["x"]) == 3 and not other.folder.exists()
