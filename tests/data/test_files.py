"""Arrays in files: what was written is what is read, and labels find their examples."""

from __future__ import annotations

import gzip
import struct
from pathlib import Path

import numpy as np
import pytest
import torch

from lucid.data import load
from lucid.data.files import read_idx
from lucid.io import write_tensors

IDX_CODES = {"u1": 8, "i1": 9, ">i2": 11, ">i4": 12, ">f4": 13, ">f8": 14}


def idx_bytes(array: np.ndarray, dtype: str = "u1") -> bytes:
    """An idx file, by the format's description."""
    header = bytes([0, 0, IDX_CODES[dtype], array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape)
    return header + array.astype(dtype).tobytes()


def all_rows(data) -> torch.Tensor:
    """The examples of all parts in the order of the file."""
    parts = (data.train, data.validation, data.test)
    order = torch.cat([part.rows for part in parts]).argsort()
    return torch.cat([part.raw for part in parts])[order]


@pytest.mark.parametrize("dtype", ["u1", "i2", "i8", "f2", "f4", "f8", ">f4", "?"])
def test_npy_is_read_as_written(tmp_path: Path, dtype: str) -> None:
    x = np.random.default_rng(0).integers(0, 2, (20, 3)).astype(dtype)
    np.save(tmp_path / "x.npy", x)
    levels = None if "f" in dtype or dtype == "?" else 2
    found = all_rows(load(tmp_path / "x.npy", levels=levels))
    assert torch.equal(found.double(), torch.from_numpy(x.astype("f8")))


@pytest.mark.parametrize("dtype", list(IDX_CODES))
def test_idx_is_read_as_written(tmp_path: Path, dtype: str) -> None:
    x = np.random.default_rng(0).integers(0, 100, (20, 3, 2)).astype(dtype)
    (tmp_path / "x-idx3-ubyte").write_bytes(idx_bytes(x, dtype))
    assert np.array_equal(read_idx(tmp_path / "x-idx3-ubyte"), x)


@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_idx_with_its_file_of_labels(tmp_path: Path, suffix: str) -> None:
    pack = gzip.compress if suffix else bytes
    x = np.random.default_rng(0).integers(0, 256, (20, 5, 6))
    (tmp_path / f"x-idx3-ubyte{suffix}").write_bytes(pack(idx_bytes(x)))
    (tmp_path / f"y-idx1-ubyte{suffix}").write_bytes(pack(idx_bytes(x[:, 0, 0])))
    data = load(tmp_path / f"x-idx3-ubyte{suffix}", labels=str(tmp_path / f"y-idx1-ubyte{suffix}"))
    assert data.protocol.shape == (1, 5, 6)
    assert data.train.labels is not None
    assert data.train.labels.tolist() == data.train.raw[:, 0, 0, 0].tolist()


@pytest.mark.parametrize("ending", [".npz", ".safetensors"])
def test_named_arrays_are_chosen_by_key(tmp_path: Path, ending: str) -> None:
    rng = np.random.default_rng(0)
    arrays = {
        "x_train": rng.normal(size=(30, 4)).astype("f4"),
        "y_train": np.arange(30),
        "x_test": rng.normal(size=(10, 4)).astype("f4"),
        "y_test": np.arange(10) + 100,
    }
    path = tmp_path / f"all{ending}"
    if ending == ".npz":
        np.savez_compressed(path, **arrays)
    else:
        write_tensors(path, {name: torch.from_numpy(array) for name, array in arrays.items()})
    one = load(path, key="x_train", labels="y_train")
    assert torch.equal(all_rows(one), torch.from_numpy(arrays["x_train"]))
    assert one.source == {"source": str(path), "key": "x_train", "labels": "y_train"}
    keys, labels = {"train": "x_train", "test": "x_test"}, {"train": "y_train", "test": "y_test"}
    both = load(path, key=keys, labels=labels)
    assert torch.equal(both.test.raw, torch.from_numpy(arrays["x_test"]))
    assert both.test.labels is not None
    assert both.test.labels.tolist() == list(range(100, 110))
    again = load(**both.source)
    assert torch.equal(again.train.tensor(), both.train.tensor())


def test_a_single_array_needs_no_key(tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", pictures=np.zeros((20, 2)), y=np.arange(20))
    assert load(tmp_path / "x.npz", labels="y").protocol.shape == (2,)


def test_files_as_parts(tmp_path: Path) -> None:
    for i, name in enumerate(("a", "b")):
        np.save(tmp_path / f"{name}.npy", np.full((20, 2), float(i)))
    data = load({"train": tmp_path / "a.npy", "test": tmp_path / "b.npy"})
    assert float(data.test.raw.unique()) == 1.0
    assert data.source == {"source": {"train": str(tmp_path / "a.npy"), "test": str(tmp_path / "b.npy")}}


def test_nothing_is_unpickled(tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self):
            return (Path.touch, (tmp_path / "sprung",))

    np.save(tmp_path / "x.npy", np.array([Trap()], dtype=object), allow_pickle=True)
    np.savez(tmp_path / "x.npz", x=np.array([Trap()], dtype=object))
    for name in ("x.npy", "x.npz"):
        with pytest.raises(ValueError, match="holds pickled Python objects, which are never loaded"):
            load(tmp_path / name)
    assert not (tmp_path / "sprung").exists()
