"""Fitting a prior to a trained model: against the closed form, and leaving everything else as it was."""

from __future__ import annotations

import copy
import math
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
from tests.linear_gaussian import arbitrary, randn
from torch import Tensor

import lucid
from lucid import nn
from lucid.distributions import (
    DiagonalGaussian,
    DiagonalPosterior,
    FullCovariancePosterior,
    MixturePrior,
    Prior,
    StandardNormalPrior,
)
from lucid.evaluation import aggregate_gap
from lucid.models import VAE, LadderVAE, LatentModel, TopDownVAE, VAEConfig
from lucid.training import fit_prior


def data(rows: int = 600) -> Tensor:
    """Two heaps, of which an encoder that is linear makes two heaps of latents."""
    x = 0.3 * randn(rows, 5, seed=1)
    x[: rows // 2, 0] += 4
    return x[randn(rows, seed=2).argsort()].float()


def make(**more: object) -> VAE:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        encoder = nn.Linear(5, 4)
        with torch.no_grad():
            encoder.weight[2:].mul_(0.1)
            encoder.bias[2:].fill_(-3.0)
        return VAE(VAEConfig(encoders=[encoder], decoders=[nn.Linear(2, 5)], **more))  # pyright: ignore[reportArgumentType]


def test_the_best_gaussian_is_found() -> None:
    """Of E_q log N(z; μ, σ²) the maximum is at the moments of q(z): A m + a, and A S Aᵀ + U of the data at hand."""
    oracle = arbitrary(1, priors=False, latents=(2,))
    model = oracle.model().float()
    x = (randn(2000, 5, seed=3) @ (0.6 * randn(5, 5, seed=4)).T + randn(5, seed=5)).float()
    fitted = fit_prior(model, x, prior=MixturePrior(2, components=1), steps=400, learning_rate=0.05)
    dataset = lucid.data.load(x)
    train = torch.cat(list(dataset.train.batches(500))).double()
    q = oracle.encoders[0]
    z = train @ q.weight.T + q.bias
    variance = z.var(0) + q.logvar.exp()
    prior = model.top_prior
    assert isinstance(prior, MixturePrior)
    # z is drawn anew in each pass: the least squares of a pass has the standard error of one, and Adam's wobble.
    error = (variance / len(train)).sqrt()
    assert bool(((prior.loc[0] - z.mean(0)).abs() < 4 * error + 0.02).all())
    assert bool(((prior.logvar[0].exp() / variance - 1).abs() < 0.1).all())
    assert fitted.gain > 0


def test_what_the_bound_gains_is_what_the_gap_loses() -> None:
    x = data()
    model = make()
    before_elbo = model.elbo(x, 200, generator=torch.Generator().manual_seed(0))
    before = aggregate_gap(model, x, num_samples=8)
    fitted = fit_prior(model, x, prior="mixture", steps=150)
    after_elbo = model.elbo(x, 200, generator=torch.Generator().manual_seed(0))
    after = aggregate_gap(model, x, num_samples=8)
    gained = float(after_elbo.value.detach() - before_elbo.value.detach())
    assert gained > 1.0
    assert before.gap.value - after.gap.value == pytest.approx(gained, abs=0.1)
    assert after.information.value == pytest.approx(before.information.value, abs=1e-6)
    assert 0 < fitted.gain <= before.gap.value + 4 * before.gap.standard_error
    assert fitted.model is model
    assert fitted.history[-1][0] == fitted.steps == 150
    assert max(value for _, value in fitted.history) == fitted.after


@pytest.mark.parametrize("prior", ["mixture", "vamp", "flow"])
def test_nothing_else_changes_and_the_result_can_be_saved(prior: str, tmp_path: Path) -> None:
    if prior == "flow" and find_spec("zuko") is None:
        pytest.skip("flows need zuko")
    x = data()
    model = make().train()
    state = copy.deepcopy(model.state_dict())
    fitted = fit_prior(model, x, prior=prior, steps=20)
    assert fitted.after > fitted.history[0][1] or fitted.best_step == 0
    for name, value in state.items():
        if name != "latent_shapes":
            assert torch.equal(model.state_dict()[name], value), name
    assert all(parameter.requires_grad for parameter in model.parameters())
    assert model.training
    lucid.save(model, tmp_path / "model")
    loaded = lucid.load(tmp_path / "model")
    assert isinstance(loaded, VAE)
    assert type(loaded.top_prior) is type(model.top_prior)
    sampled = [one.sample(4, generator=torch.Generator().manual_seed(1)) for one in (model, loaded)]
    assert torch.equal(*sampled)


def test_the_seed_decides() -> None:
    found = [fit_prior(make(), data(), steps=10, seed=seed).history for seed in (0, 0)]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(5)  # the means of a mixture start at latents, whatever it was initialised with
        found.append(fit_prior(make(), data(), steps=10, seed=0).history)
    assert found[0] == found[1] == found[2]
    assert fit_prior(make(), data(), steps=10, seed=1).history != found[0]


def test_the_prior_that_did_best_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    looks = iter([0.0, 1.0, *[-float(n) for n in range(100)]])
    states: list[Tensor] = []

    def measure(self: object, _z: object) -> float:
        states.append(self.prior.loc.detach().clone())  # pyright: ignore[reportAttributeAccessIssue]
        return next(looks)

    module = sys.modules["lucid.training.fit_prior"]  # the room exports the function under the same name
    monkeypatch.setattr(module._Fitting, "_measure", measure)
    model = make()
    fitted = fit_prior(model, data(200), steps=50)
    assert (fitted.best_step, fitted.after) == (2, 1.0)
    assert isinstance(model.top_prior, MixturePrior)
    assert torch.equal(model.top_prior.loc, states[1])
    assert not torch.equal(states[1], states[-1])


def families() -> dict[str, LatentModel]:
    def linear(into: int, out: int) -> nn.Module:
        return nn.Linear(into, out)

    chain = VAEConfig(
        encoders=[linear(5, 6), linear(3, 4)], decoders=[linear(2, 5), linear(2, 2)], priors=[linear(2, 6)]
    )
    ladder = VAEConfig(
        encoders=[linear(5, 6), linear(3, 4)], decoders=[linear(3, 5), linear(2, 3)], priors=[linear(2, 6)]
    )
    full = VAEConfig(encoders=[linear(5, 5)], decoders=[linear(2, 5)], posterior=FullCovariancePosterior())
    plain = VAEConfig(encoders=[linear(5, 4)], decoders=[linear(2, 5)], posterior=DiagonalPosterior())
    return {"chain": VAE(chain), "ladder": LadderVAE(ladder), "full": VAE(full), "plain": VAE(plain)}


@pytest.mark.parametrize("name", ["chain", "ladder", "full", "plain"])
@pytest.mark.parametrize("prior", ["mixture", "vamp"])
def test_every_family_takes_a_prior(name: str, prior: str) -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = families()[name]
    fitted = fit_prior(model, data(200), prior=prior, steps=5)
    assert math.isfinite(fitted.gain)
    assert model.sample(3, generator=torch.Generator().manual_seed(0)).shape == (3, 5)
    assert bool(model.elbo(data(20)).value.detach().isfinite())


def test_a_top_down_model_takes_a_prior_and_is_saved_with_it(tmp_path: Path) -> None:
    from lucid.models import create

    digits = lucid.data.load("digits", validation=100)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = create("topdown", digits)
        with torch.no_grad():  # a new one's posteriors are N(0, I), which no other prior fits better
            far = MixturePrior((16, 1, 1), components=1)
            far.loc.fill_(5.0)
    assert isinstance(model, TopDownVAE)
    model.set_top_prior(far)
    fitted = fit_prior(model, torch.cat(list(digits.validation.batches(100))), prior="mixture", steps=3)
    assert fitted.better
    assert model.top_prior is not far
    lucid.save(model, tmp_path / "model")
    loaded = lucid.load(tmp_path / "model")
    assert isinstance(loaded, LatentModel)
    sampled = [one.sample(2, generator=torch.Generator().manual_seed(1)) for one in (model, loaded)]
    assert torch.equal(*sampled)
    model.set_top_prior(None)  # as a fit that gains nothing does
    lucid.save(model, tmp_path / "again")
    assert isinstance(lucid.load(tmp_path / "again"), TopDownVAE)


def test_a_prior_that_is_no_better_is_not_taken() -> None:
    """The same density at the same draws gains exactly nothing, and nothing is no gain."""
    model = make()
    fitted = fit_prior(model, data(200), prior=StandardNormalPrior())
    assert (fitted.gain, fitted.gain_error, fitted.better) == (0.0, 0.0, False)
    assert model.top_prior is None
    good = fit_prior(model, data(200), steps=100)
    kept = model.top_prior
    assert good.better
    worse = fit_prior(model, data(200), prior=StandardNormalPrior())
    assert worse.gain < -4 * worse.gain_error < 0
    assert model.top_prior is kept
    assert model.config.top_prior is kept


def test_the_gain_is_the_difference_at_the_same_draws() -> None:
    """N(μ, I) gives z more than N(0, I) does by μ·z − ‖μ‖²/2: known as well as μ·z is, however log p(z) spreads."""
    x, model = data(400), make()
    dataset = lucid.data.load(x)
    held_out = torch.cat(list(dataset.validation.batches(100)))
    z = model.embed(held_out)
    mean = 1e-3 * z.mean(0)
    fitted = fit_prior(model, dataset, prior=_Shifted(mean))
    assert isinstance(model.top_prior, _Shifted)  # it has nothing to learn, and is better as it is
    assert fitted.split == "validation"
    assert fitted.gain == pytest.approx(float(mean @ z.mean(0) - mean @ mean / 2), abs=4 * fitted.gain_error)
    # Draws spread a little more than the means that are drawn around.
    expected = float((z @ mean).std()) / math.sqrt(len(z))
    assert expected < fitted.gain_error < 1.5 * expected
    assert fitted.gain == pytest.approx(fitted.after - fitted.before, abs=1e-9)
    assert fit_prior(make(), lucid.data.load(x, validation=0), steps=1).split == "train"


def test_wrong_settings_are_refused_and_a_failed_fit_leaves_the_old_prior() -> None:
    model = make()
    for setting in ("steps", "batch_size", "learning_rate"):
        with pytest.raises(ValueError, match=f"{setting} must be positive; received 0"):
            fit_prior(model, data(200), **{setting: 0})
    with pytest.raises(ValueError, match="there is no prior 'cauchy'; there are standard, mixture, vamp, flow"):
        fit_prior(model, data(200), prior="cauchy")

    class Broken(StandardNormalPrior):
        def forward(self, like: Tensor, infer: object = None) -> object:  # pyright: ignore[reportIncompatibleMethodOverride]
            return _NaN(like)

    old = MixturePrior(2, components=3)
    model.set_top_prior(old)
    broken: Prior = Broken()
    with pytest.raises(FloatingPointError, match=r"log p\(z\) of the Broken is nan: the fit diverged"):
        fit_prior(model, data(200), prior=broken)
    assert model.top_prior is old
    assert all(parameter.requires_grad for parameter in model.parameters())


class _Shifted(StandardNormalPrior):
    """N(μ, I), for a μ that is known."""

    def __init__(self, mean: Tensor) -> None:
        super().__init__()
        self.mean = mean

    def forward(self, like: Tensor, infer: object = None) -> DiagonalGaussian:  # pyright: ignore[reportIncompatibleMethodOverride]
        return DiagonalGaussian(self.mean.expand_as(like), torch.zeros_like(like))


class _NaN(torch.distributions.Distribution):
    """A density that is not a number."""

    def __init__(self, like: Tensor) -> None:
        super().__init__(like.shape[:1], like.shape[1:], validate_args=False)

    def log_prob(self, value: Tensor) -> Tensor:
        return value.flatten(-1).sum(-1) * math.nan
