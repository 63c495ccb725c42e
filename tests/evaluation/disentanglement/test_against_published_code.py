"""The scores of constructed representations, as another implementation has them.

The numbers come from disentanglement-lib 1.5 (PyPI), the code of Locatello et al. 2019, run on the very arrays of
`worlds` with its published settings (20 bins, linear support vector machines with C = 0.01, gradient boosting) and
scikit-learn 1.9.1; its sampling of the two parts was replaced by the rows given here.
"""

from __future__ import annotations

import pytest
import torch
from tests.evaluation.disentanglement.worlds import MIX, clean, grid, mixed, random_factors, scaled, uniform
from torch import Tensor

from lucid.evaluation import Factors
from lucid.evaluation.disentanglement import factor_vae_score, mig, modularity
from lucid.evaluation.disentanglement.dci import boosted_trees, completeness, disentanglement, fit_all
from lucid.evaluation.disentanglement.sap import predictability

FACTORS = random_factors(1500)
WORLDS = {"mixed": mixed(FACTORS), "clean": clean(FACTORS)}
TRAIN, TEST = torch.arange(1000), torch.arange(1000, 1500)

each_world = pytest.mark.parametrize("world", list(WORLDS))


@each_world
def test_mutual_information_gap(world: str) -> None:
    published = {"mixed": 0.46009671967865956, "clean": 0.9862160011122922}
    assert mig(WORLDS[world], Factors(FACTORS)).value == pytest.approx(published[world], abs=1e-12)


@each_world
def test_modularity(world: str) -> None:
    published = {"mixed": 0.8309515382194745, "clean": 0.9228286969791609}
    assert modularity(WORLDS[world], Factors(FACTORS)).value == pytest.approx(published[world], abs=1e-12)


def gap(scores: Tensor) -> float:
    best, second = scores.topk(2, dim=0).values
    return float((best - second).mean())


@each_world
def test_separated_attribute_predictability(world: str) -> None:
    published = {"mixed": 0.1625, "clean": 0.298}
    drawn = torch.ones(1, len(TEST), dtype=torch.float64)
    factors = Factors(FACTORS)
    columns = [predictability(WORLDS[world], factors, factor, TRAIN, TEST, drawn)[0] for factor in range(4)]
    assert gap(torch.stack(columns, 1)) == pytest.approx(published[world], abs=1e-9)


@each_world
def test_separated_attribute_predictability_of_quantities(world: str) -> None:
    published = {"mixed": 0.5063906284303439, "clean": 0.9970973674002526}
    factors, everything = Factors(FACTORS.double()), torch.arange(1500)
    drawn = torch.ones(1, 1500, dtype=torch.float64)
    columns = [predictability(WORLDS[world], factors, factor, TRAIN, everything, drawn)[0] for factor in range(4)]
    assert gap(torch.stack(columns, 1)) == pytest.approx(published[world], abs=1e-9)


@each_world
def test_dci(world: str) -> None:
    published = {
        "mixed": (0.5928298333133761, 0.6388741036840582, 0.8495),
        "clean": (0.9999999994302268, 0.9999999992652442, 1.0),
    }
    fit = fit_all(WORLDS[world], Factors(FACTORS), TRAIN, TEST, boosted_trees, seed=0)
    found = float(disentanglement(fit.importance)), float(completeness(fit.importance)), fit.score
    # Ties between splits are broken at random; an importance of 0 is one of 1e-11 there.
    assert found == pytest.approx(published[world], abs=2e-3)


@pytest.mark.parametrize(
    ("columns", "blur", "noise", "published"),
    [
        ([3, 4, 5], 0.0, 0.0, 0.4964),  # a unit that never varies is left out
        ([0, 1, 2, 3], 0.6, 1.5, 0.9137),
        ([0, 1, 2, 3], 0.6, 3.0, 0.6950),
        ([0, 1, 2, 3], 0.6, 4.0, 0.5676),
    ],
)
def test_factor_vae_score(columns: list[int], blur: float, noise: float, published: float) -> None:
    """There the groups are drawn anew from all combinations; here from a hundred copies of each."""
    factors = grid(100)
    z = scaled(factors) @ (blur + MIX[:, columns]) + noise * (uniform(len(factors), len(columns), 3) - 0.5)
    found = factor_vae_score(z, Factors(factors), num_resamples=0).value
    # 5,000 votes here against the mean of five times 5,000 there: 0.5 / √5000 · √(1 + 1/5), four times;
    # and the noise of 12,000 examples is drawn once.
    assert found == pytest.approx(published, abs=0.035)
