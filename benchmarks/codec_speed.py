"""How fast lucid compresses: images and megabytes a second, where the time goes, beside the float32 networks alone.

    python benchmarks/codec_speed.py [--models NAME ...] [--out DIR] [--repeats R] [--json FILE]

One thread. The models are those of `codec_rate.py`, kept in DIR and trained first where they are not there. Each codes
as many images as take some seconds, after a first round that warms up; the best of R rounds counts.

- images/s and MB/s: of raw data, a byte for each value of an image (an eighth of one for 0 and 1).
- networks, tables, coder: shares of the time. Networks in integers; everything that turns their answers into
  probabilities; the entropy coder (constriction).
- forward: images a second through the float32 networks alone (encoder, decoder and priors once, the same batch), and
  how much of that speed the networks in integers have.

Times are of the process (CPU), not of the wall: another program on the machine must not count. The memory that the
two share is another matter, so a quiet machine gives better figures.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import platform
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
from codec_rates.references import REFERENCES

from lucid import codec
from lucid.codec.coding import BlockCoder, block, stack
from lucid.models import LatentModel, drive, means

_COUNTS = {"mnist-binarised": 10_000, "digits": 1_300, "fashion-mnist": 300, "cifar10": 60}
"""Images coded; 100 of the models not named."""
_STAGES = ("networks", "tables", "coder")
Row = dict[str, Any]


def timed(coder: BlockCoder, levels: torch.Tensor) -> tuple[Row, Row]:
    """Seconds of encoding and of decoding, in all and by stage."""
    digest = hashlib.sha256(b"codec_speed").digest()
    coder.seconds.update(dict.fromkeys(_STAGES, 0.0))
    started = time.process_time()
    payload = coder.encode(levels, digest)
    encoded = {"all": time.process_time() - started, **coder.seconds}
    coder.seconds.update(dict.fromkeys(_STAGES, 0.0))
    started = time.process_time()
    decoded, _ = coder.decode(payload, len(levels))
    assert torch.equal(decoded, levels)
    return encoded, {"all": time.process_time() - started, **coder.seconds}


def forward_seconds(model: LatentModel, x: torch.Tensor, rows: int) -> float:
    """Seconds that the float32 networks take for all of x, in batches of `rows`."""
    started = time.process_time()
    with torch.inference_mode():
        for part in x.split(rows):
            drive(model.walk(part), means())
    return time.process_time() - started


def measure(name: str, folder: Path, repeats: int) -> Row:
    """The figures of one model."""
    reference = REFERENCES[name]
    model = reference.trained(folder / name).float().eval()
    dataset = reference.dataset()
    frozen = codec.freeze(model, dataset.train, num_examples=256)
    # Speed is no matter of what the model has seen, and the training part is the larger.
    x = (dataset.test if dataset.protocol.binarisation != "none" else dataset.train).tensor(_COUNTS.get(name, 100))
    levels, _ = frozen.levels_of(x)
    n, size = len(levels), levels[0].numel()
    with patch.object(block, "perf_counter", time.process_time), patch.object(stack, "perf_counter", time.process_time):
        rounds = [timed(frozen.coder, levels) for _ in range(repeats + 1)][1:]
    forward = min(forward_seconds(model, x, 512) for _ in range(repeats + 1))
    raw = n * size * (0.125 if frozen.layout.data.levels == 2 else 1.0)
    row: Row = {"says": reference.says, "images": n, "forward_per_second": n / forward}
    for way, seconds in zip(("encode", "decode"), zip(*rounds, strict=True), strict=True):
        best = min(seconds, key=lambda one: one["all"])
        row[way] = {
            "images_per_second": n / best["all"],
            "megabytes_per_second": raw / best["all"] / 1e6,
            **{stage: best[stage] / best["all"] for stage in _STAGES},
            "networks_of_forward": forward / best["networks"],
        }
    return row


def describe(name: str, row: Row) -> str:
    """Some lines for people."""
    lines = [f"{name}: {row['says']} ({row['images']} images)"]
    for way in ("encode", "decode"):
        one = row[way]
        shares = ", ".join(f"{stage} {one[stage]:.0%}" for stage in _STAGES)
        lines.append(
            f"  {way}: {one['images_per_second']:9,.0f} images/s  {one['megabytes_per_second']:6.3f} MB/s   {shares}"
            f"   networks at {one['networks_of_forward']:.2f} of the float32 forward's speed"
        )
    return "\n".join([*lines, f"  forward: {row['forward_per_second']:9,.0f} images/s"])


def main() -> None:
    """Measure, print, keep."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", choices=REFERENCES, default=["mnist-binarised", "digits"])
    parser.add_argument("--out", type=Path, default=Path("~/.cache/lucid/codec-rate").expanduser())
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    print(f"{datetime.now(UTC):%Y-%m-%d}  torch {torch.__version__}  {platform.machine()}, one thread")
    rows = {name: measure(name, options.out, options.repeats) for name in options.models}
    print("\n".join(describe(name, row) for name, row in rows.items()))
    if options.json:
        options.json.write_text(json.dumps(rows, indent=2) + "\n")


if __name__ == "__main__":
    main()
