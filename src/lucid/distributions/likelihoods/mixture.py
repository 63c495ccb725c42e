"""The mixture of discretised logistics: the likelihood of colour images, and of integers with several peaks."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from lucid.distributions.bounds import bounded_loc, bounded_logvar
from lucid.distributions.factorised import at_least_float32
from lucid.distributions.likelihood import Likelihood, require
from lucid.distributions.likelihoods.levels import check_grid, valid_levels
from lucid.distributions.logistic_mixture import LogisticMixtureGrid

__all__ = ["MixtureOfLogistics"]


class MixtureOfLogistics(Likelihood):
    r"""A mixture of discretised logistics at each position, shared by its channels; exact masses that sum to one.

    .. math:: p(x|z) = \prod_{\text{positions}} \sum_{k=1}^{K} \pi_k \prod_{c=1}^{C} \mathrm{DL}\Bigl(x_c \mid
        \mu_{kc} + \sum_{b<c} \tanh(a_{kcb})\,(x_b - \tfrac12),\ s_{kc}\Bigr)

    DL is a logistic cut into bins, the outer two open to infinity. At one position (a pixel, a moment of a signal) the
    channels choose their component together, and with `autoregressive` the mean of a channel also follows the values of
    the channels before it: red, green and blue of a pixel agree. Data with L levels enters as x = level/(L−1).

    Salimans, Karpathy, Chen, Kingma: PixelCNN++, Improving the PixelCNN with Discretized Logistic Mixture Likelihood
    and Other Modifications, 2017, https://arxiv.org/abs/1701.05517.

    Args:
        levels: Number of values a feature can take, L ≥ 2: 256 for 8-bit images.
        channels: Channels C that share a mixture, at least 1: those of an image or signal. With 1, every feature has a
            mixture of its own, as the columns of a table or the features of a vector do.
        components: Logistics in each mixture, K ≥ 1.
        autoregressive: Whether a channel follows those before it. With one channel there is nothing to follow.

    Raises:
        ValueError: If a number is not an integer in its range.

    Shape:
        Decoder output (N, P·G, ...) for x (N, G·C, ...), G groups of C channels, P = K·(1 + 2·C + C·(C−1)/2), without
        the last term if not `autoregressive`: 100 for colour images and 10 components. In this order: K logits, K·C
        means, K·C log-scales, and the coefficients a.

    Example:
        >>> import torch
        >>> likelihood = MixtureOfLogistics(levels=256, channels=3)
        >>> likelihood.num_outputs(3)
        100
        >>> x = likelihood(torch.zeros(1, 100, 4, 4)).sample()
        >>> x.shape
        torch.Size([1, 3, 4, 4])
    """

    def __init__(self, levels: int, channels: int, components: int = 10, autoregressive: bool = True) -> None:
        super().__init__()
        self.levels = valid_levels(levels)
        for name, value in (("channels", channels), ("components", components)):
            require(
                isinstance(value, int) and not isinstance(value, bool) and value >= 1,
                lambda name=name, value=value: f"{name} must be an integer of at least 1; received {value!r}",
            )
        self.channels = channels
        self.components = components
        self.autoregressive = bool(autoregressive)
        if channels == 1:
            self.num_parameters = 3 * components

    @property
    def _sizes(self) -> list[int]:
        """Numbers of each kind at a position: logits, means, log-scales, coefficients."""
        pairs = self.channels * (self.channels - 1) // 2 if self.autoregressive else 0
        return [self.components * n for n in (1, self.channels, self.channels, pairs)]

    def num_outputs(self, channels: int) -> int:
        require(
            channels % self.channels == 0,
            lambda: (
                f"MixtureOfLogistics(channels={self.channels}) shares each mixture among {self.channels} channels, so "
                f"x must have a multiple of them; it has {channels}. Give channels={channels}, or 1 for a mixture of "
                "its own at every feature"
            ),
        )
        return sum(self._sizes) * (channels // self.channels)

    def forward(self, params: Tensor, x: Tensor | None = None) -> LogisticMixtureGrid:
        assert self.levels is not None
        numbers = at_least_float32(params).unflatten(1, (sum(self._sizes), -1))
        logits, loc, log_scale, coefficients = numbers.split(self._sizes, dim=1)
        return LogisticMixtureGrid(
            # Bounded too: two logits at opposite ends of float32 differ by more than it can hold.
            bounded_loc(logits),
            bounded_loc(loc).unflatten(1, (self.components, self.channels)),
            bounded_logvar(log_scale).unflatten(1, (self.components, self.channels)),
            coefficients.tanh().unflatten(1, (self.components, -1)) if coefficients.shape[1] else None,
            self.levels,
        )

    def initial_params(self, x: Tensor) -> Tensor:
        """Components of equal weight, each at the mean and spread of its share of the examples, from dark to bright."""
        assert self.levels is not None
        groups = x.unflatten(1, (-1, self.channels)).movedim(2, 1)  # (N, C, G, ...)
        order = groups.mean(1, keepdim=True).argsort(0).expand_as(groups)
        ranked = groups.gather(0, order)
        means: list[Tensor] = []
        stds: list[Tensor] = []
        for k in range(self.components):
            first = k * len(x) // self.components
            share = ranked[first : max(first + 1, (k + 1) * len(x) // self.components)]
            means.append(share.mean(0))
            stds.append(share.std(0, unbiased=False).clamp(min=0.5 / (self.levels - 1)))
        log_scales = (torch.stack(stds) * (math.sqrt(3) / math.pi)).log()
        logits = means[0].new_zeros(self.components, *means[0].shape[1:])
        coefficients = means[0].new_zeros(self._sizes[3], *means[0].shape[1:])
        blocks = [logits, torch.stack(means).flatten(0, 1), log_scales.flatten(0, 1), coefficients]
        return torch.cat(blocks).flatten(0, 1)

    def check(self, x: Tensor) -> None:
        """Refuse values off the grid of levels."""
        check_grid(x, self.levels)

    def extra_repr(self) -> str:
        return (
            f"levels={self.levels}, channels={self.channels}, components={self.components}, "
            f"autoregressive={self.autoregressive}"
        )
