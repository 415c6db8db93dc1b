"""Where the files of a data set come from. Whichever source answers, the SHA-256 of the content decides."""

import gzip
import hashlib
import importlib.util
import time
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

from fourlenses.errors import UserError

MAX_BYTES = 1 << 30  # of one file, as it lies there and unpacked


class SourceError(Exception):
    """Why one source did not give good files; `final` if another attempt would not help."""

    def __init__(self, reason: str, final: bool = False) -> None:
        super().__init__(reason)
        self.final = final


@dataclass(frozen=True)
class File:
    """A file by name; `sha256` of its content, after gunzip if `gzipped` (gzip wrappers differ between sources).

    `download` is the hash, if known, of the file as its publisher serves it, "<algorithm>:<hexadecimal>". `sha256` is
    None only for files of a pinned package whose decoded images are checked.
    """

    name: str
    sha256: str | None
    gzipped: bool = False
    download: str | None = None


@dataclass(frozen=True)
class Where:
    """What a source may use: the user's cache, the mirror folder if there is one, and how to show progress."""

    cache: Path
    mirror: Path | None = None
    progress: bool = False
    attempts: int = 3
    pause: float = 1.0  # seconds before the second attempt, doubled before each further one


@runtime_checkable
class Source(Protocol):
    """Gives the contents of its files by name and what the card calls the source, or raises SourceError."""

    @property
    def label(self) -> str: ...
    @property
    def files(self) -> Sequence[File]: ...
    def read(self, where: Where) -> tuple[dict[str, bytes], str]: ...


def obtain(name: str, sources: Sequence[Source], where: Where) -> tuple[dict[str, bytes], str]:
    """The contents of a data set's files from the first source that gives all of them, and that source's label.

    Raises UserError that names every source and why it failed.
    """
    reasons = []
    for source in sources:
        try:
            return source.read(where)
        except SourceError as error:
            reasons.append(f"{source.label} ({error})")
    raise UserError(
        f"no source gives {name}: tried {', then '.join(reasons)}",
        "one source whose files have the SHA-256 that the repository states",
        "connect to the network, or set FOURLENSES_MIRROR to a folder that holds the files (data/README.md)",
    )


@dataclass(frozen=True)
class Mirror:
    """Files in a folder of the user's mirror directory."""

    folder: str
    files: tuple[File, ...]
    label: str = "mirror directory"

    def read(self, where: Where) -> tuple[dict[str, bytes], str]:
        if where.mirror is None:
            raise SourceError("FOURLENSES_MIRROR is not set")
        folder = where.mirror / self.folder
        return {file.name: read_checked(file, folder / file.name) for file in self.files}, self.label


@dataclass(frozen=True)
class Package:
    """Files that an installed Python package ships, by their path from the folder of the package."""

    package: str
    distribution: str  # the name under which it is installed
    files: tuple[File, ...]

    @property
    def label(self) -> str:
        return f"{self.distribution} (embedded)"

    def read(self, where: Where) -> tuple[dict[str, bytes], str]:
        spec = importlib.util.find_spec(self.package)  # finds its folder without the seconds of an import
        if spec is None or not spec.submodule_search_locations:
            raise SourceError("it is not installed")
        folder = Path(spec.submodule_search_locations[0])
        return {file.name: read_checked(file, folder / file.name) for file in self.files}, self.label


@dataclass(frozen=True)
class Together:
    """Several sources, all of which are needed."""

    sources: tuple[Source, ...]

    @property
    def label(self) -> str:
        return " and ".join(source.label for source in self.sources)

    @property
    def files(self) -> tuple[File, ...]:
        return tuple(file for source in self.sources for file in source.files)

    def read(self, where: Where) -> tuple[dict[str, bytes], str]:
        contents = [source.read(where)[0] for source in self.sources]
        return {name: content for one in contents for name, content in one.items()}, self.label


@runtime_checkable
class Fetched(Source, Protocol):
    """A source whose files are kept in the folder `key` of the cache."""

    @property
    def key(self) -> str: ...


def cached(
    source: Fetched, where: Where, download: Callable[[Sequence[File], Path], None]
) -> tuple[dict[str, bytes], str]:
    """The contents of a source's files in the cache, where `download` puts those that are not there yet, with retries.

    Sources that share a cache folder share its files; the label is that of the source which brought them.
    Raises SourceError once every attempt has failed; OSError if the cache cannot be written to.
    """
    from filelock import FileLock

    folder = where.cache / source.key
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder / ".lock"):
        note = folder / "source.txt"
        contents, missing = _read_cache(source.files, folder)
        for attempt in range(where.attempts if missing else 0):
            if attempt:
                time.sleep(where.pause * 2 ** (attempt - 1))
            try:
                download(missing, folder)
                contents |= {file.name: read_checked(file, folder / file.name) for file in missing}
                note.write_text(source.label)
                missing = []
                break
            except SourceError as error:
                reason = error
            if reason.final:
                break
            good, missing = _read_cache(missing, folder)
            contents |= good
        if missing:
            raise reason
        return contents, note.read_text() if note.exists() else source.label


def _read_cache(files: Sequence[File], folder: Path) -> tuple[dict[str, bytes], list[File]]:
    """The contents that are good, and the files that are not there or were bad, which are deleted."""
    contents, missing = {}, []
    for file in files:
        try:
            contents[file.name] = read_checked(file, folder / file.name)
        except SourceError:
            (folder / file.name).unlink(missing_ok=True)
            missing.append(file)
    return contents, missing


def read_checked(file: File, path: Path) -> bytes:
    """The content of a file, gunzipped if it is gzipped; raises SourceError unless it has the SHA-256 it should."""
    try:
        if path.stat().st_size > MAX_BYTES:
            raise SourceError(f"{file.name} has more than {MAX_BYTES} bytes")
        opener = gzip.open if file.gzipped else open
        with opener(path, "rb") as stream:
            content = stream.read(MAX_BYTES + 1)
    except FileNotFoundError:
        raise SourceError(f"{file.name} is not there") from None
    except (OSError, EOFError, zlib.error) as error:
        raise SourceError(f"{file.name} cannot be read: {error}") from None
    if len(content) > MAX_BYTES:
        raise SourceError(f"{file.name} unpacks to more than {MAX_BYTES} bytes")
    digest = hashlib.sha256(content).hexdigest()
    if file.sha256 is not None and digest != file.sha256:
        raise SourceError(f"{file.name} has the SHA-256 {digest[:12]}..., not {file.sha256[:12]}...")
    return content
