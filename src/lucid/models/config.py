"""`VAEConfig`: the parts of a variational autoencoder, checked when they are put together."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from numbers import Real
from typing import Any, Literal

from lucid import nn
from lucid.distributions import Bernoulli, DiagonalPosterior, Gaussian, Likelihood, Posterior, Prior
from lucid.io import register

__all__ = ["VAEConfig"]


@register
@dataclass
class VAEConfig:
    """The parts of a `VAE`. Level 0 is nearest the data; every list is indexed by level.

    Args:
        encoders: `encoders[l]` emits mean and log-variance of level l, concatenated along dimension 1; `encoders[0]`
            reads x, `encoders[l]` the latent of level l − 1.
        decoders: Applied from the deepest latent back to the data: `decoders[-1]` first, `decoders[0]` last.
        priors: `priors[l]` maps the latent of level l + 1 to mean and log-variance of p(z_l | z_{l+1}); exactly depth
            − 1 of them. None leaves every level at N(0, I).
        reconstruction_loss: "mse", a Gaussian with unit variance, or "bce", a Bernoulli on logits for x in [0, 1]. A
            decoder that ends in `nn.Sigmoid` is recognised and yields the same loss.
        kl_weight: Base β, the weight of the KL; 1 trains the evidence lower bound itself.
        beta_schedule: `schedule(step) -> float`, replaces β at each training step.
        hierarchical_kl: Whether β is divided by the depth, so that the weight is spread over the levels.
        depth: Number of latent levels; None means `len(encoders)`.
        likelihood: Any likelihood of `lucid.distributions`, in the place of the two that `reconstruction_loss` names.
        top_prior: p(z_{L−1}), the prior of the deepest latent; None is N(0, I).
        posterior: What the encoders' outputs become: one for all levels, or a list with one a level, which it must be
            where it has parameters and there are several levels. None is a diagonal Gaussian.

    Raises:
        ValueError: If a list is empty or of the wrong length, or a number outside its range.
        TypeError: If a part is not what its field says.

    Example:
        >>> import lucid.nn as nn
        >>> VAEConfig(encoders=[nn.Linear(784, 128)], decoders=[nn.Linear(64, 784)], reconstruction_loss="bce").depth
        1
    """

    encoders: list[nn.Module]
    decoders: list[nn.Module]
    priors: list[nn.Module] | None = None
    reconstruction_loss: Literal["mse", "bce"] = "mse"
    kl_weight: float = 1.0
    beta_schedule: Callable[[int], float] | None = None
    hierarchical_kl: bool = True
    depth: int | None = None
    likelihood: Likelihood | None = field(default=None, kw_only=True)
    top_prior: Prior | None = field(default=None, kw_only=True)
    posterior: Posterior | list[Posterior] | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        _check_modules("encoders", self.encoders)
        _check_modules("decoders", self.decoders)
        self._check_depth()
        if self.priors is not None:
            self._check_priors(self.priors)
        self._check_weights()
        self._check_likelihood()
        if self.top_prior is not None:
            _check_is(self.top_prior, Prior, "top_prior")
        if self.posterior is not None:
            self._check_posterior(self.posterior)

    @property
    def num_levels(self) -> int:
        """The depth, as a plain int."""
        return len(self.encoders)

    @property
    def diagonal(self) -> bool:
        """Whether every posterior is a diagonal Gaussian, which its mean and log-variance determine."""
        return all(isinstance(posterior, DiagonalPosterior) for posterior in self.level_posteriors())

    def level_posteriors(self) -> list[Posterior]:
        """The posterior of each level, where `posterior` gives any."""
        if self.posterior is None:
            return []
        return [self.posterior] * self.num_levels if isinstance(self.posterior, Posterior) else list(self.posterior)

    def make_likelihood(self) -> Likelihood:
        """The likelihood that `likelihood` is, or that `reconstruction_loss` stands for."""
        if self.likelihood is not None:
            return self.likelihood
        return Bernoulli() if self.reconstruction_loss == "bce" else Gaussian(scale=1.0)

    def _check_depth(self) -> None:
        if self.depth is None:
            self.depth = len(self.encoders)
        if isinstance(self.depth, bool) or not isinstance(self.depth, int):
            raise TypeError(
                f"depth must be an int or None; received {self.depth!r} of type {type(self.depth).__name__}"
            )
        if self.depth <= 0:
            raise ValueError(f"depth must be positive; received {self.depth}")
        counts = (len(self.encoders), len(self.decoders))
        if counts != (self.depth, self.depth):
            raise ValueError(
                f"there must be one encoder and one decoder for each level: depth is {self.depth}, with {counts[0]} "
                f"encoders and {counts[1]} decoders"
            )

    def _check_priors(self, priors: Sequence[Any]) -> None:
        expected = self.num_levels - 1
        _check_sequence("priors", priors)
        if len(priors) != expected:
            raise ValueError(
                f"priors must hold exactly depth − 1 = {expected} modules, one for each level but the deepest, whose "
                f"prior is N(0, I); received {len(priors)}"
            )
        _check_members("priors", priors)

    def _check_weights(self) -> None:
        if isinstance(self.kl_weight, bool) or not isinstance(self.kl_weight, Real):
            raise TypeError(f"kl_weight must be a number; received {self.kl_weight!r}")
        if not 0 <= self.kl_weight < math.inf:
            raise ValueError(f"kl_weight must be non-negative and finite; received {self.kl_weight}")
        if self.beta_schedule is not None and not callable(self.beta_schedule):
            raise TypeError(
                f"beta_schedule must be a function from the step to β, or None; received {self.beta_schedule!r}. "
                "A constant weight goes into kl_weight"
            )
        if not isinstance(self.hierarchical_kl, bool):
            raise TypeError(f"hierarchical_kl must be True or False; received {self.hierarchical_kl!r}")

    def _check_likelihood(self) -> None:
        if self.reconstruction_loss not in ("mse", "bce"):
            raise ValueError(
                f"reconstruction_loss must be 'mse' or 'bce'; received {self.reconstruction_loss!r}. Other likelihoods "
                "go into likelihood=, see lucid.distributions"
            )
        if self.likelihood is None:
            return
        if not isinstance(self.likelihood, Likelihood):
            raise TypeError(f"likelihood must be a lucid.distributions.Likelihood; received {self.likelihood!r}")
        if self.reconstruction_loss == "bce" and not isinstance(self.likelihood, Bernoulli):
            raise ValueError(
                f"reconstruction_loss='bce' and likelihood={type(self.likelihood).__name__} contradict each "
                "other: give one"
            )

    def _check_posterior(self, posterior: Posterior | list[Posterior]) -> None:
        if isinstance(posterior, list | tuple | nn.ModuleList):
            for level, one in enumerate(posterior):
                _check_is(one, Posterior, f"posterior[{level}]")
            if len(posterior) != self.num_levels:
                raise ValueError(
                    f"posterior must hold one for each of the {self.num_levels} levels; received {len(posterior)}"
                )
            return
        _check_is(posterior, Posterior, "posterior")
        if self.num_levels > 1 and next(posterior.parameters(), None) is not None:
            raise ValueError(
                f"a {type(posterior).__name__} has parameters, which {self.num_levels} levels cannot share: give a "
                "list, one for each level"
            )


def _check_is(part: object, kind: type, name: str) -> None:
    if not isinstance(part, kind):
        received = f"the class {part.__name__}" if isinstance(part, type) else f"a {type(part).__name__}"
        raise TypeError(f"{name} must be a lucid.distributions.{kind.__name__}; received {received}")


def _check_sequence(name: str, modules: object) -> None:
    if not isinstance(modules, list | tuple | nn.ModuleList):
        raise TypeError(
            f"{name} must be a list of modules, one for each level; received {type(modules).__name__}"
            + (". Put it in a list: [module]" if isinstance(modules, nn.Module) else "")
        )


def _check_members(name: str, modules: Sequence[Any]) -> None:
    for level, module in enumerate(modules):
        if not isinstance(module, nn.Module):
            received = f"the class {module.__name__}" if isinstance(module, type) else type(module).__name__
            raise TypeError(f"{name}[{level}] must be an nn.Module; received {received}")


def _check_modules(name: str, modules: Sequence[Any]) -> None:
    _check_sequence(name, modules)
    if len(modules) == 0:
        raise ValueError(f"{name} must hold at least one module")
    _check_members(name, modules)
