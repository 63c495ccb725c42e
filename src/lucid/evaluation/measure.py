"""`evaluate`: every figure of a model in one pass over the data, with exact counts and bounded memory."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise

import torch
from torch import Tensor

from lucid.data import Share
from lucid.evaluation.bound_figures import bound_figures
from lucid.evaluation.declared import BitsPerDim, protocol_of
from lucid.evaluation.examples import Batches, check_data, device_of, examples_of, length_of, name_of
from lucid.evaluation.found import Found
from lucid.evaluation.moments import Moments
from lucid.evaluation.result import Evaluation, Measurement
from lucid.evaluation.sharing import Chunks, Sent, Team, all_chunks, check_processes, exchanged, sent, with_workers
from lucid.models import DataProtocol, LatentModel, evaluating

__all__ = ["Batches", "evaluate", "examples_of"]

_MAX_ROWS = 8192
_MAX_NUMBERS = 2**21

Progress = Callable[[int, int | None], None]


def evaluate(
    model: LatentModel,
    data: Batches | Tensor,
    *,
    num_samples: int | Sequence[int] = 100,
    elbo_samples: int = 10,
    batch_size: int = 128,
    max_rows: int | None = None,
    seed: int = 0,
    split: str | None = None,
    device: torch.device | str | None = None,
    progress: Progress | None = None,
    condition: Tensor | None = None,
    workers: int = 1,
    team: Team | None = None,
) -> Evaluation:
    r"""Measure a model on data it has not seen: ELBO, per-level KL, active units, log-likelihood, bits/dim.

    The ELBO averages `elbo_samples` draws per example, with the closed-form KL where one is part of the bound. The
    log-likelihood is importance-weighted, :math:`\log\tfrac1k\sum_i p(x,z_i)/q(z_i|x)` at k = 1, 10, 100, … up to
    `num_samples` draws of one growing set, summed in float64; a figure says how far it still is from log p(x), and
    warns where that matters (`lucid.evaluation.convergence`). Every standard error is over the examples; `over_seeds`
    adds those over repeated draws or trainings.

    Each batch has its own stream of random numbers, derived from `seed`: a result is reproduced exactly by the same
    seed, `batch_size` and `max_rows` on the same device, and neither `num_samples` nor `elbo_samples` disturbs the
    other's figures. Another batch size draws other numbers, and gives the same figures up to their sampling noise.
    Several processes (`workers`, or a `team`) give the figures of one, to the last bit if each computes with as many
    threads.

    Burda, Grosse, Salakhutdinov: Importance Weighted Autoencoders, 2015, https://arxiv.org/abs/1509.00519.

    Args:
        model: Any latent-variable model. It is measured in evaluation mode, without gradients, and put back in its
            mode.
        data: A split of a dataset, or a tensor of model-space x, (N, ...) with N ≥ 2.
        num_samples: Importance draws per example, exactly; or a list of the numbers of draws to report at, increasing.
        elbo_samples: Draws per example for the ELBO, the KL and the active units, exactly; at least 2 for several
            levels.
        batch_size: Examples at once.
        max_rows: At most this many rows (draws × examples) go through the networks at once, which bounds the memory.
            None means as many as hold two million numbers of x, and at most 8192.
        seed: Of the posterior draws.
        split: What to call the data in the record. None means the name of the split, or "tensor".
        device: Where to work: the model is moved there, as by `model.to`. None means where it is.
        progress: Called as `progress(examples done, examples in total)` after each batch; the total is None if unknown.
        condition: What a conditional model is told of each example of a tensor; a split gives its labels itself.
        workers: How many processes of this machine measure together, on the CPU; the model and the data are copied to
            each. A script that asks for more than one needs `if __name__ == "__main__":`.
        team: The processes that torchrun has started; each of them calls this, and each is given all figures.

    Returns:
        The figures.

    Raises:
        ValueError: If a setting is out of range, there are fewer than two examples, the data yields another number of
            examples than it declares, was prepared in another way than the data the model was trained on, or lacks the
            condition that the model asks for; if model or data cannot be copied to other processes.
        FloatingPointError: If a figure of any example is NaN or infinite; none is left out.

    Example:
        >>> import lucid.nn as nn, torch
        >>> from lucid.models import VAE, VAEConfig
        >>> model = VAE(VAEConfig(encoders=[nn.Linear(6, 4)], decoders=[nn.Linear(2, 6)]))
        >>> found = evaluate(model, torch.randn(50, 6), num_samples=20)
        >>> [at_k.num_samples for at_k in found.importance_weighted], found.num_examples, found.bits_per_dim
        ([1, 10, 20], 50, None)
    """
    settings = _Settings(tuple(counts_of(num_samples)), elbo_samples, batch_size, max_rows, seed)
    settings.check(model)
    check_data(data)
    protocol = protocol_of(model, data)
    if device is not None:
        model.to(device)
    check_processes(workers, team, device_of(model))
    found = Found(model.depth, settings.counts)
    chunks = partial(_chunks, model, data, settings, condition, progress=progress)
    if workers > 1:
        found = with_workers(chunks, _work, (model, data, settings, condition), workers, found)
    elif team is not None:
        found = exchanged(chunks(team.share), found, team)
    else:
        found = all_chunks(chunks(Share()), found)
    return _evaluation(model, protocol, found, settings, split or name_of(data))


@dataclass(frozen=True)
class _Settings:
    """What is drawn and how much at once, checked."""

    counts: tuple[int, ...]
    elbo_samples: int
    batch_size: int
    max_rows: int | None
    seed: int

    def check(self, model: LatentModel) -> None:
        if not isinstance(model, LatentModel):
            raise TypeError(f"model must be a LatentModel, such as a VAE; received {type(model).__name__}")
        settings = {"elbo_samples": self.elbo_samples, "batch_size": self.batch_size}
        for name, value in {**settings, **({} if self.max_rows is None else {"max_rows": self.max_rows})}.items():
            _positive(name, value)
        if model.depth > 1 and self.elbo_samples < 2:
            raise ValueError(
                f"elbo_samples must be at least 2 for a model of {model.depth} levels: active units of the deeper ones "
                "need the noise of their means; received 1"
            )

    def rows(self, x: Tensor) -> int:
        """Rows (draws × examples) that may go through the networks at once."""
        return self.max_rows or max(1, min(_MAX_ROWS, _MAX_NUMBERS // max(1, x[0].numel())))


def _chunks(
    model: LatentModel,
    data: Batches | Tensor,
    settings: _Settings,
    condition: Tensor | None,
    share: Share,
    *,
    progress: Progress | None = None,
) -> Chunks:
    """Measure this process's chunks of the examples; every process passes over all of them, and counts them."""
    total, done, number = length_of(data), 0, 0
    seeds = torch.Generator().manual_seed(settings.seed)
    bits = BitsPerDim(protocol_of(model, data), model.likelihood.levels)
    with evaluating(model):
        for batch, told in examples_of(model, data, settings.batch_size, device_of(model), condition):
            rows = settings.rows(batch)
            for start in range(0, len(batch), rows):
                x = batch[start : start + rows]
                streams = [_derived(seeds, x.device) for _ in range(2)]
                if number % share.of == share.rank:
                    c = None if told is None else told[start : start + rows]
                    yield number, _measured(model, x, c, settings, bits, streams, rows, done + start)
                number += 1
            done += len(batch)
            if progress is not None:
                progress(done, total)
    if total is not None and done != total:
        raise ValueError(
            f"the data declares {total:,} examples and yielded {done:,}: every example must be counted "
            "exactly once, so its batches must hold them all"
        )


