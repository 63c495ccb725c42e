"""Information and gap of every level against linear-Gaussian chains and ladders of Gaussian data, in closed form."""

from __future__ import annotations

import math

import pytest
import torch
from tests import linear_gaussian, linear_ladder
from tests.conditional import ConditionalGaussian, labelled
from tests.linear_gaussian import LinearGaussian, randn
from tests.linear_ladder import LinearLadder
from torch import Tensor
from torch.distributions import MultivariateNormal, kl_divergence

from lucid import data
from lucid.distributions import FlowPosterior
from lucid.evaluation import Figure, aggregate_gap, information_figures
from lucid.evaluation.examples import examples_of
from lucid.evaluation.information_parts import averages
from lucid.evaluation.joint import draw_all, log_prob_table
from lucid.models import VAE, VAEConfig, drive, given
from lucid.nn import Linear

FEATURES = 5
N = 400


def gaussian_data(seed: int, rows: int = N, spread: float = 0.8) -> tuple[Tensor, Tensor, Tensor]:
    """Rows of a Gaussian, its mean and its covariance."""
    mean, root = 0.5 * randn(FEATURES, seed=seed + 200), spread * randn(FEATURES, FEATURES, seed=seed + 201)
    return mean + randn(rows, FEATURES, seed=seed + 202) @ root.T, mean, root @ root.T


class Joint:
    """q(z|x) of all latents in the order of inference for Gaussian x, and q(z): means affine in x."""

    def __init__(self, at: MultivariateNormal, at_zero: MultivariateNormal, mean: Tensor, covariance: Tensor) -> None:
        gain = (at.mean - at_zero.mean).T  # column i: the answer to feature i
        self.given_x = at.covariance_matrix[0]
        self.aggregate = MultivariateNormal(at_zero.mean[0] + gain @ mean, self.given_x + gain @ covariance @ gain.T)

    def information(self, places: slice) -> float:
        spread = self.aggregate.covariance_matrix[places, places]
        return 0.5 * float(torch.logdet(spread) - torch.logdet(self.given_x[places, places]))

    def gap(self, prior: MultivariateNormal, upto: int) -> float:
        parts = [
            MultivariateNormal(
                d.mean.reshape(-1)[:upto], d.covariance_matrix.reshape(prior.mean.numel(), -1)[:upto, :upto]
            )
            for d in (self.aggregate, prior)
        ]
        return float(kl_divergence(parts[0], parts[1]))


def chain_joint(oracle: LinearGaussian, x: Tensor) -> MultivariateNormal:
    """q(z_0, …|x) of a chain, from the levels' own maps."""
    mean, covariance = oracle.moments(x)[0]
    last = covariance
    for q, (of_level, _) in zip(oracle.encoders[1:], oracle.moments(x)[1:], strict=True):
        gain = torch.zeros(len(q.bias), mean.shape[1], dtype=torch.float64)
        gain[:, -len(last) :] = q.weight
        cross = gain @ covariance
        last = cross @ gain.T + q.logvar.exp().diag()
        covariance = torch.cat([torch.cat([covariance, cross.T], 1), torch.cat([cross, last], 1)])
        mean = torch.cat([mean, of_level], 1)
    return MultivariateNormal(mean, covariance.expand(len(x), -1, -1))


def by_name(figures: list[Figure]) -> dict[str, Figure]:
    assert len({figure.name for figure in figures}) == len(figures)
    return {figure.name: figure for figure in figures}


def meets(figure: Figure, truth: float, bias: float) -> bool:
    assert figure.standard_error is not None
    return abs(figure.value - truth) < 4 * figure.standard_error + bias


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_one_level_meets_both_closed_forms(seed: int) -> None:
    oracle = linear_gaussian.arbitrary(1, priors=False, latents=(2,), seed=seed)
    x, mean, covariance = gaussian_data(seed)
    joint = Joint(
        *(chain_joint(oracle, at) for at in (torch.eye(FEATURES).double(), torch.zeros_like(x[:5]))), mean, covariance
    )
    found = by_name(information_figures(oracle.model(), x, num_samples=4))
    told = joint.information(slice(None))
    bias = math.exp(2 * told) / N
    assert meets(found["I(x; z)"], told, bias)
    standard = MultivariateNormal(torch.zeros(2).double(), torch.eye(2).double())
    assert meets(found["KL(q(z) ‖ p(z))"], joint.gap(standard, 2), bias)


