"""Writing: the ending decides, raw values come back exactly, and nonsense is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow.csv
import pyarrow.parquet
import pytest
import torch
from PIL import Image

from lucid.data import load, to_pixels, write
from lucid.data.split import ResidentSplit
from lucid.models import DataProtocol

GREY = DataProtocol(name="g", kind="image", shape=(1, 6, 5), levels=256, reading={"layout": "NHW"})
RGB = DataProtocol(name="c", kind="image", shape=(3, 6, 5), levels=256, reading={"layout": "NHWC"})
TABLE = DataProtocol(name="t", kind="table", shape=(2,), columns=("a", "b"))
SERIES = DataProtocol(name="s", kind="series", shape=(1, 4), reading={"layout": "NT"})


def values(protocol: DataProtocol, n: int = 7) -> torch.Tensor:
    return torch.randint(0, 256, (n, *protocol.shape), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(
    ("protocol", "shape"), [(GREY, (7, 6, 5)), (RGB, (7, 6, 5, 3)), (SERIES, (7, 4)), (TABLE, (7, 2))]
)
def test_arrays_are_written_in_the_layout_the_data_had(
    tmp_path: Path, protocol: DataProtocol, shape: tuple[int, ...]
) -> None:
    x = values(protocol)
    write(x, tmp_path / "x.npy", protocol)
    write(x, tmp_path / "x.npz", protocol)
    found = np.load(tmp_path / "x.npy")
    assert (found.shape, found.dtype) == (shape, np.uint8)
    with np.load(tmp_path / "x.npz") as archive:
        assert np.array_equal(archive["x"], found)
    back = load(found, kind=protocol.kind, levels=256)
    assert isinstance(back.train, ResidentSplit)
    assert sorted(back.train._store.values.flatten(1).tolist()) == sorted(x.flatten(1).tolist())


@pytest.mark.parametrize("protocol", [GREY, RGB])
def test_a_folder_holds_each_image_exactly(tmp_path: Path, protocol: DataProtocol) -> None:
    x = values(protocol, 11)
    write(x, f"{tmp_path}/out/", protocol)
    names = sorted(p.name for p in (tmp_path / "out").iterdir())
    assert names == [f"{i:02d}.png" for i in range(11)]
    for name, one in zip(names, x, strict=True):
        with Image.open(tmp_path / "out" / name) as image:
            assert np.array_equal(np.asarray(image).reshape(6, 5, -1), one.movedim(0, -1).numpy())


def test_a_sheet_holds_the_images_row_by_row(tmp_path: Path) -> None:
    x = values(GREY, 5)
    write(x, tmp_path / "x.png", GREY)
    with Image.open(tmp_path / "x.png") as image:
        sheet = np.asarray(image)
    assert sheet.shape == (2 * 6 + 2, 3 * 5 + 2 * 2)
    assert np.array_equal(sheet[:6, 7:12], x[1, 0].numpy())
    assert np.array_equal(sheet[8:, :5], x[3, 0].numpy())
    assert bool((sheet[8:, 14:] == 255).all())


def test_rows_are_written_with_their_names(tmp_path: Path) -> None:
    x = torch.tensor([[0.1, 2.0], [3.0, -4.5]], dtype=torch.float64)
    write(x, tmp_path / "x.csv", TABLE)
    write(x, tmp_path / "x.parquet", TABLE)
    for table in (pyarrow.csv.read_csv(tmp_path / "x.csv"), pyarrow.parquet.read_table(tmp_path / "x.parquet")):
        assert table.to_pydict() == {"a": [0.1, 3.0], "b": [2.0, -4.5]}
    write(torch.zeros(2, 3), tmp_path / "z.csv")
    assert pyarrow.csv.read_csv(tmp_path / "z.csv").column_names == ["x0", "x1", "x2"]
    write(torch.zeros(2, 1, 4), tmp_path / "s.csv", SERIES)
    assert pyarrow.csv.read_csv(tmp_path / "s.csv").num_columns == 4


def test_labels_are_a_last_column(tmp_path: Path) -> None:
    write(torch.zeros(2, 1), tmp_path / "z.csv", labels=["cat", "dog"])
    assert pyarrow.csv.read_csv(tmp_path / "z.csv").to_pydict() == {"x0": [0, 0], "label": ["cat", "dog"]}


def test_black_and_white_are_what_the_protocol_says() -> None:
    def pixels(x: list[float], **protocol) -> list[int]:
        p = DataProtocol(name="p", kind="image", shape=(1, 1, len(x)), **protocol)
        return to_pixels(torch.tensor(x).reshape(1, 1, 1, -1), p).flatten().tolist()

    assert pixels([0, 8, 16], levels=17) == [0, 128, 255]
    assert pixels([0.0, 0.5, 1.0, 1.01], binarisation="none") == [0, 128, 255, 255]
    assert pixels([-3.0, 7.0, 17.0], shift=-3.0, scale=20.0, reading={"scaling": "unit"}) == [0, 128, 255]


def test_nothing_is_left_of_a_file_that_failed(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="columns must have 3 names"):
        write(torch.zeros(2, 3), tmp_path / "z.csv", columns=["one"])
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("protocol", "shape", "name", "error", "message"),
    [
        (GREY, (2, 1, 6, 5), "x.csv", ValueError, "which an image is not: write .npy, .npz or .png"),
        (TABLE, (2, 2), "x.png", ValueError, "pictures are for images, and these are a table"),
        (None, (2, 2), "x.png", ValueError, "pictures are for images, and these are numbers"),
        (GREY, (2, 1, 6, 5), "x.jpg", ValueError, "the ending must be .npy"),
        (GREY, (2, 1, 6, 5), "no/x.npy", FileNotFoundError, "there is no folder"),
        (GREY, (2, 1, 5, 6), "x.npy", ValueError, r"\(1, 5, 6\) an example; the protocol says \(1, 6, 5\)"),
        (GREY, (0, 1, 6, 5), "x.npy", ValueError, "at least one example"),
        (GREY, (2, 1, 6, 5), "", FileExistsError, "is there already: name a new folder"),
    ],
)
def test_nonsense_is_refused(tmp_path: Path, protocol, shape, name, error, message) -> None:
    with pytest.raises(error, match=message):
        write(torch.zeros(shape), f"{tmp_path}/{name}", protocol)


def test_pictures_need_to_know_white(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"nothing says which value is black .* 100% lie outside"):
        write(torch.full((2, 1, 2, 2), 7.0), tmp_path / "x.png", DataProtocol(name="p", kind="image", shape=(1, 2, 2)))
    with pytest.raises(ValueError, match="these images 1000 levels"):
        write(torch.zeros(2, 1, 2, 2), tmp_path / "x.png", DataProtocol("p", "image", (1, 2, 2), levels=1000))
    with pytest.raises(ValueError, match=r"these images 2: write .npy"):
        write(torch.zeros(2, 2, 2, 2), tmp_path / "x.png", DataProtocol("p", "image", (2, 2, 2)))
