r"""Annealed importance sampling: log p(x) from chains that go from a density one can draw from to the posterior.

.. math:: \log w = \sum_{t=1}^{T} (\beta_t - \beta_{t-1})\,[\log p(x, z_{t-1}) - \log p_0(z_{t-1})],
    \qquad E[w] = p(x)

Neal: Annealed Importance Sampling, 2001, https://arxiv.org/abs/physics/9803008.
Wu, Burda, Salakhutdinov, Grosse: On the Quantitative Analysis of Decoder-Based Generative Models, 2017,
https://arxiv.org/abs/1611.04273.
Grosse, Ghahramani, Adams: Sandwiching the marginal likelihood using bidirectional Monte Carlo, 2015,
https://arxiv.org/abs/1511.02543.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor

from lucid.data import Share
from lucid.evaluation.annealing import Annealing
from lucid.evaluation.examples import device_of
from lucid.evaluation.hmc import transition, tuned
from lucid.evaluation.paths import Path, Values
from lucid.evaluation.sharing import Team, added, check_processes
from lucid.evaluation.streams import stream_of
from lucid.models import LatentModel, draws, drive, evaluating
from lucid.models.checks import check_batch
from lucid.models.condition import told

__all__ = ["Annealed", "Sandwich", "annealed", "sandwiched"]

Tell = Callable[[int, int], None]


class Annealed(NamedTuple):
    """What annealing found of each example.

    Attributes:
        log_likelihood: log of the mean weight of its chains, (N,) nats: below log p(x) in expectation.
        effective_sample_size: (Σw)²/Σw² of its chains, (N,).
        acceptance: Mean probability of acceptance, (N,).
        log_weights: Of each chain, (K, N).
        step_size: Largest step of HMC, averaged over β, in units of the width of the density, (N,): near 0 the chains
            hardly move, however many steps are accepted.
    """

    log_likelihood: Tensor
    effective_sample_size: Tensor
    acceptance: Tensor
    log_weights: Tensor
    step_size: Tensor


class Sandwich(NamedTuple):
    """Bounds of log p(x) from both sides, for examples that the model itself has made.

    Attributes:
        lower: From chains that end at the posterior, (N,) nats: below log p(x) in expectation.
        upper: From chains that begin at the exact posterior draw the example was made of, (N,): above it.
        acceptance: Mean probability of acceptance, (N,).
    """

    lower: Tensor
    upper: Tensor
    acceptance: Tensor

    @property
    def gap(self) -> Tensor:
        """upper − lower of each example, (N,): in expectation at least the error of either."""
        return self.upper - self.lower


def annealed(
    model: LatentModel,
    x: Tensor,
    annealing: Annealing | None = None,
    *,
    condition: Tensor | None = None,
    tell: Tell | None = None,
    workers: int = 1,
    team: Team | None = None,
) -> Annealed:
    """Estimate log p(x) by annealed importance sampling over all latents jointly.

    Args:
        model: Any latent-variable model.
        x: Examples, (N, ...).
        annealing: How; None means `Annealing()`.
        condition: What a conditional model is told of them.
        tell: Called as `tell(examples done, examples in total)`.
        workers: How many processes of this machine share the examples, as for `evaluate`; the result is the same.
        team: The processes that torchrun has started, instead.

    Returns:
        A stochastic lower bound of each example, with what is needed to trust it.

    Raises:
        FloatingPointError: If an estimate is NaN or infinite.

    Example:
        >>> import lucid.nn as nn, torch
        >>> from lucid.models import VAE, VAEConfig
        >>> model = VAE(VAEConfig(encoders=[nn.Linear(6, 4)], decoders=[nn.Linear(2, 6)]))
        >>> found = annealed(model, torch.randn(3, 6), Annealing(num_steps=20, num_chains=4))
        >>> found.log_likelihood.shape, found.log_weights.shape
        (torch.Size([3]), torch.Size([4, 3]))
    """
    how = annealing or Annealing()
    check_batch(x)
    check_processes(workers, team, x.device)
    own = partial(_anneal, model, x, condition, how, tell=tell)
    rows = added(own, _work_anneal, (model, x, condition, how), workers, team)
    step_size, log_weights, acceptance = rows[:, 0], rows[:, 1:-1].T, rows[:, -1]
    log_sum = log_weights.logsumexp(0)
    return Annealed(
        log_likelihood=log_sum - math.log(how.num_chains),
        effective_sample_size=(2 * log_sum - (2 * log_weights).logsumexp(0)).exp(),
        acceptance=acceptance,
        log_weights=log_weights,
        step_size=step_size,
    )


def sandwiched(
    model: LatentModel,
    num_examples: int,
    annealing: Annealing | None = None,
    *,
    condition: Tensor | None = None,
    tell: Tell | None = None,
    workers: int = 1,
    team: Team | None = None,
) -> Sandwich:
    """Bound log p(x) from both sides on examples drawn from the model, of which an exact posterior draw is known.

    What the two bounds leave between them is how far annealing with these settings can be trusted on data like the
    model's own (bidirectional Monte Carlo).

    Args:
        model: Any latent-variable model.
        num_examples: How many examples to draw.
        annealing: How; None means `Annealing()`.
        condition: What a conditional model is told of each.
        tell: Called as `tell(examples done, examples in total)`.
        workers: How many processes of this machine share the examples, as for `evaluate`; the result is the same.
        team: The processes that torchrun has started, instead.

    Raises:
        FloatingPointError: If a bound is NaN or infinite.
    """
    how = annealing or Annealing()
    check_processes(workers, team, device_of(model))
    own = partial(_sandwich, model, num_examples, condition, how, tell=tell)
    rows = added(own, _work_sandwich, (model, num_examples, condition, how), workers, team)
    lower, upper = rows[:, : how.num_chains].T, rows[:, how.num_chains : -1].T
    return Sandwich(
        lower=lower.logsumexp(0) - math.log(how.num_chains),
        upper=math.log(how.num_chains) - (-upper).logsumexp(0),
        acceptance=rows[:, -1],
    )


def _anneal(
    model: LatentModel, x: Tensor, condition: Tensor | None, how: Annealing, share: Share, *, tell: Tell | None = None
) -> Tensor:
    """Step size, log weights and acceptance of this process's groups, (N, 1 + K + 1); zeros elsewhere."""
    rows = torch.zeros(len(x), how.num_chains + 2, dtype=torch.float64)
    with evaluating(model):
        for number, start, end in _groups(len(x), how, share):
            part = None if condition is None else condition[start:end]
            path, steps, generator = _prepared(model, x[start:end], part, how, (how.seed, "data", number))
            size = torch.stack(steps).mean(0)[:, None]
            rows[start:end] = torch.cat([size, *_forward(path, steps, how, generator)], 1).cpu()
            if tell is not None:
                tell(end, len(x))
    return rows


