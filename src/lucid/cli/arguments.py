"""The command line: every command, every option, and help that teaches."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from typing import Any, NoReturn

import lucid
from lucid.cli.evaluate_options import EVALUATE, add_evaluate_options
from lucid.cli.train_options import add_train_options

__all__ = ["make_parser"]

_ABOUT = """\
lucid trains variational autoencoders whose numbers can be trusted.

  lucid train digits --model conv --out runs/digits      train, and write a page to look at
  lucid evaluate runs/digits                             bounds and likelihood on the test split
  lucid sample runs/digits --num 64 --out samples.png    new examples
  lucid freeze runs/digits digits.codec                  a codec, for lucid compress
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


_RECIPE = """\
examples:
  lucid recipe recipes/dynamic-mnist-mlp.yaml --budget small
  lucid recipe dynamic-mnist-topdown --device cuda --log recipes/logs/dynamic-mnist-topdown.json

A run that was stopped is taken up where it was by the same command. The exit code is 0 if every expected figure was
reproduced, within its tolerance.
"""


_IMPUTE = """\
examples:
  lucid train people.csv --out runs/people                      a table of any columns, with missing values
  lucid impute runs/people people.csv --out full.csv
  lucid impute runs/people people.csv --out drawn.csv --draws 5     five draws, to see what is not known
"""


_FIT_PRIOR = """\
examples:
  lucid fit-prior runs/digits --prior mixture --out models/digits-mixture
  lucid fit-prior runs/mnist --prior vamp:components=500 --out models/mnist-vamp
  lucid fit-prior runs/mnist --prior flow:transforms=4,passes=2 --out models/mnist-flow
  lucid sample models/digits-mixture --num 64 --out samples.png

Encoder and decoder stay as they are, and so does the run. Why it helps: docs/how-to/fit-prior.md.
"""


_FREEZE = """\
The codec computes in whole numbers, the same on every machine, and compresses data of the kind the model was trained on
to within a hair of the model's bound. It is needed again to decompress: keep it, or compress with --embed.

examples:
  lucid freeze runs/digits digits.codec
  lucid compress digits.codec digits:test -o test.lucid
  lucid decompress test.lucid --codec digits.codec -o test.npy
"""


_COMPRESS = """\
Inputs are .npy, .npz, idx, .csv and .parquet files, folders of images, images, and data sets by name, with a part:
mnist:test. What comes back is what went in: the same values, types and shapes; the same pixels, names and folders, as
PNG; the same columns. Other files in a folder, and images of another size or mode, come along as they are.

examples:
  lucid compress tiles.codec tiles/ -o tiles.lucid
  lucid compress tiles.codec tiles/ more.npy -o all.lucid --embed         one file that opens by itself
  lucid compress people.codec people.csv -o people.lucid
"""


_DECOMPRESS = """\
Every block is checked against the SHA-256 of what was compressed: what is written is exactly that, or nothing is.

examples:
  lucid decompress tiles.lucid --codec tiles.codec -o tiles
  lucid decompress all.lucid -o everything/                                the codec is in the file
  lucid decompress tiles.lucid --codec tiles.codec -o some --examples 0:100
"""


_VARY = """\
The K deepest latents of an example stay, the others are drawn from their priors: what all variations have in common,
the kept latents decided. Of images, --out FILE.png has a row for each example.

examples:
  lucid vary runs/digits digits --levels 2 --out two.png
  lucid vary runs/digits digits --levels 2 --num 5 --examples 3 --temperature 0.7 --out two.npy
"""


