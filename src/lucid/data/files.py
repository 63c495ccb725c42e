"""Arrays in files: .npy, .npz, .safetensors and idx. Nothing is unpickled; sizes are checked before memory is taken.

What is large, or what the user says, is not read but left where it lies: a `DiskArray`.
"""

from __future__ import annotations

import gzip
import math
import struct
import zipfile
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np
from torch import Tensor

from lucid.data.found import Found, Options, check_memory
from lucid.data.labels import as_labels
from lucid.data.mapped import left_in_file
from lucid.data.on_disk import Region
from lucid.data.values import as_tensor

__all__ = ["array_reader", "idx_region", "npy_region", "npz_shapes", "read_idx", "read_npy", "read_npz"]

_SAFETENSORS_TYPES = {
    "BOOL": "?",
    "U8": "u1",
    "I8": "i1",
    "U16": "<u2",
    "I16": "<i2",
    "U32": "<u4",
    "I32": "<i4",
    "U64": "<u8",
    "I64": "<i8",
    "F16": "<f2",
    "BF16": "<i2",
    "F32": "<f4",
    "F64": "<f8",
}
_IDX_TYPES = {8: "u1", 9: "i1", 11: ">i2", 12: ">i4", 13: ">f4", 14: ">f8"}


def array_reader(path: Path) -> Callable[[Path, Options], Found] | None:
    """The reader for the ending of a path; None if it is not a file of arrays."""
    name = path.name.removesuffix(".gz")
    if path.suffix == ".npy" or name.endswith(("ubyte", ".idx")):
        return _read_single
    return _read_named if path.suffix in (".npz", ".safetensors") else None


def _read_single(path: Path, options: Options) -> Found:
    """A file that holds one array; its labels are in another such file."""
    options.only(f"a file with one array, {path.name!r}", "labels", "layout", "in_memory")
    find = (npy_region if path.suffix == ".npy" else idx_region) if path.suffix != ".gz" else None
    if find is None and options.in_memory is False:
        raise ValueError(f"in_memory=False leaves an array in its file, and {path.name!r} is compressed: unpack it")
    x = None if find is None else left_in_file(path.name, find(path), options)
    if x is None:
        x = as_tensor(_one_array(path), repr(str(path)))
    if x.dim() == 1 and path.suffix != ".npy":
        raise ValueError(
            f"{str(path)!r} holds {len(x)} single numbers, as files of labels do; give the file of the data"
        )
    labels = options.labels
    if labels is not None:
        labels = _one_array(Path(labels)) if isinstance(labels, str) else labels
        labels = as_labels(labels, len(x) if x.dim() else 0)
    return Found(name=path.name.split(".")[0], x=x, labels=labels, described=str(path))


def _one_array(path: Path) -> np.ndarray[Any, Any]:
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {str(path)!r}")
    return read_npy(path) if path.suffix == ".npy" else read_idx(path)


def _read_named(path: Path, options: Options) -> Found:
    """A file that holds arrays by name."""
    options.only(f"a file of named arrays, {path.name!r}", "key", "labels", "layout", "in_memory")
    if path.suffix == ".npz" and options.in_memory is False:
        raise ValueError(
            f"in_memory=False leaves an array in its file, and {path.name!r} is an archive: save it as .npy"
        )
    shapes = npz_shapes(path) if path.suffix == ".npz" else _safetensors_shapes(path)
    if not shapes:
        raise ValueError(f"{str(path)!r} holds no arrays")
    labels = options.labels
    key = options.key if options.key is not None else _only_key(path, {k: s for k, s in shapes.items() if k != labels})
    for name, option in ((key, "key"), (labels, "labels")):
        if isinstance(name, str) and name not in shapes:
            raise ValueError(f"{option}={name!r} is not in {str(path)!r}; it holds {_contents(shapes)}")
    x = left_in_file(path.name, safetensors_region(path, key), options) if path.suffix == ".safetensors" else None
    if x is None:
        read = read_npz if path.suffix == ".npz" else _read_safetensors
        arrays = read(path, [name for name in (key, labels) if isinstance(name, str)])
        x = as_tensor(arrays[key], f"{key!r} of {str(path)!r}")
        labels = arrays[labels] if isinstance(labels, str) else labels
    elif isinstance(labels, str):
        labels = _read_beside(path, labels)
    if labels is not None:
        labels = as_labels(labels, len(x) if x.dim() else 0)
    return Found(name=path.stem, x=x, labels=labels, described=str(path))


