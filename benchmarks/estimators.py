"""Do the estimators find log p(x), and do their intervals hold it? On linear-Gaussian models, where it is known.

    python benchmarks/estimators.py

For each size, many data sets are drawn from the model itself. The truth that an estimate of one is to be held against
is E log p(x) over the model's data: minus the entropy of N(b, W Wᵀ + I). An interval is value ± 1.96 standard errors;
its coverage is the share of data sets where it holds the truth, 95 % if the estimator is unbiased and its error is
right. The encoder is a little off: its means are a tenth too small and its variances a fifth too large.
"""

from __future__ import annotations

import argparse
import math
import platform
import sys
import time
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parents[1]))
from tests import linear_gaussian as oracles

from lucid.evaluation import Annealing, annealed, evaluate, sandwiched

SIZES = ((5, 3), (20, 10), (100, 40))


def model_of(features: int, latents: int) -> tuple[oracles.LinearGaussian, float]:
    """The model with an encoder that is a little off, and E log p(x) over its own data."""
    exact = oracles.exact(features, latents)
    (q,) = exact.encoders
    off = oracles.Conditional(0.9 * q.weight, 0.9 * q.bias, q.logvar + math.log(1.2))
    covariance = exact.weight @ exact.weight.T + torch.eye(features, dtype=torch.float64)
    entropy = 0.5 * float(torch.linalg.slogdet(2 * math.pi * math.e * covariance).logabsdet)
    return oracles.LinearGaussian(exact.weight, exact.bias, (off,)), -entropy


def line(name: str, values: torch.Tensor, errors: torch.Tensor, truth: float) -> str:
    """Bias, coverage, and how the stated errors compare with the spread there is."""
    covered = ((values - truth).abs() < 1.96 * errors).double().mean()
    bias, of_bias = values.mean() - truth, values.std() / math.sqrt(len(values))
    stated = errors.square().mean().sqrt() / values.std()
    return (
        f"  {name:<26}{bias:>9.4f} ± {of_bias:.4f}{100 * covered:>12.1f} %{stated:>14.2f}   ({len(values)} data sets)"
    )


def size(features: int, latents: int, sets: int, examples: int, chains: int) -> None:
    oracle, truth = model_of(features, latents)
    model = oracle.model()
    print(f"\n{features} features, {latents} latents: E log p(x) = {truth:.3f} nats")
    print(f"  {'':<26}{'bias':>9}{'':>9}{'coverage':>14}{'stated/true':>14}")
    found, began = [], time.perf_counter()
    for number in range(sets):
        generator = torch.Generator().manual_seed(number)
        x = model.sample(examples, generator=generator, noise=True)
        found.append(evaluate(model, x, num_samples=[10, 100, 1000], elbo_samples=2, seed=number))
    spent = time.perf_counter() - began
    for i, k in enumerate((10, 100, 1000)):
        at = [one.importance_weighted[i] for one in found]
        values, errors = torch.tensor([[a.value, a.standard_error] for a in at], dtype=torch.float64).unbind(1)
        effective = sum(a.effective_sample_size or 0 for a in at) / sets
        print(line(f"IW-{k}, ESS {effective:.0f}", values, errors, truth))
    warned = sum(bool(one.warnings) for one in found)
    print(f"  all k of all data sets in {spent:.1f} s; warned of no convergence in {warned} of {sets} data sets")
    for steps in (10, 100):
        how = Annealing(num_steps=steps, num_chains=chains, max_rows=8192)
        began = time.perf_counter()
        x = model.sample(sets * examples // 4, generator=torch.Generator().manual_seed(-1 % 2**31), noise=True)
        parts = annealed(model, x, how).log_likelihood.view(-1, examples)
        values, errors = parts.mean(1), parts.std(1) / math.sqrt(examples)
        spent = time.perf_counter() - began
        print(line(f"AIS, {steps} steps", values, errors, truth) + f", {spent:.1f} s")
        began = time.perf_counter()
        both = sandwiched(model, 500, how)
        lower, upper, gap = ((b.mean(), b.std() / math.sqrt(500)) for b in (both.lower, both.upper, both.gap))
        print(
            f"  BDMC, {steps} steps: {lower[0]:.3f} ± {lower[1]:.3f} … {upper[0]:.3f} ± {upper[1]:.3f}, gap "
            f"{gap[0]:.4f} ± {gap[1]:.4f}, {time.perf_counter() - began:.1f} s"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description="coverage of the intervals of likelihood estimators")
    parser.add_argument("--sets", type=int, default=200, help="data sets of each size (200)")
    parser.add_argument("--examples", type=int, default=40, help="examples of each (40)")
    parser.add_argument("--chains", type=int, default=8, help="chains of annealed importance sampling (8)")
    args = parser.parse_args()
    print(
        f"torch {torch.__version__}, Python {platform.python_version()}, {torch.get_num_threads()} thread(s), float64"
    )
    for features, latents in SIZES:
        size(features, latents, args.sets, args.examples, args.chains)


if __name__ == "__main__":
    main()
