"""Files appear whole or not at all, say what they hold, and give it back bit by bit."""

import os
import signal
import subprocess
import sys
import time

import pandas as pd
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fourlenses.artifacts import (
    atomic_path,
    load_arrays,
    load_tensors,
    read_csv,
    read_json,
    save_tensors,
    sha256_file,
    sha256_tensor,
    write_csv,
    write_json,
)
from fourlenses.errors import UserError

TENSORS = {
    "seed1/weight": torch.linspace(-1, 1, 24).view(2, 3, 4),
    "seed1/count": torch.tensor(7),
    "seed10/weight": torch.arange(6, dtype=torch.uint8).view(2, 3),
    "flags": torch.tensor([True, False]),
    "half": torch.ones(3, dtype=torch.bfloat16),
    "nothing": torch.zeros(0, 3),
}
MANIFEST = {"network": {"widths": [4, 8], "mean": [0.5]}, "accuracy": {"0": 0.25}}


def one_line(call, *arguments) -> str:
    with pytest.raises(UserError) as caught:
        call(*arguments)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_tensors_and_manifest_come_back(tmp_path):
    save_tensors(tmp_path / "new" / "t.safetensors", TENSORS, MANIFEST)
    tensors, manifest = load_tensors(tmp_path / "new" / "t.safetensors")
    assert tensors.keys() == TENSORS.keys()
    assert all(torch.equal(tensors[k], v) and tensors[k].dtype == v.dtype for k, v in TENSORS.items())
    assert {key: manifest[key] for key in MANIFEST} == MANIFEST
    assert manifest["sha256"]["flags"] == sha256_tensor(TENSORS["flags"])


def test_arrays_are_the_tensors(tmp_path):
    known = {name: tensor for name, tensor in TENSORS.items() if tensor.dtype != torch.bfloat16}  # NumPy has none
    save_tensors(tmp_path / "t.safetensors", known, MANIFEST)
    arrays = load_arrays(tmp_path / "t.safetensors")
    assert arrays.keys() == known.keys()
    for name, tensor in known.items():
        assert torch.equal(torch.from_numpy(arrays[name]), tensor), name


def test_prefix_selects_and_is_cut_off(tmp_path):
    save_tensors(tmp_path / "t", TENSORS, {})
    assert load_tensors(tmp_path / "t", "seed1/")[0].keys() == {"weight", "count"}
    assert load_tensors(tmp_path / "t", "seed2/")[0] == {}


def test_bytes_depend_on_the_content_alone(tmp_path):
    save_tensors(tmp_path / "a", TENSORS, MANIFEST)
    turned = dict(reversed(TENSORS.items())) | {"seed1/weight": TENSORS["seed1/weight"].clone().mT.contiguous().mT}
    save_tensors(tmp_path / "b", turned, dict(reversed(MANIFEST.items())))
    assert sha256_file(tmp_path / "a") == sha256_file(tmp_path / "b")
    save_tensors(tmp_path / "b", TENSORS, MANIFEST | {"more": 1})
    assert sha256_file(tmp_path / "a") != sha256_file(tmp_path / "b")


