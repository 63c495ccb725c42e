"""The command line: every command, every option, and help that teaches."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from typing import Any, NoReturn

import lucid

__all__ = ["make_parser"]

_ABOUT = """\
lucid trains variational autoencoders whose numbers can be trusted.

  lucid train digits --model conv --out runs/digits      train, and write a page to look at
  lucid evaluate runs/digits                             bounds and likelihood on the test split
  lucid sample runs/digits --num 64 --out samples.png    new examples
"""

_TRAIN = """\
examples:
  lucid train digits --model mlp --out runs/digits
  lucid train mnist --binarise dynamic --model mlp --latents 40 --epochs 100 --out runs/mnist
  lucid train photos/ --resize 32x32 --crop centre --channels rgb --model conv --size 4 --out runs/photos
  lucid train wine.csv --label quality --model mlp --beta-schedule linear:steps=2000 --out runs/wine
  lucid train --config run.toml --epochs 50 --out runs/again     a file describes the run, options override it
  lucid train --resume runs/mnist                                go on where it was stopped

run.toml has the sections [data], [model] and [training], with the names of lucid.data.load, lucid.models.create and
lucid.training.Settings; the run.json that every run leaves is one too.
"""


class _Parser(argparse.ArgumentParser):
    """Misuse is one line, with where to read more."""

    def error(self, message: str) -> NoReturn:
        print(f"{self.prog}: {message} (see {self.prog} --help)", file=sys.stderr)
        raise SystemExit(2)


def make_parser() -> argparse.ArgumentParser:
    """The parser of the `lucid` command; a parsed command's `run` attribute does the work."""
    parser = _Parser(prog="lucid", description=_ABOUT, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--version", action="version", version=f"lucid {lucid.__version__}")
    parser.set_defaults(debug=False)
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    _train(_command(commands, "train", "train a model, and write a page to look at", _TRAIN))
    _evaluate(_command(commands, "evaluate", "measure a trained model on data it has not seen"))
    _sample(_command(commands, "sample", "draw new examples from a trained model"))
    _reconstruct(_command(commands, "reconstruct", "encode data and decode it again"))
    _embed(_command(commands, "embed", "write the embeddings (posterior means) of data"))
    _report(_command(commands, "report", "write the page of a run again"))
    _info(_command(commands, "info", "say what a run or a model is; without one, what is installed"))
    return parser


def _command(commands: Any, name: str, summary: str, epilog: str = "") -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = commands.add_parser(
        name,
        help=summary,
        description=summary[0].upper() + summary[1:] + ".",
        epilog=epilog,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--debug", action="store_true", help="show the traceback of an error")
    parser.set_defaults(refuse=parser.error)
    return parser


def _run_with(parser: argparse.ArgumentParser, module: str, function: str) -> None:
    """Have a command run `lucid.cli.<module>.<function>`, loaded only then: help stays quick."""

    def run(args: argparse.Namespace) -> int | None:
        from importlib import import_module

        work: Callable[[argparse.Namespace], int | None] = getattr(import_module(f"lucid.cli.{module}"), function)
        return work(args)

    parser.set_defaults(run=run)


def _train(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "data",
        metavar="DATA",
        nargs="?",
        help="digits, mnist, fashion-mnist, cifar10, or a path: .npy, .npz, .safetensors, idx, .csv, .parquet, "
        "a folder of images, or shards: a folder or pattern of .tar or .parquet files",
    )
    parser.add_argument("--out", metavar="DIR", help="folder of the run")
    parser.add_argument("--resume", metavar="RUN", help="go on with the run in this folder")
    parser.add_argument(
        "--config", metavar="FILE", help="a description of the run: .toml, or an earlier run's run.json"
    )
    parser.add_argument("--no-report", action="store_true", help="do not write report.html")
    parser.add_argument("--tensorboard", action="store_true", help="write TensorBoard event files too")
    parser.add_argument("--quiet", action="store_true", help="no progress bar")
    parser.add_argument(
        "--profile", action="store_true", help="train a few steps, print where their time goes, and leave nothing"
    )

    model = parser.add_argument_group("model")
    model.add_argument("--model", metavar="NAME", help="mlp, for any data, or conv, for images (default mlp)")
    model.add_argument("--size", type=int, metavar="N", help="the dial: width 128·N of mlp, 8·N channels of conv (2)")
    model.add_argument("--latents", type=int, metavar="N", help="number of latent units (8·size)")
    model.add_argument("--dropout", type=float, metavar="P", help="fraction of hidden units dropped in training (0.1)")
    model.add_argument(
        "--likelihood",
        metavar="NAME",
        help="p(x|z): bernoulli, gaussian[:scale=S], learned-scale-gaussian, heteroscedastic-gaussian, "
        "optimal-scale-gaussian, discretised-logistic, categorical (default: by the data)",
    )
    model.add_argument("--kl-weight", type=float, metavar="B", help="β, the weight of the KL (1)")
    model.add_argument(
        "--beta-schedule",
        metavar="SPEC",
        help="constant, linear, cosine, sigmoid or cyclical with its settings, for example linear:steps=2000 or "
        "cyclical:steps=8000,cycles=4",
    )

    training = parser.add_argument_group("training")
    training.add_argument("--epochs", type=int, metavar="N", help="passes over the training data (100)")
    training.add_argument("--steps", type=int, metavar="N", help="training steps, instead of epochs")
    training.add_argument("--batch-size", type=int, metavar="N", help="examples a step, over all processes (128)")
    training.add_argument("--optimizer", choices=["adamw", "adamax"], help="what makes the updates (adamw)")
    training.add_argument("--learning-rate", type=float, metavar="R", help="at its highest (0.002)")
    training.add_argument("--weight-decay", type=float, metavar="R", help="of weights, not of biases (0.01)")
    training.add_argument("--warmup", type=int, metavar="N", help="steps over which the learning rate rises (50)")
    training.add_argument("--decay", choices=["cosine", "none"], help="how the learning rate falls (cosine)")
    training.add_argument("--clip", type=float, metavar="G", help="greatest norm of a gradient (no limit)")
    training.add_argument(
        "--skip",
        type=_number_or_none,
        metavar="T",
        help="leave out updates whose gradient is T times as long as is typical; none: only those not finite (10)",
    )
    training.add_argument("--max-skips", type=int, metavar="N", help="updates left out in a row before giving up (100)")
    training.add_argument("--ema", type=float, metavar="D", help="keep an average of the weights, such as 0.999 (none)")
    training.add_argument("--accumulate", type=int, metavar="N", help="parts in which a batch is computed (1)")
    training.add_argument(
        "--recompute", action="store_const", const=True, help="compute activations twice, in the place of keeping them"
    )
    training.add_argument("--early-stopping", type=int, metavar="N", help="validations without a best to end it (off)")
    training.add_argument("--seed", type=int, metavar="S", help="of everything random in the run (0)")
    training.add_argument("--device", choices=["auto", "cpu", "cuda", "mps"], help="where to compute (auto)")
    training.add_argument(
        "--precision",
        metavar="P",
        help="auto, float32, float64, bf16-mixed or fp16-mixed; densities stay in float32 (auto: bf16-mixed where the "
        "device computes in it and the model is large enough)",
    )
    training.add_argument(
        "--compile",
        type=_yes_or_no,
        metavar="yes|no|auto",
        help="compile the step (auto: a long run tries whether it is faster)",
    )
    training.add_argument(
        "--strategy", choices=["data-parallel", "sharded"], help="of several processes, see torchrun (data-parallel)"
    )
    training.add_argument(
        "--validate-every", type=int, metavar="N", help="steps between validations (an epoch, at least 50)"
    )
    training.add_argument("--log-every", type=int, metavar="N", help="steps between lines of metrics.jsonl (50)")
    training.add_argument("--checkpoint-seconds", type=float, metavar="T", help="time between checkpoints (30)")
    training.add_argument("--keep-checkpoints", type=int, metavar="N", help="newest checkpoints that are kept (3)")
    _data_options(parser.add_argument_group("data"))
    _run_with(parser, "train", "train")


def _data_options(data: Any) -> None:
    data.add_argument("--name", metavar="NAME", help="what to call the data (the file's name)")
    data.add_argument(
        "--kind", choices=["image", "series", "table", "vector"], help="what an example is (by its shape)"
    )
    data.add_argument("--layout", metavar="AXES", help="which axis is which: NHW, NHWC, NCHW, NT, NCT or NTC")
    data.add_argument("--levels", type=int, metavar="L", help="integer data takes the values 0 … L−1 (256 for images)")
    data.add_argument(
        "--scaling", choices=["none", "standardise", "unit"], help="of continuous data (tables: standardise)"
    )
    data.add_argument(
        "--binarise",
        dest="binarisation",
        choices=["none", "static", "dynamic"],
        help="values are the probability of a 1: static draws once, dynamic at each visit (none)",
    )
    data.add_argument("--validation", type=_number, metavar="F", help="fraction or count held out for choosing (0.1)")
    data.add_argument("--test", type=_number, metavar="F", help="fraction or count held out for the final figure (0.1)")
    data.add_argument("--data-seed", type=int, metavar="S", help="of the split, and of draws that are made once (0)")
    data.add_argument("--label", dest="labels", metavar="NAME", help="label column of a table, or array of an .npz")
    data.add_argument("--key", metavar="NAME", help="which array of a .npz or .safetensors file")
    data.add_argument("--columns", type=_names, metavar="A,B,…", help="which columns of a table (all)")
    data.add_argument(
        "--shuffle-buffer", type=int, metavar="N", help="of shards: examples that are mixed at a time (8192)"
    )
    data.add_argument("--workers", type=int, metavar="N", help="of shards: threads that read ahead (2)")
    data.add_argument("--resize", type=_size, metavar="HxW", help="resize images, for example 32x32")
    data.add_argument("--crop", choices=["centre"], help="cut images to the proportions of --resize")
    data.add_argument("--channels", choices=["grey", "rgb", "rgba"], help="read images as")


def _evaluate(parser: argparse.ArgumentParser) -> None:
    _run_folder(parser)
    parser.add_argument("--num-samples", type=int, default=100, metavar="K", help="importance draws per example (100)")
    parser.add_argument("--split", choices=["test", "validation", "train"], default="test", help="which part (test)")
    parser.add_argument("--seed", type=int, default=0, metavar="S", help="of the draws (0)")
    parser.add_argument("--json", metavar="FILE", help="write the figures there too")
    parser.add_argument("--no-report", action="store_true", help="do not write report.html again")
    _run_with(parser, "evaluate", "evaluate")


def _sample(parser: argparse.ArgumentParser) -> None:
    _model_folder(parser)
    parser.add_argument("--num", type=int, required=True, metavar="N", help="how many")
    _out(parser)
    parser.add_argument(
        "--temperature", type=float, default=1.0, metavar="T", help="below 1, more typical examples (1)"
    )
    parser.add_argument("--noise", action="store_true", help="draw x from p(x|z) too, instead of taking its mean")
    parser.add_argument("--seed", type=int, default=0, metavar="S", help="of the draws (0)")
    _run_with(parser, "use", "sample")


def _reconstruct(parser: argparse.ArgumentParser) -> None:
    _model_folder(parser)
    parser.add_argument("data", metavar="DATA", help="data of the kind the model was trained on")
    _out(parser)
    _run_with(parser, "use", "reconstruct")


def _embed(parser: argparse.ArgumentParser) -> None:
    _model_folder(parser)
    parser.add_argument("data", metavar="DATA", help="data of the kind the model was trained on")
    _out(parser)
    parser.add_argument("--level", type=int, default=-1, metavar="L", help="which latent level (the deepest)")
    _run_with(parser, "use", "embed")


def _report(parser: argparse.ArgumentParser) -> None:
    _run_folder(parser)
    _run_with(parser, "report", "report")


def _info(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("folder", metavar="DIR", nargs="?", help="a run, or a model's folder")
    _run_with(parser, "info", "info")


def _run_folder(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("folder", metavar="RUN", help="folder that lucid train wrote")


def _model_folder(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("folder", metavar="DIR", help="a run, or a model's folder")


def _out(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--out", required=True, metavar="FILE", help=".npy, .npz, .csv, .parquet or .png, by its ending"
    )


def _number(text: str) -> float:
    """A count if it is written as one, else a fraction."""
    try:
        return int(text)
    except ValueError:
        return float(text)


def _number_or_none(text: str) -> float | str:
    return text if text == "none" else float(text)


def _yes_or_no(text: str) -> bool | str:
    meanings: dict[str, bool | str] = {"yes": True, "no": False, "auto": "auto"}
    if text not in meanings:
        raise argparse.ArgumentTypeError(f"yes, no or auto; received {text!r}")
    return meanings[text]


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]


def _size(text: str) -> list[int]:
    height, _, width = text.lower().partition("x")
    if not (height.isdigit() and width.isdigit()):
        raise argparse.ArgumentTypeError(f"a size is HEIGHTxWIDTH, for example 32x32; received {text!r}")
    return [int(height), int(width)]
