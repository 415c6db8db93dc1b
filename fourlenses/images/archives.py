"""Archives read member by member, in memory: nothing is ever written to a path that an archive names."""

import io
import lzma
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import PurePosixPath, PureWindowsPath

from fourlenses.errors import UserError

MAX_MEMBERS = 500_000
MAX_BYTES = 2 << 30  # of all wanted members together
REMEDY = "get the archive from its original source"


def read_archive(data: bytes, wanted: Callable[[str], bool]) -> dict[str, bytes]:
    """Read the members of a tar (gz, xz, bz2 or plain) or zip archive whose names are wanted.

    Arguments: `data`, the archive; `wanted`, says of a member's name, without a leading "./", whether to read it.
    Returns the contents by name.
    Raises UserError if the archive is truncated or corrupt, or too large, or if any member, wanted or not, is a link or
    a device or has an absolute path or `..` in its name.
    """
    members: dict[str, bytes] = {}
    total = 0
    entries = _zip_entries(data) if zipfile.is_zipfile(io.BytesIO(data)) else _tar_entries(data)
    try:
        for count, (name, kind, size, read) in enumerate(entries):
            if count >= MAX_MEMBERS:
                raise UserError("an archive of too many members", f"at most {MAX_MEMBERS}", REMEDY)
            _refuse_unsafe(name, kind)
            name = str(PurePosixPath(name))
            if kind != "file" or not wanted(name):
                continue
            total += size
            if total > MAX_BYTES:
                raise UserError(f"an archive of more than {MAX_BYTES} bytes", "a smaller one", REMEDY)
            members[name] = read(size)
            if len(members[name]) != size:
                raise UserError(f"archive member {name!r} is not of the size it states", f"{size} bytes", REMEDY)
    except (tarfile.TarError, zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, OSError, RuntimeError) as error:
        raise UserError(f"the archive cannot be read ({error})", "a whole tar or zip archive", REMEDY) from None
    return members


Entry = tuple[str, str, int, Callable[[int], bytes]]  # name; file, folder or what else it is; bytes; reader


def _tar_entries(data: bytes) -> Iterator[Entry]:
    with tarfile.open(fileobj=io.BytesIO(data), mode="r:*") as archive:
        for member in archive:
            kind = "file" if member.isreg() else "folder" if member.isdir() else "link or device"
            yield member.name, kind, member.size, lambda size, member=member: archive.extractfile(member).read(size)


def _zip_entries(data: bytes) -> Iterator[Entry]:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        for member in archive.infolist():
            mode = stat.S_IFMT(member.external_attr >> 16)
            plain = mode in (0, stat.S_IFREG, stat.S_IFDIR)
            kind = "link or device" if not plain else "folder" if member.is_dir() else "file"

            def read(size: int, member: zipfile.ZipInfo = member) -> bytes:
                with archive.open(member) as file:
                    return file.read(size)  # also checks the CRC, once the end is reached

            yield member.filename, kind, member.file_size, read


def _refuse_unsafe(name: str, kind: str) -> None:
    windows = PureWindowsPath(name)
    if windows.drive or windows.root or ".." in windows.parts:
        raise UserError(f"archive member {name!r} points outside the archive", "a relative path without ..", REMEDY)
    if kind not in ("file", "folder"):
        raise UserError(f"archive member {name!r} is a {kind}", "plain files and folders", REMEDY)
