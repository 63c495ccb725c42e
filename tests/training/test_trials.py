"""Trials change one thing about a run, and nothing else: schedules, isolated levels, latents without an encoder."""

from __future__ import annotations

import pytest
import torch
from tests.training.helpers import dataset, vae

from lucid import nn
from lucid.evaluation import measure_carried, measure_use
from lucid.models import VAE, LadderVAE, VAEConfig, draws, drive
from lucid.objectives import ELBO, FreeBits, Linear
from lucid.training import Rescheduled, Settings, Trials, fresh_copy, introduction, level_weight
from lucid.training.introduce import squeezed
from lucid.training.isolated import Isolated


def ladder() -> LadderVAE:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return LadderVAE(
            VAEConfig(
                encoders=[nn.Linear(6, 4), nn.Linear(2, 4)],
                decoders=[nn.Linear(2, 6), nn.Linear(2, 2)],
                priors=[nn.Linear(2, 4)],
            )
        )


def trials(model: VAE, objective: ELBO | None = None, steps: int = 60) -> Trials:
    settings = Settings(steps=40, batch_size=50, warmup=0, ema=0.9, early_stopping=3)
    return Trials(
        model, lambda: fresh_copy(model), dataset(), objective or ELBO(), settings, total_steps=40, steps=steps
    )


def test_isolated_levels_keep_their_values_and_the_others_get_foreign_ones() -> None:
    model, x = ladder(), torch.randn(5, 6, generator=torch.Generator().manual_seed(0))
    sent: list[torch.Tensor] = []

    def choose(distribution: torch.distributions.Distribution) -> torch.Tensor:
        sent.append(draws(torch.Generator().manual_seed(len(sent)))(distribution))
        return sent[-1]

    record = drive(Isolated(model, [1], (1, 0)).walk(x), choose)
    assert torch.equal(record.latents[1].value, sent[0])
    assert torch.equal(record.latents[0].value, sent[1].roll(1, 0))
    whole = drive(Isolated(model, [0, 1], (1, 0)).walk(x), draws(torch.Generator().manual_seed(0)))
    plain = drive(model.walk(x), draws(torch.Generator().manual_seed(0)))
    assert torch.equal(whole.elbo(), plain.elbo())
    # Nothing of an example reaches the decoder where no level is its own; the data's own draws come from no posterior.
    batches = [(x, None)]
    assert measure_carried(Isolated(model, [], (1, 0)), batches).nats != measure_carried(model, batches).nats
    assert drive(Isolated(model, [], (1, 0)).walk(num_examples=3), draws()).params.shape == (3, 6)


def test_no_live_level_carries_nothing() -> None:
    # In expectation over the batch a foreign latent is a foreign latent, whichever example it came from.
    model, x = ladder(), torch.randn(4000, 6, generator=torch.Generator().manual_seed(1))
    carried = measure_carried(Isolated(model, [], (1, 0)), [(x, None)])
    assert abs(carried.nats) < 4 * carried.error
    assert not carried.anything


def test_a_rescheduled_objective_is_the_objective_at_another_beta() -> None:
    record = drive(vae().walk(torch.randn(5, 6)), draws())
    for objective in (ELBO(7.0, spread=True), FreeBits(0.5)):
        other = Rescheduled(objective, Linear(steps=10))
        assert [other.beta(step) for step in (0, 5, 20)] == [0.0, 0.5, 1.0]
        assert torch.equal(other(record, 0.5).loss, objective(record, 0.5).loss)


def test_schedules_of_trials() -> None:
    schedule = introduction(100, 2.0)
    assert [schedule(step) for step in (0, 19, 20, 35, 50, 99)] == [0.0, 0.0, 0.0, 1.0, 2.0, 2.0]
    fast = squeezed(ELBO(Linear(steps=1000)), 1000, 100)
    assert fast.beta(49) == pytest.approx(0.499)
    assert fast.beta(99) == pytest.approx(0.999)
    assert squeezed(ELBO(Linear(steps=1000)), 50, 100).beta(20) == pytest.approx(0.02)  # never slower


def test_the_weight_of_a_level() -> None:
    assert level_weight(ELBO(4.0), 4.0, 2) == 4.0
    assert level_weight(ELBO(4.0, spread=True), 4.0, 2) == 2.0
    assert level_weight(FreeBits(0.5), 1.0, 2) is None


def test_a_fresh_copy_is_the_architecture_with_the_weights_of_its_seed() -> None:
    model = vae(seed=5)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    state = torch.get_rng_state()
    one, same, other = fresh_copy(model), fresh_copy(model), fresh_copy(model, seed=1)
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    weights = [copy.state_dict()["encoders.0.0.weight"] for copy in (one, same, other, model)]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])
    assert not torch.equal(weights[0], weights[3])
    assert repr(one) == repr(model)


def test_modules_of_ones_own_are_copied_and_their_layers_drawn_anew() -> None:
    class Own(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(6, 4)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.layer(x)

    model = VAE(VAEConfig(encoders=[Own()], decoders=[nn.Linear(2, 6)]))
    one, same = fresh_copy(model), fresh_copy(model)
    assert isinstance(one, VAE)
    assert isinstance(one.encoders[0], Own)
    weights = [copy.state_dict()["encoders.0.layer.weight"] for copy in (one, same, model)]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])


def test_a_trial_leaves_the_runs_model_alone_and_says_the_same_each_time() -> None:
    model = vae()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    one, other = (trials(model).introduced() for _ in range(2))
    assert one.use is not None
    assert other.use is not None
    assert one.use.levels == other.use.levels
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_latents_without_an_encoder_serve_a_decoder_that_can_use_them() -> None:
    free = trials(vae(), steps=150).free_latents([0])
    assert free.carried is not None
    assert free.carried.anything
    deaf = nn.Sequential(nn.Linear(3, 1), nn.LayerNorm(1), nn.Linear(1, 6))
    model = VAE(VAEConfig(encoders=[nn.Linear(6, 6)], decoders=[deaf]))
    free = trials(model).free_latents([0])
    assert free.carried is not None
    assert free.carried.nats == pytest.approx(0.0, abs=1e-4)
    assert not free.carries


def test_what_is_measured_is_the_validation_part_up_to_a_limit() -> None:
    model = vae()
    lab = trials(model)
    assert lab.part.part == "validation"
    assert lab.measure(model).num_examples == len(lab.data.validation)
    lab.limit = 7
    assert lab.measure(model).num_examples == 7
    assert lab.measure(model).elbo == pytest.approx(measure_use(model, [(lab.data.validation.tensor(7), None)]).elbo)


def test_settings_that_find_nothing_out_are_refused() -> None:
    with pytest.raises(ValueError, match="steps must be at least 20, for a trial to find anything out; received 3"):
        trials(vae(), steps=3)
    with pytest.raises(TypeError, match="steps must be an int; received '9'"):
        trials(vae(), steps="9")
