from __future__ import annotations

import json
import math
from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations

import lucid.nn
from lucid.io import build, describe, register
from lucid.io.torch_layers import CONTAINERS, LAYERS

if TYPE_CHECKING:
    from types import SimpleNamespace
from typing import NamedTuple

LAYER_EXAMPLES = [
    nn.Identity(),
    nn.Linear(3, 2),
    nn.Linear(3, 2, bias=False),
    nn.Bilinear(2, 3, 4, bias=False),
    nn.Embedding(5, 3, padding_idx=1, max_norm=2.0, norm_type=1.0, scale_grad_by_freq=True, sparse=True),
    nn.Conv1d(2, 4, 3, stride=2, padding=1, dilation=2, groups=2, bias=False, padding_mode="circular"),
    nn.Conv2d(2, 4, (3, 5), padding="same"),
    nn.Conv3d(1, 2, 3, padding=(1, 0, 2)),
    nn.ConvTranspose1d(2, 4, 3, stride=2, padding=1, output_padding=1, groups=2, dilation=2),
    nn.ConvTranspose2d(4, 2, (4, 2), stride=(2, 1), bias=False),
    nn.ConvTranspose3d(1, 1, 2),
    *(nn.ReLU(inplace=True), nn.ReLU6(), nn.SELU(), nn.SiLU(True), nn.Mish(), nn.Hardsigmoid(), nn.Hardswish()),
    *(nn.Sigmoid(), nn.Tanh(), nn.LogSigmoid(), nn.Softsign(), nn.Tanhshrink(), nn.Softmax2d()),
    *(nn.Softmax(1), nn.Softmin(0), nn.LogSoftmax(dim=-1), nn.GLU(1), nn.ELU(0.5, True), nn.CELU(2.0)),
    *(nn.Hardshrink(0.2), nn.Softshrink(0.3), nn.GELU("tanh"), nn.LeakyReLU(0.3), nn.RReLU(0.1, 0.2), nn.PReLU(3)),
    *(nn.Softplus(2.0, 5.0), nn.Hardtanh(-2.0, 3.0), nn.Threshold(0.1, 20.0)),
    nn.BatchNorm1d(3),
    nn.BatchNorm2d(3, eps=1e-3, momentum=None, affine=False),
    nn.BatchNorm3d(3, track_running_stats=False),
    nn.InstanceNorm1d(3),
    nn.InstanceNorm2d(3, affine=True, track_running_stats=True),
    nn.InstanceNorm3d(3),
    nn.GroupNorm(2, 4),
    nn.GroupNorm(2, 4, affine=False),
    nn.LayerNorm((3, 4), eps=1e-6),
    nn.LayerNorm(3, elementwise_affine=False),
    nn.LayerNorm(3, bias=False),
    *(nn.RMSNorm(4), nn.RMSNorm((2, 3), eps=1e-5, elementwise_affine=False), nn.LocalResponseNorm(2, 0.1, 0.5, 2.0)),
    *(nn.Dropout(0.1, True), nn.Dropout1d(0.2), nn.Dropout2d(0.3), nn.Dropout3d(0.4)),
    *(nn.AlphaDropout(0.1), nn.FeatureAlphaDropout(0.2)),
    *(nn.Flatten(2, 3), nn.Unflatten(1, (2, 3)), nn.Unflatten(1, torch.Size([2, 3]))),
    *(nn.Fold((4, 5), (2, 2)), nn.Unfold(3, 1, 1, 2)),
    *(nn.PixelShuffle(2), nn.PixelUnshuffle(3), nn.ChannelShuffle(2)),
    *(nn.Upsample(size=(3, 4)), nn.Upsample(scale_factor=(2.0, 3.0), mode="bilinear", align_corners=True)),
    *(nn.UpsamplingNearest2d(size=3), nn.UpsamplingBilinear2d(scale_factor=2)),
    *(nn.MaxPool1d(2, 1, 1, 2, True, True), nn.MaxPool2d((2, 3)), nn.MaxPool3d(2)),
    *(nn.AvgPool1d(2, 1, 1, True, False), nn.AvgPool2d(2, divisor_override=3), nn.AvgPool3d((1, 2, 3))),
    *(nn.LPPool1d(2, 3, 1, True), nn.LPPool2d(1.5, 2), nn.LPPool3d(2, 2)),
    *(nn.AdaptiveAvgPool1d(3), nn.AdaptiveAvgPool2d((3, None)), nn.AdaptiveAvgPool3d(1)),
    *(nn.AdaptiveMaxPool1d(3, True), nn.AdaptiveMaxPool2d((3, 4)), nn.AdaptiveMaxPool3d(1)),
    *(nn.ZeroPad1d(1), nn.ZeroPad2d((1, 2, 3, 4)), nn.ZeroPad3d(1)),
    *(nn.ReflectionPad1d(1), nn.ReflectionPad2d(2), nn.ReflectionPad3d(1)),
    *(nn.ReplicationPad1d((1, 0)), nn.ReplicationPad2d(1), nn.ReplicationPad3d(1)),
    *(nn.CircularPad1d(1), nn.CircularPad2d(1), nn.CircularPad3d(1)),
    *(nn.ConstantPad1d(1, 0.5), nn.ConstantPad2d(2, -1.0), nn.ConstantPad3d(1, 3.0)),
    lucid.nn.Rescale(2.0, -1.0),
    lucid.nn.Residual(nn.Sequential(nn.Linear(2, 2), nn.Tanh())),
    lucid.nn.ResizeConv2d(2, 3, (5, 7)),
]


