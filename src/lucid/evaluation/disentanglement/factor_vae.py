"""The FactorVAE score: can one see, from the unit that varies least, which factor was held fixed?"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from lucid.evaluation.disentanglement.checks import check_pair, needs
from lucid.evaluation.disentanglement.factors import Factors
from lucid.evaluation.disentanglement.resampling import resampled_rows, spread
from lucid.evaluation.figure import Figure

__all__ = ["factor_vae_score"]

_GROUP = 64
_TRAIN_VOTES = 10_000
_TEST_VOTES = 5_000
_LEAST_SPREAD = 0.05
_MAX_NUMBERS = 2**22


def factor_vae_score(z: Tensor, factors: Factors, *, seed: int = 0, num_resamples: int = 10) -> Figure:
    """The accuracy of a majority vote that guesses a fixed factor from the unit with the least variance.

    One vote: a factor is chosen, then an example whose value of it is kept, then 64 examples of that value; the unit
    with the smallest variance over them, in shares of its variance over all, votes for the factor. Each unit then
    stands for the factor it voted for most often.

    Published protocol: posterior means, 10,000 votes to fit and 5,000 to measure, units with a standard deviation below
    0.05 left out. Where data can be generated the 64 are new; here they are drawn, with replacement, from the examples
    given, a continuous factor in 20 bins: the score is that of this data.

    Kim, Mnih: Disentangling by Factorising, 2018, https://arxiv.org/abs/1802.05983.

    Args:
        z: Representations, (N, U).
        factors: Of the same examples, at least two.
        seed: Of the votes and the resamples.
        num_resamples: Bootstrap resamples of the examples, each with votes of its own; 0 for no standard error.

    Returns:
        The score in [0, 1]; 1/F is what guessing gives. It is 0 where no unit varies.

    Raises:
        ValueError: If the rows do not agree, there is one factor only, or a factor has no value that two examples
            share.

    Example:
        >>> import torch
        >>> v = torch.cartesian_prod(torch.arange(4), torch.arange(4)).repeat(10, 1)
        >>> factor_vae_score(v.float(), Factors(v), num_resamples=0).value
        1.0
    """
    check_pair(z, factors, num_resamples)
    needs("FactorVAE score", factors=factors.num_factors)
    stream = torch.Generator().manual_seed(seed)
    codes = factors.codes
    scores = [_score(z, codes, stream)]
    for _ in range(num_resamples):
        rows = resampled_rows(codes, stream)
        scores.append(_score(z[rows], codes[rows], stream))
    value, error = spread(torch.tensor(scores, dtype=torch.float64))
    active = _active(z)
    return Figure(
        name="FactorVAE score",
        value=value,
        standard_error=error,
        unit="score in [0, 1]",
        estimator=(
            f"majority vote of the least variance in groups of {_GROUP}, {_TRAIN_VOTES:,} votes to fit and "
            f"{_TEST_VOTES:,} to measure; error: {num_resamples} bootstrap resamples"
        ),
        num_samples=_TRAIN_VOTES + _TEST_VOTES,
        num_examples=len(z),
        seed=seed,
        split="arrays",
        protocol="not declared",
        meaning=f"how often the factor held fixed is seen from the unit that varies least; guessing gives "
        f"{1 / factors.num_factors:.2f}",
        warning=None if bool(active.any()) else "no unit varies: the representation tells nothing at all",
        details={"units_left_out": int((~active).sum()), "num_units": z.shape[1]},
    )


def _active(z: Tensor) -> Tensor:
    return z.double().std(0) >= _LEAST_SPREAD


def _score(z: Tensor, codes: Tensor, stream: torch.Generator) -> float:
    z = z.double()[:, _active(z)]
    if z.shape[1] == 0:
        return 0.0
    scaled = z / z.std(0)
    groups = [_grouped(code) for code in codes.unbind(1)]
    fitted = _votes(scaled, groups, _TRAIN_VOTES, stream)
    measured = _votes(scaled, groups, _TEST_VOTES, stream)
    stands_for = fitted.argmax(0)
    return float(measured.gather(0, stands_for[None]).sum() / measured.sum())


class _Groups(NamedTuple):
    """The examples of each value of one factor.

    Attributes:
        order: Rows, those of one value next to each other.
        first: Where the rows of an example's value begin in `order`, (M,), for each example that shares its value.
        size: How many there are, (M,).
    """

    order: Tensor
    first: Tensor
    size: Tensor


def _grouped(code: Tensor) -> _Groups:
    sizes = torch.bincount(code)
    first = sizes.cumsum(0) - sizes
    shared = code[sizes[code] > 1]  # of one example alone every unit has variance 0
    if len(shared) == 0:
        raise ValueError("no two examples share a value of a factor: it cannot be held fixed; give more examples")
    return _Groups(code.argsort(stable=True), first[shared], sizes[shared])


def _votes(z: Tensor, groups: list[_Groups], num_votes: int, stream: torch.Generator) -> Tensor:
    """How often each unit votes for each factor, (F, U)."""
    votes = torch.zeros(len(groups), z.shape[1], dtype=torch.int64)
    at_once = max(1, _MAX_NUMBERS // (_GROUP * z.shape[1]))
    chosen = torch.randint(len(groups), (num_votes,), generator=stream)
    for factor, group in enumerate(groups):
        for part in torch.arange(int((chosen == factor).sum())).split(at_once):
            kept = torch.randint(len(group.first), part.shape, generator=stream)
            uniform = torch.rand(len(part), _GROUP, generator=stream, dtype=torch.float64)
            places = group.first[kept, None] + (uniform * group.size[kept, None]).long()
            drawn = z[group.order[places]]
            least = (drawn - drawn.mean(1, keepdim=True)).square().sum(1).argmin(1)
            votes[factor] += torch.bincount(least, minlength=z.shape[1])
    return votes
