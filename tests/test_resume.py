"""Checkpoints of an interrupted stage."""

import torch

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
