"""Annealed importance sampling against exact log p(x): its weights are unbiased both ways, whatever the schedule."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from tests import linear_gaussian, linear_ladder
from tests.conditional import ConditionalGaussian
from tests.evaluation.exact import Rows, data, exact_log_likelihood
from tests.evaluation.exact import linear_gaussian as one_level
from torch import Tensor

import lucid.nn as nn
from lucid.data import Share, load
from lucid.evaluation import Annealing, Sandwich, Team, ais_figures, annealed, sandwiched
from lucid.evaluation.hmc import transition, tuned
from lucid.evaluation.paths import Path, Start
from lucid.evaluation.streams import stream_of
from lucid.models import VAE, VAEConfig, create, draws, drive, evaluating

STARTS: tuple[Start, ...] = ("prior", "posterior")


def generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def families() -> dict[str, tuple[Any, Any]]:
    """Models with arbitrary encoders, and their exact log p(x)."""
    chain = linear_gaussian.arbitrary(2, priors=True)
    apart = linear_gaussian.arbitrary(2, priors=False)
    ladder = linear_ladder.arbitrary(2)
    return {
        "one level": (linear_gaussian.arbitrary(1, priors=False).model(), linear_gaussian.arbitrary(1, False).log_prob),
        "chain, learned prior": (chain.model(), chain.log_prob),
        "chain": (apart.model(), apart.log_prob),
        "ladder": (ladder.model(), ladder.log_prob),
    }


def within(values: Tensor, truth: float, errors: float = 4) -> None:
    """The mean of independent values is the truth, within so many of its standard errors."""
    error = float(values.std()) / math.sqrt(len(values))
    assert abs(float(values.mean()) - truth) < errors * error, (float(values.mean()), truth, error)


# The truth


@pytest.mark.parametrize("start", STARTS)
@pytest.mark.parametrize("family", ["one level", "chain, learned prior", "chain", "ladder"])
def test_weights_are_unbiased_after_however_few_steps(family: str, start: Start) -> None:
    """E[w] = p(x) holds for any schedule and step size, so a short one shows any mistake of a kernel or a weight."""
    model, log_prob = families()[family]
    x = model.sample(2, generator=generator(3), noise=True)
    # From a posterior that is far from the true one, weights after few steps have tails without a variance.
    steps = 40 if (family, start) == ("ladder", "posterior") else 12
    how = Annealing(num_steps=steps, num_chains=3000, leapfrogs=3, start=start, max_rows=10_000)
    weights = (annealed(model, x, how).log_weights - log_prob(x)).exp()
    for column in weights.T:
        within(column, 1.0)
        assert float(column.std()) > 0.02  # noisy enough to be a test


@pytest.mark.parametrize("start", STARTS)
@pytest.mark.parametrize("family", ["one level", "chain, learned prior", "ladder"])
def test_chains_from_the_exact_posterior_draw_are_unbiased_for_one_over_p(family: str, start: Start) -> None:
    model, log_prob = families()[family]
    seen: list[Tensor] = []  # the examples that were simulated
    walk = model.walk

    def watched(x: Tensor | None = None, **options: Any) -> Any:
        if x is not None and not seen:
            seen.append(x)
        return walk(x, **options)

    model.walk = watched
    # More steps than forwards: 1/w has tails that a short schedule leaves without a variance.
    steps = 150 if (family, start) == ("ladder", "posterior") else 30
    how = Annealing(num_steps=steps, num_chains=1, leapfrogs=2, start=start, max_rows=10_000)
    found = sandwiched(model, 3000, how)
    assert seen[0].shape[0] == 3000
    within((log_prob(seen[0]) - found.upper).exp(), 1.0)
    within((found.lower - log_prob(seen[0])).exp(), 1.0)


def test_the_bounds_meet_at_log_p_of_x_as_the_schedule_grows() -> None:
    oracle = linear_gaussian.exact(20, 5)
    model = oracle.model()
    x = model.sample(200, generator=generator(0), noise=True)
    gaps, errors = [], []
    for steps in (8, 32, 128):
        how = Annealing(num_steps=steps, num_chains=2, leapfrogs=2)
        gaps.append(float(sandwiched(model, 200, how).gap.mean()))
        errors.append(float((annealed(model, x, how).log_likelihood - oracle.log_prob(x)).square().mean().sqrt()))
    assert gaps[0] > 2 * gaps[1] > 4 * gaps[2] > 0  # about as 1/T
    assert errors[0] > 1.5 * errors[1] > 2.25 * errors[2]  # about as 1/√T


def test_with_the_exact_posterior_as_the_start_there_is_nothing_to_anneal() -> None:
    model, x = one_level(exact_posterior=True), data(5)
    found = annealed(model, x, Annealing(num_steps=5, num_chains=3, start="posterior"))
    assert torch.allclose(found.log_likelihood, exact_log_likelihood(model, x), rtol=1e-9)
    assert torch.allclose(found.effective_sample_size, torch.full((5,), 3.0, dtype=torch.float64))


@pytest.mark.parametrize("beta", [0.3, 1.0])
def test_a_transition_leaves_its_density_as_it_is(beta: float) -> None:
    """Draws of p(z|x), through many transitions of a rough step, are still draws of it: mean and covariance."""
    oracle = linear_gaussian.exact(5, 3)
    model, x = oracle.model(), linear_gaussian.randn(1, 5, seed=1)
    with evaluating(model):
        path = Path(model, x, None, "prior", generator(0))
        precision = torch.eye(3, dtype=torch.float64) + beta * oracle.weight.T @ oracle.weight
        covariance = torch.linalg.inv(precision)
        mean = (beta * (x - oracle.bias) @ oracle.weight @ covariance)[0]
        chains = 20_000
        noise = torch.randn(chains, 3, generator=generator(1), dtype=torch.float64)
        values = [mean + noise @ torch.linalg.cholesky(covariance).T]
        point = path.at(values)
        accepted = []
        for _ in range(6):
            step = torch.full((1,), 1.6, dtype=torch.float64)
            point, acceptance = transition(path, values, beta, step, 2, generator(len(accepted) + 2))
            values = point.values
            accepted.append(float(acceptance.mean()))
        again = path.at(values)
    assert max(accepted) < 0.97  # some are rejected, or accepting everything would pass too
    assert torch.allclose(point.start, again.start)
    assert torch.allclose(point.change, again.change)
    error = covariance.diagonal().sqrt() / math.sqrt(chains)
    assert bool(((values[0].mean(0) - mean).abs() < 4.5 * error).all())
    spread = torch.outer(covariance.diagonal(), covariance.diagonal()) + covariance.square()
    assert bool(((values[0].T.cov() - covariance).abs() < 4.5 * (spread / chains).sqrt()).all())


def test_the_pilot_finds_steps_that_are_mostly_accepted_and_draws_nothing_of_the_chains() -> None:
    oracle = linear_gaussian.arbitrary(1, priors=False, features=40, latents=(20,))
    model, x = oracle.model(), linear_gaussian.randn(3, 40, seed=1)
    how = Annealing(num_steps=60, num_chains=8)
    with evaluating(model):
        steps = tuned(Path(model, x, None, "prior", generator(0)), how.betas, 8, 5, generator(1))
    assert len(steps) == 59
    assert steps[0].shape == (3,)
    assert 0.6 < float(annealed(model, x, how).acceptance.mean()) <= 1


# The coordinates


@pytest.mark.parametrize("start", STARTS)
@pytest.mark.parametrize("family", ["one level", "chain, learned prior", "ladder"])
def test_coordinates_are_noise_and_their_densities_those_of_the_latents(family: str, start: Start) -> None:
    """At a posterior draw: ε is standard normal under the start, and `change` is log p(x, z) − log p₀(z)."""
    model, _ = families()[family]
    x = model.sample(3, generator=generator(3), noise=True)
    with evaluating(model):
        record = drive(model.walk(x), draws(generator(0)))
        path = Path(model, x, None, start, generator(1))
        values = path.coordinates([latent.value for latent in record.latents])
        point = path.at(values)
    noise = torch.stack([torch.distributions.Normal(0, 1).log_prob(value).sum(1) for value in values]).sum(0)
    change = -record.reconstruction() if start == "prior" else record.log_weight()
    assert torch.allclose(point.start, noise, rtol=1e-9)
    assert torch.allclose(point.change, change, rtol=1e-9)


def test_a_ladder_whose_conditional_prior_is_narrow_is_annealed() -> None:
    """The case that chains in z do not solve: a level that the one above fixes to 1 %; their gap stays at any steps."""
    ladder = linear_ladder.arbitrary(2)
    narrow = replace(ladder.priors[0], logvar=torch.full_like(ladder.priors[0].logvar, 2 * math.log(0.01)))
    ladder = replace(ladder, priors=(narrow,))
    gap = sandwiched(ladder.model(), 50, Annealing(num_steps=60, num_chains=4, leapfrogs=4)).gap
    assert 0 < float(gap.mean()) < 0.5


# The streams


def test_streams_of_different_keys_are_different_and_those_of_one_the_same() -> None:
    keys = [(seed, name, n) for seed in (0, 1, 2**32, 2**40, -1) for name in ("data", "simulated") for n in range(3)]
    first = {key: tuple(torch.rand(2, generator=stream_of("cpu", *key)).tolist()) for key in keys}
    assert len(set(first.values())) == len(keys)
    assert first[keys[0]] == tuple(torch.rand(2, generator=stream_of("cpu", *keys[0])).tolist())


def test_chains_over_data_and_over_simulated_examples_do_not_share_their_noise() -> None:
    """Of one model and one seed, each stream that is opened is another: pilots, chains, examples."""
    model, opened = one_level(), list[bytes]()
    with pytest.MonkeyPatch.context() as patch:

        def noted(device: Any, *key: Any) -> torch.Generator:
            stream = stream_of(device, *key)
            opened.append(stream.get_state().numpy().tobytes())
            return stream

        patch.setattr("lucid.evaluation.ais.stream_of", noted)
        how = Annealing(num_steps=2, num_chains=2, leapfrogs=1, max_rows=4)
        annealed(model, data(4), how)
        sandwiched(model, 4, how)
    assert len(opened) == len(set(opened)) == 2 * 2 + 2 * 3


# The counts


def test_exactly_the_asked_chains_and_steps_are_computed_and_no_more_rows_at_once_than_allowed() -> None:
    model = one_level()
    rows = Rows(model.decoders[0])
    model.decoders[0] = rows
    how = Annealing(num_steps=7, num_chains=4, leapfrogs=3, max_rows=20)
    found = annealed(model, data(11), how)
    assert found.log_weights.shape == (4, 11)
    # Of each example one row to read scales; per chain the draw and its density, then L + 1 gradients a transition:
    # 6 of the chains, 26 of the pilot, which needs no density at its draw.
    assert sum(rows.seen) == 11 * (1 + 4 * (2 + 6 * 4) + 4 * (1 + 26 * 4))
    assert max(rows.seen) == 20


def test_every_example_counts_once_and_the_seed_decides() -> None:
    model, x = one_level(), data(7)
    how = Annealing(num_steps=5, num_chains=4, leapfrogs=1, max_rows=8)
    before = torch.random.get_rng_state()
    first, again = (annealed(model, x, how).log_likelihood for _ in range(2))
    assert torch.equal(first, again)
    assert len(first) == 7
    assert not torch.equal(first, annealed(model, x, Annealing(5, 4, 1, max_rows=8, seed=1)).log_likelihood)
    assert torch.equal(torch.random.get_rng_state(), before)
    assert all(parameter.grad is None for parameter in model.parameters())


@pytest.mark.parametrize("function", ["annealed", "sandwiched"])
def test_each_process_does_its_groups_and_together_they_are_what_one_does(function: str) -> None:
    model, x = one_level(), data(11)
    how = Annealing(num_steps=4, num_chains=2, leapfrogs=1, max_rows=6)
    shares: list[Tensor] = []

    def keep(numbers: Tensor) -> Tensor:
        shares.append(numbers)
        return numbers

    def run(team: Team | None) -> Any:
        if function == "annealed":
            return annealed(model, x, how, team=team)
        return sandwiched(model, 11, how, team=team)

    for rank in range(3):  # of four groups, of 3, 3, 3 and 2 examples
        run(Team(Share(rank, 3), keep))
    assert [int((share[:, -1] != 0).sum()) for share in shares] == [5, 3, 3]
    together = run(Team(Share(), lambda _: shares[0] + shares[1] + shares[2]))
    assert all(torch.equal(*pair) for pair in zip(together, run(None), strict=True))


def test_new_processes_anneal_what_one_does() -> None:
    model, x = one_level(), data(7)
    how = Annealing(num_steps=3, num_chains=2, leapfrogs=1, max_rows=4)
    assert torch.equal(annealed(model, x, how, workers=2).log_weights, annealed(model, x, how).log_weights)


# Other models


def test_families_with_many_levels_other_likelihoods_and_conditions_are_annealed() -> None:
    digits = load("digits")
    how = Annealing(num_steps=2, num_chains=2, leapfrogs=1)
    for name in ("topdown", "ladder"):
        model = create(name, digits, size=1)
        assert annealed(model, digits.test.tensor(2), how).log_likelihood.shape == (2,)
    told = ConditionalGaussian()
    labels = torch.tensor([0, 1, 2])
    x = drive(told.walk(num_examples=3, condition=labels), draws(generator(0))).likelihood.mean
    assert annealed(told, x, how, condition=labels).log_likelihood.shape == (3,)


# Figures


def test_the_figures_say_how_they_were_made_and_warn_where_the_gap_is_large() -> None:
    model, x = one_level(), data(40)
    short, long = (
        ais_figures(model, x, 20, how, importance_samples=200)
        for how in (Annealing(2, 2), Annealing(40, 2, 2, start="posterior"))
    )
    names = ["AIS log-likelihood", "AIS − IW, k = 200", "AIS simulated, lower", "AIS simulated, upper", "BDMC gap"]
    assert [figure.name for figure in long] == names
    by_name = {figure.name: figure for figure in long}
    lower, upper = by_name["AIS simulated, lower"], by_name["AIS simulated, upper"]
    assert upper.value - lower.value == pytest.approx(by_name["BDMC gap"].value, abs=1e-9)
    assert long[0].num_samples == 2
    assert "2 chains from the posterior, 40 steps" in long[0].estimator
    assert long[0].details["steps"] == 40
    some = x[::2]  # every second: evenly spread
    per_example = annealed(model, some, Annealing(40, 2, 2, start="posterior")).log_likelihood
    assert long[0].value == pytest.approx(float(per_example.mean()), rel=1e-12)
    assert long[0].standard_error == pytest.approx(float(per_example.std()) / math.sqrt(20), rel=1e-12)
    within(per_example - exact_log_likelihood(model, some), 0.0)
    assert abs(long[1].value) < 4 * (long[1].standard_error or 0)
    assert long[0].warning is None
    assert all("2 chains, 40 steps, 20 examples" in figure.meaning for figure in long)
    assert all(("other examples for each seed" in figure.estimator) == (figure in long[2:]) for figure in long)
    assert 0 < long[0].details["step_size"] < 2
    assert "too small, the BDMC gap" in (short[0].warning or "")


def test_what_is_out_of_range_is_refused() -> None:
    for settings, message in (
        ({"num_steps": 1}, "num_steps must be at least 2; received 1"),
        ({"num_chains": 0}, "num_chains must be at least 1"),
        ({"start": "posteriors"}, "start must be 'prior' or 'posterior'"),
    ):
        with pytest.raises(ValueError, match=message):
            Annealing(**settings)
    with pytest.raises(TypeError, match="num_steps must be an int"):
        Annealing(num_steps=10.0)
    with pytest.raises(ValueError, match="at least 2 of them; received 1"):
        ais_figures(one_level(), data(5), 1)


def test_a_model_that_yields_nan_is_an_error_and_no_figure() -> None:
    class Broken(nn.Module):
        def forward(self, z: Tensor) -> Tensor:
            return z @ z.new_full((2, 4), math.nan)

    model = VAE(VAEConfig(encoders=[nn.Linear(4, 4)], decoders=[Broken()]))
    with pytest.raises(FloatingPointError, match="not finite for 3 of 3 examples"):
        annealed(model, torch.zeros(3, 4), Annealing(num_steps=3, num_chains=2))


def test_the_gap_is_the_difference() -> None:
    one = torch.ones(2)
    assert torch.equal(Sandwich(one, 3 * one, one).gap, 2 * one)
