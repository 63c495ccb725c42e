"""Sets known by name: digits as scikit-learn has them; the others from $LUCID_DATA or a home, checked."""

from __future__ import annotations

import gzip
import hashlib
import io
import tarfile
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits

from lucid.data import download, load, named


def test_digits_are_those_of_scikit_learn() -> None:
    data = load("digits")
    protocol = data.protocol
    assert (protocol.kind, protocol.shape, protocol.levels) == ("image", (1, 8, 8), 17)
    assert (len(data.train), len(data.validation), len(data.test)) == (1437, 180, 180)
    bunch: Any = load_digits()
    rows = data.test.rows.numpy()
    assert np.array_equal(data.test.raw[:, 0].numpy(), bunch.images[rows])
    assert data.test.labels is not None
    assert np.array_equal(data.test.labels.numpy(), bunch.target[rows])
    assert protocol.classes == tuple("0123456789")
    assert data.source == {"source": "digits"}


def test_digits_come_back_from_model_space() -> None:
    data = load("digits")
    assert torch.equal(data.protocol.to_data(data.train.tensor()), data.train.raw)


@pytest.mark.parametrize(
    ("name", "shape", "sizes", "first"),
    [
        ("mnist", (1, 28, 28), (50_000, 10_000, 10_000), [5, 0, 4, 1, 9]),
        ("fashion-mnist", (1, 28, 28), (50_000, 10_000, 10_000), [9, 0, 0, 3, 0]),
        ("cifar10", (3, 32, 32), (45_000, 5_000, 10_000), [6, 9, 9, 4, 1]),
    ],
)
def test_published_sets(name: str, shape: tuple[int, ...], sizes: tuple[int, ...], first: list[int]) -> None:
    if not any((download.root() / name).glob("*")):
        pytest.skip(f"{name} is not in $LUCID_DATA")
    data = load(name)
    assert data.protocol.shape == shape
    assert data.protocol.levels == 256
    assert (len(data.train), len(data.validation), len(data.test)) == sizes
    labels = [split.labels for split in (data.train, data.validation, data.test)]
    assert labels[0] is not None
    assert labels[0][:5].tolist() == first
    assert len(data.protocol.classes) == 10
    assert data.test.labels is not None
    assert data.test.labels.unique().tolist() == list(range(10))


# A small published set, served from this machine


class Handler(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 (the server's own name)
        pass

    def do_GET(self) -> None:
        if self.path.startswith("/short/"):
            self.send_response(200)
            self.send_header("Content-Length", "1000")
            self.end_headers()
            self.wfile.write(b"only this")
            return
        super().do_GET()


@pytest.fixture
def home(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    folder = tmp_path / "home"
    folder.mkdir()
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}", folder
    server.shutdown()
    thread.join()
    server.server_close()


def digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def publish(monkeypatch: pytest.MonkeyPatch, archives: tuple[Any, ...], cache: Path) -> None:
    def read(folder: dict[str, bytes]) -> named.Found:
        x = torch.frombuffer(bytearray(b"".join(folder.values())), dtype=torch.uint8).reshape(-1, 4)
        return named.Found("", x, given={"train": len(x) - 5, "test": 5}, levels=256)

    monkeypatch.setitem(named._SETS, "small", named._Set(archives, 5, (), read))
    monkeypatch.setattr("lucid.data.reading.NAMES", ("small",))
    monkeypatch.setenv("LUCID_DATA", str(cache))


CONTENT = bytes(range(200))


def gzipped(url: str, *more: str) -> tuple[Any, ...]:
    homes = (*(f"{one}/part.gz" for one in more), f"{url}/part.gz")
    return (named._Archive("part.gz", homes, {"part": digest(CONTENT)}),)


def test_a_set_is_downloaded_checked_and_kept(
    home: tuple[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url, folder = home
    (folder / "part.gz").write_bytes(gzip.compress(CONTENT))
    # The first home does not know the file, and the second stops in the middle.
    publish(monkeypatch, gzipped(url, f"{url}/no", f"{url}/short"), tmp_path / "cache")
    seen: list[tuple[str, int, int | None]] = []
    data = load("small", progress=lambda *step: seen.append(step))
    assert len(data.train) == 40
    size = (folder / "part.gz").stat().st_size
    assert seen[-1] == ("part.gz", size, size)
    assert sorted(p.name for p in (tmp_path / "cache" / "small").iterdir()) == ["part", "part.gz"]
    (folder / "part.gz").unlink()
    assert torch.equal(load("small").train.raw, data.train.raw)


def test_an_archive_put_there_by_hand_is_unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for name in ("deep/a.bin", "../escape.bin", "deep/b.bin"):
            info = tarfile.TarInfo(name)
            info.size = 100
            tar.addfile(info, io.BytesIO(CONTENT[:100] if "a" in name[-5:] else CONTENT[100:]))
    members = {"a.bin": digest(CONTENT[:100]), "b.bin": digest(CONTENT[100:])}
    publish(monkeypatch, (named._Archive("all.tar.gz", ("http://127.0.0.1:9/x",), members),), tmp_path / "cache")
    (tmp_path / "cache" / "small").mkdir(parents=True)
    (tmp_path / "cache" / "small" / "all.tar.gz").write_bytes(buffer.getvalue())
    assert len(load("small").train) == 40
    assert not list(tmp_path.rglob("escape.bin"))


def test_offline_the_error_says_what_to_put_where(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    publish(monkeypatch, gzipped("http://127.0.0.1:9"), tmp_path / "cache")
    with pytest.raises(FileNotFoundError) as caught:
        load("small")
    message = str(caught.value)
    assert f"small is not in {str(tmp_path / 'cache' / 'small')!r} and could not be downloaded" in message
    assert "http://127.0.0.1:9/part.gz" in message
    assert "Put part.gz, or part as it holds them, into" in message
    assert not [p for p in (tmp_path / "cache").rglob("*") if p.is_file()]


@pytest.mark.parametrize(
    ("published", "message"),
    [
        (gzip.compress(CONTENT[:-1]), "has sha256 .* and should have"),
        (gzip.compress(CONTENT)[:40], "is damaged"),
        (b"<html>not found</html>", "is damaged"),
    ],
)
def test_a_wrong_download_is_refused(
    home: tuple[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, published: bytes, message: str
) -> None:
    url, folder = home
    (folder / "part.gz").write_bytes(published)
    publish(monkeypatch, gzipped(url), tmp_path / "cache")
    with pytest.raises(ValueError, match=message):
        load("small")
    assert not (tmp_path / "cache" / "small" / "part").exists()


def test_a_changed_file_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    publish(monkeypatch, gzipped("http://127.0.0.1:9"), tmp_path / "cache")
    (tmp_path / "cache" / "small").mkdir(parents=True)
    (tmp_path / "cache" / "small" / "part").write_bytes(CONTENT[::-1])
    with pytest.raises(ValueError, match=r"is damaged or another file: its sha256 is .* Remove it"):
        load("small")