def through_json(value: object) -> object:
    return json.loads(json.dumps(value, allow_nan=False))


@pytest.mark.parametrize("layer", LAYER_EXAMPLES, ids=lambda layer: str(layer)[:60].replace("\n", ""))
def test_every_layer_comes_back_with_its_attributes(layer: nn.Module) -> None:
    rebuilt = build(through_json(describe(layer)))
    assert type(rebuilt) is type(layer)
    assert plain_attributes(rebuilt) == plain_attributes(layer)
    assert {k: v.shape for k, v in rebuilt.state_dict().items()} == {k: v.shape for k, v in layer.state_dict().items()}


def plain_attributes(layer: nn.Module) -> dict[str, tuple[type, object]]:
    """Every attribute that is not a tensor or module: more than repr shows, types included."""
    return {name: (type(v), v) for name, v in vars(layer).items() if not name.startswith("_")}


def test_no_layer_of_the_table_goes_untested() -> None:
    tested = {type(layer) for layer in LAYER_EXAMPLES}
    assert {name for name, (cls, _) in LAYERS.items() if cls not in tested} == set()


@pytest.mark.skipif("bias" not in nn.GroupNorm.__init__.__annotations__, reason="this PyTorch's norms take no bias")
def test_norms_without_their_bias() -> None:
    for layer in (nn.GroupNorm(2, 4, bias=False), nn.BatchNorm2d(3, bias=False)):  # pyright: ignore[reportCallIssue]
        rebuilt = build(describe(layer))
        assert rebuilt.bias is None
        assert rebuilt.weight is not None


def test_norms_with_their_bias_do_not_say_so() -> None:
    """An older PyTorch, whose norms have no such argument, must be able to build them."""
    for layer in (nn.BatchNorm2d(3), nn.GroupNorm(2, 4), nn.InstanceNorm1d(3), nn.LayerNorm(3)):
        assert "bias" not in describe(layer)
    assert describe(nn.Linear(2, 2))["bias"] is True


def test_containers_keep_names_order_and_nesting() -> None:
    net = nn.Sequential(
        OrderedDict(
            stem=nn.Linear(2, 3),
            body=nn.ModuleDict({"b": nn.ReLU(), "a": nn.ModuleList([nn.Tanh(), nn.Sequential()])}),
        )
    )
    rebuilt = build(through_json(describe(net)))
    assert repr(rebuilt) == repr(net)
    assert list(rebuilt.body) == ["b", "a"]
    assert list(rebuilt.state_dict()) == list(net.state_dict())
    assert set(CONTAINERS) == {"torch.nn.Sequential", "torch.nn.ModuleList", "torch.nn.ModuleDict"}


@pytest.mark.parametrize(
    "value",
    [
        None,
        True,
        3,
        -(10**30),
        2.5,
        1.0,
        float("inf"),
        -math.inf,
        "text",
        [],
        [1, [2.0]],
        (),
        (1, (2, [3])),
        torch.Size([2, 3]),
        {"a": (1,), "class": [1]},
        {},
    ],
    ids=repr,
)
def test_plain_values_come_back_with_their_types(value: object) -> None:
    back = build(through_json(describe(value)))
    assert back == value
    assert repr(back) == repr(value)
    assert type(back) is type(value)


