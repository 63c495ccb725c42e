"""The proof: the ELBO that `evaluate` reports and the size of the file that the codec writes are the same number.

A file is one draw of the latents. All 1,797 digits are compressed, those of training too, so that its noise is small.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch

from lucid.codec import freeze
from lucid.data import Dataset, load
from lucid.evaluation import evaluate
from lucid.models import LatentModel, Stage, TopDownConfig, TopDownVAE, create
from lucid.training import fit


def chain(data: Dataset) -> LatentModel:
    return create("mlp", data)


def ladder(data: Dataset) -> LatentModel:
    return create("ladder", data, size=1, latents=1)


def twenty_levels(data: Dataset) -> LatentModel:
    from lucid.distributions import DiscretisedLogistic

    stages = (Stage((2, 2), 12, 2, blocks=10, encoder_blocks=2), Stage((1, 1), 12, 2, blocks=10, encoder_blocks=2))
    return TopDownVAE(TopDownConfig(shape=(1, 8, 8), likelihood=DiscretisedLogistic(17), stages=stages))


def proven(make: Callable[[Dataset], LatentModel], **settings: Any) -> tuple[float, float, LatentModel, Any]:
    """Bits/dim of the file, and of the ELBO that is reported of the same examples."""
    data = load("digits")
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = make(data)
        fit(model, data, progress=False, seed=0, **settings)
    parts = [data.train, data.validation, data.test]
    x = torch.cat([part.tensor() for part in parts])
    assert len(x) == 1797
    codec = freeze(model, data.train, num_examples=128)
    file = codec.compress(x)
    assert torch.equal(codec.decompress(file), x)
    reported = sum(
        evaluate(model, part, num_samples=1, elbo_samples=2, seed=0).elbo.value * len(part.tensor()) for part in parts
    )
    return 8 * len(file) / x.numel(), -reported / math.log(2) / x.numel(), model, codec


def test_the_file_of_the_reference_model_is_its_elbo_within_one_percent() -> None:
    file, bound, _, _ = proven(chain, epochs=30)
    assert bound < 2.4, "the model has learned something: packed bits are 5"
    assert abs(file / bound - 1) < 0.01


@pytest.mark.parametrize(("make", "settings"), [(ladder, {"steps": 100}), (twenty_levels, {"steps": 60})])
def test_hierarchies_too(make: Callable[[Dataset], LatentModel], settings: dict[str, Any]) -> None:
    file, bound, model, codec = proven(make, **settings)
    assert bound < 3.2
    assert abs(file / bound - 1) < 0.01
    if make is twenty_levels:
        assert model.depth == 20
        assert any(bool(latent.grid.shared.any()) for latent in codec.layout.latents), "no latent has collapsed"
