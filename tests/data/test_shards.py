"""Shards: every example exactly once, in an order that depends on seed and epoch alone."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
import torch
from tests.data.shard_files import all_numbers, encoded, numbers, parquet_shards, picture, tar_of, tar_shards

from lucid.data import Share, load, load_like
from lucid.data.order import Order

SIZES = [10, 0, 23, 1, 30]  # an empty shard, and one smaller than any batch
FORMS = ["npy", "png", "array", "image", "table"]
OPTIONS = {"npy": {"levels": 256}, "array": {"levels": 256}, "table": {"levels": 256}}


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("shards")
    for form in FORMS:
        make = tar_shards if form in ("npy", "png") else parquet_shards
        assert make(root / form, SIZES, form) == 64
    return {form: root / form for form in FORMS}


def train(source: object, form: str, **options: object):
    return load(source, validation=0, test=0, **{**OPTIONS.get(form, {}), **options}).train


@pytest.mark.parametrize("form", FORMS)
def test_every_format_gives_every_example_once(folders: dict[str, Path], form: str) -> None:
    split = train(folders[form], form, shuffle_buffer=16)
    assert split.size == 64
    assert numbers(split.tensor()) == list(range(64))
    one, other = (all_numbers(split.batches(9, seed=1, epoch=e)) for e in (0, 1))
    assert sorted(one) == sorted(other) == list(range(64))
    assert one != other
    raw = split.protocol.to_data(split.tensor())
    expected = torch.from_numpy(np.stack([picture(i) for i in range(64)]))
    assert torch.equal(raw.reshape(expected.shape), expected)


@pytest.mark.parametrize("of", [1, 2, 3, 20])
@pytest.mark.parametrize("workers", [0, 1, 3])
@pytest.mark.parametrize("form", ["npy", "array", "image"])
@pytest.mark.parametrize("start", [0, 3])
def test_processes_and_threads_share_one_order(
    folders: dict[str, Path], form: str, workers: int, of: int, start: int
) -> None:
    """64 examples in batches of 15: the last has 4 rows, so that of 20 processes most have none of it."""
    alone = train(folders[form], form, shuffle_buffer=16, workers=0)
    split = train(folders[form], form, shuffle_buffer=16, workers=workers)
    whole = list(alone.batches(15, seed=5, epoch=2))[start:]
    shares = [list(split.portions(15, seed=5, epoch=2, start=start, share=Share(r, of))) for r in range(of)]
    assert {len(portions) for portions in shares} == {5 - start}
    for number, batch in enumerate(whole):
        here = [portions[number] for portions in shares]
        assert torch.equal(torch.cat([portion.x for portion in here]), batch)
        assert [portion.first for portion in here] == [Share(r, of).rows(len(batch))[0] for r in range(of)]


@pytest.mark.parametrize("binarisation", ["static", "dynamic"])
def test_binarised_bits_belong_to_the_example(folders: dict[str, Path], binarisation: str) -> None:
    split = train(folders["png"], "png", shuffle_buffer=16, binarisation=binarisation)
    whole = list(split.batches(15, seed=5))
    shares = [list(split.portions(15, seed=5, share=Share(r, 3))) for r in range(3)]
    for number, batch in enumerate(whole):
        assert set(batch.unique().tolist()) <= {0.0, 1.0}
        assert torch.equal(torch.cat([portions[number].x for portions in shares]), batch)
    held = load(np.stack([picture(i) for i in range(64)]), validation=0, test=0, levels=256, binarisation=binarisation)
    assert torch.equal(split.tensor(20), held.train.tensor()[:20])
    assert torch.equal(split.tensor(), held.train.tensor())


def test_a_batch_may_be_larger_than_the_buffer(folders: dict[str, Path]) -> None:
    split = train(folders["npy"], "npy", shuffle_buffer=4)
    assert sorted(all_numbers(split.batches(30, seed=0))) == list(range(64))
    assert [len(x) for x in split.batches(30, seed=0, drop_last=True)] == [30, 30]


def test_the_buffer_decides_how_far_examples_move() -> None:
    """Pieces stay whole with a buffer of 1, and every block of positions holds what it held."""
    counts = np.array([5, 0, 6, 5])
    still = [Order(counts, 1, 3, 0).block(i) for i in range(16)]
    pieces = [int(block.pieces[0]) for block in still]
    assert len([1 for a, b in itertools.pairwise(pieces) if a != b]) == 2
    mixed = Order(counts, 4, 3, 0)
    for number in range(4):
        here = {(int(p), int(r)) for p, r in zip(*mixed.block(number), strict=True)}
        assert here == {(int(still[i].pieces[0]), int(still[i].rows[0])) for i in range(4 * number, 4 * number + 4)}


@pytest.mark.parametrize(("counts", "buffer"), [([50], 50), ([1] * 50, 1)])
def test_seed_and_epoch_permute_blocks_and_pieces(counts: list[int], buffer: int) -> None:
    """Of one piece only the block can be permuted, and with a buffer of 1 only the pieces."""
    orders: list[list[tuple[int, int]]] = []
    for seed, epoch in ((0, 0), (0, 1), (1, 0)):
        order = Order(np.array(counts), buffer, seed, epoch)
        blocks = [order.block(number) for number in range(50 // buffer)]
        orders.append([(int(p), int(r)) for block in blocks for p, r in zip(*block, strict=True)])
    assert all(sorted(order) == sorted(orders[0]) for order in orders)
    assert orders[0] != orders[1] != orders[2] != orders[0]


def test_no_work_grows_with_the_number_of_examples() -> None:
    """10⁹ examples in 10⁵ pieces: a block at the far end takes what one at the start does."""
    order = Order(np.full(100_000, 10_000), 8192, 0, 0)
    assert order.size == 10**9
    last = order.block((10**9 - 1) // 8192)
    assert len(last.rows) == 10**9 % 8192
    assert last.rows.max() < 10_000


def test_every_first_order_is_about_as_likely() -> None:
    """Over seeds, each of 4 examples comes first a quarter of the time, within 4 standard errors."""
    firsts = [Order(np.array([2, 2]), 4, seed, 0).block(0) for seed in range(2000)]
    found = np.bincount([int(2 * b.pieces[0] + b.rows[0]) for b in firsts], minlength=4)
    assert np.abs(found - 500).max() < 4 * np.sqrt(2000 * 0.25 * 0.75)


def test_patterns_lists_and_folders_name_the_same_shards(folders: dict[str, Path]) -> None:
    folder = folders["npy"]
    sources = [
        str(folder / "part-{0000..0004}.tar"),
        str(folder / "part-*.tar"),
        [folder / f"part-{i:04d}.tar" for i in range(5)],
        [str(folder / "part-000{0,1}.tar"), str(folder / "part-000[234].tar")],
        [folder],
    ]
    expected = train(folder, "npy").tensor()
    for source in sources:
        assert torch.equal(train(source, "npy").tensor(), expected)


def test_a_source_is_described_so_that_it_can_be_loaded_again(folders: dict[str, Path]) -> None:
    data = load(str(folders["png"] / "part-*.tar"), validation=0, test=0, resize=(8, 8), shuffle_buffer=5, seed=2)
    assert data.source is not None
    again = load(**data.source)
    assert again.protocol == data.protocol
    assert again.source == data.source
    for a, b in zip(data.train.batches(9, seed=1), again.train.batches(9, seed=1), strict=True):
        assert torch.equal(a, b)


def test_parts_come_from_folders_names_or_a_mapping(tmp_path: Path) -> None:
    tar_shards(tmp_path / "a" / "train", [5, 5], "png")
    tar_shards(tmp_path / "a" / "val", [3], "png", first=10)
    tar_shards(tmp_path / "a" / "test", [2], "png", first=13)
    data = load(tmp_path / "a")
    assert [len(split) for split in (data.train, data.validation, data.test)] == [10, 3, 2]
    assert numbers(data.test.tensor()) == [13, 14]
    assert data.protocol.split == "parts given"
    parquet_shards(tmp_path / "b", [6, 4], "image")
    (tmp_path / "b" / "part-0000.parquet").rename(tmp_path / "b" / "train-00000-of-00001.parquet")
    (tmp_path / "b" / "part-0001.parquet").rename(tmp_path / "b" / "test-00000-of-00001.parquet")
    data = load(tmp_path / "b", validation=0)
    assert (len(data.train), data.validation.size, len(data.test)) == (6, 0, 4)
    further = np.stack([picture(i) for i in range(7)])
    data = load({"train": tmp_path / "a" / "train", "validation": further}, test=0)
    assert (len(data.train), len(data.validation)) == (10, 7)
    assert data.source is None


def test_tables_are_standardised_as_in_one_file(tmp_path: Path) -> None:
    import pyarrow as pa
    from pyarrow import parquet

    x = np.random.default_rng(0).normal(3, 2, (50, 3))
    table = pa.table({name: x[:, i] for i, name in enumerate("abc")})
    for i in range(5):
        parquet.write_table(table.slice(10 * i, 10), tmp_path / f"{i}.parquet", row_group_size=4)
    data = load(tmp_path, validation=0, test=0)
    assert data.protocol.columns == ("a", "b", "c")
    assert data.protocol.shift == pytest.approx(x.mean(0))
    assert data.protocol.scale == pytest.approx(x.std(0))
    chosen = load(tmp_path, validation=0, test=0, columns=["c", "a"], scaling="none")
    assert chosen.train.tensor().numpy() == pytest.approx(x[:, [2, 0]], rel=1e-6)


def test_the_key_chooses_a_member_or_a_column(tmp_path: Path) -> None:
    (tmp_path / "t").mkdir()
    members = [
        (f"{i}.{ending}", encoded(np.full((2, 2), value, np.uint8), ending.rpartition(".")[2]))
        for i in range(4)
        for ending, value in (("mask.png", 7), ("PNG".lower() if i % 2 else "jpg", 200))
    ]
    tar_of(tmp_path / "t" / "a.tar", members)
    assert train(tmp_path / "t", "png", key="mask.png").tensor().unique() * 255 == 7
    assert train(tmp_path / "t", "png", key="jpg;png").tensor().shape == (4, 1, 2, 2)
    parquet_shards(tmp_path / "p", [6], "image")
    assert numbers(train(tmp_path / "p" / "part-0000.parquet", "image", key="image").tensor()) == list(range(6))


def test_options_of_images_apply(tmp_path: Path) -> None:
    (tmp_path / "t").mkdir()
    pictures = [np.random.default_rng(i).integers(0, 256, (6 + i, 9, 3), np.uint8) for i in range(4)]
    tar_of(tmp_path / "t" / "a.tar", [(f"{i}.png", encoded(x, "png")) for i, x in enumerate(pictures)])
    data = load(tmp_path / "t", validation=0, test=0, resize=(4, 4), crop="centre", channels="grey")
    assert data.protocol.shape == (1, 4, 4)
    folder = tmp_path / "folder"
    folder.mkdir()
    for i, x in enumerate(pictures):
        (folder / f"{i}.png").write_bytes(encoded(x, "png"))
    same = load(folder, validation=0, test=0, resize=(4, 4), crop="centre", channels="grey")
    assert torch.equal(data.train.tensor(), same.train.tensor())
    assert torch.equal(load_like(tmp_path / "t", data.protocol).tensor(), data.train.tensor())
    assert torch.equal(load_like(folder, data.protocol).tensor(), data.train.tensor())


def test_further_shards_are_read_by_the_protocol(tmp_path: Path, folders: dict[str, Path]) -> None:
    protocol = train(folders["npy"], "npy").protocol
    tar_shards(tmp_path / "more", [3], first=70)
    assert numbers(load_like(tmp_path / "more", protocol).tensor()) == [70, 71, 72]
    with pytest.raises(ValueError, match="the source has no test part"):
        load_like(tmp_path / "more", protocol, part="test")
    tar_of(tmp_path / "more" / "part-0000.tar", [("a.npy", encoded(np.zeros((4, 4), np.uint8), "npy"))])
    with pytest.raises(ValueError, match=r"examples of shape \(1, 4, 4\); the protocol of 'npy' says"):
        load_like(tmp_path / "more", protocol).tensor()


def test_fingerprints_follow_the_values(tmp_path: Path, folders: dict[str, Path]) -> None:
    split = train(folders["npy"], "npy")
    assert split.fingerprint() == train(folders["npy"], "npy", shuffle_buffer=3).fingerprint()
    tar_shards(tmp_path / "other", SIZES, first=1)
    assert split.fingerprint() != train(tmp_path / "other", "npy").fingerprint()


def test_what_took_long_to_count_is_remembered(
    folders: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from lucid.data import counting
    from lucid.data.tar_shards import TarReader

    monkeypatch.setenv("LUCID_DATA", str(tmp_path))
    tar_shards(tmp_path / "t", [4, 5])
    train(tmp_path / "t", "npy")
    assert not (tmp_path / "counts").exists()
    monkeypatch.setattr(counting, "_LONG", 0.0)
    train(tmp_path / "t", "npy")
    (file,) = (tmp_path / "counts").iterdir()
    counted: list[Path] = []
    real = TarReader.counts
    monkeypatch.setattr(TarReader, "counts", lambda self, path: counted.append(path) or real(self, path))
    assert len(train(tmp_path / "t", "npy")) == 9
    assert counted == []
    tar_shards(tmp_path / "t", [4, 6])
    assert len(train(tmp_path / "t", "npy")) == 10
    assert counted
    for damaged in ("", "[1]", '{"a": 3}', file.read_text()[:30]):
        file.write_text(damaged)
        assert len(train(tmp_path / "t", "npy")) == 10
