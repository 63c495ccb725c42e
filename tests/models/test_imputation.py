"""Imputation and the bound of what was observed, against a joint Gaussian that is known."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

import lucid
import lucid.nn as nn
from lucid.distributions import Column, Gaussian, TableLikelihood
from lucid.models import VAE, DataProtocol, VAEConfig, create, drive

NAN = math.nan
LOADINGS = torch.tensor([[1.2, -0.4], [0.3, 0.9], [-0.8, 0.5]])
SCALE = 0.5


class Linear(nn.Module):
    """A fixed affine map."""

    def __init__(self, weight: Tensor, bias: Tensor) -> None:
        super().__init__()
        self.weight = nn.Parameter(weight)
        self.bias = nn.Parameter(bias)

    def forward(self, x: Tensor) -> Tensor:
        return torch.nn.functional.linear(x, self.weight, self.bias)


class Wide(nn.Module):
    """A posterior that looks at nothing and is wider than any true one."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([x.new_zeros(len(x), 2), x.new_full((len(x), 2), 0.2)], dim=1)


def model() -> VAE:
    """Factor analysis as a VAE of a table: x = Wz + noise."""
    schema = tuple(Column(name, "real") for name in "abc")
    decoder = Linear(
        torch.cat([LOADINGS, torch.zeros(3, 2)]), torch.cat([torch.zeros(3), torch.full((3,), 2 * math.log(SCALE))])
    )
    return VAE(VAEConfig(encoders=[Wide()], decoders=[decoder], likelihood=TableLikelihood(schema)))


COVARIANCE = (LOADINGS @ LOADINGS.T + SCALE**2 * torch.eye(3)).double()
X = torch.tensor([[0.7, NAN, -1.1], [NAN, NAN, 0.9], [1.5, -0.3, 0.2], [NAN, 0.4, NAN]])


