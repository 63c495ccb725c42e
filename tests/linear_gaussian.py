"""The oracle: a linear-Gaussian model, whose log p(x), posterior, ELBO and KL are known exactly.

Generation: z_{L−1} ~ N(0, I), z_l ~ N(P_l z_{l+1} + p_l, V_l) for the shallower levels, x ~ N(W z_{L−1} + b, I).
Inference: z_0 ~ N(A_0 x + a_0, U_0), z_l ~ N(A_l z_{l−1} + a_l, U_l). All U and V are diagonal.

Every expectation under q is then a matter of means and covariances; nothing here calls lucid but `model`, which builds
the `VAE` to be checked. Everything is float64.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from lucid.models import VAE, VAEConfig

LOG_2PI = math.log(2 * math.pi)


def generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def randn(*shape: int, seed: int) -> Tensor:
    return torch.randn(*shape, generator=generator(seed), dtype=torch.float64)


@dataclass(frozen=True)
class Conditional:
    """N(weight · h + bias, diag exp(logvar)) given h, (in,) to (out,)."""

    weight: Tensor
    bias: Tensor
    logvar: Tensor

    def module(self) -> nn.Linear:
        """The layer that emits its mean and log-variance."""
        out_features, in_features = self.weight.shape
        return linear(
            torch.cat([self.weight, torch.zeros(out_features, in_features, dtype=torch.float64)]),
            torch.cat([self.bias, self.logvar]),
        )

    @classmethod
    def diagonal(cls, slope: Tensor, bias: Tensor, variance: Tensor) -> Conditional:
        return cls(slope.diag(), bias, variance.log())


def linear(weight: Tensor, bias: Tensor) -> nn.Linear:
    layer = nn.Linear(weight.shape[1], weight.shape[0], dtype=torch.float64)
    with torch.no_grad():
        layer.weight.copy_(weight)
        layer.bias.copy_(bias)
    return layer


@dataclass(frozen=True)
class LinearGaussian:
    """The model and an approximate posterior; `priors` None stands for N(0, I) at every level."""

    weight: Tensor
    bias: Tensor
    encoders: tuple[Conditional, ...]
    priors: tuple[Conditional, ...] | None = None

    @property
    def depth(self) -> int:
        return len(self.encoders)

    # What is true of p alone: the shallower latents integrate out.

    def log_prob(self, x: Tensor) -> Tensor:
        """log p(x) = log N(x; b, W Wᵀ + I), in nats, (N,)."""
        covariance = self.weight @ self.weight.T + torch.eye(len(self.bias), dtype=torch.float64)
        centred = x - self.bias
        squared = (centred * torch.linalg.solve(covariance, centred.T).T).sum(1)
        return -0.5 * (squared + torch.linalg.slogdet(covariance).logabsdet + len(self.bias) * LOG_2PI)

    def posterior(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Mean (N, d) and covariance (d, d) of p(z_{L−1}|x)."""
        covariance = posterior_covariance(self.weight)
        return (x - self.bias) @ self.weight @ covariance, covariance

    # What is true of p and q together.

    def moments(self, x: Tensor) -> list[tuple[Tensor, Tensor]]:
        """Mean (N, d_l) and covariance (d_l, d_l) of every q(z_l|x), the levels below integrated out."""
        mean, covariance = x, torch.zeros(x.shape[1], x.shape[1], dtype=torch.float64)
        moments: list[tuple[Tensor, Tensor]] = []
        for q in self.encoders:
            mean = mean @ q.weight.T + q.bias
            covariance = q.weight @ covariance @ q.weight.T + q.logvar.exp().diag()
            moments.append((mean, covariance))
        return moments

    def reconstruction(self, x: Tensor) -> Tensor:
        """E_q[−log p(x|z_{L−1})], (N,)."""
        mean, covariance = self.moments(x)[-1]
        residual = x - mean @ self.weight.T - self.bias
        spread = (self.weight @ covariance @ self.weight.T).trace()
        return 0.5 * (residual.square().sum(1) + spread + len(self.bias) * LOG_2PI)

    def kl(self, x: Tensor) -> list[Tensor]:
        """E_q[log q(z_l|·) − log p(z_l|·)] of every level, (N,) each: the terms of the bound."""
        return self._terms(x, jointly=True)

    def kl_of_strangers(self, x: Tensor) -> list[Tensor]:
        """The same with the closed-form KL(q(z_l|·) ‖ p(z_l|z_{l+1})), as if z_l were drawn apart from z_{l+1}."""
        return self._terms(x, jointly=False)

    def elbo(self, x: Tensor) -> Tensor:
        """The exact evidence lower bound, (N,)."""
        return -self.reconstruction(x) - torch.stack(self.kl(x)).sum(0)

    def _terms(self, x: Tensor, jointly: bool) -> list[Tensor]:
        moments = self.moments(x)
        terms: list[Tensor] = []
        for level, (mean, covariance) in enumerate(moments):
            entropy = 0.5 * (self.encoders[level].logvar + 1 + LOG_2PI).sum()
            residual, spread, logvar = mean, covariance, torch.zeros(mean.shape[1], dtype=torch.float64)
            if self.priors is not None and level + 1 < self.depth:
                prior, (deeper_mean, deeper_covariance) = self.priors[level], moments[level + 1]
                residual = mean - deeper_mean @ prior.weight.T - prior.bias
                spread = covariance + prior.weight @ deeper_covariance @ prior.weight.T
                if jointly:
                    cross = prior.weight @ self.encoders[level + 1].weight @ covariance
                    spread = spread - cross - cross.T
                logvar = prior.logvar
            squared = residual.square() + spread.diagonal()
            terms.append(-entropy + 0.5 * (squared * (-logvar).exp() + logvar + LOG_2PI).sum(1))
        return terms

    # lucid's side

    def model(self, **options: Any) -> VAE:
        """The same model as a `VAE`; W is spread over one decoder a level."""
        size = self.weight.shape[1]
        turns = [torch.linalg.qr(randn(size, size, seed=level))[0] for level in range(1, self.depth)]
        decoders = [linear(turn, torch.zeros(size, dtype=torch.float64)) for turn in turns]
        weight = self.weight
        for turn in reversed(turns):  # x = W T⁻¹… T z, the deepest turn applied first
            weight = weight @ turn.T
        return VAE(
            VAEConfig(
                encoders=[q.module() for q in self.encoders],
                decoders=[linear(weight, self.bias), *decoders],
                priors=None if self.priors is None else [p.module() for p in self.priors],
                **options,
            )
        )


