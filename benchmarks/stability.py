"""Deliberately hard training: deep networks, a high learning rate from the first step on, bfloat16.

    python benchmarks/stability.py [--seeds N] [--steps N] [--learning-rate RATE] [--blocks N] [--data NAME]

A variational autoencoder whose encoder and decoder are residual networks without normalisation, with a Gaussian
likelihood whose variances the decoder emits, trained by AdamW at one constant learning rate, with neither warm-up nor
clipping. Some pixels of the digits are black in every image, so that their variance shrinks without end. The
contestants have the same networks, first weights, batches, optimizer and precision, and differ in what stands between
them and NaN:

- plain: the loop of a tutorial, with `exp(logvar)` and nothing else;
- plain, skipping: it leaves out updates whose loss or gradient is not finite;
- plain, bounded: its means and log-variances go through the smooth bounds of `lucid.distributions`;
- lucid, skip=None: `fit`, whose densities are bounded so, leaving out only what is not finite;
- lucid: `fit` with its own `skip`, leaving out exceptional updates too;
- lucid, schedule: that, with its own warm-up and decay of the learning rate.

For each seed: the step whose loss or gradient is the first that is not finite (for lucid, where it gives up), the
updates that were left out, and the ELBO of the validation part in nats per example, at the end and at its best; it is a
density, and may be positive. The last line is that of a model that has not trained. Five minutes on one core.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Iterator
from statistics import median
from typing import NamedTuple

import torch
from torch import Tensor, nn

from lucid import data
from lucid.distributions import HeteroscedasticGaussian, bounded_loc, bounded_logvar
from lucid.models import VAE, VAEConfig
from lucid.training import NonFiniteLossError, Settings, StalledTrainingError, fit
from lucid.training.optimizers import make_optimizer

LOG_2PI = math.log(2 * math.pi)
LATENTS, WIDTH, BATCH = 16, 128, 64
NAN = math.nan


class Task(NamedTuple):
    """What is trained, and how."""

    dataset: data.Dataset
    blocks: int
    steps: int
    learning_rate: float
    seed: int

    @property
    def pixels(self) -> int:
        return math.prod(self.dataset.protocol.shape)

    def networks(self) -> tuple[nn.Module, nn.Module]:
        """Encoder and decoder; each seed has first weights of its own."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            encoder = nn.Sequential(nn.Flatten(), *deep(self.pixels, 2 * LATENTS, self.blocks))
            decoder = nn.Sequential(
                *deep(LATENTS, 2 * self.pixels, self.blocks), nn.Unflatten(1, (2, *self.dataset.protocol.shape[1:]))
            )
        return encoder, decoder

    def settings(self, skip: float | None, *, scheduled: bool = False) -> Settings:
        """Of all contestants."""
        return Settings(
            steps=self.steps,
            batch_size=BATCH,
            learning_rate=self.learning_rate,
            warmup=50 if scheduled else 0,
            decay="cosine" if scheduled else "none",
            skip=skip,
            seed=self.seed,
            precision="bf16-mixed",
            validate_every=max(1, self.steps // 20),
        )


class Outcome(NamedTuple):
    """What a run came to; ELBOs in nats per example."""

    broken_at: int | None
    left_out: int
    last: float
    best: float


class Residual(nn.Module):
    """x + f(x), with two layers in f and no normalisation."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.inner = nn.Sequential(nn.ReLU(), nn.Linear(width, width), nn.ReLU(), nn.Linear(width, width))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.inner(x)


def deep(inputs: int, outputs: int, blocks: int) -> list[nn.Module]:
    """Residual blocks between two linear layers, with PyTorch's own first weights."""
    return [nn.Linear(inputs, WIDTH), *(Residual(WIDTH) for _ in range(blocks)), nn.Linear(WIDTH, outputs)]


# By hand


Halves = Callable[[Tensor], tuple[Tensor, Tensor]]


def unbounded(h: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and log-variance, as they come."""
    mu, logvar = h.chunk(2, 1)
    return mu, logvar


def bounded(h: Tensor) -> tuple[Tensor, Tensor]:
    """The same, within the smooth bounds of lucid's densities."""
    mu, logvar = h.chunk(2, 1)
    return bounded_loc(mu), bounded_logvar(logvar)


def negative_elbo(encoder: nn.Module, decoder: nn.Module, x: Tensor, halves: Halves, noise: torch.Generator) -> Tensor:
    """−ELBO in nats per example; the networks in bfloat16, densities in float32."""
    with torch.autocast("cpu", torch.bfloat16):
        h = encoder(x)
    mu, logvar = halves(h.float())
    z = mu + torch.randn(mu.shape, generator=noise) * (0.5 * logvar).exp()
    with torch.autocast("cpu", torch.bfloat16):
        out = decoder(z)
    mean, logscale = halves(out.float())
    reconstruction = 0.5 * ((x - mean).square() * (-logscale).exp() + logscale + LOG_2PI).sum()
    kl = -0.5 * (1 + logvar - mu.square() - logvar.exp()).sum()
    return (reconstruction + kl) / len(x)


def by_hand(task: Task, *, halves: Halves = unbounded, skipping: bool = False) -> Outcome:
    """The hand-written loop."""
    encoder, decoder = task.networks()
    parameters = [*encoder.parameters(), *decoder.parameters()]
    settings = task.settings(None)
    optimizer = make_optimizer(parameters, settings)
    assert settings.validate_every is not None
    noise = torch.Generator().manual_seed(task.seed)
    held, broken_at, left_out, elbos = task.dataset.validation.tensor(), None, 0, [NAN]
    for step, x in zip(range(task.steps), batches(task), strict=False):
        loss = negative_elbo(encoder, decoder, x, halves, noise)
        optimizer.zero_grad()
        loss.backward()
        finite = bool(loss.isfinite()) and bool(torch.nn.utils.get_total_norm(p.grad for p in parameters).isfinite())
        if not finite and broken_at is None:
            broken_at = step
        if finite or not skipping:
            optimizer.step()
        else:
            left_out += 1
        if (step + 1) % settings.validate_every == 0:
            with torch.no_grad():
                elbos.append(-float(negative_elbo(encoder, decoder, held, halves, noise)))
    return Outcome(broken_at, left_out, elbos[-1], max((e for e in elbos if math.isfinite(e)), default=NAN))


def batches(task: Task) -> Iterator[Tensor]:
    epoch = 0
    while True:
        yield from task.dataset.train.batches(BATCH, seed=task.seed, epoch=epoch)
        epoch += 1


# By lucid


def by_lucid(task: Task, *, skip: float | None, scheduled: bool = False) -> Outcome:
    """`fit`, with everything as the others have it that is not said here."""
    encoder, decoder = task.networks()
    model = VAE(VAEConfig(encoders=[encoder], decoders=[decoder], likelihood=HeteroscedasticGaussian()))
    try:
        result = fit(model, task.dataset, settings=task.settings(skip, scheduled=scheduled), progress=False)
    except (NonFiniteLossError, StalledTrainingError) as error:
        return Outcome(error.step, 0, NAN, NAN)
    last = NAN if result.validation is None else result.validation.elbo
    return Outcome(None, result.skipped, last, -result.best_loss)


CONTESTANTS: dict[str, Callable[[Task], Outcome]] = {
    "plain": by_hand,
    "plain, skipping": lambda task: by_hand(task, skipping=True),
    "plain, bounded": lambda task: by_hand(task, halves=bounded),
    "lucid, skip=None": lambda task: by_lucid(task, skip=None),
    "lucid": lambda task: by_lucid(task, skip=Settings().skip),
    "lucid, schedule": lambda task: by_lucid(task, skip=Settings().skip, scheduled=True),
}


def main() -> None:
    """Train every contestant with every seed, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=4)
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--learning-rate", type=float, default=0.01)
    parser.add_argument("--blocks", type=int, default=12, help="of two layers, in the encoder and in the decoder")
    parser.add_argument("--data", default="digits", help="any image set in [0, 1] that lucid.data.load knows")
    arguments = parser.parse_args()
    dataset = data.load(arguments.data)
    print(f"{arguments.data}, {arguments.blocks} + {arguments.blocks} blocks, learning rate {arguments.learning_rate}")
    print(f"\n{'':18}{'seed':>5}{'not finite since':>18}{'left out':>10}{'ELBO, last':>12}{'best':>11}")
    for name, train in CONTESTANTS.items():
        outcomes: list[Outcome] = []
        for seed in range(arguments.seeds):
            task = Task(dataset, arguments.blocks, arguments.steps, arguments.learning_rate, seed)
            outcomes.append(train(task))
            broken_at, left_out, last, best = outcomes[-1]
            since = "-" if broken_at is None else f"step {broken_at}"
            print(f"{name:18}{seed:5}{since:>18}{left_out:10}{last:12.5g}{best:11.5g}", flush=True)
        broken = sum(not math.isfinite(outcome.last) for outcome in outcomes)
        best = [outcome.best for outcome in outcomes if math.isfinite(outcome.best)]
        middle = f"; median best {median(best):.5g}" if best else ""
        print(f"{'':18}  {broken} of {len(outcomes)} ended without a finite ELBO{middle}\n", flush=True)
    encoder, decoder = Task(dataset, arguments.blocks, 1, 1.0, 0).networks()
    with torch.no_grad():
        untrained = -float(negative_elbo(encoder, decoder, dataset.validation.tensor(), bounded, torch.Generator()))
    print(f"not trained: {untrained:.5g}")


if __name__ == "__main__":
    main()
