"""Files of a Debian package, had without root and without installing it."""

import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from fourlenses.artifacts import atomic_path
from fourlenses.errors import UserError
from fourlenses.images.archives import read_archive
from fourlenses.images.sources import File, SourceError, Where, cached


@dataclass(frozen=True)
class DebianPackage:
    """Files in a folder of a Debian package, downloaded and unpacked without root, nothing installed."""

    package: str
    folder: str
    key: str  # the folder of the cache where the files are kept
    files: tuple[File, ...]

    @property
    def label(self) -> str:
        return f"Debian package {self.package}"

    def read(self, where: Where) -> tuple[dict[str, bytes], str]:
        return cached(self, where, self._download)

    def _download(self, wanted: Sequence[File], into: Path) -> None:
        with tempfile.TemporaryDirectory() as scratch:
            _command(["apt-get", "download", "-q", self.package], scratch)
            packages = list(Path(scratch).glob("*.deb"))
            if len(packages) != 1:
                raise SourceError(f"apt-get gave {len(packages)} packages")
            names = {f"{self.folder}/{file.name}" for file in wanted}
            tar = _command(["dpkg-deb", "--fsys-tarfile", str(packages[0])], scratch)
        try:
            members = read_archive(tar, names.__contains__)
        except UserError as error:
            raise SourceError(str(error)) from None
        for name, content in members.items():
            with atomic_path(into / Path(name).name) as temporary:
                temporary.write_bytes(content)


def _command(command: list[str], folder: str) -> bytes:
    try:
        return subprocess.run(command, cwd=folder, capture_output=True, check=True, timeout=300).stdout
    except FileNotFoundError:
        raise SourceError(f"{command[0]} is not installed") from None
    except subprocess.TimeoutExpired:
        raise SourceError(f"{command[0]} took more than 300 s") from None
    except subprocess.CalledProcessError as error:
        lines = error.stderr.decode(errors="replace").strip().splitlines()
        raise SourceError(lines[-1] if lines else f"{command[0]} failed") from None
