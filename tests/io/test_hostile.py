"""Artefacts that are damaged, foreign or made to do harm: each an error of its own, before anything is allocated."""

from __future__ import annotations

import hashlib
import json
import os
import struct
from typing import TYPE_CHECKING, Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from lucid.io import load, save, write_tensors

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from types import SimpleNamespace


@pytest.fixture
def folder(tmp_path: Path, toy: SimpleNamespace) -> Path:
    save(toy.make(), tmp_path / "a", figures={"elbo": -1.0})
    return tmp_path / "a"


def edit(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Change config.json as an attacker or a careless hand would."""
    config = json.loads((folder / "config.json").read_text())
    change(config)
    (folder / "config.json").write_text(json.dumps(config))


def forge(folder: Path, tensors: dict[str, torch.Tensor]) -> None:
    """Other weights, with the size and checksum in config.json put right."""
    write_tensors(folder / "model.safetensors", tensors)
    data = (folder / "model.safetensors").read_bytes()
    edit(folder, lambda c: c["weights"].update(bytes=len(data), sha256=hashlib.sha256(data).hexdigest()))


@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
def test_a_missing_file(folder: Path, name: str) -> None:
    (folder / name).unlink()
    with pytest.raises(FileNotFoundError, match=f"not a whole artefact: it has no {name}"):
        load(folder)


def test_a_missing_folder_a_file_and_the_folder_above(folder: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"there is no folder .*nowhere"):
        load(folder / "nowhere")
    with pytest.raises(ValueError, match="is a file; load takes the folder"):
        load(folder / "config.json")
    folder.rename(folder.with_name("model"))
    with pytest.raises(FileNotFoundError, match=r"it has no config\.json; did you mean .*model'\?"):
        load(folder.parent)


@pytest.mark.parametrize("keep", [0, 1, 100, -3])
def test_a_truncated_configuration(folder: Path, keep: int) -> None:
    data = (folder / "config.json").read_bytes()
    (folder / "config.json").write_bytes(data[:keep])
    with pytest.raises(ValueError, match=r"config\.json' (is empty|is not valid JSON, or was cut short)"):
        load(folder)


@pytest.mark.parametrize("value", [[], 3, None, {}, {"model_type": "bert"}, {"format": "other", "schema": 1}])
def test_a_foreign_configuration(folder: Path, value: object) -> None:
    (folder / "config.json").write_text(json.dumps(value))
    with pytest.raises(ValueError, match="is JSON, but not the configuration of a lucid artefact"):
        load(folder)


def test_an_oversized_and_a_deep_configuration(folder: Path) -> None:
    with (folder / "config.json").open("r+b") as file:
        file.truncate(20 * 1024 * 1024)
    with pytest.raises(ValueError, match="more than 16777216 bytes, the most that is read as JSON"):
        load(folder)
    (folder / "config.json").write_bytes(b"[" * 100_000)
    with pytest.raises(ValueError, match="nested too deeply"):
        load(folder)


def test_a_newer_schema_says_to_upgrade(folder: Path) -> None:
    edit(folder, lambda c: c.update(schema=2, lucid="9.1"))
    with pytest.raises(ValueError, match=r"schema 2, and this lucid reads up to 1; .*lucid '9\.1': upgrade lucid-vae"):
        load(folder)


@pytest.mark.parametrize("schema", [0, -1, "1", 1.0, True, None, []])
def test_a_schema_that_is_none(folder: Path, schema: object) -> None:
    edit(folder, lambda c: c.update(schema=schema))
    with pytest.raises(ValueError, match="should be a positive integer"):
        load(folder)


@pytest.mark.parametrize("key", ["model", "protocol", "figures", "weights", "frozen", "buffer_dtypes"])
@pytest.mark.parametrize("value", ["missing", 3, "x"])
def test_a_configuration_with_a_part_missing_or_wrong(folder: Path, key: str, value: object) -> None:
    edit(folder, lambda c: c.pop(key) if value == "missing" else c.update({key: value}))
    with pytest.raises(ValueError, match=f"damaged: its '{key}' is missing or of the wrong kind"):
        load(folder)


@pytest.mark.parametrize("key", ["file", "bytes", "sha256"])
def test_a_weights_entry_with_a_part_missing(folder: Path, key: str) -> None:
    edit(folder, lambda c: c["weights"].pop(key))
    with pytest.raises(ValueError, match=r"must be the plain name|config.json says None|the SHA-256 that config.json"):
        load(folder)


def test_wrong_details(folder: Path) -> None:
    edit(folder, lambda c: c.update(buffer_dtypes={"grid": "load"}))
    with pytest.raises(ValueError, match="the buffer 'grid' cannot have the dtype 'load'"):
        load(folder)
    edit(folder, lambda c: c.update(buffer_dtypes={}, frozen=[["a"]]))
    with pytest.raises(ValueError, match="'frozen' should list names"):
        load(folder)


@pytest.mark.parametrize("cut", [1, 100, 1 << 30])
def test_truncated_weights(folder: Path, cut: int) -> None:
    path = folder / "model.safetensors"
    data = path.read_bytes()
    path.write_bytes(data[: max(0, len(data) - cut)])
    with pytest.raises(ValueError, match=rf"model\.safetensors' holds \d+ bytes where config\.json says {len(data)}"):
        load(folder)


@pytest.mark.parametrize("place", [0.0, 0.3, 0.999])
def test_one_bit_flipped_in_the_weights(folder: Path, place: float) -> None:
    path = folder / "model.safetensors"
    data = bytearray(path.read_bytes())
    data[int(place * len(data))] ^= 4
    path.write_bytes(data)
    with pytest.raises(
        ValueError, match=r"does not have the SHA-256 that config.json says: it is damaged, or belongs to"
    ):
        load(folder)


def test_weights_of_another_model(folder: Path, toy: SimpleNamespace) -> None:
    save(toy.make(), folder.with_name("same_shapes"))
    save(toy.make(encoders=[nn.Linear(3, 9)]), folder.with_name("other_shapes"))
    for other, message in [("same_shapes", "SHA-256"), ("other_shapes", "belongs to another model")]:
        data = (folder.with_name(other) / "model.safetensors").read_bytes()
        (folder / "model.safetensors").write_bytes(data)
        with pytest.raises(ValueError, match=message):
            load(folder)


def test_consistent_weights_that_do_not_fit_the_description(folder: Path) -> None:
    forge(folder, {"step": torch.tensor(0), "evil": torch.ones(3)})
    with pytest.raises(
        ValueError, match=r"the model that config\.json describes does not fit .*'evil' is in the file alone"
    ):
        load(folder)


def test_weights_of_another_kind_of_number(folder: Path, toy: SimpleNamespace) -> None:
    state = toy.make().state_dict() | {"encoders.0.0.weight": torch.ones(4, 3, dtype=torch.int32)}
    forge(folder, state)
    with pytest.raises(ValueError, match=r"'encoders\.0\.0\.weight' is torch\.int32 in the file and torch\.float32 in"):
        load(folder)


def test_a_weights_file_that_is_not_one(folder: Path) -> None:
    data = b"\x80\x04\x95" + os.urandom(100)
    (folder / "model.safetensors").write_bytes(data)
    edit(folder, lambda c: c["weights"].update(bytes=len(data), sha256=hashlib.sha256(data).hexdigest()))
    with pytest.raises(ValueError, match="was cut short, or is not a safetensors file"):
        load(folder)


@pytest.mark.parametrize(
    "name",
    [
        "../b/model.safetensors",
        "/etc/passwd",
        "..",
        ".",
        "",
        "a/b",
        "model.safetensors/",
        "..\\x",
        3,
        None,
        ["a"],
        "a\0b",
    ],
)
def test_weights_outside_the_folder(folder: Path, name: object, toy: SimpleNamespace) -> None:
    save(toy.make(), folder.with_name("b"))
    edit(folder, lambda c: c["weights"].update(file=name))
    with pytest.raises(ValueError, match="it must be the plain name of a file beside it"):
        load(folder)


@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
def test_links_pipes_and_folders_in_place_of_files(folder: Path, name: str) -> None:
    (folder / name).rename(folder.with_name("moved"))
    (folder / name).symlink_to(folder.with_name("moved"))
    with pytest.raises(ValueError, match="is a symbolic link; an artefact holds its own files"):
        load(folder)
    (folder / name).unlink()
    os.mkfifo(folder / name)  # opening it would wait for ever
    with pytest.raises(ValueError, match="is not a regular file"):
        load(folder)
    (folder / name).unlink()
    (folder / name).mkdir()
    with pytest.raises(ValueError, match="is not a regular file"):
        load(folder)


@pytest.mark.parametrize("width", [10**9, 2**62])
def test_a_description_of_enormous_layers_allocates_nothing(folder: Path, width: int) -> None:
    layer = {"class": "torch.nn.Linear", "in_features": width, "out_features": width, "bias": True}
    edit(folder, lambda c: c["model"]["config"].update(encoders=[layer]))
    with pytest.raises(ValueError, match=r"would take .* bytes, far more than its weights|cannot be built from what"):
        load(folder)


def test_enormous_layers_outside_the_state_allocate_nothing(folder: Path) -> None:
    """A field that the model never registers: its weights are not in the state dict, yet they would be made."""
    layer = {"class": "torch.nn.Linear", "in_features": 10**6, "out_features": 10**6, "bias": True}
    edit(folder, lambda c: c["model"]["config"].update(beta_schedule=layer))
    with pytest.raises(ValueError, match=r"would take .* bytes, far more than its weights"):
        load(folder)
    edit(folder, lambda c: c.update(protocol=layer, model=json.loads("{}")))
    with pytest.raises(ValueError, match="has no 'class'"):
        load(folder)


def test_a_description_of_something_that_is_not_a_model(folder: Path) -> None:
    edit(folder, lambda c: c.update(model={"class": "tuple", "items": [1]}))
    with pytest.raises(ValueError, match="describes a tuple, not a model"):
        load(folder)


@pytest.mark.parametrize("name", ["os.system", "builtins.eval", "FutureVAE"])
def test_a_class_that_is_not_known(folder: Path, name: str) -> None:
    edit(folder, lambda c: c["model"].update({"class": name}))
    with pytest.raises(ValueError, match=f"class '{name}', which is not known here: a newer lucid.*may be needed"):
        load(folder)


@given(data=st.data())
@settings(max_examples=150, deadline=None)
def test_a_mutated_artefact_loads_or_is_a_value_error(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    """Config bytes changed at random, and weights whose checksum is put right afterwards."""
    folder = tmp_path_factory.getbasetemp() / "mutated"
    if not folder.exists():
        save(nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3), nn.Conv1d(1, 1, 3)), folder)
        (folder.parent / "config").write_bytes((folder / "config.json").read_bytes())
        (folder.parent / "weights").write_bytes((folder / "model.safetensors").read_bytes())
    config = bytearray((folder.parent / "config").read_bytes())
    weights = bytearray((folder.parent / "weights").read_bytes())
    target = data.draw(st.sampled_from([config, weights]))
    header = struct.unpack("<Q", weights[:8])[0]
    for _ in range(data.draw(st.integers(1, 2))):
        at = data.draw(st.integers(0, len(config) if target is config else header + 8)) % len(target)
        target[at] = data.draw(st.sampled_from(b'0123456789"{}[]:,-eE \x00\xfftrufalsn'))
    (folder / "config.json").write_bytes(config)
    (folder / "model.safetensors").write_bytes(weights)
    if target is weights:
        digest = hashlib.sha256(weights).hexdigest()
        edit(folder, lambda c: c["weights"].update(sha256=digest))
    try:
        model = load(folder)
    except (ValueError, FileNotFoundError):
        return
    assert all(isinstance(item, torch.Tensor) for item in model.state_dict().values())
