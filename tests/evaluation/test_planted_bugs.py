"""Estimators with a bug planted in them are caught: each bug by a check that the code as it is passes.

The bugs are those of published code: the mean of log weights, a softmax over the wrong axis, a batch that is dropped, a
sign, an off-by-one, another number of draws than asked, the closed-form KL where it is no bound.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from tests import linear_gaussian as oracles
from tests.evaluation.exact import Rows, data, exact_log_likelihood, linear, linear_gaussian
from torch import Tensor

import lucid.nn as nn
from lucid.distributions import Bernoulli, DiagonalGaussian
from lucid.evaluation import Annealing, Moments, ais, annealed, evaluate, examples, found, hmc, measure, sandwiched
from lucid.models import VAE, DataProtocol, Latent, Record, VAEConfig, bounds

Patch = pytest.MonkeyPatch

# What must be so


def bounds_are_exact_at_the_exact_posterior() -> None:
    model, x = linear_gaussian(exact_posterior=True), data(50)
    exact = exact_log_likelihood(model, x)
    seen = evaluate(model, x, num_samples=10, batch_size=20)
    for at_k in seen.importance_weighted:
        assert math.isclose(at_k.value, float(exact.mean()), rel_tol=1e-10)
        assert math.isclose(at_k.standard_error, float(exact.std()) / math.sqrt(50), rel_tol=1e-8)
        assert math.isclose(at_k.effective_sample_size or 0, at_k.num_samples, rel_tol=1e-8)
    error = {figure.name: figure for figure in seen.figures}["reconstruction"].standard_error
    assert abs(seen.elbo.value - float(exact.mean())) < 4 * (error or 0)


def the_bound_reaches_log_p_of_x() -> None:
    model, x = linear_gaussian(), data(200)
    exact = float(exact_log_likelihood(model, x).mean())
    values = [evaluate(model, x, num_samples=[10, 300], seed=seed) for seed in range(4)]
    at_300 = torch.tensor([value.log_likelihood.value for value in values])
    assert abs(float(at_300.mean()) - exact) < 5 * float(at_300.std()) / 2 + 0.002
    assert float(at_300.std()) > 1e-4
    assert values[0].importance_weighted[0].value < exact


def every_draw_asked_for_is_made() -> None:
    model = linear_gaussian()
    rows = Rows(model.decoders[0])
    model.decoders[0] = rows
    evaluate(model, data(23), num_samples=70, elbo_samples=9, batch_size=10, max_rows=64)
    assert sum(rows.seen) == 23 * (70 + 9)


def every_example_counts_once() -> None:
    model, x = linear_gaussian(exact_posterior=True), data(50)
    for batch_size in (7, 50):
        seen = evaluate(model, x, num_samples=2, batch_size=batch_size)
        assert seen.num_examples == 50
        assert math.isclose(seen.log_likelihood.value, float(exact_log_likelihood(model, x).mean()), rel_tol=1e-10)


def the_elbo_of_a_chain_is_the_closed_form() -> None:
    oracle = oracles.stranger()
    x = oracles.randn(400, 1, seed=3)
    seen = evaluate(oracle.model(), x, num_samples=1, elbo_samples=50)
    error = {figure.name: figure for figure in seen.figures}["ELBO"].standard_error or 0
    assert abs(seen.elbo.value - float(oracle.elbo(x).mean())) < 4 * (error / 4)  # paired: the same x
    for level, kl in enumerate(oracle.kl(x)):
        assert abs(seen.kl[level] - float(kl.mean())) < 0.1


def batches_have_random_numbers_of_their_own() -> None:
    x = data(10).repeat(2, 1)
    seen = evaluate(linear_gaussian(), x, num_samples=1, elbo_samples=1, batch_size=10)
    first = evaluate(linear_gaussian(), x[:10], num_samples=1, elbo_samples=1, batch_size=10)
    assert abs(seen.log_likelihood.value - first.log_likelihood.value) > 1e-6


def units_that_know_nothing_are_not_active() -> None:
    """The mean of z_1 is z_0, which is pure noise: moving with the draw is not moving with x."""
    model = VAE(
        VAEConfig(
            encoders=[linear(4, 4), linear(2, 4, torch.cat([torch.eye(2), torch.zeros(2, 2)]))],
            decoders=[linear(2, 4), linear(2, 2)],
        )
    )
    assert evaluate(model, data(2000), num_samples=1, elbo_samples=5).active_units == (0, 0)


def fair_coins_cost_one_bit() -> None:
    model = VAE(VAEConfig(encoders=[linear(6, 4)], decoders=[linear(2, 6)], likelihood=Bernoulli()))
    model.protocol = DataProtocol(name="coins", kind="vector", shape=(6,), levels=2)
    x = (torch.rand(20, 6, generator=torch.Generator().manual_seed(0)) < 0.3).double()
    assert evaluate(model, x, num_samples=3).bits_per_dim == pytest.approx(1.0, rel=1e-12)


def annealed_weights_are_unbiased() -> None:
    oracle = oracles.arbitrary(2, priors=True)
    model = oracle.model()
    x = model.sample(1, generator=torch.Generator().manual_seed(3), noise=True)
    how = Annealing(num_steps=12, num_chains=4000, leapfrogs=2, max_rows=4000)
    weights = (annealed(model, x, how).log_weights - oracle.log_prob(x)).exp()[:, 0]
    assert abs(float(weights.mean()) - 1) < 4 * float(weights.std()) / math.sqrt(4000)


def simulated_bounds_hold_log_p_of_x_between_them() -> None:
    model = linear_gaussian()
    seen = sandwiched(model, 1000, Annealing(num_steps=20, num_chains=1, leapfrogs=2, max_rows=2000))
    # E log p(x) over x of the model's own: minus the entropy.
    decoder = model.decoders[0]
    assert isinstance(decoder, nn.Linear)
    covariance = decoder.weight.detach() @ decoder.weight.detach().T + 0.25 * torch.eye(4, dtype=torch.float64)
    truth = -0.5 * float(torch.linalg.slogdet(2 * math.pi * math.e * covariance).logabsdet)
    for bound, sign in ((seen.lower, 1), (seen.upper, -1)):
        assert sign * (truth - float(bound.mean())) > -4 * float(bound.std()) / math.sqrt(1000)
    gap, error = float(seen.gap.mean()), float(seen.gap.std()) / math.sqrt(1000)
    assert gap - 3 * error > 0
    assert gap < 2


CHECKS: tuple[Callable[[], None], ...] = (
    bounds_are_exact_at_the_exact_posterior,
    the_bound_reaches_log_p_of_x,
    every_draw_asked_for_is_made,
    every_example_counts_once,
    the_elbo_of_a_chain_is_the_closed_form,
    batches_have_random_numbers_of_their_own,
    units_that_know_nothing_are_not_active,
    fair_coins_cost_one_bit,
    annealed_weights_are_unbiased,
    simulated_bounds_hold_log_p_of_x_between_them,
)

# The bugs


def mean_of_log_weights(patch: Patch) -> None:
    def add(self: Any, log_weights: Tensor) -> None:
        self._mean = getattr(self, "_mean", 0) + log_weights.double().sum(0)
        self.count += len(log_weights)
        self._log_sum = self._mean / self.count + math.log(self.count)
        self._log_sum_squares = 2 * self._log_sum - math.log(self.count)

    patch.setattr(bounds.LogWeights, "add", add)


def log_sum_over_the_examples(patch: Patch) -> None:
    def add(self: Any, log_weights: Tensor) -> None:
        across = log_weights.double().logsumexp(1).logsumexp(0) - math.log(log_weights.shape[1])
        self._log_sum = torch.logaddexp(self._log_sum, across)
        self._log_sum_squares = torch.logaddexp(self._log_sum_squares, 2 * across)
        self.count += len(log_weights)

    patch.setattr(bounds.LogWeights, "add", add)


def _scaled_count(patch: Patch, change: Callable[[int], int]) -> None:
    honest = bounds.LogWeights.estimate

    def estimate(self: Any) -> Any:
        count = self.count
        self.count = change(count)
        try:
            return honest(self)
        finally:
            self.count = count

    patch.setattr(bounds.LogWeights, "estimate", estimate)


def off_by_one_in_k(patch: Patch) -> None:
    _scaled_count(patch, lambda k: k + 1)


def sum_instead_of_mean(patch: Patch) -> None:
    _scaled_count(patch, lambda _: 1)


def sums_in_float32(patch: Patch) -> None:
    honest = bounds.LogWeights.add
    patch.setattr(bounds.LogWeights, "add", lambda self, log_weights: honest(self, log_weights.float()))


def whole_passes_only(patch: Patch) -> None:
    """ceil(n/p)·p draws where n were asked for."""
    honest = found._records

    def records(model: Any, x: Tensor, condition: Any, num_samples: int, generator: Any, max_rows: int) -> Any:
        at_once = max(1, max_rows // len(x))
        return honest(model, x, condition, -(-num_samples // at_once) * at_once, generator, max_rows)

    patch.setattr(found, "_records", records)


def one_draw_too_few(patch: Patch) -> None:
    honest = found.importance_weighted

    def fewer(model: Any, x: Tensor, counts: list[int], *rest: Any) -> Any:
        return honest(model, x, [max(1, k - 1) for k in counts], *rest)

    patch.setattr(found, "importance_weighted", fewer)


def the_last_batch_is_dropped(patch: Patch) -> None:
    honest = measure.examples_of

    def examples_of(*args: Any) -> Iterator[Any]:
        batches = list(honest(*args))
        return iter(batches[:-1] if len(batches) > 1 else batches)

    patch.setattr(measure, "examples_of", examples_of)
    patch.setattr(measure, "length_of", lambda _: None)


def batches_weigh_alike(patch: Patch) -> None:
    """The mean of the batches' means."""

    def merge(self: Moments, others: Moments) -> None:
        seen = getattr(self, "_batches", 0)
        mean = others.mean if seen == 0 else (self.mean * seen + others.mean) / (seen + 1)
        self.count, self.mean = self.count + others.count, mean
        self._squares = self._squares + others._squares
        self._batches = seen + 1  # pyright: ignore[reportAttributeAccessIssue]

    patch.setattr(Moments, "merge", merge)


