"""Data sets known by name: digits, mnist, fashion-mnist, cifar10. A new one is an entry in `_SETS` and a reader."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from lucid.data import download
from lucid.data.files import read_idx
from lucid.data.found import Found, Options

__all__ = ["NAMES", "read_named_set"]

_DIGITS = tuple(str(n) for n in range(10))


@dataclass(frozen=True)
class _Archive:
    """A file as it is published, where (the first that answers), and what is inside with its sha256."""

    name: str
    homes: tuple[str, ...]
    members: dict[str, str]


@dataclass(frozen=True)
class _Set:
    """A data set of files. `habit`: how many of the last training examples the field holds out for validation."""

    archives: tuple[_Archive, ...]
    habit: int
    classes: tuple[str, ...]
    read: Callable[[dict[str, bytes]], Found]


def _idx(folder: dict[str, bytes]) -> Found:
    """Images and labels of MNIST's four files."""
    parts = ("train", "t10k")
    images = [read_idx(Path(name), folder[name]) for name in (f"{part}-images-idx3-ubyte" for part in parts)]
    labels = [read_idx(Path(name), folder[name]) for name in (f"{part}-labels-idx1-ubyte" for part in parts)]
    given = {"train": len(images[0]), "test": len(images[1])}
    x = torch.from_numpy(np.concatenate(images))
    return Found("", x, np.concatenate(labels), given, kind="image", layout="NHW", levels=256)


def _cifar(folder: dict[str, bytes]) -> Found:
    """Records of a label byte and 3,072 bytes, channels first."""
    names = [*(f"data_batch_{i}.bin" for i in range(1, 6)), "test_batch.bin"]
    records = np.concatenate([np.frombuffer(folder[name], np.uint8).reshape(-1, 3073) for name in names])
    x = torch.from_numpy(records[:, 1:].reshape(-1, 3, 32, 32))
    given = {"train": 50_000, "test": 10_000}
    return Found("", x, records[:, 0], given, kind="image", layout="NCHW", levels=256)


def _gzipped(homes: tuple[str, ...], digests: dict[str, str]) -> tuple[_Archive, ...]:
    return tuple(
        _Archive(f"{name}.gz", tuple(f"{home}/{name}.gz" for home in homes), {name: digest})
        for name, digest in digests.items()
    )


_SETS = {
    "mnist": _Set(
        _gzipped(
            ("https://ossci-datasets.s3.amazonaws.com/mnist", "https://storage.googleapis.com/cvdf-datasets/mnist"),
            {
                "train-images-idx3-ubyte": "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
                "train-labels-idx1-ubyte": "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
                "t10k-images-idx3-ubyte": "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
                "t10k-labels-idx1-ubyte": "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
            },
        ),
        habit=10_000,
        classes=_DIGITS,
        read=_idx,
    ),
    "fashion-mnist": _Set(
        _gzipped(
            ("http://fashion-mnist.s3-website.eu-central-1.amazonaws.com",),
            {
                "train-images-idx3-ubyte": "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
                "train-labels-idx1-ubyte": "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
                "t10k-images-idx3-ubyte": "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
                "t10k-labels-idx1-ubyte": "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
            },
        ),
        habit=10_000,
        classes=(
            *("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat"),
            *("Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"),
        ),
        read=_idx,
    ),
    "cifar10": _Set(
        (
            _Archive(
                "cifar-10-binary.tar.gz",
                ("https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz",),
                {
                    "data_batch_1.bin": "cee916563c9f80d84e3cc88e17fdc0941787f1244f00a67874d45b261883ada5",
                    "data_batch_2.bin": "a591ca11fa1708a91ee40f54b3da4784ccd871ecf2137de63f51ada8b3fa57ed",
                    "data_batch_3.bin": "bbe8596564c0f86427f876058170b84dac6670ddf06d79402899d93ceea26f67",
                    "data_batch_4.bin": "014e562d6e23c72197cc727519169a60359f5eccd8945ad5a09d710285ff4e48",
                    "data_batch_5.bin": "755304fc0b379caeae8c14f0dac912fbc7d6cd469eb67a1029a08a39453a9add",
                    "test_batch.bin": "8e2eb146ae340b09e24670f29cabc6326dba54da8789dab6768acf480273f65b",
                },
            ),
        ),
        habit=5_000,
        classes=("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"),
        read=_cifar,
    ),
}

NAMES: tuple[str, ...] = ("digits", *_SETS)


def read_named_set(name: str, options: Options) -> Found:
    """A data set known by name, from its folder under `$LUCID_DATA` or its public home.

    Raises:
        FileNotFoundError: If it is not there and cannot be downloaded; the message says what to put where.
        ValueError: If a file is not what it should be.
    """
    options.only(f"the data set {name!r}")
    if name == "digits":
        return _digits()
    described = _SETS[name]
    folder = download.root() / name
    found = described.read(
        {
            member: content
            for archive in described.archives
            for member, content in _contents(name, archive, folder, options)
        }
    )
    return replace(found, name=name, classes=described.classes, habit=described.habit, described=name)


def _digits() -> Found:
    from sklearn.datasets import load_digits

    bunch: Any = load_digits()
    return Found(
        name="digits",
        x=torch.from_numpy(bunch.images.astype(np.uint8)),
        labels=bunch.target,
        kind="image",
        layout="NHW",
        levels=17,
        classes=_DIGITS,
        described="digits",
    )


def _contents(name: str, archive: _Archive, folder: Path, options: Options) -> list[tuple[str, bytes]]:
    """The checked bytes of what an archive holds; unpacked or downloaded first where it is not there."""
    if not all((folder / member).is_file() for member in archive.members):
        if not (folder / archive.name).is_file():
            _download(name, archive, folder, options)
        download.unpack(folder / archive.name, archive.members, folder)
    return [(member, download.checked(folder / member, digest)) for member, digest in archive.members.items()]


def _download(name: str, archive: _Archive, folder: Path, options: Options) -> None:
    failures: list[str] = []
    for url in archive.homes:
        try:
            download.fetch(url, folder / archive.name, options.progress)
        except OSError as error:
            failures.append(f"{url} ({getattr(error, 'reason', None) or error})")
        else:
            return
    files = " and ".join(filter(None, (", ".join([*archive.members][:-1]), [*archive.members][-1])))
    raise FileNotFoundError(
        f"{name} is not in {str(folder)!r} and could not be downloaded from {'; '.join(failures)}. Put "
        f"{archive.name}, or {files} as it holds them, into {str(folder)!r} ($LUCID_DATA names the folder above)"
    )
