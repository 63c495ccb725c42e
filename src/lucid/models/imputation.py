"""Missing values filled in with what the observed ones say of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Generator, Tensor

from lucid.distributions import Likelihood, TableColumns, draw
from lucid.models.bounds import MAX_ROWS, check_num_samples
from lucid.models.checks import check_batch
from lucid.models.condition import told
from lucid.models.walk import Walk, draws, drive

__all__ = ["Imputation", "impute"]


@dataclass(frozen=True)
class Imputation:
    """Rows whose missing values are filled in; observed values are what they were.

    Attributes:
        point: One value for each, (N, columns): the mean of numbers (for positive columns that of the logarithm), the
            most probable of categories.
        draws: M values for each, (M, N, columns), drawn from their joint distribution given what was observed; their
            spread is what is not known.
        num_samples: Importance draws per row.
        effective_sample_size: (Σw)²/Σw² of each row, (N,); near 1, one draw carries its imputation.
    """

    point: Tensor
    draws: Tensor
    num_samples: int
    effective_sample_size: Tensor


class _Model(Protocol):
    """What imputing needs of a model."""

    likelihood: Likelihood

    def walk(self, x: Tensor | None = None, *, condition: Tensor | None = None) -> Walk: ...


@torch.no_grad()
def impute(
    model: _Model,
    x: Tensor,
    num_samples: int,
    num_draws: int,
    generator: Generator | None,
    condition: Tensor | None = None,
    max_rows: int = MAX_ROWS,
) -> Imputation:
    r"""Impute by importance sampling; `LatentModel.impute` says how.

    Args:
        model: Any model whose likelihood leaves out what is missing.
        x: Rows in model space, NaN where a value is missing.
        num_samples: Importance draws K per row.
        num_draws: Imputations M drawn per row, 0 or more.
        generator: The stream of random numbers.
        condition: What the model is conditioned on, a row for each of x.
        max_rows: Draws × rows evaluated at once; at least one row is.
    """
    if not model.likelihood.takes_missing:
        raise ValueError(
            f"the likelihood {type(model.likelihood).__name__} does not know missing values: train on a table that has "
            "some, or whose columns are described, with lucid.distributions.TableLikelihood"
        )
    check_batch(x)
    check_num_samples(num_samples)
    if isinstance(num_draws, bool) or not isinstance(num_draws, int) or num_draws < 0:
        raise ValueError(f"num_draws must be an int, 0 or more; received {num_draws!r}")
    size = max(1, max_rows // num_samples)
    parts = [
        _of_rows(
            model, rows, num_samples, num_draws, generator, None if condition is None else condition[i * size :][:size]
        )
        for i, rows in enumerate(x.split(size))
    ]
    return Imputation(
        point=torch.cat([part.point for part in parts]),
        draws=torch.cat([part.draws for part in parts], dim=1),
        num_samples=num_samples,
        effective_sample_size=torch.cat([part.effective_sample_size for part in parts]),
    )


def _of_rows(
    model: _Model, x: Tensor, num_samples: int, num_draws: int, generator: Generator | None, condition: Tensor | None
) -> Imputation:
    record = drive(model.walk(x, **told(condition)), draws(generator, num_samples=num_samples))
    columns = record.likelihood
    assert isinstance(columns, TableColumns), "a likelihood that takes missing values leaves them out of columns"
    weights = record.log_weight().double().view(num_samples, len(x)).softmax(0)
    missing = x.isnan()
    point = torch.where(missing, columns.mixture_mean(weights).to(x.dtype), x)
    drawn = x.new_empty((0, *x.shape))
    if num_draws:
        # First which latents, by their weight; then the values given them: draws from the weighted mixture.
        chosen = torch.multinomial(weights.T, num_draws, replacement=True, generator=generator).T
        params = record.params.view(num_samples, len(x), -1)[chosen, torch.arange(len(x), device=x.device)]
        values = draw(model.likelihood(params.flatten(0, 1)), generator=generator)
        drawn = torch.where(missing, values.to(x.dtype).view(num_draws, *x.shape), x)
    return Imputation(point, drawn, num_samples, weights.square().sum(0).reciprocal())
