"""Whether the importance-weighted bounds have settled: what more draws would still add, and a warning where it matters.

With w the importance weights of an example, the bound at k draws is below log p(x) by about var(w) / (2 k E[w]²): half
of 1/ESS − 1/k. Where the weights have heavy tails it closes more slowly, about as k^−α with α < 1, which two steps of
the grid show. Both reckonings can be too small, since the largest weights may not have been drawn yet.

Domke, Sheldon: Importance Weighting and Variational Inference, 2018, https://arxiv.org/abs/1808.09034.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from lucid.evaluation.figure import Figure
from lucid.evaluation.found import Found

__all__ = ["FEW_DRAWS", "gap_left", "unsettled"]

FEW_DRAWS = 10.0
"""Effective draws below which a bound is called unsettled: by the reckoning above about 1/20 nat is left there."""


def gap_left(found: Found, about: Mapping[str, Any]) -> Figure | None:
    r"""About how far the bound with the most draws is still below log p(x), and whether that matters.

    The larger of two reckonings: from the paired gain of the last step of the grid, k′ to k, if what is left falls as
    :math:`k^{-\alpha}`, :math:`\text{gain} / ((k/k')^\alpha - 1)`, with the α that the last two steps show, at most 1;
    and from the effective sample size, :math:`\frac12 E[1/\mathrm{ESS} - 1/k]`.

    It warns if the last step still gained more than the standard error of the bound over the examples (the error bar
    would then be narrower than what is missing), if what is left is reckoned larger than that, or if the mean effective
    sample size is below `FEW_DRAWS`.

    Args:
        found: The moments.
        about: What all figures of the evaluation share: `num_examples`, `seed`, `split`, `protocol`.

    Returns:
        The figure; None if the bound is at one number of draws only.
    """
    if len(found.counts) < 2:
        return None
    before, k = found.counts[-2:]
    gain, error = float(found.gains[-1].mean), float(found.gains[-1].standard_error)
    alpha = _exponent(found.counts[-3:], [float(gains.mean) for gains in found.gains[-2:]])
    ratio = (k / before) ** alpha - 1
    from_gain, from_weights = gain / ratio, float(found.lean[-1].mean)
    effective, bound_error = float(found.effective[-1].mean), float(found.importance[-1].standard_error)
    why: list[str] = []
    if gain > bound_error:
        why.append(
            f"the step from k = {before:,} to {k:,} still gained {gain:.3g} nats, more than the standard error of the "
            f"bound ({bound_error:.2g})"
        )
    elif max(from_gain, from_weights) > bound_error:
        why.append(f"what is left is reckoned larger than the standard error of the bound ({bound_error:.2g})")
    if effective < FEW_DRAWS:
        why.append(f"the effective sample size is {effective:.1f} of {k:,}, below {FEW_DRAWS:.0f}")
    warning = None
    if why:
        warning = (
            f"not converged at k = {k:,}: {'; '.join(why)}. The bound holds, but log p(x) may be well above it: ask "
            "for more draws, or for annealed importance sampling"
        )
    return Figure(
        name=f"IW gap left, k = {k:,}",
        value=max(from_gain, from_weights),
        standard_error=error / ratio if from_gain >= from_weights else float(found.lean[-1].standard_error),
        unit="nats per example",
        estimator=f"larger of gain from k = {before:,} / {ratio:.3g} and ½(1/ESS − 1/k); standard error over examples",
        num_samples=k,
        meaning="about how far the bound is still below log p(x); too small where weights have heavy tails",
        warning=warning,
        details={
            "alpha": alpha,
            "gain": gain,
            "gain_standard_error": error,
            "from_weights": from_weights,
            "effective": effective,
        },
        **about,
    )


def unsettled(found: Found) -> str | None:
    """What to warn of where the bound is at one number of draws only, so that no step shows what more would add.

    Args:
        found: The moments.

    Returns:
        The warning; None if the bound is at several numbers of draws, or nothing is wrong with the one.
    """
    if len(found.counts) != 1:
        return None
    k, effective = found.counts[0], float(found.effective[0].mean)
    left, error = float(found.lean[0].mean), float(found.importance[0].standard_error)
    why: list[str] = []
    if effective < FEW_DRAWS:
        why.append(f"the effective sample size is {effective:.1f} of {k:,}, below {FEW_DRAWS:.0f}")
    if left > error:
        why.append(f"about {left:.2g} nats are left by it, more than the standard error of the bound ({error:.2g})")
    if not why:
        return None
    return (
        f"not known to be converged at k = {k:,}: {'; '.join(why)}. The bound holds, but log p(x) may be well above "
        "it: ask for more draws, and for several numbers of them, which show what the last step gained"
    )


def _exponent(counts: Sequence[int], gains: Sequence[float]) -> float:
    """The α in (0.1, 1) with which gaps c·k^−α would have gained what two steps did; 1 where there is one step only."""
    if len(gains) < 2 or min(gains) <= 0:
        return 1.0
    first, middle, last = counts
    low, high = 0.1, 1.0
    for _ in range(40):
        alpha = (low + high) / 2
        # The later step gains the less, beside the earlier, the faster the gap closes.
        beside = (middle**-alpha - last**-alpha) / (first**-alpha - middle**-alpha)
        low, high = (alpha, high) if beside > gains[1] / gains[0] else (low, alpha)
    return (low + high) / 2
