"""From what a person names to inputs: files, folders, data sets."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from lucid.codec.inputs.array_files import ArrayFile
from lucid.codec.inputs.images import Images
from lucid.codec.inputs.named import NamedPart, is_named
from lucid.codec.inputs.npz import NpzFile
from lucid.codec.inputs.source import Source
from lucid.codec.inputs.tables import TableFile
from lucid.codec.layout import DataLayout
from lucid.data.found import listing
from lucid.data.named import NAMES

__all__ = ["open_inputs"]

_KINDS = ".npy, .npz, idx (…-ubyte), .csv, .parquet, folders of images and images by themselves"


def open_inputs(names: Sequence[str], data: DataLayout) -> list[Source]:
    """The inputs, known to fit the model as far as can be said without reading them through.

    Args:
        names: Paths, or names of data sets such as "mnist:test".
        data: What the model codes.

    Raises:
        FileNotFoundError: If there is nothing of that name.
        ValueError: If one cannot be compressed with the model, or two have the same name.
    """
    sources: list[Source] = []
    loose: dict[str, Path] = {}
    for name in names:
        path = Path(name)
        if is_named(name):
            sources.append(NamedPart(name, data))
        elif not path.exists():
            raise FileNotFoundError(
                f"there is no file or folder {name!r}, and no data set of that name: the names are {', '.join(NAMES)}, "
                "with a part, as in mnist:test"
            )
        elif path.is_file() and _is_image(path):
            if path.name in loose:
                raise ValueError(_twice(path.name))
            loose[path.name] = path
        else:
            sources.append(_open(path, data))
    if loose:
        sources.append(Images("", loose, data))
    taken = [*(source.name for source in sources if source.name), *loose]
    twice = sorted({name for name in taken if taken.count(name) > 1})
    if twice:
        raise ValueError(_twice(listing(twice)))
    return sources


def _twice(name: str) -> str:
    return f"two inputs are called {name}: they would come back under one name. Compress them one by one, or rename one"


def _open(path: Path, data: DataLayout) -> Source:
    if path.is_dir():
        return Images.of_folder(path, data)
    if not path.is_file():
        raise ValueError(f"{str(path)!r} is neither a file nor a folder")
    if path.suffix in (".csv", ".parquet"):
        return TableFile(path, data)
    if path.suffix == ".npz":
        return NpzFile(path, data)
    if path.suffix == ".npy" or path.name.removesuffix(".gz").endswith(("ubyte", ".idx")):
        return ArrayFile(path, data)
    raise ValueError(
        f"{str(path)!r} has an ending that lucid does not compress: it takes {_KINDS}. A folder may hold any files; "
        "those the model does not know come along as they are"
    )


def _is_image(path: Path) -> bool:
    from PIL import Image

    Image.init()
    return path.suffix.lower() in Image.registered_extensions()