def posterior_covariance(weight: Tensor) -> Tensor:
    return torch.linalg.inv(torch.eye(weight.shape[1], dtype=torch.float64) + weight.T @ weight)


def orthogonal_weight(features: int, latents: int, seed: int) -> Tensor:
    """Orthogonal columns of unequal length, for which p(z_{L−1}|x) is diagonal."""
    return torch.linalg.qr(randn(features, latents, seed=seed))[0] * torch.linspace(
        0.5, 1.5, latents, dtype=torch.float64
    )


def _generative(features: int, latents: int, seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """W with orthogonal columns, b, and the posterior's variances."""
    weight = orthogonal_weight(features, latents, seed)
    return weight, randn(features, seed=seed + 1), posterior_covariance(weight).diagonal()


def exact(features: int = 5, latents: int = 3, seed: int = 0) -> LinearGaussian:
    """Depth 1 with q = p(z|x) for every x."""
    weight, bias, variance = _generative(features, latents, seed)
    gain = variance[:, None] * weight.T
    return LinearGaussian(weight, bias, (Conditional(gain, -gain @ bias, variance.log()),))


def exact_at(x: Tensor, depth: int, priors: bool, latents: int = 3, seed: int = 0) -> LinearGaussian:
    """Any depth with q(z_0, …|x) = p(z_0, …|x) at the one given x, (1, D): the bound is tight there.

    The shallow prior p(z_l|z_{l+1}) acts on each latent apart, so every conditional of the joint posterior is diagonal.
    """
    weight, bias, variance = _generative(x.shape[1], latents, seed)
    ones, zeros = torch.ones(latents, dtype=torch.float64), torch.zeros(latents, dtype=torch.float64)
    mean = ((x - bias) @ weight)[0] * variance
    encoders: list[Conditional] = []
    shallow: list[Conditional] = []
    for level in reversed(range(depth - 1)):
        slope, shift, noise = zeros, zeros, ones
        if priors:
            slope, shift, noise = (randn(latents, seed=seed + 10 * level + i) for i in (2, 3, 4))
            noise = noise.exp()
        seen = slope.square() * variance + noise  # variance of z_l given x
        gain = variance * slope / seen
        encoders.insert(
            0, Conditional.diagonal(gain, mean - gain * (slope * mean + shift), variance - gain * slope * variance)
        )
        shallow.insert(0, Conditional.diagonal(slope, shift, noise))
        mean, variance = slope * mean + shift, seen
    encoders.insert(0, Conditional(torch.zeros(latents, x.shape[1], dtype=torch.float64), mean, variance.log()))
    return LinearGaussian(weight, bias, tuple(encoders), tuple(shallow) if priors else None)


def near(x: Tensor, depth: int, priors: bool, seed: int = 0) -> LinearGaussian:
    """`exact_at` with every conditional of q a little off and wider, so that importance weights vary little."""
    oracle = exact_at(x, depth, priors, seed=seed)
    encoders = tuple(
        Conditional(
            q.weight + 0.1 * (0.5 * q.logvar).exp()[:, None] * randn(*q.weight.shape, seed=seed + 50 + level),
            q.bias + 0.2 * (0.5 * q.logvar).exp() * randn(*q.bias.shape, seed=seed + 60 + level),
            q.logvar + 0.4,
        )
        for level, q in enumerate(oracle.encoders)
    )
    return LinearGaussian(oracle.weight, oracle.bias, encoders, oracle.priors)


def tightening(depth: int, epsilon: float, features: int = 5, latents: int = 3, seed: int = 0) -> LinearGaussian:
    """Learned priors p(z_l|z_{l+1}) = N(z_{l+1}, ε) and the q that is exact as ε → 0, for every x.

    `tightening_gap` is its gap.
    """
    weight, bias, variance = _generative(features, latents, seed)
    ones, zeros = torch.ones(latents, dtype=torch.float64), torch.zeros(latents, dtype=torch.float64)
    gain = variance[:, None] * weight.T
    encoders: list[Conditional] = []
    seen = variance
    for _ in range(depth - 1):
        encoders.insert(0, Conditional.diagonal(ones, zeros, epsilon * seen / (seen + epsilon)))
        seen = seen + epsilon
    encoders.insert(0, Conditional(gain, -gain @ bias, seen.log()))
    priors = tuple(Conditional.diagonal(ones, zeros, epsilon * ones) for _ in range(depth - 1))
    return LinearGaussian(weight, bias, tuple(encoders), priors)


def tightening_gap(depth: int, epsilon: float, features: int = 5, latents: int = 3, seed: int = 0) -> Tensor:
    """log p(x) − ELBO of `tightening`, worked out by hand as a sum of KL(q ‖ true posterior); the same for every x.

    With S the posterior variances: ½ Σ ε/S at depth 2, and with T = S + ε and v = εT/(T + ε) at depth 3
    ½ Σ [ε/T + ε (T + ε + v) / (S T)].
    """
    s = _generative(features, latents, seed)[2]
    if depth == 2:
        return 0.5 * (epsilon / s).sum()
    assert depth == 3
    t = s + epsilon
    v = epsilon * t / (t + epsilon)
    return 0.5 * (epsilon / t + epsilon * (t + epsilon + v) / (s * t)).sum()


def arbitrary(
    depth: int, priors: bool, features: int = 5, latents: tuple[int, ...] = (4, 3, 2), seed: int = 0
) -> LinearGaussian:
    """Encoders and priors with no relation to the true posterior; a different size at each level."""
    sizes = latents[:depth]

    def conditional(out_features: int, in_features: int, at: int) -> Conditional:
        return Conditional(
            0.4 * randn(out_features, in_features, seed=at),
            0.3 * randn(out_features, seed=at + 1),
            0.5 * randn(out_features, seed=at + 2),
        )

    encoders = tuple(
        conditional(n, m, seed + 10 * i) for i, (n, m) in enumerate(zip(sizes, (features, *sizes), strict=False))
    )
    shallow = tuple(conditional(n, m, seed + 10 * i + 5) for i, (n, m) in enumerate(pairwise(sizes)))
    return LinearGaussian(
        0.6 * randn(features, sizes[-1], seed=seed + 97),
        randn(features, seed=seed + 98),
        encoders,
        shallow if priors else None,
    )


def stranger() -> LinearGaussian:
    """One latent a level: q(z_0|x) = N(0, 1), q(z_1|z_0) = N(z_0, 0.3²), p(z_0|z_1) = N(z_1, 0.5²)."""
    one, zero = torch.ones(1, 1, dtype=torch.float64), torch.zeros(1, dtype=torch.float64)
    return LinearGaussian(
        weight=one,
        bias=zero,
        encoders=(Conditional(0 * one, zero, zero), Conditional(one, zero, zero + math.log(0.09))),
        priors=(Conditional(one, zero, zero + math.log(0.25)),),
    )