def test_nan_comes_back() -> None:
    assert math.isnan(build(through_json(describe(float("nan")))))


def test_registered_objects_come_back_equal(toy: SimpleNamespace) -> None:
    protocol = toy.Protocol(17, (0.5, float("-inf")))
    assert describe(protocol)["class"] == "IoTestProtocol"
    assert build(through_json(describe(protocol))) == protocol


def test_a_model_of_a_registered_class_comes_back(toy: SimpleNamespace) -> None:
    model = toy.make(beta_schedule=toy.Ramp(10), priors=[nn.Linear(2, 4)])
    rebuilt = build(through_json(describe(model)))
    assert repr(rebuilt) == repr(model)
    assert rebuilt.config.beta_schedule == toy.Ramp(10)
    assert rebuilt.encoders[0] is rebuilt.config.encoders[0]


def test_a_shared_module_is_one_object_again(toy: SimpleNamespace) -> None:
    shared, act = nn.Linear(3, 3), nn.Tanh()
    model = toy.make(encoders=[nn.Sequential(shared, act, shared)], decoders=[shared, nn.Sequential(act)])
    description = describe(model)
    assert json.dumps(description).count('"torch.nn.Linear"') == 1
    rebuilt = build(through_json(description))
    assert rebuilt.encoders[0][0] is rebuilt.encoders[0][2] is rebuilt.decoders[0]
    assert rebuilt.encoders[0][1] is rebuilt.decoders[1][0]
    assert rebuilt.encoders[0][0] is not rebuilt.encoders[0][1]


def hooked() -> nn.Module:
    layer = nn.Linear(2, 2)
    layer.register_forward_hook(lambda *_: None)
    return layer


def pre_hooked() -> nn.Module:
    layer = nn.ReLU()
    layer.register_forward_pre_hook(lambda *_: None)
    return layer


def backward_hooked() -> nn.Module:
    layer = nn.Sequential(nn.Linear(2, 2))
    layer.register_full_backward_hook(lambda *_: None)
    return layer


def with_forward_replaced() -> nn.Module:
    layer = nn.Linear(2, 2)
    layer.forward = lambda x: x  # pyright: ignore[reportAttributeAccessIssue]
    return layer


def with_weight_replaced() -> nn.Module:
    layer = nn.Linear(2, 2)
    layer.weight = nn.Parameter(torch.ones(5, 2))
    return layer


def with_a_child() -> nn.Module:
    layer = nn.Tanh()
    layer.extra = nn.ReLU()
    return layer


def container_with_a_parameter() -> nn.Module:
    layer = nn.Sequential(nn.ReLU())
    layer.register_parameter("gain", nn.Parameter(torch.ones(1)))
    return layer


class Pair(NamedTuple):
    a: int
    b: int


class Named(nn.Sequential):
    """Exactly the class counts: a subclass may do anything."""


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (hooked, "hooks"),
        (pre_hooked, "hooks"),
        (backward_hooked, "hooks"),
        (lambda: parametrizations.weight_norm(nn.Linear(2, 2)), "parametrisations"),
        (lambda: parametrizations.spectral_norm(nn.Conv2d(1, 1, 1)), "parametrisations"),
        (with_forward_replaced, "'forward' was replaced"),
        (with_weight_replaced, "not those its constructor arguments make"),
        (with_a_child, "not what its constructor arguments make"),
        (container_with_a_parameter, "tensors of its own"),
        (lambda: Named(nn.ReLU()), "not registered"),
        (lambda: nn.LazyLinear(3), "not registered"),
        (lambda: nn.LSTM(2, 3), "not registered"),
        (lambda: print, "a function"),
        (lambda: torch.ones(2), "not registered"),
        (lambda: {1: 2}, "keys that are not str"),
        (lambda: Pair(1, 2), "not registered"),
        (lambda: int, "not registered"),
    ],
)
def test_what_cannot_be_rebuilt_is_opaque_with_a_reason(make, reason: str) -> None:
    entry = describe([nn.ReLU(), make()])[1]
    assert entry["class"] == "opaque"
    assert reason in entry["reason"]


