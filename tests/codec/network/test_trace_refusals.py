"""What a file cannot hold is refused, in words that say why and what to do."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from lucid.codec import freeze
from lucid.codec.network.graph import Graph
from lucid.codec.network.trace import trace
from lucid.distributions import Categorical, Column, Laplace
from lucid.models import VAE, Condition, DataProtocol, VAEConfig, create

VECTOR = DataProtocol("toy", "vector", (6,), levels=2)


class Written(nn.Module):
    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.layer = nn.Linear(6, 4)
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(self.layer(x))


def model_of(function: Callable[[Tensor], Tensor]) -> VAE:
    encoder = nn.Sequential(nn.ReLU(), Written(function))
    return VAE(VAEConfig(encoders=[encoder], decoders=[nn.Linear(2, 6)], reconstruction_loss="bce"))


def refused(model: nn.Module, x: Tensor) -> str:
    with pytest.raises(ValueError, match=r"a|the") as caught:
        trace(model, x)
    return str(caught.value)


def test_an_operation_that_is_not_known_is_named_with_its_layer() -> None:
    told = refused(model_of(lambda h: h.sort(1).values), torch.rand(3, 6).round())
    assert told.startswith("encoders.0.1 uses the operation sort, which a codec cannot compute in exact integers")
    assert "write the layer with these" in told


def test_what_an_operation_does_not_know_is_named() -> None:
    told = refused(model_of(lambda h: torch.nn.functional.dropout(h, 0.5, training=True)), torch.rand(3, 6).round())
    assert told.startswith("encoders.0.1 uses the operation dropout in training mode, which")


@pytest.mark.parametrize("noise", [lambda h: h + torch.randn(h.shape), lambda h: h * torch.rand_like(h)])
def test_random_numbers(noise: Callable[[Tensor], Tensor]) -> None:
    told = refused(model_of(noise), torch.rand(3, 6).round())
    assert told.startswith("encoders.0.1 draws random numbers")
    assert "Draw in training mode only" in told


@pytest.mark.parametrize("mix", [lambda h: h - h.mean(0), lambda h: h / h.norm(), lambda h: h.flip(0)])
def test_networks_that_mix_the_examples_of_a_batch(mix: Callable[[Tensor], Tensor]) -> None:
    told = refused(model_of(mix), torch.rand(5, 6).round())
    assert "the parameter q0.loc of an example is another where the model sees it alone" in told
    assert "mixes the examples of a batch" in told


def test_numbers_that_are_not_finite_are_not_taken_for_a_mixed_batch() -> None:
    assert "must be finite; received nan in example 2" in refused(
        model_of(torch.tanh), torch.where(torch.arange(5)[:, None] == 2, torch.nan, torch.zeros(5, 6))
    )
    assert "the parameter q0.loc that the model computes is nan" in refused(
        model_of(lambda h: h * torch.nan), torch.rand(5, 6).round()
    )


def test_a_traced_form_that_disagrees_is_said_to(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Graph, "evaluate", _off(Graph.evaluate))
    told = refused(model_of(torch.tanh), torch.rand(5, 6).round())
    assert "of one example is another in the form that was traced than in the model, by up to 1" in told
    assert "batch" not in told


def _off(evaluate: Callable[..., dict[str, Tensor]]) -> Callable[..., dict[str, Tensor]]:
    return lambda graph, inputs: {name: value + 1 for name, value in evaluate(graph, inputs).items()}


def test_no_graph_is_printed_of_a_decision_by_a_value(capfd: pytest.CaptureFixture[str]) -> None:
    refused(model_of(lambda h: h if h.max() > 0 else -h), torch.rand(5, 6).round())
    assert capfd.readouterr() == ("", "")


class Masked(nn.Module):
    def __init__(self, mask: float) -> None:
        super().__init__()
        self.layer, self.mask = nn.Linear(2, 18), mask

    def forward(self, z: Tensor) -> Tensor:
        logits = self.layer(z).unflatten(1, (3, 6))
        return logits.masked_fill(torch.arange(3)[:, None] > 1, self.mask).flatten(1)


@pytest.mark.parametrize("mask", [-1e9, torch.finfo(torch.float32).min, -torch.inf])
def test_logits_may_be_masked_out(mask: float) -> None:
    config = VAEConfig(encoders=[nn.Linear(6, 4)], decoders=[Masked(mask)], likelihood=Categorical(3))
    codec = freeze(VAE(config), torch.rand(20, 6).round() / 2)
    x = torch.rand(50, 6).round() / 2
    again = codec.decompress(codec.compress(x))
    assert isinstance(again, Tensor)
    assert torch.equal(again, x)


def test_batch_statistics() -> None:
    encoder = nn.Sequential(nn.Linear(6, 4), nn.BatchNorm1d(4, track_running_stats=False))
    model = VAE(VAEConfig(encoders=[encoder], decoders=[nn.Linear(2, 6)], reconstruction_loss="bce"))
    with pytest.raises(ValueError, match=r"more than 1 value per channel|measures the batch"):
        trace(model, torch.rand(5, 6).round())


@pytest.mark.parametrize(
    "decide", [lambda h: h if h.max() > 0 else -h, lambda h: h * h.sum().item(), lambda h: h[:, : int(h.sum() > 0) + 4]]
)
def test_decisions_by_values(decide: Callable[[Tensor], Tensor]) -> None:
    told = refused(model_of(decide), torch.rand(5, 6).round())
    assert told.startswith("the model cannot be written down as a graph of operations")
    assert "torch.where" in told


def test_densities_of_continuous_data() -> None:
    protocol = DataProtocol("toy", "vector", (6,))
    told = refused(create("mlp", protocol, size=1), torch.randn(5, 6))
    assert "OptimalScaleGaussian" in told or "Gaussian" in told
    assert "no exact value has a probability" in told
    assert "load(…, levels=256)" in told
    told = refused(create("mlp", protocol, size=1, likelihood=Laplace()), torch.randn(5, 6))
    assert "LaplaceDensity, is a density of continuous numbers" in told


def test_continuous_columns_are_named() -> None:
    schema = Column("height", "real"), Column("visits", "count"), Column("weight", "positive")
    protocol = DataProtocol("toy", "table", (3,), columns=("height", "visits", "weight"), schema=schema)
    told = refused(create("mlp", protocol, size=1), torch.rand(5, 3).round())
    assert "the columns 'height', 'weight' of the table hold continuous numbers" in told
    assert "columns={'height': 'count'}" in told


@pytest.mark.parametrize("part", ["prior", "posterior"])
def test_flows(part: str) -> None:
    pytest.importorskip("zuko")
    told = refused(create("mlp", VECTOR, size=1, latents=4, **{part: "flow"}), torch.rand(5, 6).round())
    assert told.startswith(f"the {part} of level 0 is a flow")
    assert "prior='mixture'" in told


def test_a_mixture_of_posteriors_that_are_not_diagonal() -> None:
    model = create("mlp", VECTOR, size=1, latents=4, prior="vamp", posterior="full")
    assert "leave posterior out, or choose MixturePrior" in refused(model, torch.rand(5, 6).round())


def test_conditions() -> None:
    model = create("topdown", VECTOR, condition=Condition(num_classes=3))
    told = refused(model, torch.rand(5, 6).round())
    assert "takes a condition with every example, labels" in told
    assert "Train one without a condition" in told
