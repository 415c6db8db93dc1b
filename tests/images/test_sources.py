"""Sources: retries, falling through to the next one, and an error that names all of them. Loopback only."""

import gzip
import re
import threading
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from small_files import listed, mnist_files, picture, pixels, small, tar, write

from fourlenses.errors import UserError
from fourlenses.images import DATASETS, fetch_dataset
from fourlenses.images.download import Download
from fourlenses.images.load import load
from fourlenses.images.sources import File, Mirror, Where, obtain

HTML = b"<!DOCTYPE html><html><body>Sign in</body></html>"


class Server(ThreadingHTTPServer):
    """Answers each path with its list of (status, type, body, stated length), the last one again and again."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.answers, self.asked = {}, []
        self.url = f"http://127.0.0.1:{self.server_port}/"

    def serve(self, name, *bodies, status=200, kind="application/octet-stream", cut=0):
        self.answers.setdefault(f"/{name}", []).extend((status, kind, body, len(body) + cut) for body in bodies)


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        self.server.asked.append(self.path)
        answers = self.server.answers.get(self.path) or [(404, "text/html", HTML, len(HTML))]
        status, kind, body, length = answers.pop(0) if len(answers) > 1 else answers[0]
        self.send_response(status)
        self.send_header("content-type", kind)
        self.send_header("content-length", str(length))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


@pytest.fixture
def server(monkeypatch):
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    server = Server()
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def where(tmp_path):
    return Where(tmp_path / "cache", tmp_path / "mirror", attempts=3, pause=0.001)


FILES = mnist_files(20)
COUNTS = {"train": 20, "test": 10}


def mnist(*sources):
    return replace(DATASETS["mnist"], counts=COUNTS, digest=None, sources=sources)


def test_mirror_is_first_and_the_network_is_not_asked(server, where):
    dataset = mnist(Mirror("mnist", listed(FILES)), Download(server.url, "mnist", listed(FILES)))
    write(where.mirror / "mnist", FILES)
    assert load(dataset, where).source == "mirror directory"
    assert server.asked == []


def test_download_then_cache(server, where):
    dataset = mnist(Mirror("mnist", listed(FILES)), Download(server.url, "mnist", listed(FILES)))
    for name, data in FILES.items():
        server.serve(name, data)
    first = load(dataset, where)
    assert first.source == f"download from {server.url}"
    assert len(server.asked) == 4
    again = load(dataset, where)
    assert (again.digest, again.source) == (first.digest, first.source)
    assert len(server.asked) == 4
    kept = {path.name for path in (where.cache / "mnist").iterdir()}
    assert kept - {".lock"} == {*FILES, "source.txt"}


def test_any_source_gives_the_same_data_set(server, where, tmp_path):
    other_wrapper = {name: gzip.compress(gzip.decompress(data), 1, mtime=7) for name, data in FILES.items()}
    assert other_wrapper != FILES
    write(where.mirror, other_wrapper)
    for name, data in FILES.items():
        server.serve(name, data)
    from_mirror = load(mnist(Mirror("", listed(FILES))), where)
    from_network = load(mnist(Download(server.url, "mnist", listed(FILES))), where)
    assert from_mirror.digest == from_network.digest


def test_a_file_damaged_in_the_cache_is_downloaded_again(server, where):
    dataset = mnist(Download(server.url, "mnist", listed(FILES)))
    for name, data in FILES.items():
        server.serve(name, data)
    digest = load(dataset, where).digest
    damaged = where.cache / "mnist" / "t10k-images-idx3-ubyte.gz"
    damaged.write_bytes(damaged.read_bytes()[:-100])
    assert load(dataset, where).digest == digest
    assert server.asked[4:] == ["/t10k-images-idx3-ubyte.gz"]


NAME = "train-images-idx3-ubyte.gz"
GOOD = FILES[NAME]
FAULTS = {
    "truncated": {"cut": 500, "body": GOOD[:-500]},
    "short": {"body": GOOD[:-500]},
    "corrupt": {"body": GOOD[:3000] + b"!" + GOOD[3001:]},
    "another file": {"body": FILES["t10k-images-idx3-ubyte.gz"]},
    "empty": {"body": b""},
    "HTML": {"body": HTML, "kind": "text/html; charset=utf-8"},
    "HTML in disguise": {"body": HTML},
    "server error": {"body": b"busy", "status": 503},
}


@pytest.mark.parametrize("known", [True, False], ids=["published hash", "content only"])
@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS.keys())
def test_a_bad_answer_is_tried_again(fault, known, server, where):
    files = listed(FILES) if known else tuple(replace(file, download=None) for file in listed(FILES))
    for name, data in FILES.items():
        if name == NAME:
            server.serve(name, fault["body"], **{k: v for k, v in fault.items() if k != "body"})
        server.serve(name, data)
    loaded = load(mnist(Download(server.url, "mnist", files)), where)
    assert loaded.digest == load(small("mnist", FILES, COUNTS, where.mirror), where).digest
    assert server.asked.count(f"/{NAME}") == 2


@pytest.mark.parametrize("known", [True, False], ids=["published hash", "content only"])
@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS.keys())
def test_a_bad_source_falls_through_to_the_next(fault, known, server, where):
    files = listed(FILES) if known else tuple(replace(file, download=None) for file in listed(FILES))
    for name, data in FILES.items():
        body = fault["body"] if name == NAME else data
        server.serve(f"bad/{name}", body, **({k: v for k, v in fault.items() if k != "body"} if name == NAME else {}))
        server.serve(f"good/{name}", data)
    bad, good = (Download(f"{server.url}{folder}/", "mnist", files) for folder in ("bad", "good"))
    assert load(mnist(bad, good), where).source == good.label
    assert server.asked.count(f"/bad/{NAME}") == 3
    other = replace(where, cache=where.cache / "other")
    with pytest.raises(UserError, match=rf"tried download from {server.url}bad/ \({NAME}.*\); expected"):
        load(mnist(bad), other)


def test_not_found_is_not_tried_again(server, where):
    with pytest.raises(
        UserError, match=r"download from http://127.0.0.1:\d+/ \(train-images-idx3-ubyte.gz: HTTP 404\)"
    ):
        load(mnist(Download(server.url, "mnist", listed(FILES))), where)
    assert len(server.asked) == 1


def test_a_download_without_end_is_stopped(server, where, monkeypatch):
    server.serve("huge", bytes(3 << 20))
    monkeypatch.setattr("fourlenses.images.download.MAX_BYTES", 1 << 20)
    with pytest.raises(UserError, match="huge has more than 1048576 bytes"):
        obtain("x", [Download(server.url, "x", (File("huge", "0" * 64),))], where)


@pytest.mark.parametrize(
    ("files", "reason"),
    [
        ({}, "train-images-idx3-ubyte.gz is not there"),
        (FILES | {NAME: GOOD[:-500]}, f"{NAME} cannot be read: .*"),
        (FILES | {NAME: gzip.compress(b"other")}, f"{NAME} has the SHA-256 d9298a10d1b0..., not .*"),
        (FILES | {NAME: HTML}, f"{NAME} cannot be read: Not a gzipped file.*"),
        (FILES | {NAME: GOOD[:3000] + b"!" + GOOD[3001:]}, f"{NAME} (cannot be read|has the SHA-256).*"),
    ],
    ids=["absent", "truncated", "another", "HTML", "corrupt"],
)
def test_bad_mirror(files, reason, where):
    write(where.mirror / "mnist", files)
    with pytest.raises(UserError, match=rf"tried mirror directory \({reason}\); expected one source"):
        load(mnist(Mirror("mnist", listed(FILES))), where)


def test_a_harmful_archive_is_refused_and_writes_nothing(where, tmp_path):
    archive = tar({"cifar10-jpeg75/train/cat/0.jpg": picture(pixels(32, 32, 3)), "../../evil": b"x"})
    dataset = small("cifar10-jpeg75", {"a.tar.xz": archive}, {"train": 1, "test": 0}, where.mirror)
    with pytest.raises(UserError, match=r"archive member '../../evil' points outside the archive"):
        load(dataset, where)
    assert not list(tmp_path.rglob("evil"))


@pytest.mark.parametrize("name", [name for name, dataset in DATASETS.items() if len(dataset.sources) > 1])
def test_without_network_every_source_is_named(name, tmp_path, monkeypatch):
    for variable in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.setenv(variable, "http://127.0.0.1:9")  # nothing listens there
    monkeypatch.setenv("PATH", str(tmp_path))  # no apt-get
    monkeypatch.setattr("time.sleep", lambda _: None)
    with pytest.raises(UserError) as error:
        fetch_dataset(name, cache=tmp_path / "cache", mirror=None, progress=False)
    message = str(error.value)
    assert "\n" not in message
    for source in DATASETS[name].sources:
        assert re.search(re.escape(source.label) + r" \([^()]", message), message
    assert "FOURLENSES_MIRROR is not set" in message
    assert "ConnectionRefusedError" in message