def test_one_level_is_what_the_aggregate_gap_says() -> None:
    oracle = linear_gaussian.arbitrary(1, priors=False, latents=(2,))
    x, _, _ = gaussian_data(0)
    found = by_name(information_figures(oracle.model(), x, num_samples=40))
    other = aggregate_gap(oracle.model(), x, num_samples=40, seed=1)
    assert found["I(x; z)"].value == pytest.approx(other.information.value, abs=0.03)
    assert found["KL(q(z) ‖ p(z))"].value == pytest.approx(other.gap.value, abs=0.03)
    assert found["I(x; z)"].details["at_most"] == pytest.approx(other.information_at_most.value, abs=0.03)
    assert found["I(x; z)"].details["ceiling"] == pytest.approx(math.log(N))


@pytest.mark.parametrize("priors", [False, True])
def test_a_chain(priors: bool) -> None:
    """Deeper levels add nothing, tell what their marginal tells, and the deepest has a gap of its own."""
    oracle = linear_gaussian.arbitrary(3, priors=priors, latents=(3, 2, 2), seed=0)
    x, mean, covariance = gaussian_data(0)
    joint = Joint(
        *(chain_joint(oracle, at) for at in (torch.eye(FEATURES).double(), torch.zeros_like(x[:5]))), mean, covariance
    )
    found = by_name(information_figures(oracle.model(), x, num_samples=2, inner_samples=32))
    places = [slice(0, 3), slice(3, 5), slice(5, 7)]
    told = joint.information(places[0])
    bias = math.exp(2 * told) / N
    assert meets(found["I(x; z), all levels"], told, bias)
    assert joint.information(slice(None)) == pytest.approx(told, abs=1e-9)
    for level in (1, 2):
        assert found[f"I(x; z) added by level {level}"].value == pytest.approx(0, abs=1e-9)
        alone = found[f"I(x; z) of level {level} alone"]
        truth = joint.information(places[level])
        assert meets(alone, truth, bias)
        assert 0.05 < truth < 0.8 * told
        # Inner draws are bracketed: the one that holds z's own component is too large, the other too small.
        assert alone.details["at_least"] < alone.value < alone.details["at_most"]
        assert alone.details["at_least"] < truth + 4 * (alone.standard_error or 0)
    # What all levels cost is the KL of the bound, and splits into the two parts.
    cost = float(torch.stack(oracle.kl(x)).sum(0).mean())
    assert meets(found["KL(q(z) ‖ p(z)), all levels"], cost - found["I(x; z), all levels"].value, 0)
    deepest = MultivariateNormal(
        joint.aggregate.mean[places[2]], joint.aggregate.covariance_matrix[places[2], places[2]]
    )
    standard = MultivariateNormal(torch.zeros(2).double(), torch.eye(2).double())
    assert meets(found["KL(q(z) ‖ p(z)), level 2 alone"], float(kl_divergence(deepest, standard)), bias)
    # A learned prior is not known when its level is decided: no gap can be told for it alone.
    assert ("KL(q(z) ‖ p(z)), level 0" in found) is not priors


@pytest.mark.parametrize("depth", [2, 3])
def test_a_ladder(depth: int) -> None:
    """What each level adds and what its prior does not fit, along the chain rule; both add up to its KL."""
    oracle: LinearLadder = linear_ladder.arbitrary(depth, latents=(2, 2, 1), seed=3)
    x, mean, covariance = gaussian_data(3)
    joint = Joint(
        *(oracle.joint(at) for at in (torch.eye(FEATURES).double(), torch.zeros_like(x[:5]))), mean, covariance
    )
    prior = oracle.joint()
    found = by_name(information_figures(oracle.model(), x, num_samples=4))
    ends = [sum(oracle.sizes[: place + 1]) for place in range(depth)]
    told = [0.0, *(joint.information(slice(0, end)) for end in ends)]
    gaps = [0.0, *(joint.gap(prior, end) for end in ends)]
    bias = math.exp(2 * told[-1]) / N
    assert bias < 0.3
    for place, level in enumerate(reversed(range(depth))):
        added, gap = found[f"I(x; z) added by level {level}"], found[f"KL(q(z) ‖ p(z)), level {level}"]
        assert meets(added, told[place + 1] - told[place], bias)
        assert meets(gap, gaps[place + 1] - gaps[place], bias)
        assert added.value + gap.value == pytest.approx(float(oracle.kl(x)[level].mean()), abs=0.2)
    assert meets(found["I(x; z), all levels"], told[-1], bias)
    assert meets(found["KL(q(z) ‖ p(z)), all levels"], gaps[-1], bias)
    assert max(told[1], told[-1] - told[1]) > 0.2  # the test has something to see