def test_whole_number_keys_of_a_manifest_survive(tmp_path):
    save_tensors(tmp_path / "t", {}, {"accuracy": {2: 0.5, 10: 0.25}})
    assert load_tensors(tmp_path / "t")[1]["accuracy"] == {"2": 0.5, "10": 0.25}


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_numbers_that_are_not_finite_are_refused_and_nothing_is_written(tmp_path, bad):
    with pytest.raises(ValueError, match="'x'.*not finite"):
        save_tensors(tmp_path / "t", {"x": torch.tensor([0.0, bad])}, {})
    with pytest.raises(ValueError):
        save_tensors(tmp_path / "t", {}, {"mean": bad})
    with pytest.raises(ValueError):
        write_json(tmp_path / "t", {"mean": bad})
    assert list(tmp_path.iterdir()) == []


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(place=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
def test_any_flipped_bit_is_noticed_or_harmless(tmp_path, place, bit):
    path = tmp_path / "t"
    save_tensors(path, TENSORS, MANIFEST)
    data = bytearray(path.read_bytes())
    data[int(place * len(data))] ^= 1 << bit
    path.write_bytes(data)
    try:
        tensors, manifest = load_tensors(path)
    except UserError as error:
        assert "\n" not in str(error)
        return
    assert all(torch.equal(tensors[name], value) for name, value in TENSORS.items())
    assert {key: manifest[key] for key in MANIFEST} == MANIFEST


def test_flipped_bit_in_a_value_and_in_the_manifest_are_noticed(tmp_path):
    save_tensors(tmp_path / "t", TENSORS, MANIFEST)
    data = (tmp_path / "t").read_bytes()
    (tmp_path / "t").write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    save_tensors(tmp_path / "a", {"x": torch.ones(3)}, {})
    whole = (tmp_path / "a").read_bytes()
    (tmp_path / "a").write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    assert "is corrupt" in one_line(load_tensors, tmp_path / "t")
    assert "is corrupt" in one_line(load_arrays, tmp_path / "a")
    assert data.count(b"0.25") == 1
    (tmp_path / "t").write_bytes(data.replace(b"0.25", b"0.75"))
    assert "manifest" in one_line(load_tensors, tmp_path / "t")


@pytest.mark.parametrize("keep", [0, 1, 7, 8, 100, 0.5, -1])
def test_truncated_file_is_one_line(tmp_path, keep):
    save_tensors(tmp_path / "t", TENSORS, MANIFEST)
    data = (tmp_path / "t").read_bytes()
    (tmp_path / "t").write_bytes(data[: int(keep * len(data)) if isinstance(keep, float) else keep])
    assert "cannot be read" in one_line(load_tensors, tmp_path / "t")


def test_absent_and_foreign_files_are_one_line(tmp_path):
    from safetensors.torch import save_file

    save_file({"x": torch.zeros(2)}, tmp_path / "foreign")
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00\x01" * 9)
    (tmp_path / "empty").write_bytes(b"")
    for read in (load_tensors, read_json, read_csv):
        assert "no file" in one_line(read, tmp_path / "absent")
        for name in ("binary", "empty"):
            assert "cannot be read" in one_line(read, tmp_path / name)
    assert "cannot be read" in one_line(load_tensors, tmp_path / "foreign")
    assert "cannot be read" in one_line(read_json, tmp_path / "foreign")


def test_failure_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "f"
    path.write_text("old")
    with pytest.raises(KeyboardInterrupt), atomic_path(path) as temporary:
        temporary.write_text("half")
        raise KeyboardInterrupt
    assert path.read_text() == "old" and list(tmp_path.iterdir()) == [path]
    with atomic_path(path) as temporary:
        temporary.write_text("new")
        assert path.read_text() == "old" and temporary.parent == tmp_path
    assert path.read_text() == "new" and list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o644), (0o077, 0o600), (0o002, 0o664)])
def test_mode_follows_umask(tmp_path, umask, mode):
    before = os.umask(umask)
    try:
        save_tensors(tmp_path / "t", TENSORS, {})
        write_json(tmp_path / "j", {})
        write_csv(tmp_path / "c", pd.DataFrame({"a": [1]}))
    finally:
        os.umask(before)
    assert [path.stat().st_mode & 0o777 for path in sorted(tmp_path.iterdir())] == [mode] * 3


def test_link_into_a_cache_is_replaced_and_the_cache_untouched(tmp_path):
    (tmp_path / "cached").write_text("old")
    (tmp_path / "out").symlink_to(tmp_path / "cached")
    write_json(tmp_path / "out", {"new": 1})
    assert (tmp_path / "cached").read_text() == "old" and read_json(tmp_path / "out") == {"new": 1}


WRITER = """
import sys
from fourlenses.artifacts import write_json
for i in range(10**6):
    write_json(sys.argv[1], [i] * 100_000)
    print(i, flush=True)
"""


def test_killed_writer_leaves_a_whole_file(tmp_path):
    path = tmp_path / "j"
    for delay in (0.0, 0.003, 0.007, 0.015, 0.03):
        writer = subprocess.Popen([sys.executable, "-c", WRITER, path], stdout=subprocess.PIPE, text=True)
        for _ in range(3):
            written = int(writer.stdout.readline())
        time.sleep(delay)
        writer.send_signal(signal.SIGKILL)
        writer.communicate()
        content = read_json(path)
        assert len(content) == 100_000 and written <= content[0] == content[-1]
    write_json(path, {})
    assert list(tmp_path.iterdir()) == [path], "the next write takes away what the killed one left"


text = st.text(st.characters(codec="utf-8"))
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | text,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(text, inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(content=json_values)
def test_json_comes_back(tmp_path, content):
    write_json(tmp_path / "j", content)
    assert read_json(tmp_path / "j") == content
    assert (tmp_path / "j").read_bytes().endswith(b"\n")


def test_json_bytes_do_not_depend_on_the_order(tmp_path):
    write_json(tmp_path / "a", {"b": 1, "a": {"d": 2, "c": "é"}})
    write_json(tmp_path / "b", {"a": {"c": "é", "d": 2}, "b": 1})
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_table_comes_back_with_ten_digits(tmp_path):
    frame = pd.DataFrame({"name": ["a, b", "é"], "n": [1, 2], "x": [1 / 3, 1e-9], "gap": [0.5, None]})
    write_csv(tmp_path / "c", frame)
    assert (tmp_path / "c").read_bytes().startswith(b'name,n,x,gap\n"a, b",1,0.3333333333,0.5\n')
    pd.testing.assert_frame_equal(read_csv(tmp_path / "c"), frame, rtol=1e-9)
