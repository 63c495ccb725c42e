"""The posterior that is a flow, the inverse autoregressive one among them."""

from __future__ import annotations

import math
from collections.abc import Sequence

from torch import Tensor

from lucid.distributions.bounds import bounded_halves, bounded_loc
from lucid.distributions.factorised import at_least_float32
from lucid.distributions.flow import Flow, FlowDensity, Univariate
from lucid.distributions.gaussian import DiagonalGaussian
from lucid.distributions.posterior import Posterior
from lucid.distributions.sizes import check_univariate, positive, shape_of

__all__ = ["FlowPosterior"]


class FlowPosterior(Posterior):
    r"""An inverse autoregressive flow: a diagonal Gaussian draw, passed on through autoregressive steps.

    .. math:: z = f(u; h), \quad u \sim N(\mu, \operatorname{diag}\sigma^2), \qquad
        \log q(z|x) = \log N(u; \mu, \sigma^2) - \log\left|\det\frac{\partial f}{\partial u}\right|

    The encoder emits C means, C log-variances and `context` numbers h, concatenated along dimension 1. A draw and its
    log-density take one pass of the networks. The density of any other value takes one for each group of features that
    depend on one another. It begins as the diagonal posterior; latents of any shape are flattened.

    There is no closed-form KL: it is sampled. `mean` and `variance` are estimates, see `FlowDensity`. It has
    parameters, so each level of a model needs its own.

    Kingma et al.: Improving Variational Inference with Inverse Autoregressive Flow, 2016,
    https://arxiv.org/abs/1606.04934.

    Args:
        shape: Shape of one latent, (C, ...), without the batch; a number stands for a vector.
        context: Channels of h, per position where latents have positions; 0 for steps that do not depend on x.
        transforms: Steps of the map.
        passes: Groups of features: 2 is coupling, None one group a feature.
        hidden: Width of the two hidden layers in each step.
        univariate: What happens to each feature: "affine" or "spline" (monotone, with 8 bins on [−5, 5]).

    Raises:
        ImportError: Without zuko, the extra `flows`.

    Example:
        >>> import torch
        >>> posterior = FlowPosterior(3, context=4, transforms=2, hidden=16)
        >>> q = posterior(torch.zeros(2, posterior.num_outputs(3)))
        >>> q.log_prob(torch.zeros(2, 3))
        tensor([-2.7568, -2.7568], grad_fn=<AddBackward0>)
    """

    def __init__(
        self,
        shape: int | Sequence[int],
        context: int = 16,
        transforms: int = 2,
        *,
        passes: int | None = None,
        hidden: int = 64,
        univariate: Univariate = "affine",
    ) -> None:
        super().__init__()
        self.shape = shape_of("shape", shape)
        if isinstance(context, bool) or not isinstance(context, int) or context < 0:
            raise ValueError(f"context must be a whole number that is not negative; received {context!r}")
        self.context = context
        self.transforms = positive("transforms", transforms)
        self.passes = None if passes is None else positive("passes", passes)
        self.hidden = positive("hidden", hidden)
        self.univariate = check_univariate(univariate)
        numbers = context * math.prod(self.shape[1:])
        self.flow = Flow(math.prod(self.shape), numbers, transforms, passes, hidden, univariate)

    def num_outputs(self, channels: int) -> int:
        if channels != self.shape[0]:
            raise ValueError(
                f"the FlowPosterior was made for latents of shape {self.shape}; it was asked for {channels} channels. "
                "Make it with that shape"
            )
        return 2 * channels + self.context

    def forward(self, h: Tensor) -> FlowDensity:
        channels = self.shape[0]
        expected = (self.num_outputs(channels), *self.shape[1:])
        if h.shape[1:] != expected:
            raise ValueError(
                f"a FlowPosterior over latents of shape {self.shape} takes (N, {', '.join(map(str, expected))}) from "
                f"the encoder, 2·{channels} + {self.context} channels; received {tuple(h.shape)}"
            )
        h = at_least_float32(h)
        loc, logvar = bounded_halves(h[:, : 2 * channels])
        context = bounded_loc(h[:, 2 * channels :]).flatten(1) if self.context else None
        base = DiagonalGaussian(loc.flatten(1), logvar.flatten(1))
        return FlowDensity(
            loc, base, lambda z: self.flow.inverse(z, context), lambda u: self.flow(u, context), keep=True
        )
