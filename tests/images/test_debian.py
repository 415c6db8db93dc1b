"""The Debian package as a source, with an apt-get and a dpkg-deb that the test writes."""

import os
from dataclasses import replace

import pytest
from small_files import listed, mnist_files, tar, write

from fourlenses.errors import UserError
from fourlenses.images import DATASETS
from fourlenses.images.debian import DebianPackage
from fourlenses.images.download import Download
from fourlenses.images.load import load
from fourlenses.images.sources import Mirror, Where

FILES = mnist_files(20)


@pytest.fixture
def where(tmp_path):
    return Where(tmp_path / "cache", tmp_path / "mirror", attempts=2, pause=0.001)


def mnist(*sources):
    return replace(DATASETS["mnist"], counts={"train": 20, "test": 10}, digest=None, sources=sources)


def fake_apt(folder, deb, monkeypatch):
    """An apt-get that gives this file as the package, and a dpkg-deb that gives its content as the tar in it."""
    (folder / "package").write_bytes(deb)
    write(folder / "bin", {
        "apt-get": f"#!/bin/sh\ncp {folder}/package ./fashion_1_all.deb\n".encode(),
        "dpkg-deb": b'#!/bin/sh\ntest "$1" = --fsys-tarfile && cat "$2"\n',
    })  # fmt: skip
    for command in (folder / "bin").iterdir():
        command.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder / 'bin'}:{os.environ['PATH']}")


def debian(files=FILES):
    folder = "usr/share/datasets/mnist"
    source = DebianPackage("dataset-mnist", folder, "mnist", listed(files))
    return source, {f"./{folder}/{name}": data for name, data in files.items()}


def test_debian_package(where, tmp_path, monkeypatch):
    source, members = debian()
    fake_apt(tmp_path, tar(members | {"./usr/share/doc/copyright": b"MIT"}, "w"), monkeypatch)
    before = set(tmp_path.iterdir())
    loaded = load(mnist(Mirror("mnist", listed(FILES)), source), where)
    assert loaded.source == "Debian package dataset-mnist"
    assert set(tmp_path.iterdir()) == before | {where.cache}
    monkeypatch.setenv("PATH", "")
    kept = load(mnist(Download("http://127.0.0.1:9/", "mnist", listed(FILES)), source), where)
    assert (kept.source, kept.digest) == (loaded.source, loaded.digest)


@pytest.mark.parametrize(
    ("deb", "reason"),
    [
        (b"no package", "the archive cannot be read"),
        (tar({"./usr/share/doc/copyright": b"MIT"}, "w"), "train-images-idx3-ubyte.gz is not there"),
        (tar({"../usr/evil": b"x"}, "w"), "points outside the archive"),
    ],
)
def test_bad_debian_package(deb, reason, where, tmp_path, monkeypatch):
    fake_apt(tmp_path, deb, monkeypatch)
    with pytest.raises(UserError, match=rf"Debian package dataset-mnist \(.*{reason}"):
        load(mnist(debian()[0]), where)


def test_apt_that_fails_says_why(where, tmp_path, monkeypatch):
    fake_apt(tmp_path, b"", monkeypatch)
    (tmp_path / "bin" / "apt-get").write_text("#!/bin/sh\necho 'E: Unable to locate package' >&2\nexit 100\n")
    with pytest.raises(UserError, match=r"Debian package dataset-mnist \(E: Unable to locate package\)"):
        load(mnist(debian()[0]), where)