def _measured(
    model: LatentModel,
    x: Tensor,
    condition: Tensor | None,
    settings: _Settings,
    bits: BitsPerDim,
    streams: Sequence[torch.Generator],
    rows: int,
    first: int,
) -> Found:
    found = Found(model.depth, settings.counts)
    found.off_grid.add(bits.off_grid(x))
    found.add_elbo(model, x, condition, settings.elbo_samples, streams[0], rows, first)
    found.add_importance(model, x, condition, streams[1], rows, first)
    return found


def _work(
    share: Share, model: LatentModel, data: Batches | Tensor, settings: _Settings, condition: Tensor | None
) -> Sent:
    """What a further process does."""
    return sent(_chunks(model, data, settings, condition, share))


def _evaluation(
    model: LatentModel, protocol: DataProtocol | None, found: Found, settings: _Settings, split: str
) -> Evaluation:
    if found.num_examples < 2:
        raise ValueError(
            f"evaluation needs at least 2 examples, for a standard error over them; received {found.num_examples}"
        )
    units = found.latents.result()
    importance = tuple(
        _measurement(moments, k, f"IW-{k}", float(effective.mean))
        for k, moments, effective in zip(found.counts, found.importance, found.effective, strict=True)
    )
    bits = BitsPerDim(protocol, model.likelihood.levels)
    if float(found.off_grid.mean) > 0:
        bits.refuse_off_grid()
    bits_per_dim, note = bits.result(importance[-1])
    described = "not declared" if protocol is None else protocol.describe()
    about = {"num_examples": found.num_examples, "protocol": described, "split": split, "seed": settings.seed}
    features = None if bits_per_dim is None or protocol is None else protocol.num_features
    return Evaluation(
        elbo=_measurement(found.elbo, settings.elbo_samples, "ELBO"),
        log_likelihood=importance[-1],
        importance_weighted=importance,
        kl=tuple(float(kl.mean) for kl in found.kl),
        reconstruction=float(found.reconstruction.mean),
        active_units=tuple(level.num_active for level in units),
        latent_units=tuple(level.variance.numel() for level in units),
        bits_per_dim=bits_per_dim,
        bits_per_dim_note=note,
        num_examples=found.num_examples,
        protocol=described,
        split=split,
        seed=settings.seed,
        figures=bound_figures(found, settings.elbo_samples, units, features, about),
    )


def _measurement(moments: Moments, num_samples: int, estimator: str, effective: float | None = None) -> Measurement:
    return Measurement(float(moments.mean), float(moments.standard_error), num_samples, estimator, effective)


def counts_of(num_samples: int | Sequence[int]) -> list[int]:
    """The numbers of draws to report at: those given, or 1, 10, 100, … below a single one, then itself.

    Raises:
        TypeError: If one is not an int.
        ValueError: If one is not positive, there is none, or they do not increase.
    """
    if isinstance(num_samples, int) or not isinstance(num_samples, Sequence) or isinstance(num_samples, str):
        k = _positive("num_samples", num_samples)
        powers = [10**n for n in range(len(str(k)))]
        return [*(power for power in powers if power < k), k]
    counts = [_positive("num_samples", k) for k in num_samples]
    if not counts or any(later <= earlier for earlier, later in pairwise(counts)):
        raise ValueError(f"num_samples must be one number of draws, or several that increase; received {counts}")
    return counts


def _derived(seeds: torch.Generator, device: torch.device) -> torch.Generator:
    """A generator on the device, seeded by the next number of `seeds`."""
    return torch.Generator(device).manual_seed(int(torch.randint(2**62, (), generator=seeds)))


def _positive(name: str, value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{name} must be an int; received {value!r}")
    if value < 1:
        raise ValueError(f"{name} must be at least 1; received {value}")
    return value
