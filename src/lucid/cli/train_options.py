"""What `lucid train` takes: the run, the model, the training, the data."""

from __future__ import annotations

import argparse
from typing import Any

from lucid.cli.option_values import columns, number, number_or_none, size, yes_or_no

__all__ = ["add_train_options"]


def add_train_options(parser: argparse.ArgumentParser) -> None:
    """Everything that `lucid train` takes."""
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
        "--config",
        metavar="FILE",
        help="a description of the run: .toml, a recipe's .yaml, or an earlier run's run.json",
    )
    parser.add_argument("--budget", choices=["full", "small"], help="of a recipe: which variant (full)")
    parser.add_argument("--no-report", action="store_true", help="do not write report.html")
    parser.add_argument("--tensorboard", action="store_true", help="write TensorBoard event files too")
    parser.add_argument("--quiet", action="store_true", help="no progress bar")
    parser.add_argument(
        "--profile", action="store_true", help="train a few steps, print where their time goes, and leave nothing"
    )

    model = parser.add_argument_group("model")
    model.add_argument(
        "--model",
        metavar="NAME",
        help="mlp, ladder or topdown, for any data, or conv, for images (mlp)",
    )
    model.add_argument(
        "--size",
        type=int,
        metavar="N",
        help="the dial: width 128·N of mlp, 8·N channels of conv, 16·N of ladder, 48·N of topdown (2; topdown 1)",
    )
    model.add_argument("--depth", type=int, metavar="L", help="latent levels of mlp, conv (1) and ladder (3)")
    model.add_argument(
        "--latents", type=int, metavar="N", help="latent units of level 0, or channels where latents are maps (8·size)"
    )
    model.add_argument("--dropout", type=float, metavar="P", help="fraction of hidden units dropped in training (0.1)")
    model.add_argument(
        "--likelihood",
        metavar="NAME",
        help="p(x|z): bernoulli, gaussian[:scale=S], learned-scale-gaussian, heteroscedastic-gaussian, "
        "optimal-scale-gaussian, laplace, student-t, discretised-logistic, mixture-of-logistics[:components=K], "
        "categorical, ordered-logistic, poisson, negative-binomial, zero-inflated-negative-binomial "
        "(default: by the data)",
    )
    model.add_argument("--condition", choices=["labels"], help="tell the model the label of each example (topdown)")
    model.add_argument(
        "--prior",
        metavar="SPEC",
        help="p(z) of the deepest level: standard, mixture[:components=K], vamp[:components=K] or "
        "flow[:transforms=T,hidden=W] (standard)",
    )
    model.add_argument(
        "--posterior",
        metavar="SPEC",
        help="q(z|x) of mlp and conv: diagonal, full, or flow[:transforms=T,context=C,hidden=W] (diagonal)",
    )
    model.add_argument(
        "--objective",
        metavar="SPEC",
        help="what is minimised: elbo, free-bits[:nats=N,per_channel=yes], kl-balancing, geco:target=NATS, "
        "capacity:nats=N,steps=S, iwae[:num_samples=K], dreg, miwae, ciwae, beta-tc[:beta=B], info-vae (elbo)",
    )
    model.add_argument(
        "--kl-weight", type=float, metavar="B", help="β, the weight of the KL; of the total correlation in beta-tc (1)"
    )
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
        type=number_or_none,
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
        type=yes_or_no,
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
    data.add_argument("--validation", type=number, metavar="F", help="fraction or count held out for choosing (0.1)")
    data.add_argument("--test", type=number, metavar="F", help="fraction or count held out for the final figure (0.1)")
    data.add_argument("--data-seed", type=int, metavar="S", help="of the split, and of draws that are made once (0)")
    data.add_argument("--label", dest="labels", metavar="NAME", help="label column of a table, or array of an .npz")
    data.add_argument("--key", metavar="NAME", help="which array of a .npz or .safetensors file")
    data.add_argument(
        "--columns",
        type=columns,
        metavar="A,B,…|A=KIND,…",
        help="which columns of a table (all); or what some are: real, positive, count, binary, categorical, ordinal, "
        "ignore, or categories in order, size=S<M<L (default: by their values)",
    )
    data.add_argument(
        "--shuffle-buffer", type=int, metavar="N", help="of shards: examples that are mixed at a time (8192)"
    )
    data.add_argument("--workers", type=int, metavar="N", help="of shards: threads that read ahead (2)")
    data.add_argument("--resize", type=size, metavar="HxW", help="resize images, for example 32x32")
    data.add_argument("--crop", choices=["centre"], help="cut images to the proportions of --resize")
    data.add_argument("--channels", choices=["grey", "rgb", "rgba"], help="read images as")