def error_of_one_example(patch: Patch) -> None:
    """The standard deviation called standard error."""
    patch.setattr(Moments, "standard_error", property(lambda self: self.variance.sqrt()))


def the_kl_has_the_wrong_sign(patch: Patch) -> None:
    honest = Latent.kl
    patch.setattr(Latent, "kl", lambda self: -honest(self))


def the_weights_lack_the_prior(patch: Patch) -> None:
    def log_weight(self: Record) -> Tensor:
        q = [bounds_log_prob(latent.posterior, latent.value) for latent in self.latents]
        return -self.reconstruction() - torch.stack(q).sum(0)

    def bounds_log_prob(distribution: Any, value: Tensor) -> Tensor:
        batch = distribution.batch_shape[0]
        return distribution.log_prob(value.unflatten(0, (-1, batch))).flatten()

    patch.setattr(Record, "log_weight", log_weight)


def the_closed_form_kl_where_it_is_no_bound(patch: Patch) -> None:
    def kl(self: Latent) -> Tensor:
        q, p = self.posterior, self.prior
        assert isinstance(q, DiagonalGaussian)
        times = p.batch_shape[0] // q.batch_shape[0] or 1
        wide = DiagonalGaussian(q.loc.repeat(times, 1), q.logvar.repeat(times, 1))
        return torch.distributions.kl_divergence(wide, p)

    patch.setattr(Latent, "kl", kl)


