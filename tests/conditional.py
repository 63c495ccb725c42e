"""A conditional model whose log p(x|c) is known: a linear-Gaussian one with a mean for each class."""

from __future__ import annotations

import torch
from torch import Tensor

import lucid.nn as nn
from lucid import data
from lucid.distributions import DiagonalGaussian, Gaussian, StandardNormal
from lucid.io import register
from lucid.models import Condition, Latent, LatentModel, Record, Walk

SCALE = 0.5
FEATURES, LATENTS, CLASSES = 4, 2, 3


@register
class ConditionalGaussian(LatentModel):
    """x = m_c + W z + SCALE·ε, z ~ N(0, I): W has orthogonal columns, so that the exact posterior is diagonal."""

    mixing: Tensor

    def __init__(self, num_classes: int = CLASSES) -> None:
        super().__init__()
        self.num_classes = num_classes
        self.depth, self.protocol, self.figures = 1, None, {}
        self.condition = Condition(num_classes=num_classes)
        self.likelihood = Gaussian(SCALE)
        self.means = nn.Embedding(num_classes, FEATURES)
        generator = torch.Generator().manual_seed(0)
        mixing = torch.linalg.qr(torch.randn(FEATURES, LATENTS, generator=generator)).Q * torch.tensor([1.5, 0.8])
        self.register_buffer("mixing", mixing)
        with torch.no_grad():
            self.means.weight.copy_(3 * torch.randn(num_classes, FEATURES, generator=generator))

    def walk(
        self, x: Tensor | None = None, *, num_examples: int = 1, check: bool = True, condition: Tensor | None = None
    ) -> Walk:
        assert self.condition is not None
        rows = num_examples if x is None else len(x)
        shift = self.means(self.condition.check(condition, rows))
        prior = StandardNormal(shift.new_zeros(rows, LATENTS))
        posterior = None
        if x is not None:
            precision = 1 + self.mixing.square().sum(0) / SCALE**2
            loc = (x - shift) @ self.mixing / SCALE**2 / precision
            posterior = DiagonalGaussian(loc, (-precision.log()).expand_as(loc))
        z = yield prior if posterior is None else posterior
        params = shift.repeat(len(z) // rows, 1) + z @ self.mixing.T
        yield Record((Latent(z, prior, posterior),), params, self.likelihood(params, x), x)

    @torch.no_grad()
    def exact_log_likelihood(self, x: Tensor, labels: Tensor) -> Tensor:
        """log p(x|c) in nats, (N,)."""
        covariance = (self.mixing @ self.mixing.T).double() + SCALE**2 * torch.eye(FEATURES).double()
        return torch.distributions.MultivariateNormal(self.means.weight[labels].double(), covariance).log_prob(x)


def labelled(n: int = 300, num_classes: int = CLASSES) -> data.Dataset:
    """Draws of the model, with the class of each; classes come unevenly."""
    generator = torch.Generator().manual_seed(1)
    labels = (num_classes * torch.rand(n, generator=generator) ** 2).long()
    model = ConditionalGaussian(num_classes)
    x = model.sample(n, generator=generator, noise=True, condition=labels)
    return data.load(x, labels=labels)