def conditional(row: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and covariance of the missing values given the observed ones."""
    seen, missing = ~row.isnan(), row.isnan()
    gain = COVARIANCE[missing][:, seen] @ COVARIANCE[seen][:, seen].inverse()
    return gain @ row[seen].double(), COVARIANCE[missing][:, missing] - gain @ COVARIANCE[seen][:, missing]


def test_the_likelihood_estimate_is_that_of_the_observed_values() -> None:
    estimate = model().log_likelihood(X, 40_000, generator=torch.Generator().manual_seed(0))
    for row, found, effective in zip(X, estimate.per_example, estimate.effective_sample_size, strict=True):
        seen = ~row.isnan()
        true = torch.distributions.MultivariateNormal(
            torch.zeros(int(seen.sum())).double(), COVARIANCE[seen][:, seen]
        ).log_prob(row[seen].double())
        assert float(found) == pytest.approx(float(true), abs=4 / math.sqrt(float(effective)))


def test_the_elbo_is_a_bound_on_the_observed_values() -> None:
    bound = model().elbo(X, 20_000, generator=torch.Generator().manual_seed(0)).per_example.detach()
    for row, found in zip(X, bound, strict=True):
        seen = ~row.isnan()
        true = torch.distributions.MultivariateNormal(
            torch.zeros(int(seen.sum())).double(), COVARIANCE[seen][:, seen]
        ).log_prob(row[seen].double())
        assert float(found) < float(true)


def test_the_point_is_the_conditional_mean() -> None:
    found = model().impute(X, 40_000, generator=torch.Generator().manual_seed(1))
    assert torch.equal(found.point[~X.isnan()], X[~X.isnan()])
    for row, point, effective in zip(X, found.point, found.effective_sample_size, strict=True):
        mean, covariance = conditional(row)
        error = (point[row.isnan()].double() - mean).abs()
        assert bool((error < 4 * covariance.diagonal().sqrt() / effective.sqrt()).all())


def test_draws_have_the_conditional_mean_and_covariance() -> None:
    m = 20_000
    found = model().impute(X, 4000, m, generator=torch.Generator().manual_seed(2))
    assert found.draws.shape == (m, *X.shape)
    assert torch.equal(found.draws[:, ~X.isnan()], X[~X.isnan()].expand(m, -1))
    for i, row in enumerate(X):
        missing = row.isnan()
        if not missing.any():
            continue
        mean, covariance = conditional(row)
        drawn = found.draws[:, i, missing].double()
        # The draws share one set of importance samples: its size and theirs both limit them.
        error = covariance.diagonal().sqrt() * math.sqrt(1 / m + 1 / float(found.effective_sample_size[i]))
        assert bool(((drawn.mean(0) - mean).abs() < 4 * error).all())
        torch.testing.assert_close(drawn.T.cov().reshape(covariance.shape), covariance, atol=0.12, rtol=0.1)


def test_rows_in_pieces_are_as_good() -> None:
    found = model().impute(X.repeat(5, 1), 4000, 2, generator=torch.Generator().manual_seed(3))
    assert found.point.shape == (20, 3)
    assert found.draws.shape == (2, 20, 3)
    assert not found.point.isnan().any()


def test_other_likelihoods_know_no_missing_values() -> None:
    other = VAE(VAEConfig(encoders=[nn.Linear(3, 4)], decoders=[nn.Linear(2, 3)], likelihood=Gaussian()))
    with pytest.raises(ValueError, match="the likelihood Gaussian does not know missing values: train on a table"):
        other.impute(torch.zeros(2, 3))
    with pytest.raises(ValueError, match="num_draws must be an int, 0 or more; received -1"):
        model().impute(X, 10, -1)
    with pytest.raises(ValueError, match="num_samples must be at least 1"):
        model().impute(X, 0)


SCHEMA = (
    Column("size", "real"),
    Column("colour", "categorical", categories=("red", "green", "blue")),
    Column("visits", "count"),
    Column("member", "binary", categories=(False, True)),
    Column("grade", "ordinal", categories=("C", "B", "A")),
)
PROTOCOL = DataProtocol(
    name="people", kind="table", shape=(5,), columns=tuple(column.name for column in SCHEMA), schema=SCHEMA
)
MIXED = torch.tensor([[0.3, 2.0, 4.0, 1.0, NAN], [NAN, NAN, 0.0, NAN, 2.0], [NAN] * 5])


@pytest.mark.parametrize("name", ["mlp", "ladder", "topdown"])
def test_every_preset_takes_a_mixed_table(name: str, tmp_path: Path) -> None:
    built = create(name, PROTOCOL, size=1)
    bound = built.elbo(MIXED)
    bound.value.backward()
    assert bound.value.isfinite()
    assert all(p.grad is None or p.grad.isfinite().all() for p in built.parameters())
    filled = built.impute(MIXED, 8, 2, generator=torch.Generator().manual_seed(0))
    assert torch.equal(filled.point[~MIXED.isnan()], MIXED[~MIXED.isnan()])
    built.likelihood.check(filled.draws.flatten(0, 1))
    lucid.save(built, tmp_path / "m")
    again = lucid.load(tmp_path / "m")
    assert again.protocol == PROTOCOL
    assert again.likelihood.schema == SCHEMA
    assert torch.equal(again.reconstruct(MIXED), built.reconstruct(MIXED))


def test_a_step_compiles_whole() -> None:
    built = create("mlp", PROTOCOL, size=1, dropout=0.0)

    def loss(x: Tensor) -> Tensor:
        return -drive(built.walk(x, check=False), lambda q: q.mean + 0.3).elbo().mean()

    def gradients(function: Callable[[Tensor], Tensor]) -> list[Tensor]:
        built.zero_grad(set_to_none=True)
        value = function(MIXED)
        value.backward()
        return [value.detach(), *(p.grad for p in built.parameters() if p.grad is not None)]

    torch.compiler.reset()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # the compiler's own remarks about its imports
        warnings.filterwarnings("ignore", message="The .grad attribute of a Tensor that is not a leaf")
        compiled = gradients(torch.compile(loss, backend="aot_eager", fullgraph=True))
    plain = gradients(loss)
    torch.compiler.reset()
    assert len(compiled) == len(plain) > 10
    for one, other in zip(compiled, plain, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


def test_a_mixed_table_takes_priors_that_are_not_made_of_examples() -> None:
    built = create("mlp", PROTOCOL, size=1, prior="mixture")
    assert built.elbo(MIXED).value.isfinite()
    with pytest.raises(ValueError, match="the prior vamp learns examples, and between two categories"):
        create("mlp", PROTOCOL, size=1, prior="vamp")
    gaps = DataProtocol(name="n", kind="table", shape=(1,), columns=("size",), schema=SCHEMA[:1])
    with pytest.raises(ValueError, match="for a table of several kinds of columns, or with missing values, choose"):
        create("mlp", gaps, size=1, prior="vamp")