_DIAGNOSE = """\
For a level that tells next to nothing of x, short trainings on the run's own data find out why, and what it costs: at
β = 0, with a warm-up, at β = 1, and with a likelihood whose scale is learned. The run is left as it is.
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
    train = _command(commands, "train", "train a model, and write a page to look at", _TRAIN)
    add_train_options(train)
    _run_with(train, "train", "train")
    evaluate = _command(commands, "evaluate", "measure a trained model on data it has not seen", EVALUATE)
    add_evaluate_options(evaluate)
    _run_with(evaluate, "evaluate", "evaluate")
    _sample(_command(commands, "sample", "draw new examples from a trained model"))
    _vary(_command(commands, "vary", "draw variations of examples: what do the deepest latents decide?", _VARY))
    _reconstruct(_command(commands, "reconstruct", "encode data and decode it again"))
    _embed(_command(commands, "embed", "write the embeddings (posterior means) of data"))
    _impute(_command(commands, "impute", "fill in the missing values of a table", _IMPUTE))
    _fit_prior(_command(commands, "fit-prior", "give a trained model a prior that fits its latents", _FIT_PRIOR))
    _diagnose(_command(commands, "diagnose", "say what is collapsed in a run, why, and what to change", _DIAGNOSE))
    _report(_command(commands, "report", "write the page of a run again"))
    _recipe(_command(commands, "recipe", "train and measure as a published protocol says, and compare", _RECIPE))
    _freeze(_command(commands, "freeze", "turn a trained model into a codec, which compresses without loss", _FREEZE))
    _compress(_command(commands, "compress", "compress data without loss, with a codec", _COMPRESS))
    _decompress(_command(commands, "decompress", "write again what was compressed", _DECOMPRESS))
    _info(_command(commands, "info", "say what a run, a model, a codec or a .lucid file is; else what is installed"))
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


def _sample(parser: argparse.ArgumentParser) -> None:
    _model_folder(parser)
    parser.add_argument("--num", type=int, required=True, metavar="N", help="how many")
    _out(parser)
    _temperature(parser)
    parser.add_argument("--noise", action="store_true", help="draw x from p(x|z) too, instead of taking its mean")
    parser.add_argument(
        "--condition",
        metavar="CLASS",
        help="of a conditional model: a class, by name or number, or several with commas between them",
    )
    parser.add_argument("--seed", type=int, default=0, metavar="S", help="of the draws (0)")
    _run_with(parser, "use", "sample")


def _vary(parser: argparse.ArgumentParser) -> None:
    _model_folder(parser)
    parser.add_argument("data", metavar="DATA", help="data of the kind the model was trained on")
    parser.add_argument(
        "--levels", type=int, required=True, metavar="K", help="how many of the deepest latents to keep"
    )
    parser.add_argument("--num", type=int, default=8, metavar="N", help="variations of each example (8)")
    parser.add_argument("--examples", type=int, default=8, metavar="M", help="how many of DATA, its first (8)")
    _label(parser)
    _out(parser)
    _temperature(parser)
    parser.add_argument("--seed", type=int, default=0, metavar="S", help="of the draws (0)")
    _run_with(parser, "use", "vary")


def _temperature(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--temperature",
        default="1",
        metavar="T",
        help="below 1, more typical examples; one number, or one for each level, level 0 first: 0.5,0.5,1 (1)",
    )


def _reconstruct(parser: argparse.ArgumentParser) -> None:
    _model_folder(parser)
    parser.add_argument("data", metavar="DATA", help="data of the kind the model was trained on")
    _label(parser)
    _out(parser)
    _run_with(parser, "use", "reconstruct")


def _embed(parser: argparse.ArgumentParser) -> None:
    _model_folder(parser)
    parser.add_argument("data", metavar="DATA", help="data of the kind the model was trained on")
    _label(parser)
    _out(parser)
    parser.add_argument("--level", type=int, default=-1, metavar="L", help="which latent level (the deepest)")
    _run_with(parser, "use", "embed")


def _impute(parser: argparse.ArgumentParser) -> None:
    _model_folder(parser)
    parser.add_argument("data", metavar="TABLE", help="a .csv or .parquet table of the columns the model knows")
    parser.add_argument(
        "--label", dest="labels", metavar="NAME", help="of a conditional model: the label column (that of the training)"
    )
    parser.add_argument("--out", required=True, metavar="FILE", help=".csv or .parquet, by its ending")
    parser.add_argument("--num-samples", type=int, default=1000, metavar="K", help="importance draws per row (1000)")
    parser.add_argument(
        "--draws", type=int, metavar="M", help="M tables of drawn values, one below the other, instead of one of means"
    )
    parser.add_argument("--seed", type=int, default=0, metavar="S", help="of the draws (0)")
    _run_with(parser, "impute", "impute")


def _diagnose(parser: argparse.ArgumentParser) -> None:
    _run_folder(parser)
    parser.add_argument("--no-trial", action="store_true", help="do not train anything: say what, and not why")
    parser.add_argument("--steps", type=int, default=1000, metavar="N", help="training steps of a trial (1000)")
    parser.add_argument("--seed", type=int, default=0, metavar="S", help="of the measurements (0)")
    parser.add_argument("--json", metavar="FILE", help="write the diagnosis there too")
    _run_with(parser, "diagnose", "diagnose")


def _fit_prior(parser: argparse.ArgumentParser) -> None:
    _run_folder(parser)
    parser.add_argument(
        "--prior", default="mixture", metavar="P", help="mixture, vamp or flow, with settings (mixture)"
    )
    parser.add_argument("--out", required=True, metavar="DIR", help="new folder for the model that has it")
    parser.add_argument("--steps", type=int, default=2000, metavar="N", help="steps of the fit (2000)")
    parser.add_argument("--split", choices=["train", "validation", "test"], default="test", help="to measure on (test)")
    parser.add_argument("--num-samples", type=int, default=100, metavar="K", help="importance samples (100)")
    parser.add_argument("--seed", type=int, default=0, metavar="S", help="of the fit and the measurements (0)")
    parser.add_argument("--json", metavar="FILE", help="write the figures there too")
    _run_with(parser, "fit_prior", "fit_prior")


def _report(parser: argparse.ArgumentParser) -> None:
    _run_folder(parser)
    _run_with(parser, "report", "report")


def _recipe(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("recipe", metavar="RECIPE", help="a .yaml file, or the name of one in ./recipes")
    parser.add_argument(
        "--budget", choices=["full", "small"], default="full", help="the protocol, or minutes on a CPU (full)"
    )
    parser.add_argument("--out", metavar="DIR", help="folder of the run (runs/recipes/NAME-BUDGET)")
    parser.add_argument("--device", choices=["auto", "cpu", "cuda", "mps"], help="where to compute (auto)")
    parser.add_argument("--log", metavar="FILE", help="write the log of the run there too, as JSON")
    parser.add_argument("--quiet", action="store_true", help="no progress bar")
    _run_with(parser, "recipe", "recipe")


def _freeze(parser: argparse.ArgumentParser) -> None:
    _model_folder(parser)
    parser.add_argument("out", metavar="OUT.codec", help="new file for the codec")
    parser.add_argument(
        "--calibration",
        metavar="DATA",
        help="data that shows the ranges of the model's values (the run's training part)",
    )
    parser.add_argument("--examples", type=int, default=512, metavar="N", help="how many examples of it (512)")
    _run_with(parser, "freeze", "freeze")


def _compress(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("codec", metavar="CODEC", help="file that lucid freeze wrote")
    parser.add_argument("inputs", metavar="INPUT", nargs="+", help="a file, a folder of images, or NAME:PART")
    parser.add_argument("-o", "--out", required=True, metavar="OUT.lucid", help="new file")
    parser.add_argument("--embed", action="store_true", help="put the codec into the file, which then opens by itself")
    _workers(parser)
    parser.add_argument(
        "--block-size",
        type=int,
        metavar="N",
        help="examples in a block (by size, up to 16384): fewer can be read without the others, and cost more",
    )
    _run_with(parser, "compress", "compress")


def _decompress(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", metavar="FILE.lucid", help="file that lucid compress wrote")
    parser.add_argument("--codec", metavar="CODEC", help="the codec that made it, where it is not in the file")
    parser.add_argument(
        "-o",
        "--out",
        required=True,
        metavar="OUT",
        help="new file or folder; with / at the end, a folder for what was one file",
    )
    parser.add_argument("--examples", metavar="A:B", help="examples A to B - 1 alone, counted through all inputs")
    _workers(parser)
    _run_with(parser, "decompress", "decompress")


def _workers(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--workers", type=int, default=1, metavar="N", help="processes; the result is the same (1)")


def _info(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("folder", metavar="PATH", nargs="?", help="a run, a model's folder, a codec or a .lucid file")
    _run_with(parser, "info", "info")


def _run_folder(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("folder", metavar="RUN", help="folder that lucid train wrote")


def _model_folder(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("folder", metavar="DIR", help="a run, or a model's folder")


def _label(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--label", dest="labels", metavar="NAME", help="label column of a table, or array of an .npz")


def _out(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--out", required=True, metavar="FILE", help=".npy, .npz, .csv, .parquet or .png, by its ending"
    )
