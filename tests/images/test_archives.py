"""Archives are read member by member, and an archive that could do harm is refused whole."""

import tarfile

import pytest
from small_files import tar, zipped

from fourlenses.errors import UserError
from fourlenses.images import archives
from fourlenses.images.archives import read_archive

ZIP_HEADER = 30  # bytes before a member's name; the first "a" in the file may stand in its time of writing
MEMBERS = {"a/one.txt": b"1" * 5000, "./a/two.bin": b"2", "three.txt": b""}


def everything(name):
    return True


@pytest.mark.parametrize("mode", ["w", "w:gz", "w:xz", "w:bz2"])
def test_reads_wanted_members_of_a_tar(mode):
    data = tar(MEMBERS, mode)
    assert read_archive(data, everything) == {"a/one.txt": b"1" * 5000, "a/two.bin": b"2", "three.txt": b""}
    assert read_archive(data, lambda name: name.endswith(".bin")) == {"a/two.bin": b"2"}


def test_reads_wanted_members_of_a_zip():
    data = zipped(MEMBERS | {"folder/": b""})
    assert read_archive(data, lambda name: name.startswith("a/")) == {"a/one.txt": b"1" * 5000, "a/two.bin": b"2"}


def header(name, kind, link=""):
    info = tarfile.TarInfo(name)
    info.type = kind
    info.linkname = link
    return info


HARMFUL = {
    "parent": tar({"../evil.txt": b"x"}),
    "inner parent": tar({"a/../../evil.txt": b"x"}),
    "absolute": tar({"/etc/evil.txt": b"x"}),
    "windows parent": tar({"a\\..\\..\\evil.txt": b"x"}),
    "windows drive": tar({"C:evil.txt": b"x"}),
    "symbolic link": tar({}, extra=(header("a/link", tarfile.SYMTYPE, "/etc/passwd"),)),
    "hard link": tar({"a": b"x"}, extra=(header("b", tarfile.LNKTYPE, "a"),)),
    "device": tar({}, extra=(header("null", tarfile.CHRTYPE),)),
    "pipe": tar({}, extra=(header("pipe", tarfile.FIFOTYPE),)),
    "zip parent": zipped({"../evil.txt": b"x"}),
    "zip absolute": zipped({"/etc/evil.txt": b"x"}),
    "zip link": zipped({}, links={"link": b"/etc/passwd"}),
}


@pytest.mark.parametrize("data", HARMFUL.values(), ids=HARMFUL.keys())
def test_harmful_member_is_refused_even_if_unwanted(data, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match="archive member .* (points outside the archive|is a link or device)"):
        read_archive(data, lambda name: False)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("mode", ["w", "w:gz", "w:xz", "w:bz2"])
@pytest.mark.parametrize("share", [0.2, 0.5, 0.8])
def test_truncated_tar(mode, share):
    noise = bytes(range(256)) * 40
    data = tar({f"{i}": noise[i:] for i in range(5)}, mode)
    with pytest.raises(UserError, match=r"the archive cannot be read|is not of the size it states"):
        read_archive(data[: int(len(data) * share)], everything)


@pytest.mark.parametrize("data", [b"", b"<!DOCTYPE html><html></html>", zipped({"a": b"x" * 999})[:-30], b"PK\3\4rest"])
def test_no_archive(data):
    with pytest.raises(UserError, match="the archive cannot be read"):
        read_archive(data, everything)


def test_corrupt_zip_member_fails_its_crc():
    data = bytearray(zipped({"a": bytes(1000)}))
    data[ZIP_HEADER + len("a") + 2] ^= 0xFF
    with pytest.raises(UserError, match="the archive cannot be read"):
        read_archive(bytes(data), everything)


def test_limits(monkeypatch):
    monkeypatch.setattr(archives, "MAX_BYTES", 5000)
    with pytest.raises(UserError, match="an archive of more than 5000 bytes"):
        read_archive(tar(MEMBERS), everything)
    assert len(read_archive(tar(MEMBERS), lambda name: "one" in name)) == 1
    monkeypatch.setattr(archives, "MAX_MEMBERS", 2)
    with pytest.raises(UserError, match="too many members"):
        read_archive(tar(MEMBERS), lambda name: False)


def test_a_zip_that_understates_a_size_is_refused():
    data = bytearray(zipped({"a": b"x" * 4000}))
    stated = (4000).to_bytes(4, "little")
    assert data.count(stated) == 2  # in the member's header and in the directory
    with pytest.raises(UserError, match="cannot be read|size it states"):
        read_archive(bytes(data.replace(stated, (4100).to_bytes(4, "little"))), everything)