def test_opaque_types_are_named(toy: SimpleNamespace) -> None:
    def schedule(step: int) -> float:
        return 1.0

    assert describe(toy.Foreign())["type"].endswith("conftest.Foreign")
    assert describe(schedule)["type"].endswith("test_opaque_types_are_named.<locals>.schedule")
    assert describe(math.sqrt)["type"] == "math.sqrt"


def test_only_the_part_that_is_opaque_is_opaque(toy: SimpleNamespace) -> None:
    description = describe(toy.make(encoders=[nn.Sequential(nn.Linear(3, 3), toy.Foreign()), nn.ReLU()]))
    first, second = description["config"]["encoders"]
    assert first["modules"]["0"]["class"] == "torch.nn.Linear"
    assert first["modules"]["1"]["class"] == "opaque"
    assert second["class"] == "torch.nn.ReLU"


def test_a_part_of_an_opaque_composite_is_described_where_it_occurs_again() -> None:
    inner = nn.Linear(2, 2)
    changed = lucid.nn.Residual(inner)
    changed.register_parameter("gain", nn.Parameter(torch.ones(1)))
    description = describe([changed, inner])
    assert description[0]["class"] == "opaque"
    assert description[1] == describe(nn.Linear(2, 2))


def test_a_model_changed_after_construction_is_opaque(toy: SimpleNamespace) -> None:
    model = toy.make()
    model.decoders[0] = nn.Linear(4, 7)  # the configuration still holds the old one
    assert describe(model)["class"] == "opaque"


def test_describing_leaves_the_random_state_and_the_model_alone(toy: SimpleNamespace) -> None:
    model = toy.make()
    state, weights = torch.get_rng_state(), {k: v.clone() for k, v in model.state_dict().items()}
    build(describe(model))
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(weights[name], item) for name, item in model.state_dict().items())


def test_nesting_is_bounded() -> None:
    net: nn.Module = nn.Identity()
    for _ in range(64):
        net = nn.Sequential(net)
    assert repr(build(describe(net))) == repr(net)
    with pytest.raises(ValueError, match="nested more than 64 levels deep, or contains itself"):
        describe(nn.Sequential(net))
    loop: list[object] = []
    loop.append(loop)
    with pytest.raises(ValueError, match="contains itself"):
        describe(loop)


def test_register_refuses_two_classes_of_one_name() -> None:
    def make() -> type:
        @dataclass(frozen=True)
        class IoTestTwice:
            a: int

        return IoTestTwice

    first = make()
    assert register(first) is first
    assert register(first) is first
    with pytest.raises(ValueError, match=r"two classes are named 'IoTestTwice'.*rename one"):
        register(make())


def test_a_notebook_cell_may_be_run_again() -> None:
    for default in (1, 2):
        cls = type("IoTestCell", (), {"__module__": "__main__", "default": default})
        register(cls)
    assert build({"class": "IoTestCell"}).default == 2


def test_register_refuses_what_cannot_be_read_back() -> None:
    class IoTestStar:
        def __init__(self, *layers: nn.Module) -> None:
            self.layers = layers

    with pytest.raises(TypeError, match=r"takes \*layers.*names each of its arguments"):
        register(IoTestStar)
    with pytest.raises(TypeError, match="register takes a class; received 3"):
        register(3)
    with pytest.raises(ValueError, match="cannot be registered as 'tuple'"):
        register(tuple)


def test_a_registered_class_must_keep_its_arguments() -> None:
    @register
    class IoTestForgetful:
        def __init__(self, width: int) -> None:
            self.size = width

    with pytest.raises(TypeError, match="must keep its constructor argument 'width' as an attribute"):
        describe(IoTestForgetful(3))


def test_a_subclass_of_a_registered_class_is_not_registered(toy: SimpleNamespace) -> None:
    @dataclass(frozen=True)
    class Louder(toy.Ramp):
        pass

    assert describe(Louder(3))["class"] == "opaque"


def test_all_layers_of_lucid_are_known() -> None:
    for name in lucid.nn.layers.__all__:
        with pytest.raises(ValueError, match=f"{name} takes no 'nonsense' here"):
            build({"class": name, "nonsense": 1})
