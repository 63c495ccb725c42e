"""β-TC: the published weights, their unbiasedness by enumeration, and the parts against numerical integration."""

from __future__ import annotations

import math
from itertools import permutations

import pytest
import torch
from tests.linear_gaussian import linear
from tests.objectives.families import FAMILIES, data, one_level

from lucid import nn
from lucid.distributions import DiagonalGaussian, FullCovariancePosterior
from lucid.models import VAE, VAEConfig, draws, drive
from lucid.objectives import BetaTC, minibatch_log_weights


def test_the_weights_are_the_published_ones() -> None:
    n, b = 10, 4
    m = b - 1
    found = minibatch_log_weights(b, n, stratified=True).exp()
    for i in range(b):
        row = sorted(found[i].tolist())
        assert float(found[i, i]) == pytest.approx(1 / n), "its own place is on the diagonal"
        assert row == pytest.approx(sorted([1 / n, (n - m) / (n * m), *[1 / m] * (m - 1)]))
    torch.testing.assert_close(found.sum(1), torch.ones(b))
    torch.testing.assert_close(minibatch_log_weights(b, n, stratified=False).exp(), torch.full((b, b), 1 / (n * b)))


def test_stratified_sampling_is_unbiased_for_the_aggregate_posterior() -> None:
    # All ordered minibatches of 3 out of 5 examples that hold example 0 first: their mean is q(z) exactly.
    n, b = 5, 3
    locs = torch.tensor([-2.0, -0.5, 0.1, 1.0, 3.0]).double()
    z = 0.3
    density = torch.exp(-0.5 * (z - locs).square()) / math.sqrt(2 * math.pi)
    weights = minibatch_log_weights(b, n, stratified=True).exp()[0].double()
    batches = [(0, *others) for others in permutations(range(1, n), b - 1)]
    estimates = [float((weights * density[list(batch)]).sum()) for batch in batches]
    assert sum(estimates) / len(estimates) == pytest.approx(float(density.mean()), rel=1e-6)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("stratified", [True, False])
def test_equals_its_definition_in_loops(family: str, stratified: bool) -> None:
    model, x, n = FAMILIES[family](), data(), 12
    record = drive(model.walk(x), draws(torch.Generator().manual_seed(0)))
    latent = record.latents[-1]
    q, z = latent.posterior, latent.value.flatten(1).detach()
    assert isinstance(q, DiagonalGaussian)
    loc, scale = q.loc.flatten(1).detach(), q.scale.flatten(1).detach()
    weights = minibatch_log_weights(5, n, stratified=stratified).exp()

    def normal(i: int, j: int, unit: int) -> float:
        s = float(scale[j, unit])
        return math.exp(-0.5 * ((float(z[i, unit]) - float(loc[j, unit])) / s) ** 2) / (s * math.sqrt(2 * math.pi))

    units, batch = range(z.shape[1]), range(5)
    alpha, beta, gamma, expected = 0.5, 3.0, 2.0, 0.0
    for i in batch:
        posterior = math.prod(normal(i, i, u) for u in units)
        joint = sum(float(weights[i, j]) * math.prod(normal(i, j, u) for u in units) for j in batch)
        margins = math.prod(sum(float(weights[i, j]) * normal(i, j, u) for j in batch) for u in units)
        prior = math.prod(math.exp(-0.5 * float(z[i, u]) ** 2) / math.sqrt(2 * math.pi) for u in units)
        information, correlation, dimensions = (
            math.log(posterior / joint),
            math.log(joint / margins),
            math.log(margins / prior),
        )
        expected += (alpha * information + beta * correlation + gamma * dimensions) / 5
    expected += float(record.reconstruction().mean().detach())
    expected += sum(float(kl.mean().detach()) for kl in record.kl()[:-1])
    objective = BetaTC(n, beta, information=alpha, margins=gamma, stratified=stratified)
    assert float(objective(record, beta).loss.detach()) == pytest.approx(expected, rel=1e-5)