def one_stream_for_all_batches(patch: Patch) -> None:
    patch.setattr(measure, "_derived", lambda _, device: torch.Generator(device).manual_seed(1))


def noise_counts_as_activity(patch: Patch) -> None:
    honest = found.LatentStatistics.add

    def add(self: Any, records: Any, num_examples: int) -> None:
        noise = list(self._noise)
        honest(self, records, num_examples)
        for moments in noise:
            moments.mean = torch.zeros_like(moments.mean)

    patch.setattr(found.LatentStatistics, "add", add)


def nats_called_bits(patch: Patch) -> None:
    from lucid.evaluation import declared

    class Natural:
        def __getattr__(self, name: str) -> Any:
            return (lambda _: 1.0) if name == "log" else getattr(math, name)

    patch.setattr(declared, "math", Natural())


def everything_is_accepted(patch: Patch) -> None:
    """Hamiltonian Monte Carlo that never rejects; its steps are no longer small enough for that."""
    honest = hmc.torch.rand

    def rand(*shape: int, **options: Any) -> Tensor:
        uniform = honest(*shape, **options)
        uniform[1] = 0
        return uniform

    patch.setattr(hmc, "tuned", hmc.tuned)
    patch.setattr(ais, "tuned", lambda path, betas, *_: [torch.full((len(path.x),), 1.2).double()] * (len(betas) - 2))
    patch.setattr(hmc.torch, "rand", rand)