def _sandwich(
    model: LatentModel,
    num_examples: int,
    condition: Tensor | None,
    how: Annealing,
    share: Share,
    *,
    tell: Tell | None = None,
) -> Tensor:
    """Log weights there and back, and acceptance, of this process's groups, (N, 2·K + 1); zeros elsewhere."""
    rows = torch.zeros(num_examples, 2 * how.num_chains + 1, dtype=torch.float64)
    with evaluating(model):
        for number, start, end in _groups(num_examples, how, share):
            part = None if condition is None else condition[start:end]
            key = how.seed, "simulated", number
            choose = draws(stream_of(device_of(model), *key, "examples"))
            record = drive(model.walk(num_examples=end - start, **told(part)), choose)
            exact = [latent.value for latent in record.latents]
            path, steps, generator = _prepared(model, choose(record.likelihood), part, how, key)
            there, accepted = _forward(path, steps, how, generator)
            back, accepted_back = _backward(path, exact, steps, how, generator)
            rows[start:end] = torch.cat([there, back, (accepted + accepted_back) / 2], 1).cpu()
            if tell is not None:
                tell(end, num_examples)
    return rows


def _work_anneal(share: Share, *arguments: Any) -> Any:
    """What a further process does."""
    return _anneal(*arguments, share=share).numpy()


def _work_sandwich(share: Share, *arguments: Any) -> Any:
    """What a further process does."""
    return _sandwich(*arguments, share=share).numpy()


def _groups(examples: int, how: Annealing, share: Share) -> Iterator[tuple[int, int, int]]:
    """Number, first and end of each group of examples that is this process's."""
    at_once = max(1, how.max_rows // how.num_chains)
    for number, start in enumerate(range(0, examples, at_once)):
        if number % share.of == share.rank:
            yield number, start, min(start + at_once, examples)


def _prepared(
    model: LatentModel, x: Tensor, condition: Tensor | None, how: Annealing, key: tuple[int, str, int]
) -> tuple[Path, list[Tensor], torch.Generator]:
    """The path of some examples, its step sizes, and the stream that the chains draw from."""
    pilot, chains = (stream_of(x.device, *key, name) for name in ("pilot", "chains"))
    path = Path(model, x, condition, how.start, pilot)
    return path, tuned(path, how.betas, how.num_chains, how.leapfrogs, pilot), chains


def _forward(path: Path, steps: list[Tensor], how: Annealing, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Chains from β = 0 to β = 1: their log weights (B, K), and the acceptance (B, 1)."""
    betas, examples = how.betas, len(path.x)
    point = path.at(path.draw(how.num_chains, generator))
    log_weights = betas[1] * point.change.double()
    acceptance = torch.zeros_like(log_weights)
    for t, step in enumerate(steps, start=1):
        point, accepted = transition(path, point.values, betas[t], step, how.leapfrogs, generator)
        log_weights = log_weights + (betas[t + 1] - betas[t]) * point.change.double()
        acceptance = acceptance + accepted / len(steps)
    return _by_example(log_weights, acceptance, examples, "annealed importance weight")


def _backward(
    path: Path, exact: Values, steps: list[Tensor], how: Annealing, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Chains from an exact posterior draw to β = 0: as `_forward`; 1/w has expectation 1/p(x)."""
    betas, examples = how.betas, len(path.x)
    latents = [value.repeat(how.num_chains, *[1] * (value.dim() - 1)) for value in exact]
    point = path.at(path.coordinates(latents))
    log_weights = (betas[-1] - betas[-2]) * point.change.double()
    acceptance = torch.zeros_like(log_weights)
    for t in range(len(steps), 0, -1):
        point, accepted = transition(path, point.values, betas[t], steps[t - 1], how.leapfrogs, generator)
        log_weights = log_weights + (betas[t] - betas[t - 1]) * point.change.double()
        acceptance = acceptance + accepted / len(steps)
    return _by_example(log_weights, acceptance, examples, "weight of a chain from the posterior")


def _by_example(log_weights: Tensor, acceptance: Tensor, examples: int, name: str) -> tuple[Tensor, Tensor]:
    log_weights = log_weights.view(-1, examples).T
    bad = (~log_weights.isfinite()).any(1)
    if bool(bad.any()):
        raise FloatingPointError(
            f"the {name} is not finite for {int(bad.sum())} of {len(bad)} examples; no example is left out of a "
            "figure: look at the model's weights"
        )
    return log_weights, acceptance.view(-1, examples).mean(0)[:, None]
