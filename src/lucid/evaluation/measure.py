"""`evaluate`: every figure of a model in one pass over the data, with exact counts and bounded memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Protocol

import torch
from torch import Tensor

from lucid.data import Share, Split, tells_labels
from lucid.evaluation.declared import BitsPerDim, protocol_of
from lucid.evaluation.latents import LatentStatistics
from lucid.evaluation.moments import Moments
from lucid.evaluation.result import Evaluation, Measurement
from lucid.models import DataProtocol, LatentModel, Record, draws, drive, evaluating, importance_weighted
from lucid.models.condition import told

__all__ = ["Batches", "evaluate", "examples_of"]

_MAX_ROWS = 8192
_MAX_NUMBERS = 2**21


class Batches(Protocol):
    """What `evaluate` needs of a split of data: ordered batches of model-space x."""

    def batches(self, batch_size: int, *, device: torch.device | str = ...) -> Iterator[Tensor]:
        """Every example once, in order, (B, ...) at a time."""
        ...

    def __len__(self) -> int: ...


def evaluate(
    model: LatentModel,
    data: Batches | Tensor,
    *,
    num_samples: int = 100,
    elbo_samples: int = 10,
    batch_size: int = 128,
    max_rows: int | None = None,
    seed: int = 0,
    split: str | None = None,
    device: torch.device | str | None = None,
    progress: Callable[[int, int | None], None] | None = None,
    condition: Tensor | None = None,
) -> Evaluation:
    r"""Measure a model on data it has not seen: ELBO, per-level KL, active units, log-likelihood, bits/dim.

    The ELBO averages `elbo_samples` draws per example, with the closed-form KL where one is part of the bound. The
    log-likelihood is importance-weighted, :math:`\log\tfrac1k\sum_i p(x,z_i)/q(z_i|x)` at k = 1, 10, 100, … up to
    `num_samples` draws of one growing set, summed in float64. Every standard error is over the examples.

    Each batch has its own stream of random numbers, derived from `seed`: a result is reproduced exactly by the same
    seed, `batch_size` and `max_rows` on the same device, and neither `num_samples` nor `elbo_samples` disturbs the
    other's figures. Another batch size draws other numbers, and gives the same figures up to their sampling noise.

    Burda, Grosse, Salakhutdinov: Importance Weighted Autoencoders, 2015, https://arxiv.org/abs/1509.00519.

    Args:
        model: Any latent-variable model. It is measured in evaluation mode, without gradients, and put back in its
            mode.
        data: A split of a dataset, or a tensor of model-space x, (N, ...) with N ≥ 2.
        num_samples: Importance draws per example, exactly.
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

    Returns:
        The figures.

    Raises:
        ValueError: If a setting is out of range, there are fewer than two examples, the data yields another number of
            examples than it declares, was prepared in another way than the data the model was trained on, or lacks the
            condition that the model asks for.
        FloatingPointError: If a figure of any example is NaN or infinite; none is left out.

    Example:
        >>> import lucid.nn as nn, torch
        >>> from lucid.models import VAE, VAEConfig
        >>> model = VAE(VAEConfig(encoders=[nn.Linear(6, 4)], decoders=[nn.Linear(2, 6)]))
        >>> found = evaluate(model, torch.randn(50, 6), num_samples=20)
        >>> [at_k.num_samples for at_k in found.importance_weighted], found.num_examples, found.bits_per_dim
        ([1, 10, 20], 50, None)
    """
    _check_settings(model, num_samples, elbo_samples, batch_size, max_rows)
    _check_data(data)
    protocol = protocol_of(model, data)
    if device is not None:
        model.to(device)
    place = _device_of(model)
    total = _length(data)
    seeds = torch.Generator().manual_seed(seed)
    totals = _Totals(model, protocol, _counts(num_samples))
    with evaluating(model):
        for batch, told in examples_of(model, data, batch_size, place, condition):
            rows = max_rows or max(1, min(_MAX_ROWS, _MAX_NUMBERS // max(1, batch[0].numel())))
            for start in range(0, len(batch), rows):
                x = batch[start : start + rows]
                c = None if told is None else told[start : start + rows]
                elbo_stream, importance_stream = (_derived(seeds, x.device) for _ in range(2))
                totals.add_elbo(x, c, elbo_samples, elbo_stream, rows)
                totals.add_importance(x, c, importance_stream, rows)
            if progress is not None:
                progress(totals.num_examples, total)
    if total is not None and totals.num_examples != total:
        raise ValueError(
            f"the data declares {total:,} examples and yielded {totals.num_examples:,}: every example must be counted "
            "exactly once, so its batches must hold them all"
        )
    return totals.evaluation(elbo_samples, split or (data.part if isinstance(data, Split) else "tensor"), seed)


class _OverDraws:
    """−log p(x|z) and the KL of each level, averaged over the draws of each example of one batch."""

    def __init__(self, depth: int) -> None:
        self.reconstruction = Moments()
        self.kl = [Moments() for _ in range(depth)]

    def watch(self, records: Iterator[Record], num_examples: int) -> Iterator[Record]:
        """Pass the records on, one at a time, so that no two of them need to be kept."""
        for record in records:
            self.reconstruction.add(record.reconstruction().view(-1, num_examples))
            for moments, kl in zip(self.kl, record.kl(), strict=True):
                moments.add(kl.view(-1, num_examples))
            yield record


class _Totals:
    """Running figures over the examples seen so far."""

    def __init__(self, model: LatentModel, protocol: DataProtocol | None, counts: list[int]) -> None:
        self.model = model
        self.protocol = protocol
        self.counts = counts
        self.elbo = Moments()
        self.reconstruction = Moments()
        self.kl = [Moments() for _ in range(model.depth)]
        self.latents = LatentStatistics(model.depth)
        self.importance = [Moments() for _ in counts]
        self.effective = [Moments() for _ in counts]
        self.bits = BitsPerDim(protocol, model.likelihood.levels)

    @property
    def num_examples(self) -> int:
        return self.elbo.count

    def add_elbo(
        self, x: Tensor, condition: Tensor | None, num_samples: int, generator: torch.Generator, max_rows: int
    ) -> None:
        first = self.num_examples
        self.bits.look_at(x)
        records = _records(self.model, x, condition, num_samples, generator, max_rows)
        found = _OverDraws(self.model.depth)
        self.latents.add(found.watch(records, x.shape[0]), x.shape[0])
        reconstruction, kls = found.reconstruction.mean, [kl.mean for kl in found.kl]
        self._add(self.reconstruction, reconstruction, "−log p(x|z)", first)
        for level, kl in enumerate(kls):
            self._add(self.kl[level], kl, f"the KL of level {level}", first)
        self._add(self.elbo, -reconstruction - torch.stack(kls).sum(0), "the ELBO", first)

    def add_importance(self, x: Tensor, condition: Tensor | None, generator: torch.Generator, max_rows: int) -> None:
        for i, at_k in enumerate(importance_weighted(self.model, x, self.counts, generator, max_rows, condition)):
            first = self.importance[i].count
            self._add(self.importance[i], at_k.per_example, f"the {at_k.estimator} log-likelihood", first)
            self._add(self.effective[i], at_k.effective_sample_size, "the effective sample size", first)

    @staticmethod
    def _add(moments: Moments, per_example: Tensor, name: str, first: int) -> None:
        bad = ~per_example.isfinite()
        if bool(bad.any()):
            raise FloatingPointError(
                f"{name} is not finite for {int(bad.sum())} of the examples {first} … {first + len(bad) - 1}; the "
                f"first is example {first + int(bad.nonzero()[0])}. No example is left out of a figure: look at that "
                "example, and at the model's weights"
            )
        moments.add(per_example)

    def evaluation(self, elbo_samples: int, split: str, seed: int) -> Evaluation:
        if self.num_examples < 2:
            raise ValueError(
                f"evaluation needs at least 2 examples, for a standard error over them; received {self.num_examples}"
            )
        units = self.latents.result()
        importance = tuple(
            _measurement(moments, k, f"IW-{k}", float(effective.mean))
            for k, moments, effective in zip(self.counts, self.importance, self.effective, strict=True)
        )
        bits, note = self.bits.result(importance[-1])
        return Evaluation(
            elbo=_measurement(self.elbo, elbo_samples, "ELBO"),
            log_likelihood=importance[-1],
            importance_weighted=importance,
            kl=tuple(float(kl.mean) for kl in self.kl),
            reconstruction=float(self.reconstruction.mean),
            active_units=tuple(level.num_active for level in units),
            latent_units=tuple(level.variance.numel() for level in units),
            bits_per_dim=bits,
            bits_per_dim_note=note,
            num_examples=self.num_examples,
            protocol="not declared" if self.protocol is None else self.protocol.describe(),
            split=split,
            seed=seed,
        )


def _records(
    model: LatentModel,
    x: Tensor,
    condition: Tensor | None,
    num_samples: int,
    generator: torch.Generator,
    max_rows: int,
) -> Iterator[Record]:
    """Walks over x that hold exactly `num_samples` draws together, at most `max_rows` rows each."""
    at_once = max(1, max_rows // x.shape[0])
    for start in range(0, num_samples, at_once):
        walk = model.walk(x, **told(condition))
        yield drive(walk, draws(generator, num_samples=min(at_once, num_samples - start)))


def _measurement(moments: Moments, num_samples: int, estimator: str, effective: float | None = None) -> Measurement:
    return Measurement(float(moments.mean), float(moments.standard_error), num_samples, estimator, effective)


def _counts(num_samples: int) -> list[int]:
    """1, 10, 100, … below `num_samples`, then itself."""
    powers = [10**n for n in range(len(str(num_samples)))]
    return [*(k for k in powers if k < num_samples), num_samples]


def _derived(seeds: torch.Generator, device: torch.device) -> torch.Generator:
    """A generator on the device, seeded by the next number of `seeds`."""
    return torch.Generator(device).manual_seed(int(torch.randint(2**62, (), generator=seeds)))


def examples_of(
    model: LatentModel,
    data: Batches | Tensor,
    batch_size: int,
    device: torch.device,
    condition: Tensor | None = None,
) -> Iterator[tuple[Tensor, Tensor | None]]:
    """Every example once, batch by batch, with what a conditional model is told of it.

    Args:
        model: The model.
        data: A split, whose labels are told where the model is conditional; or a tensor of x.
        batch_size: Examples at once.
        device: Where they go.
        condition: Of each example of a tensor.

    Raises:
        ValueError: If the model is not told what it asks for, or told what it does not ask for.
    """
    _check_data(data)
    if not isinstance(data, Tensor):
        if condition is not None:
            raise ValueError("condition= goes with a tensor of x: a split gives the labels of its examples itself")
        if isinstance(data, Split) and tells_labels(model, data):
            portions = data.portions(batch_size, device=device, share=Share(), condition=True)
            return ((portion.x, portion.condition) for portion in portions)
        return ((x, None) for x in data.batches(batch_size, device=device))
    if data.dim() < 2:
        raise ValueError(f"x must be (batch, features, ...); received shape {tuple(data.shape)}")
    if condition is None:
        return ((x.to(device), None) for x in data.split(batch_size) if len(x))
    if len(condition) != len(data):
        raise ValueError(
            f"condition must have a row for each example; received {len(condition)} for {len(data)} examples"
        )
    pairs = zip(data.split(batch_size), condition.split(batch_size), strict=True)
    return ((x.to(device), told.to(device)) for x, told in pairs if len(x))


def _check_data(data: object) -> None:
    if not isinstance(data, Tensor) and not hasattr(data, "batches"):
        raise TypeError(
            "data must be a split of a dataset, such as load(…).test, or a tensor of model-space x; received "
            f"{type(data).__name__}. lucid.data.load_like(data, model.protocol) makes a split of a table, a file or an "
            "array"
        )


def _length(data: Batches | Tensor) -> int | None:
    """Examples in the data; None for a stream, whose `size` is None."""
    if not isinstance(data, Tensor) and getattr(data, "size", len) is None:
        return None
    return len(data)


def _device_of(model: LatentModel) -> torch.device:
    tensor = next(model.parameters(), None)
    return next(model.buffers()).device if tensor is None else tensor.device


def _check_settings(
    model: LatentModel, num_samples: int, elbo_samples: int, batch_size: int, max_rows: int | None
) -> None:
    if not isinstance(model, LatentModel):
        raise TypeError(f"model must be a LatentModel, such as a VAE; received {type(model).__name__}")
    settings = {"num_samples": num_samples, "elbo_samples": elbo_samples, "batch_size": batch_size}
    for name, value in {**settings, **({} if max_rows is None else {"max_rows": max_rows})}.items():
        if isinstance(value, bool) or not isinstance(value, int):
            raise TypeError(f"{name} must be an int; received {value!r}")
        if value < 1:
            raise ValueError(f"{name} must be at least 1; received {value}")
    if model.depth > 1 and elbo_samples < 2:
        raise ValueError(
            f"elbo_samples must be at least 2 for a model of {model.depth} levels: active units of the deeper ones "
            "need the noise of their means; received 1"
        )
