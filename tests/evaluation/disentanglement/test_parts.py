"""Factors, bins, the table of information, the bootstrap, and a model's scores on its data."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from sklearn.metrics import mutual_info_score
from tests.evaluation.disentanglement.worlds import MIX, grid, mixed, random_factors, scaled, uniform
from torch import Tensor

import lucid.nn as nn
from lucid import data
from lucid.evaluation import Factors, Figure, disentanglement_figures, disentanglement_scores, represent
from lucid.evaluation.disentanglement import dci, factor_vae_score, mig, modularity, sap
from lucid.evaluation.disentanglement.factors import equal_width_bins
from lucid.evaluation.disentanglement.mutual_information import information_table
from lucid.evaluation.disentanglement.resampling import resampled_rows, spread, two_parts, weights
from lucid.models import VAE, VAEConfig


def test_bins_are_numpys() -> None:
    values = torch.cat([uniform(500, 3, 0), torch.arange(500.0)[:, None].double(), torch.full((500, 1), 2.5)], 1)
    for column, bins in zip(values.T.numpy(), equal_width_bins(values).T.numpy(), strict=True):
        edges = np.histogram(column, 20)[1]
        expected = np.digitize(column, edges[:-1])
        assert np.array_equal(np.unique(expected, return_inverse=True)[1], np.unique(bins, return_inverse=True)[1])


@pytest.mark.parametrize("units", [3, 90])
def test_information_is_that_of_scikit_learn(units: int) -> None:
    """Also of resampled examples, which count as often as they were drawn."""
    factors = random_factors(300)
    z = uniform(300, units, 2) + 0.1 * scaled(factors)[:, :1]
    drawn = weights(torch.arange(300)[:, None], 2, torch.Generator().manual_seed(0))
    table = information_table(z, Factors(factors), drawn)
    bins = equal_width_bins(z)
    for resample, often in enumerate(drawn.long()):
        rows = torch.arange(300).repeat_interleave(often)
        for factor in range(4):
            truth = factors[rows, factor].numpy()
            for unit in range(0, units, 1 + units // 8):
                expected = mutual_info_score(truth, bins[rows, unit].numpy())
                assert float(table.units[resample, unit, factor]) == pytest.approx(expected, abs=1e-12)
            assert float(table.entropy[resample, factor]) == pytest.approx(mutual_info_score(truth, truth), abs=1e-12)


def test_factors_say_what_they_are() -> None:
    whole, quantity = Factors(grid(1)), Factors(uniform(30, 1, 0), names=["angle"])
    assert whole.names == ("factor 0", "factor 1", "factor 2", "factor 3")
    assert (whole.continuous, quantity.continuous) == ((False,) * 4, (True,))
    assert torch.equal(whole.codes, grid(1))
    assert int(quantity.codes.max()) < 20
    assert Factors(torch.tensor([7, -1, 7, 40] * 5)).codes[:4, 0].tolist() == [1, 0, 1, 2]
    assert Factors(np.array([0.0, 1.0] * 10), continuous=False).codes[:2, 0].tolist() == [0, 1]
    assert Factors(grid(1)).take(torch.arange(100)).num_examples == 100


@pytest.mark.parametrize(
    ("values", "options", "message"),
    [
        (torch.zeros(20, 2, 2), {}, r"\(examples, factors\); received shape \(20, 2, 2\)"),
        (torch.zeros(20, dtype=torch.int64), {}, "factor 0 takes one value only"),
        (torch.arange(20), {}, "takes 20 values over 20 examples.*continuous="),
        (torch.arange(5), {}, "at least 10 examples; received 5"),
        (torch.zeros(0, 2), {}, r"\(examples, factors\); received shape \(0, 2\)"),
        (torch.tensor([math.nan, *range(20)]), {}, "must be finite"),
        (grid(1), {"names": ["a", "b"]}, "names must say something of each of the 4 factors; received 2"),
        (grid(1), {"continuous": [True]}, "continuous must say something of each of the 4 factors; received 1"),
    ],
)
def test_factors_that_say_nothing_are_refused(values: Tensor, options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Factors(values, **options)


def test_what_does_not_fit_is_refused() -> None:
    factors = Factors(grid(1))
    for score in (mig, sap, modularity, factor_vae_score, dci, disentanglement_scores):
        with pytest.raises(ValueError, match="factors for each example; received 100 representations and 120 rows"):
            score(torch.zeros(100, 2), factors)
        with pytest.raises(ValueError, match=r"must be \(examples, units\); received shape \(120,\)"):
            score(torch.zeros(120), factors)
        with pytest.raises(FloatingPointError, match="not finite"):
            score(torch.full((120, 2), math.nan), factors)
        with pytest.raises(TypeError, match="factors must be Factors"):
            score(torch.zeros(120, 2), grid(1))
    with pytest.raises(ValueError, match=r"num_resamples must be 0.*or at least 2.*received 1"):
        mig(mixed(grid(1)), factors, num_resamples=1)
    apart = Factors(torch.linspace(0, 1, 15)[:, None].repeat(1, 2))
    with pytest.raises(ValueError, match="no two examples share a value"):
        factor_vae_score(uniform(15, 2, 0), apart)


def world(seed: int) -> tuple[Tensor, Factors]:
    factors = random_factors(300, seed)
    return mixed(factors, seed + 1000)[:, :3], Factors(factors[:, :2])


@pytest.mark.parametrize(("score", "resamples"), [(mig, 50), (modularity, 50), (sap, 50)])
def test_the_bootstrap_knows_how_far_another_draw_of_the_data_would_fall(
    score: Callable[..., Figure], resamples: int
) -> None:
    """The stated error against the spread over forty worlds; a standard deviation of 40 is right to 11 %."""
    found = [score(*world(seed), num_resamples=resamples) for seed in range(40)]
    truth = float(torch.tensor([figure.value for figure in found]).std())
    stated = float(torch.tensor([figure.standard_error for figure in found]).mean())
    assert 0.6 < stated / truth < 1.6


def test_the_error_of_factor_vae_and_dci() -> None:
    factors = random_factors(200)
    z = scaled(factors) @ (0.6 + MIX[:, :4]) + 3 * (uniform(200, 4, 3) - 0.5)
    votes = factor_vae_score(z, Factors(factors), num_resamples=10)
    assert votes.standard_error is not None
    assert 0.005 < votes.standard_error < 0.1
    for figure in dci(z, Factors(factors[:, [0, 3]]), num_resamples=2):
        assert figure.standard_error is not None
        assert 0 < figure.standard_error < 0.2
    assert factor_vae_score(z, Factors(factors), num_resamples=0).standard_error is None


def test_the_seed_decides() -> None:
    z, factors = world(0)
    for score in (mig, sap, modularity, factor_vae_score):
        assert score(z, factors, seed=3, num_resamples=4) == score(z, factors, seed=3, num_resamples=4)
    for score in (mig, sap, modularity):
        one, other = (score(z, factors, seed=seed, num_resamples=4).standard_error for seed in (1, 2))
        assert one != other
    train, test = two_parts(torch.arange(300)[:, None], torch.Generator().manual_seed(0))
    assert (len(train), len(test)) == (200, 100)
    assert sorted([*train.tolist(), *test.tolist()]) == list(range(300))


def test_weights_are_draws_with_replacement() -> None:
    drawn = weights(torch.arange(50)[:, None], 200, torch.Generator().manual_seed(0))
    assert torch.equal(drawn[0], torch.ones(50))
    assert torch.equal(drawn.sum(1), torch.full((201,), 50.0))
    assert float(drawn[1:].var()) == pytest.approx(1 - 1 / 50, abs=0.05)  # binomial
    assert spread(torch.tensor([5.0, 1.0, 3.0])) == (5.0, pytest.approx(math.sqrt(2)))


def linear_model(weight: Tensor) -> VAE:
    """Posterior means are x · weightᵀ."""
    units, features = weight.shape
    encoder = nn.Linear(features, 2 * units, bias=False).double()
    with torch.no_grad():
        encoder.weight.copy_(torch.cat([weight, torch.zeros_like(weight)]))
    return VAE(VAEConfig(encoders=[encoder], decoders=[nn.Linear(units, features).double()]))


def test_a_model_is_scored_by_its_posterior_means() -> None:
    factors = random_factors(400)[:, [0, 3]]
    mix = MIX[:2, :3]
    model, x = linear_model(mix.T), factors.double()
    found = disentanglement_figures(model, x, Factors(factors), dci_resamples=0)
    by_hand = disentanglement_scores((x @ mix).float(), Factors(factors), dci_resamples=0)
    assert [figure.value for figure in found] == [figure.value for figure in by_hand]
    assert {figure.split for figure in found} == {"tensor"}
    assert all(figure.estimator.startswith("posterior means of level 0; ") for figure in found)
    half = disentanglement_figures(model, x, Factors(factors), max_examples=200, dci_resamples=0)
    assert half[0].value == mig((x @ mix).float()[::2], Factors(factors[::2])).value
    assert {figure.num_examples for figure in half} == {200}


def test_labels_are_the_one_factor() -> None:
    labels = random_factors(300)[:, 2]
    x = (labels[:, None] + uniform(300, 6, 0)).float()
    split = data.load(x, labels=labels, scaling="none").train
    model = linear_model(torch.eye(2, 6).double()).float()
    found = disentanglement_figures(model, split, dci_resamples=0)
    assert [figure.name for figure in found] == ["MIG", "SAP", "DCI completeness", "DCI informativeness"]
    assert found[0].split == "train"
    assert found[0].protocol == split.protocol.describe()
    assert found[0].details["factors"].keys() == {"label"}
    with pytest.raises(ValueError, match="the data has none: give them with factors="):
        disentanglement_figures(model, x)
    with pytest.raises(ValueError, match="received 300 rows for 240 examples"):
        disentanglement_figures(model, split, Factors(labels))


def test_representations_are_means_of_every_kth_example() -> None:
    x = uniform(100, 4, 0)
    found = represent(linear_model(MIX.T), x, max_examples=30, batch_size=7, keep_x=True)
    assert torch.equal(found.rows, torch.arange(30) * 100 // 30)
    torch.testing.assert_close(found.means, (x @ MIX).float()[found.rows])
    assert found.x is not None
    assert torch.equal(found.x, x.float()[found.rows])
    assert found.labels is None
    assert len(represent(linear_model(MIX.T), x, batch_size=33).means) == 100
    with pytest.raises(ValueError, match="max_examples must be at least 1"):
        represent(linear_model(MIX.T), x, max_examples=0)
    with pytest.raises(ValueError, match="level must be in"):
        represent(linear_model(MIX.T), x, level=1)
    broken = linear_model(MIX.T)
    with torch.no_grad():
        next(broken.encoders.parameters())[0, 0] = math.nan
    with pytest.raises(FloatingPointError, match="begins at example 0"):
        represent(broken, x, batch_size=7)


def test_all_levels_stand_side_by_side() -> None:
    model = VAE(VAEConfig(encoders=[nn.Linear(4, 6), nn.Linear(3, 4)], decoders=[nn.Linear(3, 4), nn.Linear(2, 3)]))
    x = uniform(20, 4, 0).float()
    found = represent(model, x, level=None).means
    torch.testing.assert_close(found, torch.cat([model.embed(x, 0), model.embed(x, 1)], 1))


def test_a_value_too_few_examples_have_is_named_before_it_breaks_a_score() -> None:
    z = torch.randn(180, 3, generator=torch.Generator().manual_seed(0))
    common = torch.arange(180) % 3
    for count in (1, 4):
        rare = (torch.arange(180) < count).long() * 7
        message = f"colour takes the value 7 in {count} of 180 examples, and scores need 5 of each value"
        for score in (mig, sap, modularity, factor_vae_score, dci):
            with pytest.raises(ValueError, match=message):
                score(z, Factors(torch.stack([common, rare], 1), names=["shape", "colour"]))
    outlier = Factors(torch.where(torch.arange(180) < 1, 1e6, torch.rand(180))[:, None], names=["size"])
    with pytest.raises(ValueError, match="size has all but 1 of 180 examples in one of 20 bins"):
        mig(z, outlier)


def test_resamples_and_parts_in_which_a_factor_does_not_vary_are_drawn_again() -> None:
    codes = torch.stack([torch.arange(60) % 3, (torch.arange(60) < 2).long()], 1)
    stream = torch.Generator().manual_seed(0)
    for _ in range(100):  # without drawing again, one of 7 resamples and more than half of the divisions would fail
        for rows in (resampled_rows(codes, stream), *two_parts(codes, stream)):
            assert all(len(codes[rows, factor].unique()) > 1 for factor in range(2))


def test_scores_of_dci_say_why_they_have_no_error() -> None:
    v = torch.cartesian_prod(torch.arange(3), torch.arange(3)).repeat(20, 1)
    found = {figure.name: figure for figure in disentanglement_scores(v.float(), Factors(v))}
    assert found["DCI completeness"].standard_error is None
    assert "no error: each bootstrap resample fits all predictors anew" in found["DCI completeness"].estimator
