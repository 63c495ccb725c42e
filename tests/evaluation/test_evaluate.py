"""`evaluate` against a model whose log p(x) is known, with every draw and every example counted."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from tests.evaluation.exact import ListedSplit, Rows, data, exact_log_likelihood, linear, linear_gaussian
from torch import Tensor

import lucid.nn as nn
from lucid.data import load
from lucid.distributions import Bernoulli, Categorical, DiscretisedLogistic, Gaussian
from lucid.evaluation import Evaluation, evaluate
from lucid.models import VAE, DataProtocol, VAEConfig

# The truth


def test_at_the_exact_posterior_every_bound_is_log_p_of_x() -> None:
    model, x = linear_gaussian(exact_posterior=True), data(100)
    exact = exact_log_likelihood(model, x)
    found = evaluate(model, x, num_samples=10)
    # The importance weight is constant: no draw differs from the next.
    for at_k in found.importance_weighted:
        assert math.isclose(at_k.value, float(exact.mean()), rel_tol=1e-10)
        assert math.isclose(at_k.standard_error, float(exact.std()) / 10, rel_tol=1e-8)
        assert math.isclose(at_k.effective_sample_size or 0, at_k.num_samples, rel_tol=1e-8)


def test_the_elbo_is_below_and_the_importance_weighted_estimate_tightens_to_log_p_of_x() -> None:
    model, x = linear_gaussian(), data(2000)
    exact = float(exact_log_likelihood(model, x).mean())
    found = evaluate(model, x, num_samples=1000, elbo_samples=50, batch_size=500)
    values = [at_k.value for at_k in found.importance_weighted]
    assert [at_k.num_samples for at_k in found.importance_weighted] == [1, 10, 100, 1000]
    assert found.elbo.value < values[1] < values[2]
    assert found.elbo.value < exact - 0.1
    # The same x on both sides: only the noise of the draws is left, ten times less variable at k = 1000 than at k =
    # 100.
    at_100 = torch.tensor([evaluate(model, x, elbo_samples=1, seed=seed).log_likelihood.value for seed in range(12)])
    assert abs(values[3] - exact) < 3 * float(at_100.std()) / math.sqrt(10)


def test_elbo_is_minus_reconstruction_minus_kl() -> None:
    found = evaluate(linear_gaussian(), data(60), num_samples=1)
    assert math.isclose(found.elbo.value, -found.reconstruction - sum(found.kl), rel_tol=1e-12)


def test_standard_error_is_the_spread_over_repeated_data() -> None:
    model = linear_gaussian()
    runs = [evaluate(model, data(100, seed=s), num_samples=5, elbo_samples=2, seed=s) for s in range(60)]
    values = torch.tensor([run.log_likelihood.value for run in runs])
    claimed = torch.tensor([run.log_likelihood.standard_error for run in runs]).mean()
    # The standard deviation of 60 values is known to 1/sqrt(2 · 59) = 9 %: three of those.
    assert abs(float(values.std() / claimed) - 1) < 0.28


# The counts


@pytest.mark.parametrize(("num_samples", "elbo_samples"), [(1, 1), (7, 3), (150, 10), (1000, 2)])
def test_exactly_the_asked_draws_are_decoded_and_never_more_rows_than_allowed(
    num_samples: int, elbo_samples: int
) -> None:
    model = linear_gaussian()
    rows = Rows(model.decoders[0])
    model.decoders[0] = rows
    evaluate(model, data(23), num_samples=num_samples, elbo_samples=elbo_samples, batch_size=10, max_rows=64)
    assert sum(rows.seen) == 23 * (num_samples + elbo_samples)
    assert max(rows.seen) <= 64


def test_a_batch_larger_than_max_rows_is_divided() -> None:
    model = linear_gaussian()
    rows = Rows(model.decoders[0])
    model.decoders[0] = rows
    found = evaluate(model, data(23), num_samples=2, elbo_samples=2, batch_size=23, max_rows=5)
    assert found.num_examples == 23
    assert max(rows.seen) <= 5
    assert sum(rows.seen) == 23 * 4


@pytest.mark.parametrize("batch_size", [1, 7, 50, 99])
def test_each_example_counts_once_whatever_the_batches(batch_size: int) -> None:
    # With the exact posterior nothing is random: a batch lost, or weighted by itself, would show.
    model, x = linear_gaussian(exact_posterior=True), data(50)
    found = evaluate(model, ListedSplit(x), num_samples=2, batch_size=batch_size)
    assert found.num_examples == 50
    assert math.isclose(found.log_likelihood.value, float(exact_log_likelihood(model, x).mean()), rel_tol=1e-10)


class DropsLast(ListedSplit):
    def batches(self, batch_size: int, *, device: torch.device | str = "cpu") -> Iterator[Tensor]:
        yield from [x for x in super().batches(batch_size) if len(x) == batch_size]


class RepeatsFirst(ListedSplit):
    def batches(self, batch_size: int, *, device: torch.device | str = "cpu") -> Iterator[Tensor]:
        yield self.x[:batch_size]
        yield from super().batches(batch_size)


@pytest.mark.parametrize(("split", "yielded"), [(DropsLast, 20), (RepeatsFirst, 33)])
def test_data_that_loses_or_repeats_examples_is_refused(split: type[ListedSplit], yielded: int) -> None:
    with pytest.raises(ValueError, match=f"declares 23 examples and yielded {yielded}"):
        evaluate(linear_gaussian(), split(data(23)), num_samples=1, batch_size=10)


class Stream(ListedSplit):
    size = None

    def __len__(self) -> int:
        raise TypeError("a stream has no length")


def test_a_stream_of_unknown_length_is_measured_whole() -> None:
    told: list[tuple[int, int | None]] = []
    found = evaluate(
        linear_gaussian(), Stream(data(30), 0), num_samples=1, batch_size=20, progress=lambda *at: told.append(at)
    )
    assert found.num_examples == 30
    assert told == [(20, None), (30, None)]


# Randomness and the model's state


def test_the_seed_decides_and_the_global_stream_is_left_alone() -> None:
    model, x = linear_gaussian(), data(40)
    before = torch.random.get_rng_state()
    first, again, other = (evaluate(model, x, num_samples=20, seed=seed) for seed in (5, 5, 6))
    assert first == again
    assert first.elbo.value != other.elbo.value
    assert torch.equal(torch.random.get_rng_state(), before)


def test_more_draws_of_one_kind_leave_the_figures_of_the_other_as_they_were() -> None:
    model, x = linear_gaussian(), data(40)
    few, many = (evaluate(model, x, num_samples=10, elbo_samples=k) for k in (1, 10))
    assert few.importance_weighted == many.importance_weighted
    few, many = (evaluate(model, x, num_samples=k) for k in (10, 100))
    assert few.elbo == many.elbo
    assert few.log_likelihood == many.importance_weighted[1]


def test_the_mode_is_restored_and_no_gradient_is_kept() -> None:
    model = linear_gaussian()
    dropout = nn.Dropout(0.5)
    model.decoders[0] = nn.Sequential(model.decoders[0], dropout)
    model.train()
    model.encoders.eval()
    first, second = (evaluate(model, data(20), num_samples=2) for _ in range(2))
    assert first == second  # no dropout
    assert model.training
    assert dropout.training
    assert not model.encoders[0].training
    assert all(parameter.grad is None for parameter in model.parameters())
    assert int(model.beta_step) == 0


def test_the_progress_is_told_in_examples() -> None:
    told: list[tuple[int, int | None]] = []
    evaluate(linear_gaussian(), data(25), num_samples=1, batch_size=10, progress=lambda *at: told.append(at))
    assert told == [(10, 25), (20, 25), (25, 25)]


# bits/dim


def discrete(likelihood: Any, protocol: DataProtocol | None, x: Tensor) -> Evaluation:
    model = VAE(
        VAEConfig(encoders=[linear(6, 4)], decoders=[linear(2, 6 * likelihood.num_parameters)], likelihood=likelihood)
    )
    model.protocol = protocol
    return evaluate(model, x, num_samples=3)


BITS = DataProtocol(name="coins", kind="vector", shape=(6,), levels=2)


def test_bits_per_dim_of_fair_coins_is_one() -> None:
    x = (torch.rand(20, 6, generator=torch.Generator().manual_seed(0)) < 0.3).double()
    assert discrete(Bernoulli(), BITS, x).bits_per_dim == pytest.approx(1.0, rel=1e-12)
    binarised = replace(BITS, levels=None, binarisation="static")
    assert discrete(Bernoulli(), binarised, x).bits_per_dim == pytest.approx(1.0, rel=1e-12)


def test_bits_per_dim_of_evenly_used_levels_is_their_log() -> None:
    x = torch.randint(0, 17, (20, 6), generator=torch.Generator().manual_seed(0)).double() / 16
    found = discrete(Categorical(17), replace(BITS, levels=17), x)
    assert found.bits_per_dim == pytest.approx(math.log2(17), rel=1e-9)
    assert "from 3 draws, D = 6" in found.bits_per_dim_note


def test_bits_per_dim_of_the_discretised_logistic_is_the_mass_by_hand() -> None:
    x = torch.tensor([[0.0, 0.5, 1.0, 0.5, 0.5, 0.0]] * 4, dtype=torch.float64)

    def sigmoid(t: float) -> float:
        return 1 / (1 + math.exp(-t))

    # Mean 0, scale 1, on the levels 0, ½, 1: edges at ¼ and ¾.
    masses = {0.0: sigmoid(0.25), 0.5: sigmoid(0.75) - sigmoid(0.25), 1.0: 1 - sigmoid(0.75)}
    bits = -sum(math.log2(masses[value]) for value in x[0].tolist()) / 6
    found = discrete(DiscretisedLogistic(3), replace(BITS, levels=3), x)
    assert found.bits_per_dim == pytest.approx(bits, rel=1e-9)


@pytest.mark.parametrize(
    ("likelihood", "protocol", "why"),
    [
        (Bernoulli(), None, "no data protocol is declared"),
        (Bernoulli(), replace(BITS, levels=17), "over 2 levels where the data has 17"),
        (Gaussian(), BITS, "a density, not a probability"),
        (Gaussian(), replace(BITS, levels=None), "the data is continuous"),
        (Bernoulli(), replace(BITS, levels=None), "the data is continuous"),
    ],
)
def test_there_are_no_bits_per_dim_where_they_would_mean_nothing(
    likelihood: Any, protocol: DataProtocol | None, why: str
) -> None:
    found = discrete(likelihood, protocol, torch.ones(4, 6, dtype=torch.float64))
    assert found.bits_per_dim is None
    assert why in found.bits_per_dim_note
    assert found.to_json()["bits_per_dim"] is None


def test_grey_values_under_a_binary_protocol_have_no_bits_per_dim() -> None:
    found = discrete(Bernoulli(), BITS, torch.full((4, 6), 0.3, dtype=torch.float64))
    assert found.bits_per_dim is None
    assert "values between the 2 levels" in found.bits_per_dim_note


# What is refused


def test_a_figure_that_is_not_finite_is_an_error_with_its_name_and_count() -> None:
    class Broken(nn.Module):
        def forward(self, z: Tensor) -> Tensor:
            out = torch.zeros(len(z), 4, dtype=z.dtype)
            out[torch.arange(len(z)) % 10 == 7] = math.nan  # two of each twenty
            return out

    model = linear_gaussian()
    model.decoders[0] = Broken()
    with pytest.raises(
        FloatingPointError, match=r"−log p\(x\|z\) is not finite for 2 of the examples 0 … 19; .* example 7"
    ):
        evaluate(model, data(40), num_samples=1, elbo_samples=1, batch_size=20)


def test_features_that_the_protocol_does_not_declare_are_refused() -> None:
    with pytest.raises(ValueError, match="declares 5 features"):
        discrete(Bernoulli(), replace(BITS, shape=(5,)), torch.ones(4, 6, dtype=torch.float64))


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"num_samples": 0}, ValueError, "num_samples must be at least 1; received 0"),
        ({"num_samples": 2.5}, TypeError, "num_samples must be an int; received 2.5"),
        ({"elbo_samples": True}, TypeError, "elbo_samples must be an int"),
        ({"batch_size": -1}, ValueError, "batch_size must be at least 1"),
        ({"max_rows": 0}, ValueError, "max_rows must be at least 1"),
    ],
)
def test_settings_out_of_range_are_refused(settings: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        evaluate(linear_gaussian(), data(5), **settings)


def test_one_example_one_draw_of_a_deep_model_and_things_that_are_no_model_are_refused() -> None:
    with pytest.raises(ValueError, match="at least 2 examples"):
        evaluate(linear_gaussian(), data(1))
    with pytest.raises(ValueError, match="at least 2 examples"):
        evaluate(linear_gaussian(), data(2)[:0])
    deep = VAE(VAEConfig(encoders=[linear(4, 4), linear(2, 4)], decoders=[linear(2, 4), linear(2, 2)]))
    with pytest.raises(ValueError, match="elbo_samples must be at least 2 for a model of 2 levels"):
        evaluate(deep, data(5), elbo_samples=1)
    with pytest.raises(TypeError, match="must be a LatentModel"):
        evaluate(nn.Linear(4, 4), data(5))
    for other in (data(5).numpy(), data(5).tolist(), load("digits")):
        message = f"data must be a split of a dataset, .* received {type(other).__name__}. lucid.data.load_like"
        with pytest.raises(TypeError, match=message):
            evaluate(linear_gaussian(), other)


# The record


def test_the_json_has_the_fixed_keys_and_reads_back() -> None:
    found = evaluate(linear_gaussian(), data(30), num_samples=10, split="validation", seed=3)
    record = json.loads(json.dumps(found.to_json(), allow_nan=False))
    for key in ("elbo", "log_likelihood"):
        assert {"value", "standard_error", "num_samples"} <= record[key].keys()
    assert record["elbo"]["num_samples"] == 10
    assert "effective_sample_size" not in record["elbo"]
    assert record["log_likelihood"] == record["importance_weighted"][-1]
    assert {"kl", "active_units", "bits_per_dim", "protocol", "num_examples", "reconstruction"} <= record.keys()
    assert (record["split"], record["seed"], record["protocol"]) == ("validation", 3, "not declared")
    assert Evaluation.from_json(record) == found
    with pytest.raises(ValueError, match="evaluate the model again"):
        Evaluation.from_json({"elbo": {}})


def test_the_table_shows_every_figure_with_its_error() -> None:
    found = evaluate(linear_gaussian(), data(30), num_samples=10)
    rows = {row.name: row for row in found.to_table()}
    assert rows["ELBO"].value.startswith(f"−{-found.elbo.value:.2f} ± {found.elbo.standard_error:.2f}")
    assert rows["active units"].value == "2 of 2"
    assert rows["bits/dim"].value == "—"
    assert {"log-likelihood, k = 1", "log-likelihood, k = 10", "KL", "reconstruction"} <= rows.keys()


# Splits of lucid.data


def coins(**changes: Any) -> VAE:
    dataset = load((np.arange(600).reshape(100, 6) % 5 > 2).astype(np.uint8), levels=2, name="coins")
    model = VAE(VAEConfig(encoders=[nn.Linear(6, 4)], decoders=[nn.Linear(2, 6)], reconstruction_loss="bce"))
    model.protocol = replace(dataset.protocol, **changes)
    return model


def test_a_split_brings_its_name_and_its_protocol() -> None:
    dataset = load((np.arange(600).reshape(100, 6) % 5 > 2).astype(np.uint8), levels=2, name="coins")
    model = coins(name="other coins", split="elsewhere")
    for split in (dataset.test, dataset.validation):
        found = evaluate(model, split, num_samples=2)
        assert (found.split, found.num_examples) == (split.part, len(split))
        assert found.protocol == dataset.protocol.describe()
        assert found.bits_per_dim is not None
    assert evaluate(model, dataset.test, num_samples=1, split="held out").split == "held out"
    model.protocol = None
    assert evaluate(model, dataset.test, num_samples=1).protocol == dataset.protocol.describe()
    assert evaluate(model, dataset.test.tensor(), num_samples=1).split == "tensor"


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"levels": 17}, "levels 2 and the model was trained with 17"),
        ({"levels": None, "scale": 2.0}, "levels 2"),
        ({"levels": None, "binarisation": "dynamic"}, "levels 2"),
        ({"binarisation": "static"}, "binarisation 'none' and the model was trained with 'static'"),
        ({"shape": (3, 2)}, "shape"),
    ],
)
def test_data_prepared_in_another_way_than_the_model_knows_is_refused(changes: dict[str, Any], named: str) -> None:
    dataset = load((np.arange(600).reshape(100, 6) % 5 > 2).astype(np.uint8), levels=2, name="coins")
    with pytest.raises(ValueError, match=named):
        evaluate(coins(**changes), dataset.test, num_samples=1)
