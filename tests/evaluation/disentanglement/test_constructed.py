"""Scores of representations whose score is known: perfect, duplicated, rotated, and nothing but noise."""

from __future__ import annotations

import math

import pytest
import torch
from tests.evaluation.disentanglement.worlds import SIZES, grid, random_factors, scaled, uniform
from torch import Tensor

from lucid.evaluation import Factors, Figure, disentanglement_scores
from lucid.evaluation.disentanglement import dci, factor_vae_score, mig, modularity, sap, undefined
from lucid.evaluation.disentanglement.dci import completeness, disentanglement

GRID = grid(2)
ALL = ["MIG", "SAP", "modularity", "FactorVAE score", "DCI disentanglement", "DCI completeness", "DCI informativeness"]


def scores(z: Tensor, factors: Tensor) -> dict[str, Figure]:
    found = disentanglement_scores(z, Factors(factors), dci_resamples=0)
    return {figure.name: figure for figure in found}


def test_one_unit_for_each_factor() -> None:
    """Whatever the units' order, scale and sign."""
    z = scaled(GRID)[:, [2, 0, 3, 1]] * torch.tensor([-3.0, 0.5, 20.0, -1.0])
    found = scores(z, GRID)
    assert list(found) == ALL
    for name in set(ALL) - {"SAP"}:
        assert found[name].value == pytest.approx(1, abs=1e-9), name
    # A line tells the values at its ends alone: of factors of 3, 4, 5 and 2 values the rest is half wrong or worse.
    assert 0.2 < found["SAP"].value < 0.6
    assert found["SAP"].details["factors"]["factor 3"] > 0.3


def test_two_units_for_each_factor() -> None:
    """MIG and SAP see no gap; each unit is still of one factor."""
    z = torch.cat([scaled(GRID), -scaled(GRID)], 1)
    found = scores(z, GRID)
    assert found["MIG"].value == pytest.approx(0, abs=1e-9)
    assert found["SAP"].value == pytest.approx(0, abs=1e-9)
    assert found["modularity"].value == pytest.approx(1, abs=1e-9)
    assert found["FactorVAE score"].value == 1
    assert found["DCI disentanglement"].value == pytest.approx(1, abs=1e-9)


def test_a_rotation_by_45_degrees() -> None:
    """Two quantities, alike spread, turned: both units tell of both alike."""
    factors = uniform(1500, 2, 0)
    turn = torch.tensor([[1.0, 1.0], [1.0, -1.0]], dtype=torch.float64) / math.sqrt(2)
    before = {
        figure.name: figure.value for figure in disentanglement_scores(factors, Factors(factors), dci_resamples=0)
    }
    after = {
        figure.name: figure.value
        for figure in disentanglement_scores(factors @ turn, Factors(factors), dci_resamples=0)
    }
    assert before["MIG"] > 0.9
    assert before["SAP"] > 0.99  # squared correlations of 1 and about 0
    assert before["modularity"] > 0.99
    assert after["MIG"] < 0.04
    assert after["SAP"] < 0.1  # ½ and ½, each to 0.02 of a third of the examples
    assert after["modularity"] < 0.05
    assert after["DCI disentanglement"] < 0.05
    assert after["DCI completeness"] < 0.05
    assert after["FactorVAE score"] < 0.6  # of two factors, by chance ½
    assert after["DCI informativeness"] > 0.9  # what is told is still there


def test_noise_tells_nothing() -> None:
    factors = random_factors(600)
    found = scores(uniform(600, 4, 9), factors)
    assert found["MIG"].value < 0.03
    assert found["SAP"].value < 0.06
    assert abs(found["FactorVAE score"].value - 0.25) < 0.04
    chance = sum(1 / size for size in SIZES) / 4
    assert abs(found["DCI informativeness"].value - chance) < 4 * 0.5 / math.sqrt(4 * 200)
    assert found["DCI disentanglement"].value < 0.1


def test_units_that_never_vary() -> None:
    z = torch.cat([scaled(GRID), torch.zeros(len(GRID), 1)], 1)
    found = scores(z, GRID)
    assert found["MIG"].value == pytest.approx(1, abs=1e-9)
    assert found["modularity"].value == pytest.approx(0.8, abs=1e-9)  # a unit that tells nothing counts 0
    assert found["FactorVAE score"].value == 1
    assert found["FactorVAE score"].details["units_left_out"] == 1
    nothing = factor_vae_score(torch.zeros(len(GRID), 2), Factors(GRID), num_resamples=0)
    assert nothing.value == 0
    assert "no unit varies" in (nothing.warning or "")


@pytest.mark.parametrize(
    ("table", "d", "c"),
    [
        (torch.eye(3), 1.0, 1.0),
        (torch.ones(3, 3), 0.0, 0.0),
        # A unit of two factors alike: its entropy is 1 bit of log₂ 3; the other two factors' units are pure.
        (torch.tensor([[1.0, 1.0, 0.0], [0.0, 0.0, 0.5], [0.0, 0.0, 0.5]]), None, None),
        (torch.zeros(3, 3), 0.0, 0.0),
    ],
)
def test_tables_of_importance(table: Tensor, d: float | None, c: float | None) -> None:
    """D and C by hand: entropies to the base of their outcomes, rows and columns weighted by what they hold."""
    if d is None or c is None:
        half = math.log(2) / math.log(3)
        d, c = (2 * (1 - half) + 0.5 + 0.5) / 3, (1 + 1 + (1 - half)) / 3
    assert float(disentanglement(table.double())) == pytest.approx(d, abs=1e-12)
    assert float(completeness(table.double())) == pytest.approx(c, abs=1e-12)


def test_a_factor_told_in_part() -> None:
    """A unit that says whether a uniform factor of four values is in its upper half tells log 2 of log 4."""
    factors = grid(10)[:, 1:2]
    z = torch.cat([(factors >= 2).double(), uniform(len(factors), 1, 3)], 1)
    noise = mig(z[:, [1, 1]], Factors(factors)).value
    assert noise == 0
    assert mig(z, Factors(factors)).value == pytest.approx(0.5, abs=0.03)


def test_one_factor_or_one_unit_leaves_scores_out_and_says_why() -> None:
    label = GRID[:, 0]
    found = scores(scaled(GRID), label)
    assert list(found) == ["MIG", "SAP", "DCI completeness", "DCI informativeness"]
    assert found["DCI informativeness"].details["scores_left_out"] == undefined(4, 1)
    assert list(scores(scaled(GRID)[:, :1], GRID)) == ["modularity", "FactorVAE score", *ALL[4::2]]
    assert set(undefined(1, 1)) == {
        "MIG",
        "SAP",
        "DCI completeness",
        "DCI disentanglement",
        "modularity",
        "FactorVAE score",
    }
    assert undefined(2, 2) == {}
    for score in (mig, sap):
        with pytest.raises(ValueError, match="needs at least 2 units, for it compares"):
            score(scaled(GRID)[:, :1], Factors(GRID))
    for score in (modularity, factor_vae_score):
        with pytest.raises(ValueError, match="needs at least 2 factors"):
            score(scaled(GRID), Factors(label))


def test_continuous_factors_are_regressed() -> None:
    quantity = uniform(600, 2, 4)
    found = dci(quantity, Factors(quantity), num_resamples=0)
    assert [figure.value > 0.95 for figure in found] == [True] * 3
    labels = dci(quantity, Factors((3 * quantity).long()), num_resamples=0)
    assert labels[2].value > 0.97
