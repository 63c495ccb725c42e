"""What every model family shares: all that can be said, made and measured by driving its walk."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Generator as Yielding
from contextlib import contextmanager
from typing import Any

import torch
from torch import Generator, Tensor

from lucid.distributions import Likelihood
from lucid.models.bounds import (
    MAX_ROWS,
    ElboEstimate,
    ImportanceEstimate,
    check_num_samples,
    estimate_elbo,
    importance_weighted,
)
from lucid.models.checks import check_batch
from lucid.models.protocol import DataProtocol
from lucid.models.walk import Walk, draws, drive, given, means
from lucid.nn import Module

__all__ = ["LatentModel"]


class LatentModel(Module, ABC):
    """A latent-variable model that can be walked. A family states `walk`; everything here is final.

    `reconstruct`, `sample`, `embed`, `interpolate` and `log_likelihood` look at a model without changing it: they run
    in evaluation mode, without gradients, and put the mode back. `elbo` is differentiable and leaves the mode as it is.

    Attributes:
        depth: Number of latent levels.
        likelihood: p(x|z).
        protocol: How the data was prepared; None until training or a preset has set it.
        figures: Measured figures that are saved with the model.
    """

    depth: int
    likelihood: Likelihood
    protocol: DataProtocol | None
    figures: dict[str, Any]

    @abstractmethod
    def walk(self, x: Tensor | None = None, *, num_examples: int = 1, check: bool = True) -> Walk:
        """Visit the latents one at a time: given data the posteriors, in inference order; without, the priors.

        The priors come in generative order, deepest first.

        Args:
            x: Data, (N, ...); None walks the priors.
            num_examples: Rows of the top prior, in a walk without data.
            check: Whether to look at the values of `x`; False where they are known to be good.

        Yields:
            A distribution for each latent, whose value is to be sent; then the `Record`.
        """

    def elbo(self, x: Tensor, num_samples: int = 1, *, generator: Generator | None = None) -> ElboEstimate:
        """The evidence lower bound on log p(x), unweighted whatever β is, with the KL of each level; differentiable.

        Args:
            x: Data, (N, ...).
            num_samples: Posterior draws per example, exactly.
            generator: The stream of random numbers; None means PyTorch's global one.

        Returns:
            The estimate in nats per example; larger is better. `float(...)` is its mean over the batch.

        Example:
            >>> import lucid.nn as nn, torch
            >>> from lucid.models import VAE, VAEConfig
            >>> model = VAE(VAEConfig(encoders=[nn.Linear(6, 4)], decoders=[nn.Linear(2, 6)]))
            >>> bound = model.elbo(torch.randn(3, 6), num_samples=10)
            >>> bound.per_example.shape, len(bound.kl), bound.num_samples
            (torch.Size([3]), 1, 10)
        """
        return estimate_elbo(self, x, num_samples, generator)

    def log_likelihood(
        self, x: Tensor, num_samples: int = 100, *, generator: Generator | None = None, max_rows: int = MAX_ROWS
    ) -> ImportanceEstimate:
        """The importance-weighted estimate of log p(x): a lower bound in expectation that tightens with `num_samples`.

        Burda, Grosse, Salakhutdinov: Importance Weighted Autoencoders, 2015, https://arxiv.org/abs/1509.00519.

        Args:
            x: Data, (N, ...).
            num_samples: Importance draws per example, exactly.
            generator: The stream of random numbers; None means PyTorch's global one.
            max_rows: Rows (draws × examples) evaluated at once, which bounds the memory.

        Returns:
            The estimate in nats per example, with its effective sample size.
        """
        check_num_samples(num_samples)
        with evaluating(self):
            return importance_weighted(self, x, [num_samples], generator, max_rows)[0]

    def reconstruct(self, x: Tensor) -> Tensor:
        """The mean of p(x|z) at the posterior means, in data space: probabilities for "bce".

        Args:
            x: Data, (N, ...).

        Returns:
            The shape of `x`.
        """
        with evaluating(self):
            return drive(self.walk(x), means()).likelihood.mean

    def sample(
        self, n: int, *, temperature: float = 1.0, generator: Generator | None = None, noise: bool = False
    ) -> Tensor:
        """New examples, from the priors.

        Args:
            n: How many.
            temperature: Multiplies the standard deviation of every prior; below 1, samples are more typical.
            generator: The stream of random numbers; None means PyTorch's global one.
            noise: Whether to draw x from p(x|z) too; by default its mean is returned, which is what one looks at.

        Returns:
            (n, ...), in the space of the data the model was trained on.

        Raises:
            ValueError: If `n` is not positive, the temperature is negative, or the model has not met data yet and the
                size of its latents cannot be told.
        """
        if isinstance(n, bool) or not isinstance(n, int):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise TypeError(f"n must be an int; received {n!r}")
        if n < 1:
            raise ValueError(f"n must be at least 1; received {n}")
        with evaluating(self):
            record = drive(self.walk(num_examples=n), draws(generator, temperature=temperature))
            if not noise:
                return record.likelihood.mean
            return draws(generator)(record.likelihood)

    def embed(self, x: Tensor, level: int = -1) -> Tensor:
        """Posterior means, the usual embedding.

        Args:
            x: Data, (N, ...).
            level: Which latent; the deepest by default, the one the decoder reads.

        Returns:
            (N, ...), the shape of that latent.
        """
        if not -self.depth <= level < self.depth:
            raise ValueError(
                f"level must be in 0 … {self.depth - 1} (or negative, counting from the deepest); received {level}"
            )
        with evaluating(self):
            return drive(self.walk(x), means()).latents[level].value

    def interpolate(self, x_from: Tensor, x_to: Tensor, steps: int = 8) -> Tensor:
        """Decoded means on the straight line between two examples' embeddings, both ends included.

        Args:
            x_from: Data, (N, ...).
            x_to: Data of the same shape.
            steps: Points on the line, at least 2.

        Returns:
            (steps, N, ...).
        """
        if steps < 2:
            raise ValueError(f"steps must be at least 2, the two ends; received {steps}")
        check_batch(x_from, "x_from")
        check_batch(x_to, "x_to")
        if x_from.shape != x_to.shape:
            raise ValueError(f"both ends must have one shape; received {tuple(x_from.shape)} and {tuple(x_to.shape)}")
        with evaluating(self):
            starts, ends = ([latent.value for latent in drive(self.walk(x), means()).latents] for x in (x_from, x_to))
            line: list[Tensor] = []
            for t in torch.linspace(0, 1, steps).tolist():
                # A walk without data meets the deepest latent first.
                values = [torch.lerp(a, b, t) for a, b in zip(reversed(starts), reversed(ends), strict=True)]
                line.append(drive(self.walk(num_examples=len(x_from)), given(values)).likelihood.mean)
            return torch.stack(line)


@contextmanager
def evaluating(model: Module) -> Yielding[None]:
    """Evaluation mode without gradients; afterwards every module is back in the mode it was in."""
    in_training = [module for module in model.modules() if module.training]
    model.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        for module in in_training:
            module.training = True
