"""Masses of counts: Poisson, negative binomial, and the latter with extra zeros."""

from __future__ import annotations

from abc import ABC
from collections.abc import Callable

import torch
from torch import Generator, Size, Tensor
from torch.nn import functional as F

from lucid.distributions.factorised import Factorised
from lucid.distributions.gamma import log_factorial_excess, stirling_error
from lucid.distributions.streams import Stream

__all__ = ["NegativeBinomialCounts", "PoissonCounts", "ZeroInflatedCounts"]


class _Counts(Factorised, ABC):
    """Counts 0, 1, 2, … as floating-point numbers."""

    def _row_by_row(
        self, shape: Size, generator: Stream, parameters: tuple[Tensor, ...], sampler: Callable[..., Tensor]
    ) -> Tensor:
        """All draws of one example after those of another, each example with a stream of its own.

        PyTorch's samplers of counts reject and try again: how many random numbers they take depends on the parameters.
        With a stream for each row, a part of a batch draws what the whole would draw.

        Args:
            shape: (*lead, N, ...).
            generator: Where the seeds of the rows come from.
            parameters: (N, ...) each.
            sampler: From the parameters of one row, (*lead, ...), and its stream to its draws.
        """
        batch_dim = len(shape) - len(self.event_shape) - 1
        seeds = self._numbers(_seeds, Size([shape[batch_dim], *[1] * len(self.event_shape)]), generator)
        rows = zip(*(parameter.expand(shape).unbind(batch_dim) for parameter in parameters), strict=True)
        stream = Generator(self._like.device)
        drawn = [
            sampler(*row, stream.manual_seed(seed)) for seed, row in zip(seeds.flatten().tolist(), rows, strict=True)
        ]
        return torch.stack(drawn, batch_dim)


def _seeds(shape: Size, *, generator: Generator | None, device: torch.device, **_: torch.dtype) -> Tensor:
    return torch.randint(2**62, shape, generator=generator, device=device)


class PoissonCounts(_Counts):
    r"""Independent Poisson features.

    .. math:: \log p(x) = -\sum_i \Bigl( \lambda_i - x_i + x_i \log \frac{x_i}{\lambda_i} + c(x_i) \Bigr), \qquad
        c(n) = \log n! - (n\log n - n)

    The deviance, ≥ 0, and what depends on x alone: no large numbers are subtracted from each other. (Loader: Fast and
    Accurate Computation of Binomial Probabilities, 2000, https://www.r-project.org/doc/reports/CLoader-dbinom-2002.pdf.)

    Args:
        log_rate: Log of the mean count, (N, ...).

    Example:
        >>> import torch
        >>> PoissonCounts(torch.zeros(1, 1)).log_prob(torch.zeros(1, 1))
        tensor([-1.])
    """

    def __init__(self, log_rate: Tensor) -> None:
        self.log_rate = log_rate
        super().__init__(log_rate)

    @property
    def mean(self) -> Tensor:
        return self.log_rate.exp()

    @property
    def variance(self) -> Tensor:
        return self.mean

    def _log_prob(self, value: Tensor) -> Tensor:
        x = value.to(self.log_rate.dtype)
        positive = x.clamp(min=1)
        # The rate is seen through its logarithm alone: rounded once more, a large one would not cancel.
        excess = positive.log() - self.log_rate
        deviance = positive * (torch.expm1(-excess) + excess)
        return torch.where(x > 0, -deviance - log_factorial_excess(positive), -self.log_rate.exp())

    def _sample(self, shape: Size, generator: Stream) -> Tensor:
        return self._row_by_row(shape, generator, (self.mean,), lambda rate, stream: torch.poisson(rate, stream))


