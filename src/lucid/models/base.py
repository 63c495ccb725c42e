"""What every model family shares: all that can be said, made and measured by driving its walk."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Generator as Yielding
from collections.abc import Sequence
from contextlib import contextmanager
from numbers import Real
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
from lucid.models.condition import Condition, told
from lucid.models.imputation import Imputation, impute
from lucid.models.protocol import DataProtocol
from lucid.models.walk import Walk, draws, drive, given, means, repeat_to
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
        condition: What `condition=` must be for this model; None for a model that takes none, and refuses one.
    """

    depth: int
    likelihood: Likelihood
    protocol: DataProtocol | None
    figures: dict[str, Any]
    condition: Condition | None = None

    @abstractmethod
    def walk(
        self,
        x: Tensor | None = None,
        *,
        num_examples: int = 1,
        check: bool = True,
        condition: Tensor | None = None,
    ) -> Walk:
        """Visit the latents one at a time: given data the posteriors, in inference order; without, the priors.

        The priors come in generative order, deepest first.

        Args:
            x: Data, (N, ...); None walks the priors.
            num_examples: Rows of the top prior, in a walk without data.
            check: Whether to look at the values of `x`; False where they are known to be good.
            condition: What the model is conditioned on, a row for each example: labels int64 (N,) or vectors (N, D),
                as `self.condition` says; None for a model that takes none.

        Yields:
            A distribution for each latent, whose value is to be sent; then the `Record`.

        Raises:
            ValueError: If a condition is missing, not what the model asks for, or given to a model that takes none.
        """

    def elbo(
        self, x: Tensor, num_samples: int = 1, *, generator: Generator | None = None, condition: Tensor | None = None
    ) -> ElboEstimate:
        """The evidence lower bound on log p(x), unweighted whatever β is, with the KL of each level; differentiable.

        Args:
            x: Data, (N, ...).
            num_samples: Posterior draws per example, exactly.
            generator: The stream of random numbers; None means PyTorch's global one.
            condition: What the model is conditioned on, a row for each example; None for a model that takes none.

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
        return estimate_elbo(self, x, num_samples, generator, condition)

    def log_likelihood(
        self,
        x: Tensor,
        num_samples: int = 100,
        *,
        generator: Generator | None = None,
        max_rows: int = MAX_ROWS,
        condition: Tensor | None = None,
    ) -> ImportanceEstimate:
        """The importance-weighted estimate of log p(x): a lower bound in expectation that tightens with `num_samples`.

        Burda, Grosse, Salakhutdinov: Importance Weighted Autoencoders, 2015, https://arxiv.org/abs/1509.00519.

        Args:
            x: Data, (N, ...).
            num_samples: Importance draws per example, exactly.
            generator: The stream of random numbers; None means PyTorch's global one.
            max_rows: Rows (draws × examples) evaluated at once, which bounds the memory.
            condition: What the model is conditioned on, a row for each example; None for a model that takes none.

        Returns:
            The estimate in nats per example, with its effective sample size.
        """
        check_num_samples(num_samples)
        with evaluating(self):
            return importance_weighted(self, x, [num_samples], generator, max_rows, condition)[0]

    def reconstruct(self, x: Tensor, *, condition: Tensor | None = None) -> Tensor:
        """The mean of p(x|z) at the posterior means, in data space: probabilities for "bce".

        Args:
            x: Data, (N, ...).
            condition: What the model is conditioned on, a row for each example; None for a model that takes none.

        Returns:
            The shape of `x`.
        """
        with evaluating(self):
            return drive(self.walk(x, **told(condition)), means()).likelihood.mean

    def sample(
        self,
        n: int,
        *,
        temperature: float | Sequence[float] | Tensor = 1.0,
        generator: Generator | None = None,
        noise: bool = False,
        condition: Tensor | None = None,
    ) -> Tensor:
        """New examples, from the priors.

        Args:
            n: How many.
            temperature: Multiplies the standard deviation of every prior, one number or one for each level, indexed by
                level, (depth,) where it is a tensor; below 1, samples are more typical.
            generator: The stream of random numbers; None means PyTorch's global one.
            noise: Whether to draw x from p(x|z) too; by default its mean is returned, which is what one looks at.
            condition: What the model is conditioned on, a row for each of the n; None for a model that takes none.

        Returns:
            (n, ...), in the space of the data the model was trained on.

        Raises:
            ValueError: If `n` is not positive, a temperature is negative, there is not one for each level, the
                condition is not the model's, or the model has not met data yet and the size of its latents cannot be
                told.
        """
        if isinstance(n, bool) or not isinstance(n, int):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise TypeError(f"n must be an int; received {n!r}")
        if n < 1:
            raise ValueError(f"n must be at least 1; received {n}")
        cooling = self._temperatures(temperature)
        with evaluating(self):
            walk = self.walk(num_examples=n, **told(condition))
            record = drive(walk, draws(generator, temperature=cooling))
            if not noise:
                return record.likelihood.mean
            return draws(generator)(record.likelihood)

    def vary(
        self,
        x: Tensor,
        levels: int,
        num_samples: int = 8,
        *,
        temperature: float | Sequence[float] | Tensor = 1.0,
        generator: Generator | None = None,
        condition: Tensor | None = None,
    ) -> Tensor:
        """What the deepest latents of an example decide, and what they leave open.

        The k deepest latents are kept at their posterior means; the others are drawn from their priors, so whatever
        all the variations have in common, the kept ones decided. With k = depth it is `reconstruct`, with k = 0
        `sample`. In a model whose decoder reads only the deepest latent, one kept latent decides all.

        Args:
            x: Data, (N, ...).
            levels: How many of the deepest latents to keep, k, 0 … depth.
            num_samples: Variations of each example.
            temperature: As for `sample`; what it says of kept levels is not read.
            generator: The stream of random numbers; None means PyTorch's global one.
            condition: What the model is conditioned on, a row for each example; None for a model that takes none.

        Returns:
            (num_samples, N, ...), means of p(x|z).

        Raises:
            ValueError: If `levels` is outside 0 … depth, or another argument outside its range.

        Example:
            >>> import lucid.nn as nn, torch
            >>> from lucid.models import VAE, VAEConfig
            >>> model = VAE(VAEConfig(encoders=[nn.Linear(6, 4)], decoders=[nn.Linear(2, 6)]))
            >>> model.vary(torch.randn(3, 6), levels=0, num_samples=5).shape
            torch.Size([5, 3, 6])
        """
        if not 0 <= levels <= self.depth:
            raise ValueError(f"levels must be in 0 … {self.depth}, the latents that are kept; received {levels}")
        check_num_samples(num_samples)
        check_batch(x)
        cooling = self._temperatures(temperature)
        open_levels = self.depth - levels
        cooling = cooling[:open_levels] if isinstance(cooling, list) else cooling
        with evaluating(self):
            met = drive(self.walk(x, **told(condition)), means()).latents
            rows = num_samples * len(x)
            # A walk without data meets the deepest latent first.
            kept = [repeat_to(latent.value, rows) for latent in reversed(met[open_levels:])]
            repeated = None if condition is None else repeat_to(condition, rows)
            walk = self.walk(num_examples=rows, **told(repeated))
            record = drive(walk, given(kept, then=draws(generator, temperature=cooling)))
            return record.likelihood.mean.unflatten(0, (num_samples, len(x)))

    def impute(
        self,
        x: Tensor,
        num_samples: int = 1000,
        num_draws: int = 0,
        *,
        generator: Generator | None = None,
        condition: Tensor | None = None,
    ) -> Imputation:
        r"""Fill in missing values (NaN) with what the observed ones say of them; for models of tables.

        With importance weights :math:`w_k \propto p(x_o, z_k) / q(z_k|x_o)` over draws of the posterior given what was
        observed, :math:`p(x_m|x_o) \approx \sum_k w_k\, p(x_m|z_k)`: the point is its mean, draws are drawn from it.

        Mattei, Frellsen: MIWAE: Deep Generative Modelling and Imputation of Incomplete Data Sets, 2019,
        https://arxiv.org/abs/1812.02633.

        Args:
            x: Rows in model space, (N, columns).
            num_samples: Importance draws K per row.
            num_draws: Imputations to draw for each row, beside the point.
            generator: The stream of random numbers; None means PyTorch's global one.
            condition: What the model is conditioned on, a row for each example; None for a model that takes none.

        Returns:
            The rows filled in, and how far to trust it; observed values are unchanged.

        Raises:
            ValueError: If the model's likelihood does not know missing values.
        """
        with evaluating(self):
            return impute(self, x, num_samples, num_draws, generator, condition)

    def embed(self, x: Tensor, level: int = -1, *, condition: Tensor | None = None) -> Tensor:
        """Posterior means, the usual embedding.

        Args:
            x: Data, (N, ...).
            level: Which latent; the deepest by default, the one the decoder reads.
            condition: What the model is conditioned on, a row for each example; None for a model that takes none.

        Returns:
            (N, ...), the shape of that latent.
        """
        if not -self.depth <= level < self.depth:
            raise ValueError(
                f"level must be in 0 … {self.depth - 1} (or negative, counting from the deepest); received {level}"
            )
        with evaluating(self):
            return drive(self.walk(x, **told(condition)), means()).latents[level].value

    def interpolate(self, x_from: Tensor, x_to: Tensor, steps: int = 8, *, condition: Tensor | None = None) -> Tensor:
        """Decoded means on the straight line between two examples' embeddings, both ends included.

        Args:
            x_from: Data, (N, ...).
            x_to: Data of the same shape.
            steps: Points on the line, at least 2.
            condition: What the model is conditioned on, a row for each pair; None for a model that takes none.

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
            starts, ends = (
                [latent.value for latent in drive(self.walk(x, **told(condition)), means()).latents]
                for x in (x_from, x_to)
            )
            line: list[Tensor] = []
            for t in torch.linspace(0, 1, steps).tolist():
                # A walk without data meets the deepest latent first.
                values = [torch.lerp(a, b, t) for a, b in zip(reversed(starts), reversed(ends), strict=True)]
                walk = self.walk(num_examples=len(x_from), **told(condition))
                line.append(drive(walk, given(values)).likelihood.mean)
            return torch.stack(line)

    def _temperatures(self, temperature: float | Sequence[float] | Tensor) -> float | list[float]:
        """Temperatures as Python's numbers: one, or one for each level; anything else is refused."""
        numbers: Any = temperature
        if hasattr(numbers, "tolist"):  # a tensor, or an array of NumPy's, whatever its rank
            numbers = numbers.tolist()
        if isinstance(numbers, Real):
            return float(numbers)
        if (
            isinstance(numbers, str)
            or not isinstance(numbers, Sequence)
            or not all(isinstance(t, Real) for t in numbers)
        ):
            raise TypeError(f"temperature must be one number, or one for each level; received {temperature!r}")
        if len(numbers) != self.depth:
            raise ValueError(
                f"temperature must be one number, or one for each of the {self.depth} levels; received "
                f"{len(numbers)} numbers"
            )
        return [float(t) for t in numbers]


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