def test_the_table_is_every_posterior_at_every_draw() -> None:
    """Against one walk for each pair of example and draw."""
    model = linear_ladder.arbitrary(3).model()
    x, _, _ = gaussian_data(0, rows=7)
    stream = torch.Generator().manual_seed(0)
    with torch.no_grad():
        drawn = draw_all(model, x, 7, 2, 3, stream, None)
        table = log_prob_table(model, drawn)
        assert drawn.order == [2, 1, 0]
        for sample in range(2):
            for at in range(7):
                values = [drawn.values[level][sample, at : at + 1] for level in drawn.order]
                for n in range(7):
                    latents = drive(model.walk(x[n : n + 1]), given(values)).latents
                    terms: list[Tensor] = []
                    for level in drawn.order:
                        posterior = latents[level].posterior
                        assert posterior is not None
                        terms.append(posterior.log_prob(latents[level].value))
                    torch.testing.assert_close(table[:, sample, at, n], torch.stack(terms).cumsum(0)[:, 0])


def test_examples_are_spread_over_the_data_and_the_seed_decides() -> None:
    oracle = linear_gaussian.arbitrary(2, priors=True)
    x, _, _ = gaussian_data(0)
    model = oracle.model()
    once, again, other = (information_figures(model, x, max_examples=50, seed=seed) for seed in (0, 0, 1))
    assert once == again != other
    assert once[0].num_examples == 50
    stream = torch.Generator().manual_seed(0)
    drawn = draw_all(model, x, 50, 1, 30, stream, None)
    assert torch.equal(torch.cat(drawn.x), x[::8])
    assert sum(len(batch) for batch, _ in examples_of(model, x, 30, stream.device)) == N


def test_a_split_names_itself_and_saturation_is_told() -> None:
    oracle = linear_gaussian.arbitrary(1, priors=False)
    x, _, _ = gaussian_data(0, rows=60)
    split = data.load((100 * x).float(), scaling="none").train
    found = by_name(information_figures(oracle.model().float(), split))
    assert found["I(x; z)"].split == "train"
    assert "none" not in found["I(x; z)"].protocol
    assert "cannot show more information than 3.9 nats" in (found["I(x; z)"].warning or "")
    assert "gap is at most this" in (found["KL(q(z) ‖ p(z))"].warning or "")
    assert found["KL(q(z) ‖ p(z))"].details["at_least"] >= 0


def test_what_is_wrong_is_refused() -> None:
    oracle = linear_gaussian.arbitrary(2, priors=False)
    x, _, _ = gaussian_data(0, rows=20)
    for name in ("max_examples", "num_samples", "batch_size"):
        with pytest.raises(ValueError, match=f"{name} must be at least 1; received 0"):
            information_figures(oracle.model(), x, **{name: 0})
    with pytest.raises(ValueError, match="inner_samples must be at least 2"):
        information_figures(oracle.model(), x, inner_samples=1)
    with pytest.raises(ValueError, match="at least 2 examples"):
        information_figures(oracle.model(), x[:1])
    model = oracle.model()
    with torch.no_grad():
        next(model.encoders.parameters()).fill_(math.nan)
    with pytest.raises(FloatingPointError, match="not finite at 20 examples"):
        information_figures(model, x)


def test_a_flow_posterior_has_a_density_at_anothers_draw() -> None:
    """Its information is what is left of the sampled KL once the gap is taken off."""
    pytest.importorskip("zuko")
    posterior = FlowPosterior(2, context=4)
    model = VAE(VAEConfig(encoders=[Linear(FEATURES, 8)], decoders=[Linear(2, FEATURES)], posterior=posterior))
    x, _, _ = gaussian_data(0, rows=60)
    told, gap = information_figures(model, x.float(), num_samples=20)
    cost = model.elbo(x.float(), 2000, generator=torch.Generator().manual_seed(1)).kl[0]
    assert told.standard_error is not None
    assert gap.standard_error is not None
    assert abs(told.value + gap.value - float(cost.detach())) < 4 * (told.standard_error + gap.standard_error)


def test_a_conditional_model_is_told_its_labels() -> None:
    model, split = ConditionalGaussian(), labelled().test
    found = by_name(information_figures(model, split, num_samples=50))
    by_hand = information_figures(model, split.tensor(), num_samples=50, condition=split.labels)
    assert found["I(x; z)"].value == by_hand[0].value
    with pytest.raises(ValueError, match="give condition="):
        information_figures(model, split.tensor())


def test_averages_by_hand() -> None:
    """log q(z) over all examples and over the others, of three examples with densities in sight."""
    density = torch.tensor([[0.5, 0.2, 0.1], [0.3, 0.8, 0.4], [0.1, 0.1, 0.9]], dtype=torch.float64)
    own, of_all, of_others = (part[0, 0].exp() for part in averages(density.log()[None, None]))
    torch.testing.assert_close(own, density.diagonal())
    torch.testing.assert_close(of_all, torch.tensor([0.8, 1.5, 1.1]).double() / 3)
    torch.testing.assert_close(of_others, torch.tensor([0.3, 0.7, 0.2]).double() / 2)