class NegativeBinomialCounts(_Counts):
    r"""Independent negative binomial features: Poisson counts whose rate is itself gamma-distributed.

    With mean μ and r, the concentration of that gamma (variance μ + μ²/r; r → ∞ is the Poisson),

    .. math:: p(x) = \prod_i \frac{\Gamma(x_i+r)}{\Gamma(r)\,x_i!} \Bigl(\frac{r}{r+\mu}\Bigr)^{r}
        \Bigl(\frac{\mu}{r+\mu}\Bigr)^{x_i}

    computed as deviance and remainders, with the δ and c of `lucid.distributions.gamma`:

    .. math:: \log p = r\log\tfrac{x+r}{\mu+r} - x\log\tfrac{x(\mu+r)}{\mu(x+r)} - \tfrac12\log\tfrac{x+r}{r}
        + \delta(x+r) - \delta(r) - c(x)

    Args:
        log_mean: log μ, (N, ...).
        log_concentration: log r, likewise.

    Example:
        >>> import torch
        >>> geometric = NegativeBinomialCounts(torch.zeros(1, 1), torch.zeros(1, 1))  # p(x) = 2^−(x+1)
        >>> geometric.log_prob(torch.ones(1, 1)).exp()
        tensor([0.2500])
    """

    def __init__(self, log_mean: Tensor, log_concentration: Tensor) -> None:
        self.log_mean = log_mean
        self.log_concentration = log_concentration
        super().__init__(log_mean)

    @property
    def mean(self) -> Tensor:
        return self.log_mean.exp()

    @property
    def variance(self) -> Tensor:
        return self.mean + (2 * self.log_mean - self.log_concentration).exp()

    def _log_prob(self, value: Tensor) -> Tensor:
        x = value.to(self.log_mean.dtype)
        positive = x.clamp(min=1)
        r = self.log_concentration.exp()
        log_total = torch.logaddexp(self.log_mean, self.log_concentration)  # log (μ + r)
        excess = positive.log() - self.log_mean  # log (x/μ)
        # log((x+r)/(μ+r)): where x and μ are of one size, log1p keeps the digits; far below μ it would lose them.
        share = -positive * torch.expm1(-excess) * (-log_total).exp()  # (x − μ)/(μ + r)
        gained = torch.where(share > -0.5, share.clamp(min=-0.5).log1p(), (positive + r).log() - log_total)
        # log(x/μ) less the above, likewise: what r leaves of the distance between x and μ.
        near = (torch.expm1(excess.clamp(-1, 1)) * r / (positive + r)).log1p()
        far = F.softplus(self.log_concentration - self.log_mean) - (r / positive).log1p()
        left = torch.where(excess.abs() < 1, near, far)
        remainder = stirling_error(positive + r) - stirling_error(r) - 0.5 * (positive / r).log1p()
        at_positive = r * gained - positive * left + remainder - log_factorial_excess(positive)
        at_zero = -r * F.softplus(self.log_mean - self.log_concentration)
        return torch.where(x > 0, at_positive, at_zero)

    def _sample(self, shape: Size, generator: Stream) -> Tensor:
        mean, concentration = self.log_mean.exp(), self.log_concentration.exp()

        def sampler(mean: Tensor, concentration: Tensor, stream: Generator) -> Tensor:
            gamma = torch._standard_gamma(concentration, generator=stream)  # pyright: ignore[reportPrivateUsage, reportPrivateImportUsage]
            return torch.poisson(mean * gamma / concentration, stream)

        return self._row_by_row(shape, generator, (mean, concentration), sampler)


class ZeroInflatedCounts(_Counts):
    r"""Counts that are 0 with an extra probability π, and otherwise follow another distribution of counts.

    .. math:: p(0) = \pi + (1-\pi)\,p_0(0), \qquad p(x) = (1-\pi)\,p_0(x) \quad (x > 0)

    Args:
        logits: Log-odds of π, (N, ...).
        counts: The distribution :math:`p_0` of what is not an extra zero, of the same shape.
    """

    def __init__(self, logits: Tensor, counts: NegativeBinomialCounts | PoissonCounts) -> None:
        self.logits = logits
        self.counts = counts
        super().__init__(logits)

    @property
    def mean(self) -> Tensor:
        return (-self.logits).sigmoid() * self.counts.mean

    @property
    def variance(self) -> Tensor:
        kept = (-self.logits).sigmoid()
        return kept * (self.counts.variance + (1 - kept) * self.counts.mean.square())

    def _log_prob(self, value: Tensor) -> Tensor:
        of_counts = F.logsigmoid(-self.logits) + self.counts._log_prob(value)  # pyright: ignore[reportPrivateUsage]
        return torch.where(value > 0, of_counts, torch.logaddexp(F.logsigmoid(self.logits), of_counts))

    def _sample(self, shape: Size, generator: Stream) -> Tensor:
        kept = self.uniform(shape, generator) < (-self.logits).sigmoid()
        drawn = self.counts._sample(shape, generator)  # pyright: ignore[reportPrivateUsage]
        return torch.where(kept, drawn, 0.0)
