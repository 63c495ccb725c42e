"""How small lucid's files are: beside their models' bounds, and beside other lossless compressors, on the same images.

    python benchmarks/codec_rate.py [--datasets NAME ...] [--counts 300 10000] [--out DIR] [--json FILE]

For each reference model (`codec_rates/references.py`; trained first if it is not in DIR) and number of test images:

- lucid: the file of `codec.compress`, with everything in it counted but the codec, whose size stands beside it; it is
  decompressed and compared bit for bit. The bound is −ELBO of the float model, four draws an image, ± the error of the
  draws; "excess" is how far the file lies above it.
- gzip, bz2, xz, zstd; PNG, WebP, JPEG XL, FLIF: `codec_rates/peers.py` says how each is used. One that is not installed
  is left out, and said so.

Then models meet data of another kind than they were trained on, where the stored fallback bounds what can be lost.

What was measured is kept in DIR, and not measured again; delete its `rates` folder to begin anew. Where a data set has
fewer test images than asked for, that column is left out. Sizes are in bytes and bits/dim (per channel of a pixel).
Up to 1,000 images are written by the image formats as a file each too.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch
from codec_rates.peers import IMAGE_FORMATS, PEERS, MissingError, tiled
from codec_rates.references import FOREIGN, REFERENCES

import lucid
from lucid import codec, data, io
from lucid.models import LatentModel

Rows = dict[str, Any]

MOST_FILES = 1000
"""Up to so many images are also written as a file each: one more costs what those before it cost."""


def levels_of(split: data.Split, count: int) -> np.ndarray:
    """The first images of a split as the model is asked to compress them, uint8 (N, C, H, W): bits where binarised."""
    x = split.tensor(count)
    raw = x if split.protocol.binarisation != "none" else split.protocol.to_data(x)
    return raw.to(torch.uint8).numpy()


def lucid_row(frozen: codec.Codec, model: LatentModel | None, images: np.ndarray) -> Rows:
    """The file, the bound, and the time of both ways."""
    started = time.perf_counter()
    file = frozen.compress(images)
    encoded = time.perf_counter()
    back = frozen.decompress(file)
    decoded = time.perf_counter()
    assert isinstance(back, np.ndarray)
    assert back.dtype == images.dtype
    assert np.array_equal(back, images), "what came back is not what went in"
    row: Rows = {
        "bytes": len(file),
        "encode_per_second": len(images) / (encoded - started),
        "decode_per_second": len(images) / (decoded - encoded),
        "codec_bytes": len(frozen.to_bytes()),
    }
    if model is not None:
        rate = frozen.rate(images, model)
        assert rate.model is not None
        row |= {
            "bound": rate.model.bits_per_dim,
            "bound_error": rate.model.standard_error,
            "frozen_bound": rate.frozen.bits_per_dim,
            "initial_bytes": rate.initial_bytes,
            "overhead_bytes": rate.overhead_bytes,
            "stored_blocks": rate.stored_blocks,
            "coded_blocks": rate.coded_blocks,
        }
    return row


def peer_rows(images: np.ndarray) -> Rows:
    """Every other compressor's bytes, or why there are none."""
    sources: dict[str, tuple[Callable[[np.ndarray], int], np.ndarray]] = {
        **{name: (peer, images) for name, peer in PEERS.items()},
        **{f"{name}, tiled": (peer, tiled(images)) for name, peer in IMAGE_FORMATS.items()},
    }
    if len(images) <= MOST_FILES:
        sources |= {f"{name}, each": (peer, images) for name, peer in IMAGE_FORMATS.items()}
    rows: Rows = {}
    for name, (peer, given) in sources.items():
        try:
            rows[name] = {"bytes": peer(given)}
        except MissingError as reason:
            rows[name] = {"missing": str(reason)}
    return rows


def kept(file: Path, measure: Callable[[], Rows]) -> Rows:
    """What a file says, or what is measured now and written there."""
    if not file.exists():
        file.parent.mkdir(parents=True, exist_ok=True)
        io.write_json(file, measure())
    return json.loads(file.read_text(encoding="utf-8"))


def frozen_codec(name: str, folder: Path) -> tuple[codec.Codec, LatentModel]:
    """The codec of a reference model, and the model."""
    reference = REFERENCES[name]
    model = reference.trained(folder / name)
    return codec.freeze(model, reference.dataset().train), model


