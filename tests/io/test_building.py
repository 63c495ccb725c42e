"""Descriptions that are wrong, hostile, or from somewhere else."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from lucid.io import build, describe
from lucid.io.building import MAX_ENTRIES, construct

if TYPE_CHECKING:
    from types import SimpleNamespace

LINEAR: dict[str, Any] = {"class": "torch.nn.Linear", "in_features": 2, "out_features": 3, "bias": True}


def nested(levels: int) -> object:
    entry: object = 1
    for _ in range(levels):
        entry = [entry]
    return entry


@pytest.mark.parametrize(
    ("description", "message"),
    [
        ({"class": "os.system", "command": "id"}, "'os.system', which is not known here: a newer lucid"),
        ({"class": "torch.nn.Module"}, "'torch.nn.Module', which is not known here"),
        ({"class": "torch.nn.LSTM", "input_size": 2}, "'torch.nn.LSTM', which is not known here"),
        ({"class": "IoTestUnknown", "depth": 2}, "'IoTestUnknown', which is not known here"),
        ({"class": "Sequential"}, "'Sequential', which is not known here"),
        ({}, "has no 'class'"),
        ({"class": 3}, "has no 'class'"),
        ({"class": ["torch.nn.ReLU"]}, "has no 'class'"),
        ([1, {"a": 1}], r"entry '\[1\]' has no 'class'"),
        (LINEAR | {"device": "cuda"}, "torch.nn.Linear takes no 'device' here"),
        (LINEAR | {"dtype": "float64", "x": 1}, "takes no 'dtype', 'x' here"),
        (LINEAR | {"in_features": "many"}, "torch.nn.Linear cannot be built from what the description says"),
        (LINEAR | {"in_features": -1}, "torch.nn.Linear cannot be built"),
        (LINEAR | {"in_features": [2]}, "torch.nn.Linear cannot be built"),
        (LINEAR | {"in_features": 2**62, "out_features": 2**62}, "torch.nn.Linear cannot be built"),
        ({"class": "torch.nn.Linear", "in_features": 2}, "torch.nn.Linear cannot be built"),
        ({"class": "torch.nn.Conv2d", "in_channels": 3}, "torch.nn.Conv2d cannot be built"),
        ({"class": "torch.nn.Embedding", "num_embeddings": 2, "embedding_dim": 1, "padding_idx": 9}, "cannot be built"),
        ({"class": "torch.nn.ReLU", "as": 1, "inplace": {"class": "same", "as": 1}}, "'inplace' is the same module"),
        ({"class": "torch.nn.Sequential"}, "takes its parts in 'modules'"),
        ({"class": "torch.nn.Sequential", "modules": [LINEAR]}, "takes its parts in 'modules'"),
        ({"class": "torch.nn.Sequential", "modules": {"0": None}}, "holds something that is not a module"),
        ({"class": "torch.nn.Sequential", "modules": {"a.b": LINEAR}}, "torch.nn.Sequential cannot be built"),
        ({"class": "torch.nn.Sequential", "modules": {"forward": LINEAR}}, "torch.nn.Sequential cannot be built"),
        ({"class": "torch.nn.ModuleList", "modules": [None]}, "holds something that is not a module"),
        ({"class": "torch.nn.ModuleList", "modules": {"0": LINEAR}}, "takes its parts in 'modules'"),
        ({"class": "torch.nn.ModuleList", "modules": [], "extra": 1}, "takes its parts in 'modules'"),
        ({"class": "IoTestConfig"}, "IoTestConfig needs 'decoders', 'encoders'"),
        ({"class": "IoTestModel", "config": 3}, "IoTestModel cannot be built"),
        ({"class": "tuple", "items": 3}, "malformed tuple"),
        ({"class": "tuple"}, "malformed tuple"),
        ({"class": "dict", "items": [1]}, "malformed dict"),
        ({"class": "float", "value": "1e3"}, "malformed float"),
        ({"class": "float", "value": ["nan"]}, "malformed float"),
        ({"class": "torch.Size", "items": ["a"]}, "torch.Size cannot be built"),
        ({"class": "same"}, "is the same module as one in a part"),
        ([{"class": "same", "as": 1}, LINEAR | {"as": 1}], r"'\[0\]' is the same module"),
        ([LINEAR | {"as": 1}, LINEAR | {"as": 1}], r"'\[1\]' is marked 1"),
        (LINEAR | {"as": "x"}, "is marked 'x'"),
        (LINEAR | {"as": True}, "is marked True"),
        (nested(65), "nested more than 64 levels"),
        (nested(5000), "nested more than 64 levels"),
        ([0] * MAX_ENTRIES, f"more than {MAX_ENTRIES} entries"),
        ({1, 2}, "is a set, which no description holds"),
    ],
    ids=range(44),
)
def test_a_wrong_description_is_a_value_error_with_its_place(description: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build(description)


@pytest.mark.parametrize(
    ("entry", "remedy"),
    [
        (
            {"class": "opaque", "type": "my.Block", "reason": "r"},
            r"entry 'config\.{}' was a my\.Block .*\(r\).*load\(folder, {}=…\)",
        ),
        (
            [LINEAR, {"class": "torch.nn.Sequential", "modules": {"0": {"class": "opaque", "type": "my.Block"}}}],
            r"entry 'config\.{}\[1\]\.0' was a my\.Block .*load\(folder, {}=\[…\]\)",
        ),
        ({"class": "opaque", "type": "a\x1b[31mred\n", "reason": 3}, r"config\.{}' was a a\?\[31mred\? "),
    ],
    ids=["field", "inside a list", "control characters"],
)
@pytest.mark.parametrize("field", ["encoders", "beta_schedule"])
def test_an_opaque_entry_says_what_to_pass(entry: object, remedy: str, field: str) -> None:
    description = {
        "class": "IoTestModel",
        "config": {"class": "IoTestConfig", "encoders": [], "decoders": [], field: entry},
    }
    with pytest.raises(ValueError, match=remedy.replace("{}", field)):
        build(description)


def test_nothing_is_imported_by_a_description() -> None:
    assert "this" not in sys.modules
    for name in ("this.s", "this", "torch.nn.this"):
        with pytest.raises(ValueError, match="not known here"):
            build({"class": name})
    assert "this" not in sys.modules


def test_given_objects_stand_in_for_entries(toy: SimpleNamespace) -> None:
    mine = toy.Foreign()
    description = describe(toy.make(encoders=[toy.Foreign()]))
    built = construct(description, "cpu", {"config.encoders": [mine]})
    assert built.encoders[0] is mine


def test_a_description_without_newer_fields_gets_their_defaults() -> None:
    built = build({"class": "IoTestConfig", "encoders": [], "decoders": []})
    assert built.scale == 2.0


def test_building_on_the_meta_device_takes_no_memory_and_is_measured() -> None:
    huge = {"class": "torch.nn.Linear", "in_features": 10**9, "out_features": 10**9}
    assert construct(huge, "meta", {}).weight.shape == (10**9, 10**9)
    twice = {"class": "torch.nn.Sequential", "modules": {"0": LINEAR | {"as": 1}, "1": {"class": "same", "as": 1}}}
    exact = 4 * (2 * 3 + 3)
    construct(twice, "meta", {}, max_bytes=exact)
    with pytest.raises(ValueError, match=f"would take {exact} bytes"):
        construct(twice, "meta", {}, max_bytes=exact - 1)


ENTRIES = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 3) | st.floats(-1, 1) | st.sampled_from(["", "nan", "zeros", "same"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.fixed_dictionaries(
            {
                "class": st.sampled_from(
                    ["torch.nn.Linear", "torch.nn.Conv2d", "torch.nn.Sequential", "tuple", "same", "x"]
                )
            },
            optional={
                "as": st.integers(1, 2),
                "items": st.lists(inner, max_size=2),
                "modules": st.dictionaries(st.sampled_from("ab"), inner, max_size=2),
                **dict.fromkeys(("in_features", "out_features", "in_channels", "out_channels", "kernel_size"), inner),
            },
        )
    ),
    max_leaves=12,
)


@given(description=ENTRIES)
@settings(max_examples=300, deadline=None)
def test_any_description_builds_or_is_a_value_error(description: object) -> None:
    state = torch.get_rng_state()
    try:
        built = build(description)
    except ValueError:
        return
    finally:
        assert torch.equal(torch.get_rng_state(), state)
    if isinstance(built, nn.Module):
        assert describe(built)["class"] == description["class"]  # type: ignore[index]
