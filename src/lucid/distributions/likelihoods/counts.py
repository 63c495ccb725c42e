"""Likelihoods of counts: Poisson, negative binomial, and zero-inflated negative binomial."""

from __future__ import annotations

import torch
from torch import Tensor

from lucid.distributions.bounds import bounded_loc, bounded_logvar
from lucid.distributions.counts import NegativeBinomialCounts, PoissonCounts, ZeroInflatedCounts
from lucid.distributions.factorised import at_least_float32
from lucid.distributions.likelihood import Likelihood, check_finite, describe_range, finite_range, require

__all__ = ["NegativeBinomial", "Poisson", "ZeroInflatedNegativeBinomial"]

_LEAST_MEAN = 1e-2
"""Mean count that a feature which was 0 throughout is taken to have at the start."""


class Poisson(Likelihood):
    r"""Counts 0, 1, 2, … whose variance is their mean; the decoder emits the log of the mean.

    .. math:: \log p(x|z) = \sum_i x_i \eta_i - e^{\eta_i} - \log x_i!

    The data is the counts themselves: not scaled, not standardised (`scaling="none"` where they are loaded).

    Shape:
        Decoder output (N, C, ...) for x (N, C, ...).

    Example:
        >>> import torch
        >>> Poisson()(torch.zeros(1, 1)).log_prob(torch.tensor([[2.0]]))  # −1 − log 2
        tensor([-1.6931])
    """

    def forward(self, params: Tensor, x: Tensor | None = None) -> PoissonCounts:
        return PoissonCounts(bounded_logvar(at_least_float32(params)))

    def initial_params(self, x: Tensor) -> Tensor:
        """The log of the data's mean."""
        return _log_mean(x)

    def check(self, x: Tensor) -> None:
        """Refuse what is not a count."""
        check_counts(x)


class NegativeBinomial(Likelihood):
    r"""Counts 0, 1, 2, … that vary more than a Poisson; the decoder emits logs of mean and concentration.

    With mean μ and concentration r the variance is μ + μ²/r:

    .. math:: p(x|z) = \prod_i \frac{\Gamma(x_i+r_i)}{\Gamma(r_i)\,x_i!} \Bigl(\frac{r_i}{r_i+\mu_i}\Bigr)^{r_i}
        \Bigl(\frac{\mu_i}{r_i+\mu_i}\Bigr)^{x_i}

    The data is the counts themselves: not scaled, not standardised (`scaling="none"` where they are loaded).

    Shape:
        Decoder output (N, 2·C, ...), log-means then log-concentrations, for x (N, C, ...).

    Example:
        >>> import torch
        >>> NegativeBinomial()(torch.zeros(1, 2)).log_prob(torch.tensor([[1.0]])).exp()
        tensor([0.2500])
    """

    num_parameters = 2

    def forward(self, params: Tensor, x: Tensor | None = None) -> NegativeBinomialCounts:
        return _negative_binomial(*at_least_float32(params).chunk(2, dim=1))

    def initial_params(self, x: Tensor) -> Tensor:
        """The logs of the data's mean, and of the concentration its variance stands for."""
        return torch.cat([_log_mean(x), _log_concentration(x)])

    def check(self, x: Tensor) -> None:
        """Refuse what is not a count."""
        check_counts(x)


class ZeroInflatedNegativeBinomial(Likelihood):
    r"""A negative binomial with extra zeros: counts that are often 0 for a reason of its own.

    .. math:: p(0|z) = \pi + (1-\pi)\,\mathrm{NB}(0), \qquad p(x|z) = (1-\pi)\,\mathrm{NB}(x) \quad (x > 0)

    for each feature, with NB as in `NegativeBinomial` and π = σ(l). Genes that were not caught are such zeros: Lopez,
    Regier, Cole, Jordan, Yosef: Deep generative modeling for single-cell transcriptomics, 2018,
    https://doi.org/10.1038/s41592-018-0229-2.

    Shape:
        Decoder output (N, 3·C, ...), log-means, log-concentrations, then l, for x (N, C, ...), the counts themselves.

    Example:
        >>> import torch
        >>> ZeroInflatedNegativeBinomial()(torch.zeros(1, 3)).log_prob(torch.tensor([[0.0]])).exp()  # ½ + ½ · ½
        tensor([0.7500])
    """

    num_parameters = 3

    def forward(self, params: Tensor, x: Tensor | None = None) -> ZeroInflatedCounts:
        log_mean, log_concentration, logits = at_least_float32(params).chunk(3, dim=1)
        return ZeroInflatedCounts(bounded_loc(logits), _negative_binomial(log_mean, log_concentration))

    def initial_params(self, x: Tensor) -> Tensor:
        """A negative binomial of the data's mean and variance, with one extra zero in ten."""
        log_mean = _log_mean(x)
        return torch.cat([log_mean, _log_concentration(x), torch.full_like(log_mean, 0.1).logit()])

    def check(self, x: Tensor) -> None:
        """Refuse what is not a count."""
        check_counts(x)


def check_counts(x: Tensor) -> None:
    """Refuse values other than the counts 0, 1, 2 and so on."""
    low, high = finite_range(x)
    check_finite(low, high)
    fractions = low >= 0 and not bool((x == x.round()).all())
    require(
        low >= 0 and not fractions,
        lambda: (
            f"x must hold counts, 0, 1, 2, …, for this likelihood; it holds {describe_range(low, high)}"
            + (", some of them not whole" if fractions else "")
            + ". Load counts as they are (scaling='none'), or choose a likelihood of continuous data"
        ),
    )


def _negative_binomial(log_mean: Tensor, log_concentration: Tensor) -> NegativeBinomialCounts:
    return NegativeBinomialCounts(bounded_logvar(log_mean), bounded_logvar(log_concentration))


def _log_mean(x: Tensor) -> Tensor:
    return x.mean(0).clamp(min=_LEAST_MEAN).log()


def _log_concentration(x: Tensor) -> Tensor:
    """By moments, r = μ² / (variance − μ), in [0.1, 1000]: a few counts say no more."""
    mean = x.mean(0).clamp(min=_LEAST_MEAN)
    excess = (x.var(0, unbiased=False) - mean).clamp(min=1e-6)
    return (mean.square() / excess).clamp(0.1, 1e3).log()
