"""`fit_prior`: gives a trained model a prior that fits its latents, and leaves everything else as it is."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import torch
from torch import Tensor
from torch.distributions import Distribution

from lucid.distributions import Prior, draw
from lucid.evaluation import DeepestLatent, deepest_latents
from lucid.models import PRIORS, DataProtocol, LatentModel, PriorMaker, evaluating

if TYPE_CHECKING:
    from lucid.data import Dataset

__all__ = ["FittedPrior", "fit_prior"]

_CHECKS = 25
"""How often the fit looks at the validation split."""


@dataclass(frozen=True)
class FittedPrior:
    """What fitting a prior did; nats per example, on the validation split (the training split where there is none).

    Both priors are scored at the same draws of the latents, so their difference is far surer than either of them.

    Attributes:
        model: The model; with its new prior if that is `better`, else with the one it had.
        before: E_q log p(z) under the prior it had; larger is better.
        after: The same under the new one.
        gain: Mean over the examples of how much more the new one gives the same z: the nats by which the bound rises,
            as everything but log p(z) is what it was. At most the gap, in expectation.
        gain_error: Standard error of that.
        split: Where they were measured: "validation" or "train".
        steps: Steps made.
        best_step: The step whose prior was kept.
        history: (step, E_q log p(z)) at each look.
    """

    model: LatentModel
    before: float
    after: float
    gain: float
    gain_error: float
    split: str
    steps: int
    best_step: int
    history: tuple[tuple[int, float], ...]

    @property
    def better(self) -> bool:
        """Whether anything was gained; if not, the model has kept the prior it had."""
        return self.gain > 0


class _WithTopPrior(Protocol):
    top_prior: Prior | None

    def set_top_prior(self, top_prior: Prior | None, /) -> None: ...


def fit_prior(
    model: LatentModel,
    data: Dataset | Any,
    *,
    prior: Prior | PriorMaker | str = "mixture",
    steps: int = 2000,
    batch_size: int = 256,
    learning_rate: float = 5e-3,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> FittedPrior:
    r"""Fit the prior of the deepest latent to the latents of a trained model.

    Encoder, decoder and the other priors stay as they are; the new prior maximises

    .. math:: E_{x}\, E_{q(z|x)} \log p(z)

    the one term of the bound it is part of. What the bound gains is what the gap KL(q(z) ‖ p(z)) loses: samples then
    come from where the decoder was trained, see `lucid.evaluation.aggregate_gap`. The state that does best on the
    validation split is taken; if it does no better there than the prior the model has, the model keeps that one.

    The posteriors of the training split are worked out once, and z is drawn from them anew in each pass.

    Dai, Wipf: Diagnosing and Enhancing VAE Models, 2019, https://arxiv.org/abs/1903.05789.
    Ghosh et al.: From Variational to Deterministic Autoencoders, 2020, https://arxiv.org/abs/1903.12436.

    Args:
        model: A trained model; it is changed in place.
        data: The `lucid.data.Dataset` it was trained on, or anything `lucid.data.load` takes.
        prior: "mixture", "vamp" or "flow", what makes one from the latent's shape and the data protocol, or the prior
            itself.
        steps: Steps of Adam, its rate falling to 0 along a half cosine.
        batch_size: Latents in a step.
        learning_rate: At the first step.
        seed: Of the draws and of their order.
        progress: Called as `progress(steps done, steps in total)` now and then.

    Returns:
        The model, and the figures before and after: see whether the new prior is `better`.

    Raises:
        ValueError: If a setting is not positive, there is no prior of that name, or it does not fit the latent.
        TypeError: If the model has no such prior to replace.
        FloatingPointError: If the fit meets a value that is not finite; the model keeps the prior it had.

    Example:
        >>> import lucid.nn as nn, torch
        >>> from lucid.models import VAE, VAEConfig
        >>> model = VAE(VAEConfig(encoders=[nn.Linear(6, 4)], decoders=[nn.Linear(2, 6)]))
        >>> fitted = fit_prior(model, torch.randn(300, 6), steps=50)
        >>> fitted.steps, fitted.model is model, fitted.better == (model.top_prior is not None)
        (50, True, True)
    """
    from lucid import data as data_room

    for name, value in (("steps", steps), ("batch_size", batch_size), ("learning_rate", learning_rate)):
        if not value > 0:
            raise ValueError(f"{name} must be positive; received {value}")
    if not hasattr(model, "set_top_prior"):
        raise TypeError(f"{type(model).__name__} has no set_top_prior: the prior of its deepest latent is fixed")
    dataset = data if isinstance(data, data_room.Dataset) else data_room.load(data)
    device = next(model.parameters()).device
    stream = torch.Generator(device).manual_seed(seed)
    with evaluating(model):
        train = _Latents(model, dataset.train, stream, batch_size)
        split = "validation" if dataset.validation.size else "train"
        held_out = train if split == "train" else _Latents(model, dataset.validation, stream, batch_size)
    made = _made(prior, train, model.protocol or dataset.protocol).to(device)
    x, z = train.some()
    made.start(x, z)
    fitting = _Fitting(model, made, train, held_out, stream)
    return fitting.run(steps, batch_size, learning_rate, progress, split)


class _Latents:
    """The deepest latents of a split: their posteriors, and some examples they belong to.

    Attributes:
        z: A draw of each, (N, ...).
        log_prior: log p(z) of these draws under the prior the model has, (N,) nats.
    """

    def __init__(self, model: LatentModel, split: Any, stream: torch.Generator, batch_size: int) -> None:
        self.posteriors: list[Distribution] = []
        self.examples: list[DeepestLatent] = []
        self.size = 0
        self._stream = stream
        z: list[Tensor] = []
        log_prior: list[Tensor] = []
        for latent in deepest_latents(model, split, batch_size, stream):
            rows = len(latent.x)
            z.append(draw(latent.posterior, generator=stream))
            log_prior.append(latent.prior.log_prob(z[-1]).double())
            self.posteriors.append(latent.posterior)
            if self.size < 10_000:  # enough to start a prior from
                self.examples.append(latent)
            self.size += rows
        if self.size < 2:
            raise ValueError(f"a prior is fitted to the latents of at least 2 examples; received {self.size}")
        self.z, self.log_prior = torch.cat(z), torch.cat(log_prior)

    @torch.no_grad()
    def drawn(self) -> Tensor:
        """A latent for each example, anew."""
        return torch.cat([draw(posterior, generator=self._stream) for posterior in self.posteriors])

    @torch.no_grad()
    def some(self) -> tuple[Tensor, Tensor]:
        """Up to about 10,000 examples and a latent of each, in random order."""
        x = torch.cat([latent.x for latent in self.examples])
        z = torch.cat([draw(latent.posterior, generator=self._stream) for latent in self.examples])
        order = torch.randperm(len(x), generator=self._stream, device=x.device)
        return x[order], z[order]

    @property
    def condition(self) -> Tensor | None:
        """What a conditional model was told of one example; the prior of its deepest latent does not read it."""
        told = self.examples[0].condition
        return None if told is None else told[:1]


class _Fitting:
    """One fit: the model with its new prior, the latents, and the best state so far."""

    def __init__(
        self, model: LatentModel, prior: Prior, train: _Latents, held_out: _Latents, stream: torch.Generator
    ) -> None:
        self.model = model
        self.prior = prior
        self.train = train
        self.held_out = held_out
        self.stream = stream

    def run(
        self, steps: int, batch_size: int, learning_rate: float, progress: Callable[[int, int], None] | None, split: str
    ) -> FittedPrior:
        holder: _WithTopPrior = self.model  # pyright: ignore[reportAssignmentType]
        had = holder.top_prior
        with _installed(self.model, self.prior):
            history = self._descend(steps, batch_size, learning_rate, progress)
            gains = self._log_prior_of(self.held_out.z) - self.held_out.log_prior
        best_step, after = max(history, key=lambda look: look[1])
        before = float(self.held_out.log_prior.mean())
        gain, error = float(gains.mean()), float(gains.std() / math.sqrt(len(gains)))
        fitted = FittedPrior(self.model, before, after, gain, error, split, steps, best_step, tuple(history))
        if not fitted.better:
            holder.set_top_prior(had)
        return fitted

    def _descend(
        self, steps: int, batch_size: int, learning_rate: float, progress: Callable[[int, int], None] | None
    ) -> list[tuple[int, float]]:
        validation = self.held_out.z
        history = [(0, self._measure(validation))]
        best = copy.deepcopy(self.prior.state_dict())
        parameters = [parameter for parameter in self.prior.parameters() if parameter.requires_grad]
        if not parameters:
            return history
        optimizer = torch.optim.Adam(parameters, learning_rate)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
        batches = self._batches(batch_size)
        look_every = max(1, steps // _CHECKS)
        for step in range(1, steps + 1):
            loss = -self._log_prior(next(batches)).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            if step % look_every == 0 or step == steps:
                history.append((step, self._measure(validation)))
                if history[-1][1] > max(value for _, value in history[:-1]):
                    best = copy.deepcopy(self.prior.state_dict())
                if progress is not None:
                    progress(step, steps)
        self.prior.load_state_dict(best)
        return history

    def _batches(self, batch_size: int) -> Iterator[Tensor]:
        """Latents for one step after the other, drawn anew in each pass."""
        while True:
            z = self.train.drawn()
            order = torch.randperm(len(z), generator=self.stream, device=z.device)
            # The last, smaller batch of a pass waits for no other: its examples come in other batches next time.
            yield from z[order].split(batch_size)[: max(1, len(z) // batch_size)]

    def _log_prior(self, z: Tensor) -> Tensor:
        condition = self.train.condition
        told = None if condition is None else condition.expand(len(z), *condition.shape[1:])
        # A walk without data meets the prior of the deepest latent first.
        prior = next(self.model.walk(num_examples=len(z), condition=told))
        assert isinstance(prior, Distribution)
        return prior.log_prob(z)

    @torch.no_grad()
    def _log_prior_of(self, z: Tensor) -> Tensor:
        return torch.cat([self._log_prior(part).double() for part in z.split(1024)])

    def _measure(self, z: Tensor) -> float:
        mean = float(self._log_prior_of(z).mean())
        if not math.isfinite(mean):
            raise FloatingPointError(
                f"log p(z) of the {type(self.prior).__name__} is {mean:g}: the fit diverged. Lower learning_rate"
            )
        return mean


@contextmanager
def _installed(model: LatentModel, prior: Prior) -> Generator[None]:
    """The prior in its place, alone in having gradients; the one before comes back if the fit fails."""
    holder: _WithTopPrior = model  # pyright: ignore[reportAssignmentType]
    before = holder.top_prior
    training = [module for module in model.modules() if module.training]
    holder.set_top_prior(prior)
    own = {id(parameter) for parameter in prior.parameters()}
    frozen = [p for p in model.parameters() if p.requires_grad and id(p) not in own]
    model.eval()
    for parameter in frozen:
        parameter.requires_grad_(False)
    try:
        yield
    except BaseException:
        holder.set_top_prior(before)
        raise
    finally:
        for parameter in frozen:
            parameter.requires_grad_(True)
        for parameter in prior.parameters():
            parameter.grad = None
        prior.train(model in training)
        for module in training:
            module.training = True


def _made(prior: Prior | PriorMaker | str, latents: _Latents, protocol: DataProtocol) -> Prior:
    if isinstance(prior, Prior):
        return prior
    if isinstance(prior, str):
        if prior not in PRIORS:
            raise ValueError(f"there is no prior {prior!r}; there are {', '.join(PRIORS)}")
        prior = PRIORS[prior]
    return prior(tuple(latents.posteriors[0].event_shape), protocol)