def test_with_the_whole_data_the_parts_are_those_of_the_aggregate_posterior() -> None:
    # A batch that is all N examples: weighted sampling gives each 1/N², so all densities are those of the mixture q(z)
    # over N. Its parts, by quadrature in two dimensions, are met by the mean over draws.
    n, scale = 3, 0.7
    centres = torch.tensor([[-1.5, -1.0], [0.2, 0.4], [1.4, 1.6]]).double()
    encoder = linear(
        torch.cat([torch.eye(2), torch.zeros(2, 2)]).double(),
        torch.tensor([0.0, 0.0, 2 * math.log(scale), 2 * math.log(scale)]).double(),
    )
    model = VAE(VAEConfig(encoders=[encoder], decoders=[nn.Linear(2, 2, dtype=torch.float64)]))
    objective = BetaTC(n, stratified=False)
    off = torch.tensor([1.0, 1.0, -2.0]).double() * math.log(n)
    stream = torch.Generator().manual_seed(0)
    drawn = torch.stack(
        [torch.stack(objective.parts(drive(model.walk(centres), draws(stream)))).detach().mean(1) for _ in range(2000)]
    )
    drawn = drawn - off
    grid = torch.linspace(-7, 7, 701).double()
    step = float(grid[1] - grid[0])
    one = torch.exp(-0.5 * ((grid[None] - centres.T[:, :, None]) / scale).square()) / (scale * math.sqrt(2 * math.pi))
    joint = (one[0][:, :, None] * one[1][:, None, :]).mean(0)  # (grid, grid)
    margin = one.mean(1)  # of each unit
    product = margin[0][:, None] * margin[1][None]
    correlation = float((joint * (joint / product).log().nan_to_num()).sum()) * step**2
    standard = torch.exp(-0.5 * grid.square()) / math.sqrt(2 * math.pi)
    dimensions = float((margin * (margin / standard).log()).sum()) * step
    entropy = -float((joint * joint.clamp(min=1e-300).log()).sum()) * step**2
    information = entropy - 2 * (0.5 * math.log(2 * math.pi * math.e) + math.log(scale))
    error = (drawn.std(0) / math.sqrt(len(drawn))).tolist()
    for found, exact, standard_error in zip(
        drawn.mean(0).tolist(), (information, correlation, dimensions), error, strict=True
    ):
        assert abs(found - exact) < 4 * standard_error + 1e-6
    assert correlation > 0.1, "the units do depend on each other"


def test_a_batch_of_one_has_no_total_correlation() -> None:
    record = drive(one_level().walk(data(1)), draws())
    information, correlation, _ = BetaTC(10).parts(record)
    assert float(information.detach()) == pytest.approx(math.log(10))
    # Its single weight 1/N counts once in the joint and once in each of the two margins.
    assert float(correlation.detach()) == pytest.approx(math.log(10))


def test_what_it_cannot_estimate_is_refused() -> None:
    record = drive(one_level().walk(data()), draws())
    with pytest.raises(ValueError, match="a batch of 5 cannot be of data with 4 examples"):
        BetaTC(4)(record, 1.0)
    posterior = FullCovariancePosterior()
    model = VAE(VAEConfig(encoders=[nn.Linear(6, 5)], decoders=[nn.Linear(2, 6)], posterior=posterior)).double()
    with pytest.raises(
        ValueError, match="posteriors that are diagonal Gaussians; that of the deepest level is FullCovariance"
    ):
        BetaTC(10)(drive(model.walk(data()), draws()), 1.0)
    with pytest.raises(ValueError, match="one draw of each posterior; received 10 of 5"):
        BetaTC(10)(drive(one_level().walk(data()), draws(num_samples=2)), 1.0)


@pytest.mark.parametrize("bad", [0, 2.5, True])
def test_the_size_of_the_data_is_checked(bad: object) -> None:
    with pytest.raises(ValueError, match="num_examples must be the size of the training data"):
        BetaTC(bad)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="margins must be a non-negative, finite weight"):
        BetaTC(5, margins=-1.0)
