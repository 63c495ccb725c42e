"""Exact functions: right, and made of operations that have one answer."""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction

import numpy as np
import pytest
from scipy.special import gammaln

from lucid.codec.coding.count_masses import log_gamma
from lucid.codec.coding.exact import Floats, exp, log, sigmoid_table
from lucid.codec.coding.noise import shared_normal

EPS = 2.0**-52


def test_exp_is_right_to_rounding() -> None:
    x = np.linspace(-690, 690, 200_001)
    assert np.abs(exp(x) / np.exp(x) - 1).max() < 2 * EPS


def test_exp_stays_finite() -> None:
    assert np.isfinite(exp(np.array([-np.inf, -1e300, 1e300, np.inf]))).all()


def test_log_is_right_to_rounding() -> None:
    x = np.exp(np.linspace(-600, 600, 200_001))
    assert np.abs(log(x) - np.log(x)).max() < 2 * EPS * 600
    near = np.linspace(0.5, 2, 100_001)
    assert np.abs(log(near) - np.log(near)).max() < EPS


@pytest.mark.parametrize("x", [1e-9, 0.01, 0.7, 1.0, 3.5, 7.999, 8.0, 120.0, 1e6, 1e9])
def test_log_gamma_is_right(x: float) -> None:
    assert log_gamma(np.array([x]))[0] == pytest.approx(gammaln(x), rel=1e-13, abs=1e-9)


def test_the_table_of_the_sigmoid_is_symmetric_and_rounded() -> None:
    table = sigmoid_table(8, 30, 50)
    at = np.arange(-240, 241) / 8
    assert np.abs(table - 1 / (1 + np.exp(-at))).max() <= 2.0**-50
    assert np.abs(table + table[::-1] - 1).max() <= 2.0**-50
    assert (np.diff(table) >= 0).all()
    assert all((Fraction(value) * 2**50).denominator == 1 for value in table.tolist())


@pytest.mark.parametrize(
    ("function", "x", "bits"),
    [
        (exp, 1.0, "0x1.5bf0a8b14576ap+1"),
        (exp, -3.7, "0x1.9511fc6871044p-6"),
        (log, 10.0, "0x1.26bb1bbb55516p+1"),
        (log, 0.3, "-0x1.34378fcbda721p+0"),
    ],
)
def test_the_bits_are_those_of_every_file_written_before(
    function: Callable[[Floats], Floats], x: float, bits: str
) -> None:
    assert function(np.array([x]))[0].hex() == bits


def test_shared_noise_is_standard_normal_and_knows_its_place() -> None:
    elements = np.arange(50)
    noise = shared_normal(1, elements, 0, 2000)
    size = noise.size
    assert abs(noise.mean()) < 4 / math.sqrt(size)
    assert abs(noise.var() - 1) < 4 * math.sqrt(2 / size)
    assert abs(np.corrcoef(noise[:-1].ravel(), noise[1:].ravel())[0, 1]) < 4 / math.sqrt(size)
    assert abs(np.corrcoef(noise[:, :-1].ravel(), noise[:, 1:].ravel())[0, 1]) < 4 / math.sqrt(size)
    assert np.array_equal(shared_normal(1, elements[7:9], 100, 3), noise[100:103, 7:9])
    assert not np.array_equal(shared_normal(2, elements, 0, 3), noise[:3])
