"""`lucid freeze`."""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from torch import Tensor

from lucid import codec, data
from lucid.cli.codec_words import described_codec
from lucid.cli.errors import UsageError
from lucid.cli.opening import is_model_alone, open_model, protocol_of
from lucid.cli.words import print_lines
from lucid.models import LatentModel
from lucid.training import Run

__all__ = ["freeze"]


def freeze(args: argparse.Namespace) -> int:
    """Turn a trained model into a codec."""
    out = Path(args.out)
    if args.examples < 1:
        raise UsageError(f"--examples must be at least 1; received {args.examples}")
    if out.exists():
        raise FileExistsError(f"{out} is there already: name a new file, or remove it")
    if not out.absolute().parent.is_dir():
        raise UsageError(f"there is no folder {out.absolute().parent} for {out}")
    model = open_model(args.folder)
    frozen = codec.freeze(model, calibration=_calibration(model, args), num_examples=args.examples)
    frozen.save(out)
    print_lines({"codec": f"{out}, {out.stat().st_size:,} bytes"} | described_codec(frozen))
    return 0


def _calibration(model: LatentModel, args: argparse.Namespace) -> Tensor:
    """Examples that show the ranges of the model's values, in the space of the model."""
    if args.calibration is not None:
        split = data.load_like(args.calibration, protocol_of(model, args.folder))
    elif is_model_alone(args.folder):
        raise UsageError(f"{args.folder} is a model, which does not say where its data is: give --calibration DATA")
    else:
        split = Run(args.folder).dataset().train
    # In a drawn order: a file may hold one class after another.
    x = next(split.batches(args.examples, device=torch.device("cpu"), seed=0), None)
    if x is None:
        raise UsageError("the calibration data is empty: give --calibration DATA with examples in it")
    return x
