"""The contract of codes of data: each likelihood passes by being listed in `cases.CASES`."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from tests.codec.coding.cases import CASES, Case, code_of, generator

from lucid.codec.coding.bits import BernoulliCode
from lucid.codec.coding.categorical import categorical_code
from lucid.codec.coding.stack import Stack
from lucid.codec.errors import CodecError

EXAMPLES = 200


@pytest.fixture(params=CASES.values(), ids=CASES.keys())
def case(request: pytest.FixtureRequest) -> Case:
    return request.param


def stack() -> Stack:
    return Stack.of_seed(np.random.default_rng(0).bytes(4 * 20_000))


def symbols(levels: torch.Tensor) -> np.ndarray:
    return levels.reshape(-1).numpy().astype(np.int32)


def test_data_is_coded_in_minus_log2_p_bits_and_comes_back(case: Case) -> None:
    distribution = case.distribution(EXAMPLES)
    x = distribution.sample(generator=generator(1))
    levels = case.levels(x)
    bits = -float(distribution.log_prob(x).sum()) / math.log(2)

    bottom = stack()
    before, payload = bottom.num_bits, bottom.payload()
    code_of(distribution, levels).push(bottom, symbols(levels))
    coded = bottom.num_bits - before
    # Tables are 10⁻⁵ off, either way; the stack counts whole bits.
    assert coded == pytest.approx(bits, rel=2e-4, abs=2)

    assert np.array_equal(code_of(distribution, levels).pop(bottom), symbols(levels))
    assert bottom.payload() == payload


@pytest.mark.parametrize("spread", [30.0, 1e5])
def test_extreme_parameters_and_levels_come_back(case: Case, spread: float) -> None:
    distribution = case.distribution(12, seed=2, spread=spread)
    levels = case.any_levels(12, seed=3)
    bottom = stack()
    payload = bottom.payload()
    code_of(distribution, levels).push(bottom, symbols(levels))
    assert np.array_equal(code_of(distribution, levels).pop(bottom), symbols(levels))
    assert bottom.payload() == payload


@pytest.mark.filterwarnings("error")
def test_numbers_beyond_an_integer_are_as_the_last_of_a_table() -> None:
    """A cast of them would be undefined, and another on another processor."""
    ones = np.ones(3, dtype=np.int32)
    payloads: list[bytes] = []
    for size in (1e3, 1e300):
        bottom = stack()
        BernoulliCode(np.full(3, size)).push(bottom, ones)
        BernoulliCode(np.full(3, -size)).push(bottom, 0 * ones)
        categorical_code(np.array([[size, -size]] * 3)).push(bottom, 0 * ones)
        payloads.append(bottom.payload())
    assert payloads[0] == payloads[1]
    assert len(payloads[0]) == len(stack().payload())


@pytest.mark.parametrize("name", ["bernoulli", "logistic of 17", "categorical of 5", "ordered", "poisson"])
def test_the_coded_masses_sum_to_one(name: str) -> None:
    """2^−bits over all values of one element, its code measured on many copies of it."""
    copies = 3000
    case = replace(CASES[name], shape=(1,))
    distribution = case.distribution(1, seed=5)
    masses: list[float] = []
    for level in range(case.likelihood.levels or 60):
        levels = torch.full((copies, 1), level)
        bottom = stack()
        before = bottom.num_bits
        code_of(distribution, levels).push(bottom, symbols(levels))
        masses.append(2.0 ** -((bottom.num_bits - before) / copies))
    assert sum(masses) == pytest.approx(1, abs=2 / copies)


def test_a_level_that_does_not_exist_is_an_error() -> None:
    """Of 17 levels in five binary digits, 17 … 31 do not exist."""
    levels = torch.zeros(1, 1, 5, 5, dtype=torch.int64)
    code = code_of(CASES["logistic of 17"].distribution(1), levels)
    bottom = stack()
    code.push(bottom, symbols(levels + 17))
    with pytest.raises(CodecError, match="a level that does not exist"):
        code.pop(bottom)


def test_a_count_below_the_least_is_an_error() -> None:
    levels = torch.zeros(1, 20, dtype=torch.int64)
    code = code_of(CASES["poisson"].distribution(1), levels)
    bottom = stack()
    code.push(bottom, symbols(levels - 3))
    with pytest.raises(CodecError, match="a count that does not exist"):
        code.pop(bottom)


def test_missing_values_cost_what_their_share_says() -> None:
    """The mask of a column that misses m of n values takes n·H(m/n) bits; of one that misses none, next to none."""
    case = CASES["table"]
    n = 1000
    distribution = case.distribution(n)
    x = distribution.sample(generator=generator(1))
    levels = case.levels(x)
    missing = torch.rand(n, generator=generator(2)) < 0.2
    x[missing, 1] = torch.nan
    levels[missing, 1] = -1
    share = float(missing.double().mean())
    mask = -n * (share * math.log2(share) + (1 - share) * math.log2(1 - share))
    bits = -float(distribution.log_prob(x).sum()) / math.log(2)
    bottom = stack()
    before = bottom.num_bits
    code_of(distribution, levels).push(bottom, symbols(levels))
    assert bottom.num_bits - before == pytest.approx(bits + mask, rel=3e-4)
