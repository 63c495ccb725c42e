"""The likelihood of binary data."""

from __future__ import annotations

from torch import Tensor

from lucid.distributions.discrete import BernoulliLogits
from lucid.distributions.factorised import at_least_float32
from lucid.distributions.likelihood import Likelihood, check_finite, describe_range, finite_range, require

__all__ = ["Bernoulli"]


class Bernoulli(Likelihood):
    r"""Independent Bernoulli features; the decoder emits logits.

    :math:`-\log p(x|z) = -\sum_i x_i\log\sigma(l_i) + (1-x_i)\log\sigma(-l_i)`, what `reconstruction_loss="bce"`
    stands for. A probability for x in {0, 1}. Values between are accepted, as the mean of a binarisation: the result
    is then an expected log-mass, and no bits/dim are reported for it.

    Shape:
        Decoder output (N, C, ...) for x (N, C, ...) in [0, 1].

    Example:
        >>> import torch
        >>> Bernoulli()(torch.zeros(1, 4)).log_prob(torch.ones(1, 4))  # four fair coins
        tensor([-2.7726])
    """

    levels = 2

    def forward(self, params: Tensor, x: Tensor | None = None) -> BernoulliLogits:
        return BernoulliLogits(at_least_float32(params))

    def initial_params(self, x: Tensor) -> Tensor:
        """The log-odds of the data's mean, a feature that never varies kept away from certainty."""
        mean = x.mean(0).clamp(0.5 / len(x), 1 - 0.5 / len(x)) if len(x) > 1 else x.mean(0) * 0 + 0.5
        return mean.logit()

    def check(self, x: Tensor) -> None:
        """Refuse values outside [0, 1]; NaN too."""
        low, high = finite_range(x)
        check_finite(low, high)
        require(
            low >= 0.0 and high <= 1.0,
            lambda: (
                f"x must lie in [0, 1] for the Bernoulli likelihood ('bce'); it holds {describe_range(low, high)}. "
                "Scale the data, or choose another likelihood, such as 'mse'"
            ),
        )