def the_gradient_of_the_wrong_density(patch: Patch) -> None:
    """The kernel of one step leaves the density of another as it is."""
    honest = ais.transition
    patch.setattr(ais, "transition", lambda path, values, beta, *rest: honest(path, values, beta / 2, *rest))


def the_path_stops_one_step_short(patch: Patch) -> None:
    honest = Annealing.betas.fget
    assert honest is not None
    patch.setattr(Annealing, "betas", property(lambda self: [*honest(self)[:-1], honest(self)[-2]]))


def the_prior_is_forgotten_on_the_way(patch: Patch) -> None:
    honest = hmc.Path.at

    def at(self: Any, values: Any) -> Any:
        point = honest(self, values)
        return hmc.Point(point.values, 0 * point.start, point.change)

    patch.setattr(hmc.Path, "at", at)


def the_way_back_has_the_sign_of_the_way_there(patch: Patch) -> None:
    honest = ais._backward

    def backward(*args: Any) -> Any:
        upper, acceptance = honest(*args)
        return -upper, acceptance

    patch.setattr(ais, "_backward", backward)


def the_upper_bound_begins_at_q(patch: Patch) -> None:
    """Chains back from a draw of q(z|x) instead of the one that x was made of."""
    honest = ais._backward

    def backward(path: Any, exact: Any, *rest: Any) -> Any:
        wrong = [value + 1.5 for value in exact]
        return honest(path, wrong, *rest)

    patch.setattr(ais, "_backward", backward)


BUGS: tuple[tuple[Callable[[Patch], None], Callable[[], None]], ...] = (
    (mean_of_log_weights, the_bound_reaches_log_p_of_x),
    (log_sum_over_the_examples, bounds_are_exact_at_the_exact_posterior),
    (off_by_one_in_k, bounds_are_exact_at_the_exact_posterior),
    (sum_instead_of_mean, bounds_are_exact_at_the_exact_posterior),
    (sums_in_float32, bounds_are_exact_at_the_exact_posterior),
    (whole_passes_only, every_draw_asked_for_is_made),
    (one_draw_too_few, every_draw_asked_for_is_made),
    (the_last_batch_is_dropped, every_example_counts_once),
    (batches_weigh_alike, every_example_counts_once),
    (error_of_one_example, bounds_are_exact_at_the_exact_posterior),
    (the_kl_has_the_wrong_sign, bounds_are_exact_at_the_exact_posterior),
    (the_weights_lack_the_prior, bounds_are_exact_at_the_exact_posterior),
    (the_closed_form_kl_where_it_is_no_bound, the_elbo_of_a_chain_is_the_closed_form),
    (one_stream_for_all_batches, batches_have_random_numbers_of_their_own),
    (noise_counts_as_activity, units_that_know_nothing_are_not_active),
    (nats_called_bits, fair_coins_cost_one_bit),
    (everything_is_accepted, annealed_weights_are_unbiased),
    (the_gradient_of_the_wrong_density, annealed_weights_are_unbiased),
    (the_path_stops_one_step_short, annealed_weights_are_unbiased),
    (the_prior_is_forgotten_on_the_way, annealed_weights_are_unbiased),
    (the_way_back_has_the_sign_of_the_way_there, simulated_bounds_hold_log_p_of_x_between_them),
    (the_upper_bound_begins_at_q, simulated_bounds_hold_log_p_of_x_between_them),
)


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_the_code_as_it_is_passes(check: Callable[[], None]) -> None:
    check()


@pytest.mark.parametrize(("plant", "check"), BUGS, ids=[plant.__name__ for plant, _ in BUGS])
def test_the_bug_is_caught(plant: Callable[[Patch], None], check: Callable[[], None], monkeypatch: Patch) -> None:
    plant(monkeypatch)
    with pytest.raises(AssertionError):
        check()


def test_a_dropped_batch_of_data_of_known_length_is_an_error_of_its_own(monkeypatch: Patch) -> None:
    honest = examples.examples_of
    monkeypatch.setattr(measure, "examples_of", lambda *args: iter(list(honest(*args))[:-1]))
    with pytest.raises(ValueError, match="declares 50 examples and yielded 49"):
        evaluate(linear_gaussian(), data(50), num_samples=1, batch_size=7)