def _only_key(path: Path, shapes: Mapping[str, tuple[int, ...]]) -> str:
    if len(shapes) == 1:
        return next(iter(shapes))
    raise ValueError(
        f"{str(path)!r} holds {len(shapes)} arrays: {_contents(shapes)}. Choose one, key='…', or say which part each "
        "is, "
        "key={'train': '…', 'test': '…'}; labels='…' names the array of labels"
    )


def _contents(shapes: Mapping[str, tuple[int, ...]]) -> str:
    return ", ".join(f"{name} {shape}" for name, shape in shapes.items())


# .npy and .npz


def read_npy(path: Path) -> np.ndarray[Any, Any]:
    """The array of a .npy file.

    Raises:
        ValueError: If it is damaged, cut short, not such a file, or holds Python objects.
    """
    with path.open("rb") as file:
        header = _check_header(file, path.stat().st_size, repr(str(path)))
        check_memory(header.num_bytes, repr(str(path)))
        file.seek(0)
        return np.lib.format.read_array(file, allow_pickle=False)


class _Header(NamedTuple):
    """What a .npy header says, and where the numbers begin."""

    shape: tuple[int, ...]
    fortran: bool
    dtype: np.dtype[Any]
    offset: int

    @property
    def num_bytes(self) -> int:
        return math.prod(self.shape) * self.dtype.itemsize


def _check_header(file: IO[bytes], size: int, what: str) -> _Header:
    """What a .npy header announces, refused unless the bytes for it are there."""
    try:
        version = np.lib.format.read_magic(file)
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, fortran, dtype = read(file)
    except (ValueError, SyntaxError, EOFError, TypeError, MemoryError, RecursionError) as error:
        raise ValueError(f"{what} is damaged or not a .npy array: {_first_line(error)}") from error
    if dtype.hasobject:
        raise ValueError(f"{what} holds pickled Python objects, which are never loaded: save it with a numeric dtype")
    if any(n < 0 for n in shape):
        raise ValueError(f"{what} announces the shape {shape}: it is damaged")
    needed = math.prod(shape) * dtype.itemsize
    if needed > size - file.tell():
        raise ValueError(f"{what} announces {needed} bytes of numbers and holds {size - file.tell()}: it was cut short")
    return _Header(shape, fortran, dtype, file.tell())


def npy_region(path: Path) -> Region | None:
    """Where the array of a .npy file lies; None if its examples do not lie one after another (Fortran order)."""
    with path.open("rb") as file:
        header = _check_header(file, path.stat().st_size, repr(str(path)))
    if header.fortran and len(header.shape) > 1:
        return None
    return Region.at(path, header.offset, header.dtype, header.shape)


def npz_shapes(path: Path) -> dict[str, tuple[int, ...]]:
    """The arrays of a .npz file: their names and shapes.

    Raises:
        ValueError: If it is damaged, holds Python objects, or more than memory takes.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            shapes: dict[str, tuple[int, ...]] = {}
            for info in archive.infolist():
                name = info.filename.removesuffix(".npy")
                with archive.open(info) as file:
                    what = f"{name!r} of {str(path)!r}"
                    header = _check_header(file, info.file_size, what)
                    check_memory(header.num_bytes, what)
                    shapes[name] = header.shape
            return shapes
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
        raise ValueError(f"{str(path)!r} is damaged or not a .npz file: {_first_line(error)}") from error


def read_npz(path: Path, names: list[str]) -> dict[str, np.ndarray[Any, Any]]:
    """Some arrays of a .npz file.

    Raises:
        ValueError: If it is damaged.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            members = {name.removesuffix(".npy"): name for name in archive.namelist()}
            arrays: dict[str, np.ndarray[Any, Any]] = {}
            for name in names:
                with archive.open(members[name]) as file:
                    arrays[name] = np.lib.format.read_array(file, allow_pickle=False)
            return arrays
    except (zipfile.BadZipFile, zlib.error, EOFError, ValueError) as error:
        raise ValueError(f"{str(path)!r} is damaged: {_first_line(error)}") from error


