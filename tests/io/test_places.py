"""Where tensors lie in a safetensors file: the bytes there are the tensor's."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from lucid import io
from lucid.io.places import tensor_places


def test_the_bytes_at_a_place_are_the_tensors(tmp_path: Path) -> None:
    tensors = {"a": torch.randn(3, 2), "b": torch.arange(5, dtype=torch.int16), "c": torch.zeros(0, 4)}
    tied = {**tensors, "again": tensors["a"]}
    io.write_tensors(tmp_path / "t.safetensors", tied, {"about": "places"})
    content = (tmp_path / "t.safetensors").read_bytes()
    places = tensor_places(tmp_path / "t.safetensors")
    assert set(places) == set(tied)
    for name, tensor in tied.items():
        place = places[name]
        assert place.shape == tuple(tensor.shape)
        expected = tensor.numpy().tobytes()
        assert content[place.offset : place.offset + len(expected)] == expected
    assert (places["a"].dtype, places["b"].dtype) == ("F32", "I16")


def test_a_damaged_file_is_refused(tmp_path: Path) -> None:
    io.write_tensors(tmp_path / "t.safetensors", {"a": torch.ones(3)})
    content = (tmp_path / "t.safetensors").read_bytes()
    (tmp_path / "t.safetensors").write_bytes(content[:-1])
    with pytest.raises(ValueError, match="cut short or damaged"):
        tensor_places(tmp_path / "t.safetensors")
