"""Files from where their publisher serves them: pooch for hash and cache, retries and a size limit of our own."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from fourlenses.images.sources import MAX_BYTES, File, SourceError, Where, cached

SECONDS = (10, 60)  # to connect, and between two packets


@dataclass(frozen=True)
class Download:
    """Files under one address, `url` + the file's name, kept in the cache under `key`."""

    url: str
    key: str
    files: tuple[File, ...]

    @property
    def label(self) -> str:
        return f"download from {self.url}"

    def read(self, where: Where) -> tuple[dict[str, bytes], str]:
        return cached(self, where, self._download(where.progress))

    def _download(self, progress: bool) -> Callable[[Sequence[File], Path], None]:
        def download(wanted: Sequence[File], into: Path) -> None:
            import pooch

            pooch.get_logger().setLevel(logging.ERROR)  # its one line a file would break the progress bar
            for file in wanted:
                url = self.url + file.name
                try:
                    pooch.retrieve(url, file.download, file.name, into, downloader=_downloader(progress))
                except ValueError:  # pooch's word for another hash
                    raise SourceError(f"{file.name} is not the file with the known hash") from None

        return download


def _downloader(progress: bool) -> Callable[[str, str, object], None]:
    def download(url: str, path: str, _: object) -> None:
        import requests
        from tqdm import tqdm

        name = url.rsplit("/", 1)[-1]
        try:
            with requests.get(url, stream=True, timeout=SECONDS) as response:
                if not response.ok:
                    raise SourceError(f"{name}: HTTP {response.status_code}", final=response.status_code < 500)
                if response.headers.get("content-type", "").startswith("text/html"):
                    raise SourceError(f"{name} is an HTML page instead of the file")
                total = int(response.headers.get("content-length", 0))
                bar = tqdm(total=total or None, desc=name, unit="B", unit_scale=True, disable=not progress)
                with bar, open(path, "wb") as file:
                    for block in response.iter_content(1 << 20):
                        bar.update(file.write(block))
                        if bar.n > MAX_BYTES or file.tell() > MAX_BYTES:
                            raise SourceError(f"{name} has more than {MAX_BYTES} bytes", final=True)
        except requests.RequestException as error:
            raise SourceError(f"{name}: {_why(error)}") from None

    return download


def _why(error: BaseException) -> str:
    """The innermost reason of a network error, without the objects that wrap it."""
    while error.__cause__ or error.__context__:
        error = error.__cause__ or error.__context__
    return f"{type(error).__name__}: {error}"