# .safetensors


def _safetensors_shapes(path: Path) -> dict[str, tuple[int, ...]]:
    from lucid.io import tensor_shapes

    return {name: tuple(shape) for name, shape in tensor_shapes(path).items()}


def safetensors_region(path: Path, key: str) -> Region | None:
    """Where one tensor of a .safetensors file lies; None for the types that PyTorch alone has (bfloat16 excepted)."""
    from lucid.io.places import tensor_places

    place = tensor_places(path)[key]
    dtype = _SAFETENSORS_TYPES.get(place.dtype)
    if dtype is None:
        return None
    return Region.at(path, place.offset, np.dtype(dtype), place.shape, bfloat16=place.dtype == "BF16")


def _read_beside(path: Path, name: str) -> Tensor:
    """One tensor of a .safetensors file, without the large one beside it."""
    region = safetensors_region(path, name)
    if region is None or not region.shape:
        raise TypeError(f"labels={name!r} of {str(path)!r} must be a row of integers")
    return region.read(np.arange(region.shape[0]))


def _read_safetensors(path: Path, names: list[str]) -> dict[str, Tensor]:
    from lucid.io import read_tensors

    tensors = read_tensors(path)
    return {name: tensors[name] for name in names}


# idx, the format of MNIST: two zero bytes, a type, the number of dimensions, the sizes, the values; big-endian.


def read_idx(path: Path, content: bytes | None = None) -> np.ndarray[Any, Any]:
    """The array of an idx file, plain or gzipped.

    Args:
        path: The file.
        content: Its decompressed bytes, if they have been read already.

    Raises:
        ValueError: If it is damaged, cut short or not such a file.
    """
    what = repr(str(path))
    data = _contents_of(path) if content is None else content
    start, dtype, shape = _idx_header(data, len(data), what)
    return np.frombuffer(data, dtype, offset=start).reshape(shape)


def idx_region(path: Path) -> Region:
    """Where the array of an uncompressed idx file lies.

    Raises:
        ValueError: As `read_idx`.
    """
    with path.open("rb") as file:
        start = file.read(4 + 4 * 255)  # the longest header there can be
    return Region.at(path, *_idx_header(start, path.stat().st_size, repr(str(path))))


def _idx_header(data: bytes, size: int, what: str) -> tuple[int, np.dtype[Any], tuple[int, ...]]:
    """Where the values begin, their type and shape; `data` is the beginning of a file of `size` bytes."""
    if len(data) < 4 or data[:2] != b"\0\0" or data[2] not in _IDX_TYPES or not data[3]:
        raise ValueError(f"{what} is not an idx file: it starts with the bytes {data[:4].hex(' ') or '(none)'}")
    start = 4 + 4 * data[3]
    if len(data) < start:
        raise ValueError(f"{what} ends within its header: it was cut short")
    shape = struct.unpack(f">{data[3]}I", data[4:start])
    dtype = np.dtype(_IDX_TYPES[data[2]])
    needed = math.prod(shape) * dtype.itemsize
    if needed != size - start:
        raise ValueError(
            f"{what} announces the shape {shape}, {needed} bytes, and holds {size - start}: it was cut short or damaged"
        )
    return start, dtype, shape


def _contents_of(path: Path) -> bytes:
    if path.suffix != ".gz":
        return path.read_bytes()
    try:
        with gzip.open(path) as file:
            return file.read()
    except (OSError, EOFError, zlib.error) as error:
        raise ValueError(f"{str(path)!r} is damaged or not a gzip file: {_first_line(error)}") from error


def _first_line(error: BaseException) -> str:
    return (str(error) or type(error).__name__).splitlines()[0]
