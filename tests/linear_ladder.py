"""The oracle of the ladder: a linear-Gaussian one, whose log p(x), ELBO and KL of each level are known exactly.

Generation: z_{L−1} ~ N(0, I), z_l ~ N(P_l z_{l+1} + p_l, V_l) below; h_{L−1} = z_{L−1}, h_{l−1} = z_{l−1} + D_l h_l,
x ~ N(W h_0 + b, I). Inference: μ̂_0 = A_0 x + a_0, μ̂_l = A_l μ̂_{l−1} + a_l with fixed variances U_l; the deepest
posterior is N(μ̂, U), the others N(μ̂, U) and N(P z + p, V), multiplied. All U and V are diagonal.

The latents together, deepest first, are Gaussian under p and under q: everything follows from two joint densities.
Nothing here calls lucid but `model`, which builds the `LadderVAE` to be checked. Everything is float64.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
from tests.linear_gaussian import Conditional, linear, orthogonal_weight, randn
from torch import Tensor
from torch.distributions import MultivariateNormal, kl_divergence

from lucid.models import LadderVAE, VAEConfig


@dataclass(frozen=True)
class LinearLadder:
    """`priors[l]` and `paths[l]` (D of level l + 1) map what is at level l + 1 to level l; lists indexed by level."""

    weight: Tensor
    bias: Tensor
    encoders: tuple[Conditional, ...]
    priors: tuple[Conditional, ...]
    paths: tuple[Tensor, ...]

    @property
    def sizes(self) -> list[int]:
        """Widths of the levels, deepest first."""
        return [len(q.bias) for q in reversed(self.encoders)]

    def joint(self, x: Tensor | None = None) -> MultivariateNormal:
        """p(z), or q(z|x) for each x, all latents in one vector, deepest first."""
        rows = 1 if x is None else len(x)
        evidence = [] if x is None else self._evidence(x)
        mean = torch.zeros(rows, self.sizes[0], dtype=torch.float64) if x is None else evidence[-1]
        spread = torch.ones(self.sizes[0], dtype=torch.float64) if x is None else self.encoders[-1].logvar.exp()
        covariance = spread.diag()
        for level in reversed(range(len(self.priors))):
            prior = self.priors[level]
            above = mean[:, -prior.weight.shape[1] :]
            slope, shift, variance = prior.weight, prior.bias.expand(rows, -1), prior.logvar.exp()
            if x is not None:  # precisions add
                own = self.encoders[level].logvar.exp()
                merged = 1 / (1 / own + 1 / variance)
                slope = (merged / variance)[:, None] * slope
                shift = merged * (evidence[level] / own + prior.bias / variance)
                variance = merged
            gain = torch.zeros(len(slope), mean.shape[1], dtype=torch.float64)
            gain[:, -slope.shape[1] :] = slope
            mean = torch.cat([mean, above @ slope.T + shift], 1)
            cross = gain @ covariance
            below = cross @ gain.T + variance.diag()
            covariance = torch.cat([torch.cat([covariance, cross.T], 1), torch.cat([cross, below], 1)])
        return MultivariateNormal(mean, covariance)

    def _evidence(self, x: Tensor) -> list[Tensor]:
        found = [x]
        for q in self.encoders:
            found.append(found[-1] @ q.weight.T + q.bias)
        return found[1:]

    @property
    def readout(self) -> Tensor:
        """The matrix from all latents, deepest first, to the mean of x."""
        to_here = torch.eye(self.sizes[0], dtype=torch.float64)
        for path in reversed(self.paths):
            to_here = torch.cat([path @ to_here, torch.eye(len(path), dtype=torch.float64)], 1)
        return self.weight @ to_here

    def log_prob(self, x: Tensor) -> Tensor:
        """log p(x) in nats, (N,)."""
        prior, read = self.joint(), self.readout
        mean = prior.mean @ read.T + self.bias
        noise = torch.eye(len(self.bias), dtype=torch.float64)
        return MultivariateNormal(mean, read @ prior.covariance_matrix @ read.T + noise).log_prob(x)

    def reconstruction(self, x: Tensor) -> Tensor:
        """E_q[−log p(x|z)], (N,)."""
        q, read = self.joint(x), self.readout
        noise = torch.eye(len(self.bias), dtype=torch.float64)
        at_the_mean = MultivariateNormal(q.mean @ read.T + self.bias, noise).log_prob(x)
        return -at_the_mean + 0.5 * (read @ q.covariance_matrix[0] @ read.T).trace()

    def kl(self, x: Tensor) -> list[Tensor]:
        """The term of each level, (N,), indexed by level: what the joint KL grows by when the level joins."""
        q, p = self.joint(x), self.joint()
        terms: list[Tensor] = []
        upto, before = 0, torch.zeros(len(x), dtype=torch.float64)
        for size in self.sizes:
            upto += size
            both = [MultivariateNormal(d.mean[:, :upto], d.covariance_matrix[:, :upto, :upto]) for d in (q, p)]
            total = kl_divergence(both[0], both[1])
            terms.insert(0, total - before)
            before = total
        return terms

    def elbo(self, x: Tensor) -> Tensor:
        """The exact evidence lower bound, (N,)."""
        return -self.reconstruction(x) - torch.stack(self.kl(x)).sum(0)

    def model(self, **options: Any) -> LadderVAE:
        """The same as a `LadderVAE`."""
        paths = [linear(path, torch.zeros(len(path), dtype=torch.float64)) for path in self.paths]
        return LadderVAE(
            VAEConfig(
                encoders=[q.module() for q in self.encoders],
                decoders=[linear(self.weight, self.bias), *paths],
                priors=[p.module() for p in self.priors] or None,
                **options,
            )
        )


def exact(depth: int, features: int = 5, latents: int = 3, seed: int = 0) -> LinearLadder:
    """q(z|x) = p(z|x) for every x: only level 0 reaches x, orthogonal columns, priors of each latent apart.

    Then u = (WᵀW)⁻¹Wᵀ(x − b) says all of x that matters; given z_l it is N(s z_l + t, v), so that seen from z_l it is
    evidence for (u − t)/s of variance v/s². At the top the prior N(0, 1) has to be in what the encoder emits.
    """
    weight, bias = orthogonal_weight(features, latents, seed), randn(features, seed=seed + 1)
    squared = weight.square().sum(0)
    priors = tuple(
        Conditional.diagonal(
            1 + 0.3 * randn(latents, seed=seed + 10 * level + 2),
            randn(latents, seed=seed + 10 * level + 3),
            randn(latents, seed=seed + 10 * level + 4).exp(),
        )
        for level in range(depth - 1)
    )
    gain = weight.T / squared[:, None]
    encoders = [Conditional(gain, -gain @ bias, -squared.log())]
    for prior in priors:
        slope = prior.weight.diagonal()
        variance = (prior.logvar.exp() + encoders[-1].logvar.exp()) / slope.square()
        encoders.append(Conditional.diagonal(1 / slope, -prior.bias / slope, variance))
    top = encoders[-1]
    share = 1 / (1 + top.logvar.exp())  # of the evidence beside N(0, 1)
    encoders[-1] = Conditional(share[:, None] * top.weight, share * top.bias, share.log() + top.logvar)
    paths = tuple(torch.zeros(latents, latents, dtype=torch.float64) for _ in priors)
    return LinearLadder(weight, bias, tuple(encoders), priors, paths)


def arbitrary(depth: int, features: int = 5, latents: tuple[int, ...] = (4, 3, 2), seed: int = 0) -> LinearLadder:
    """Parts with no relation to the true posterior; every level reaches x; a different size at each."""
    sizes = latents[:depth]

    def conditional(out_features: int, in_features: int, at: int) -> Conditional:
        return Conditional(
            0.4 * randn(out_features, in_features, seed=at),
            0.3 * randn(out_features, seed=at + 1),
            0.5 * randn(out_features, seed=at + 2),
        )

    pairs = list(pairwise(sizes))
    return LinearLadder(
        0.6 * randn(features, sizes[0], seed=seed + 97),
        randn(features, seed=seed + 98),
        tuple(conditional(n, m, seed + 10 * i) for i, (m, n) in enumerate(pairwise((features, *sizes)))),
        tuple(conditional(n, m, seed + 10 * i + 5) for i, (n, m) in enumerate(pairs)),
        tuple(0.7 * randn(n, m, seed=seed + 10 * i + 8) for i, (n, m) in enumerate(pairs)),
    )