def measure(name: str, count: int, folder: Path) -> Rows | None:
    """All rows of a reference model at a number of images; None where there are not so many."""
    split = REFERENCES[name].dataset().test
    if len(split) < count:
        return None
    images = levels_of(split, count)

    def own() -> Rows:
        frozen, model = frozen_codec(name, folder)
        return lucid_row(frozen, model, images)

    rates = folder / "rates"
    # Several models have the same data, whose other files are written once.
    data_name = f"{split.protocol.name}-{split.protocol.model_levels}-{count}"
    return {
        "says": REFERENCES[name].says,
        "features": int(np.prod(images.shape)),
        "lucid": kept(rates / f"{name}-{count}.json", own),
        **kept(rates / "peers" / f"{data_name}.json", lambda: peer_rows(images)),
    }


def measure_foreign(name: str, count: int, folder: Path) -> Rows | None:
    """The rows of a model on data that it was not trained on."""
    trained, dataset, says = FOREIGN[name]
    split = dataset().test
    if len(split) < count:
        return None
    images = levels_of(split, count)
    rates = folder / "rates"
    data_name = f"{split.protocol.name}-{split.protocol.model_levels}-{count}"
    return {
        "says": says,
        "features": int(np.prod(images.shape)),
        "lucid": kept(rates / f"{name}-{count}.json", lambda: lucid_row(*frozen_codec(trained, folder), images)),
        **kept(rates / "peers" / f"{data_name}.json", lambda: peer_rows(images)),
    }


def show(name: str, found: dict[int, Rows]) -> None:
    """One table: a column for each number of images, the smallest file first."""
    counts = sorted(found)
    if not counts:
        return
    print(f"\n{name}: {found[counts[0]]['says']}")
    print(f"{'':<16}" + "".join(f"{f'N = {count:,}':>34}" for count in counts))
    rows = {key: None for count in counts for key in found[count] if key not in ("says", "features")}
    smallest = found[counts[0]]
    for row in sorted(rows, key=lambda row: smallest.get(row, {}).get("bytes", float("inf"))):
        cells = "".join(_cell(found[count], row) for count in counts)
        print(f"{row:<16}{cells}")
    for count in counts:
        print(f"  lucid, N = {count:,}: {_detail(found[count])}")
    for row in rows:
        if "missing" in smallest.get(row, {}):
            print(f"  {row}: left out, {smallest[row]['missing']}")


def _cell(rows: Rows, row: str) -> str:
    if "bytes" not in rows.get(row, {}):
        return f"{'—':>34}"
    size = rows[row]["bytes"]
    return f"{size:>14,} {8 * size / rows['features']:>8.4f} {size / rows['lucid']['bytes']:>9.3f}×"


def _detail(rows: Rows) -> str:
    own = rows["lucid"]
    speed = f"{own['encode_per_second']:,.0f} images/s encoded, {own['decode_per_second']:,.0f} decoded"
    file = 8 * own["bytes"] / rows["features"]
    return (
        f"file {file:.4f}, −ELBO {own['bound']:.4f} ± {own['bound_error']:.4f} bits/dim, excess "
        f"{100 * (file / own['bound'] - 1):+.2f} % (frozen bound {own['frozen_bound']:.4f}, {own['initial_bytes']} "
        f"initial and {own['overhead_bytes']} other bytes, {own['stored_blocks']} of "
        f"{own['stored_blocks'] + own['coded_blocks']} blocks stored); {speed}; codec {own['codec_bytes']:,} bytes"
    )


def main() -> None:
    """Train what is missing, measure what is missing, print the tables."""
    names = [*REFERENCES, *FOREIGN]
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--datasets", nargs="+", choices=names, default=names, metavar="NAME", help=", ".join(names))
    parser.add_argument("--counts", type=int, nargs="+", default=[300, 10_000], help="test images compressed")
    parser.add_argument("--out", type=Path, default=Path("~/.cache/lucid/codec-rate").expanduser())
    parser.add_argument("--json", type=Path, help="write the figures there too")
    args = parser.parse_args()
    torch.set_num_threads(1)
    print(
        f"{datetime.now(UTC):%Y-%m-%d}, lucid {lucid.__version__}, torch {torch.__version__}, Python "
        f"{platform.python_version()}, {platform.machine()} CPU, 1 thread of {os.cpu_count()} cores"
    )
    print("bytes, bits/dim, and size in lucid's files; smallest first")
    all_found: dict[str, dict[int, Rows]] = {}
    for name in args.datasets:
        rows = {
            count: (measure if name in REFERENCES else measure_foreign)(name, count, args.out) for count in args.counts
        }
        all_found[name] = {count: row for count, row in rows.items() if row is not None}
        show(name, all_found[name])
    if args.json is not None:
        io.write_json(args.json, all_found)


if __name__ == "__main__":
    main()
