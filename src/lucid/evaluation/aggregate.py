"""The aggregate posterior: why reconstructions can be good and samples bad, in nats and in words."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.distributions import Distribution

from lucid.data import Split
from lucid.distributions import draw
from lucid.evaluation.measure import Batches, examples_of
from lucid.evaluation.moments import Moments
from lucid.evaluation.result import Measurement, Row
from lucid.models import LatentModel, draws, drive, evaluating
from lucid.models.condition import told

__all__ = ["AggregateGap", "DeepestLatent", "aggregate_gap", "deepest_latents"]

_MAX_NUMBERS = 2**22
"""Numbers (draws × posteriors × features) held at once."""

_NEAR_CEILING = 0.1
"""Nats below log N within which the information is called saturated."""

_SMALL = 0.5
"""Nats: a gap or a KL below this is not worth a remedy."""


@dataclass(frozen=True)
class AggregateGap:
    r"""What the KL of the deepest latent is made of.

    .. math:: E_x\,\mathrm{KL}(q(z|x)\,\|\,p(z)) = I_q(x; z) + \mathrm{KL}(q(z)\,\|\,p(z))

    Attributes:
        kl: The left side, by the same draws, so that the two parts add up to it.
        information: I_q(x; z), what z tells of which example x is: well spent. At most `ceiling`.
        gap: KL(q(z) ‖ p(z)), what is paid because the examples' latents together, q(z), are not spread as p(z) is. It
            is why samples can be worse than reconstructions, and what another prior can win.
        information_at_most: I_q with each example left out of its own average: an upper bound in expectation.
        num_examples: Examples N that q(z) is made of.
        split: What they are.
        seed: Of the draws.
    """

    kl: Measurement
    information: Measurement
    gap: Measurement
    information_at_most: Measurement
    num_examples: int
    split: str
    seed: int

    @property
    def ceiling(self) -> float:
        """log N: no latent can tell N examples apart by more nats."""
        return math.log(self.num_examples)

    @property
    def gap_at_least(self) -> float:
        """`kl` less `information_at_most`, and not below 0, in nats."""
        return max(0.0, self.kl.value - self.information_at_most.value)

    @property
    def saturated(self) -> bool:
        """Whether the information is at its ceiling: N examples cannot tell how much more there is."""
        return self.information.value > self.ceiling - _NEAR_CEILING

    def to_json(self) -> dict[str, Any]:
        """A dictionary of plain JSON values."""
        return {
            "kl": self.kl.to_json(),
            "information": self.information.to_json(),
            "gap": self.gap.to_json(),
            "information_at_most": self.information_at_most.to_json(),
            "gap_at_least": self.gap_at_least,
            "saturated": self.saturated,
            "num_examples": self.num_examples,
            "split": self.split,
            "seed": self.seed,
        }

    def to_table(self) -> list[Row]:
        """The figures as rows to print: name, value, unit, how to read it."""
        return [
            Row("KL, deepest level", str(self.kl), "nats", "what the latent that generation starts from costs"),
            Row("· information", str(self.information), "nats", "of it, what z tells of x: well spent"),
            Row("· gap", str(self.gap), "nats", "of it, what is paid because q(z), all x together, is not p(z)"),
        ]

    def explain(self, *, remedy: bool = True) -> str:
        """What the figures mean for reconstructions and samples, in plain words.

        Args:
            remedy: Whether to say what to do about a gap.
        """
        kl, information, gap = (part.rounded()[0] for part in (self.kl, self.information, self.gap))
        if self.kl.value < _SMALL:
            return (
                f"The deepest latent costs {kl} nats: it has collapsed, and says next to nothing of x. Samples are as "
                "good as a decoder that ignores it can make them; there is no gap to close."
            )
        parts = (
            f"The deepest latent costs {kl} nats. {information} of them tell examples apart; the other {gap} are paid "
            "because the latents of all examples together are not spread as the prior p(z) is."
        )
        if self.saturated:
            parts += (
                f" {self.num_examples:,} examples cannot show more than {self.ceiling:.1f} nats of information, and "
                f"that is what they show: the gap of the whole population lies between {self.gap_at_least:.1f} and "
                f"{gap} nats, and what a fitted prior wins on held-out data is a lower bound of it."
            )
        if self.gap.value < _SMALL:
            return parts + (
                " That is small: a draw from the prior lands where the decoder has been trained. If samples look worse "
                "than reconstructions, the prior is not the cause."
            )
        parts += (
            " Reconstructions start from q(z|x), which the decoder was trained on; samples start from p(z), which also "
            "puts its draws where no example's latent ever was, and there the decoder has learned nothing."
        )
        if remedy:
            parts += (
                " A prior fitted to the latents closes the gap and leaves encoder and decoder alone: `lucid fit-prior "
                "RUN --out FOLDER`, or lucid.training.fit_prior."
            )
        return parts


def aggregate_gap(
    model: LatentModel,
    data: Batches | Tensor,
    *,
    max_examples: int = 2000,
    num_samples: int = 1,
    batch_size: int = 128,
    seed: int = 0,
    split: str | None = None,
    condition: Tensor | None = None,
) -> AggregateGap:
    r"""Divide the KL of the deepest latent into what it tells of x and what the prior's misfit costs.

    The aggregate posterior is that of the N examples themselves, :math:`q(z) = \frac1N\sum_n q(z|x_n)`, summed in full
    at draws from each :math:`q(z|x_n)`. For these examples the estimate is unbiased. As an estimate for the population
    they were drawn from, the information is too small (each example is part of its own average, and N examples cannot
    show more than log N nats) and the gap as much too large; `information_at_most`, from the average over the N − 1
    others, errs the other way. Both errors vanish as N grows where posteriors overlap.

    In a bottom-up chain of several levels the deepest posterior depends on x by way of drawn latents, one posterior an
    example; the information is then that about the latent below.

    Hoffman, Johnson: ELBO surgery, 2016, http://approximateinference.org/accepted/HoffmanJohnson2016.pdf.
    Poole et al.: On Variational Bounds of Mutual Information, 2019, https://arxiv.org/abs/1905.06922.

    Args:
        model: Any latent-variable model.
        data: A split of a dataset, or a tensor of model-space x, (N, ...).
        max_examples: At most this many are used, evenly spread over the data (of a stream, the first); the work grows
            with their square.
        num_samples: Draws from each posterior.
        batch_size: Examples encoded at once.
        seed: Of the draws.
        split: What to call the data. None means the name of the split, or "tensor".
        condition: What a conditional model is told of each example of a tensor; a split gives its labels itself.

    Returns:
        The parts, with standard errors over the examples, q(z) taken as it is.

    Raises:
        ValueError: If there are fewer than two examples, or a setting is not positive.
        FloatingPointError: If a figure is NaN or infinite.

    Example:
        >>> import lucid.nn as nn, torch
        >>> from lucid.models import VAE, VAEConfig
        >>> model = VAE(VAEConfig(encoders=[nn.Linear(6, 4)], decoders=[nn.Linear(2, 6)]))
        >>> found = aggregate_gap(model, torch.randn(50, 6))
        >>> abs(found.kl.value - found.information.value - found.gap.value) < 1e-6
        True
    """
    for name, value in (("num_samples", num_samples), ("max_examples", max_examples), ("batch_size", batch_size)):
        if value < 1:
            raise ValueError(f"{name} must be at least 1; received {value}")
    with evaluating(model):
        parameter = next(model.parameters())
        generator = torch.Generator(parameter.device).manual_seed(seed)
        posteriors: list[Distribution] = []
        log_priors: list[Tensor] = []
        drawn: list[Tensor] = []
        for latent in deepest_latents(model, data, batch_size, generator, condition, max_examples):
            posteriors.append(latent.posterior)
            drawn.append(draw(latent.posterior, (num_samples,), generator=generator))
            log_priors.append(latent.prior.log_prob(drawn[-1]).double())
        if sum(q.batch_shape[0] for q in posteriors) < 2:
            raise ValueError("the aggregate posterior needs at least 2 examples; received fewer")
        parts = _parts(posteriors, torch.cat(drawn, 1), torch.cat(log_priors, 1))
    names = ("sampled", "all N posteriors", "all N posteriors", "the N − 1 other posteriors")
    measured = [_measurement(part, num_samples, name) for part, name in zip(parts, names, strict=True)]
    name = split or (data.part if isinstance(data, Split) else "tensor")
    return AggregateGap(*measured, num_examples=parts[0].shape[1], split=name, seed=seed)


class DeepestLatent(NamedTuple):
    """The deepest latent of a batch of examples.

    Attributes:
        posterior: q(z|·), batch shape (B,).
        prior: p(z), batch shape (B,).
        x: The examples, (B, ...).
        condition: What a conditional model was told of them.
    """

    posterior: Distribution
    prior: Distribution
    x: Tensor
    condition: Tensor | None


def deepest_latents(
    model: LatentModel,
    data: Batches | Tensor,
    batch_size: int,
    generator: torch.Generator,
    condition: Tensor | None = None,
    max_examples: int | None = None,
) -> Iterator[DeepestLatent]:
    """The deepest latent of the examples, batch by batch: every k-th of them where they are more than `max_examples`.

    Of a stream, whose length is not known, they are the first.
    """
    total = len(data) if isinstance(data, Tensor) or getattr(data, "size", 0) is not None else None
    stride = 1 if total is None or max_examples is None else -(-total // max_examples)
    met, left = 0, math.inf if max_examples is None else max_examples
    for batch, labels in examples_of(model, data, batch_size, generator.device, condition):
        first = -met % stride
        met += len(batch)
        x = batch[first::stride][: None if left == math.inf else int(left)]
        if len(x) == 0:
            continue
        left -= len(x)
        labels = None if labels is None else labels[first::stride][: len(x)]
        latent = drive(model.walk(x, **told(labels)), draws(generator)).latents[-1]
        assert latent.posterior is not None, "a walk over data has posteriors"
        yield DeepestLatent(latent.posterior, latent.prior, x, labels)
        if left == 0:
            return


def _parts(posteriors: list[Distribution], z: Tensor, log_prior: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """KL, information, gap and information without oneself at each draw, (S, N) nats, in the order of the record."""
    samples, examples = z.shape[:2]
    flat = z.flatten(0, 1)
    of_all = torch.cat([_log_probs(posterior, flat) for posterior in posteriors], 1).view(samples, examples, examples)
    own = of_all.diagonal(dim1=1, dim2=2).clone()
    log_mean = of_all.logsumexp(2) - math.log(examples)
    of_all.diagonal(dim1=1, dim2=2).fill_(-math.inf)
    of_others = of_all.logsumexp(2) - math.log(examples - 1)
    return own - log_prior, own - log_mean, log_mean - log_prior, own - of_others


def _log_probs(posterior: Distribution, z: Tensor) -> Tensor:
    """log q(z_i | x_j) of every value under every row of a posterior, (M, B), in float64."""
    rows = posterior.batch_shape[0]
    at_once = max(1, _MAX_NUMBERS // (rows * max(1, posterior.event_shape.numel())))
    parts = [
        posterior.log_prob(part.unsqueeze(1).expand(-1, rows, *posterior.event_shape)) for part in z.split(at_once)
    ]
    return torch.cat(parts).double()


def _measurement(per_draw: Tensor, num_samples: int, estimator: str) -> Measurement:
    if not bool(per_draw.isfinite().all()):
        bad = int((~per_draw.isfinite()).any(0).sum())
        raise FloatingPointError(
            f"the aggregate gap is not finite at {bad} examples; no example is left out of a figure: look at the "
            "model's weights"
        )
    moments = Moments()
    moments.add(per_draw.mean(0))
    return Measurement(float(moments.mean), float(moments.standard_error), num_samples, estimator)
