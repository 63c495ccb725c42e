from __future__ import annotations

import json
import os
import resource
import struct
from typing import TYPE_CHECKING, Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from lucid.io import read_metadata, read_tensors, read_verified, tensor_shapes, write_tensors
from lucid.io.header import MAX_HEADER_BYTES
from lucid.io.tensors import UncheckedError, copied

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def names(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir())


def same(a: torch.Tensor, b: torch.Tensor) -> bool:
    """Bit for bit: NaN is equal to itself here."""
    return a.dtype == b.dtype and a.shape == b.shape and bits(a) == bits(b)


def bits(tensor: torch.Tensor) -> list[int]:
    return tensor.detach().contiguous().reshape(-1).view(torch.uint8).tolist()


def hand_made(path: Path, header: object, data: bytes = b"") -> Path:
    """A file of the format, from a header as an object or as raw bytes."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)
    return path


@pytest.mark.parametrize(
    "dtype",
    [
        *(torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.complex64, torch.bool),
        *(torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8, torch.uint16, torch.float8_e4m3fn),
    ],
)
def test_every_dtype_survives_bit_for_bit(tmp_path: Path, dtype: torch.dtype) -> None:
    tensors = {
        "vector": torch.tensor([0.0, 1.0, 1.0, 0.0]).to(dtype),
        "scalar": torch.tensor(1.0).to(dtype),
        "empty": torch.zeros(0, 3).to(dtype),
    }
    write_tensors(tmp_path / "a", tensors)
    back = read_tensors(tmp_path / "a")
    assert back.keys() == tensors.keys()
    assert all(same(back[name], tensors[name]) for name in tensors)


def test_special_values_survive(tmp_path: Path) -> None:
    x = torch.tensor([float("nan"), float("inf"), -0.0, 1e-45])
    write_tensors(tmp_path / "a", {"x": x})
    assert same(read_tensors(tmp_path / "a")["x"], x)


def test_any_layout_keeps_its_values(tmp_path: Path) -> None:
    base = torch.arange(24.0).reshape(2, 3, 4)
    tensors = {
        "transposed": base.transpose(0, 2),
        "strided": base[:, ::2, 1::2],
        "expanded": torch.tensor([7.0]).expand(5),
        "channels_last": torch.randn(2, 3, 4, 5).to(memory_format=torch.channels_last),
        "conjugate": torch.tensor([1 + 2j]).conj(),
        "negative": torch.tensor([1 + 2j]).conj().imag,
    }
    write_tensors(tmp_path / "a", tensors)
    back = read_tensors(tmp_path / "a")
    for name, tensor in tensors.items():
        assert torch.equal(back[name], tensor), name


def test_one_tensor_under_two_names_is_stored_once_and_comes_back_as_one(tmp_path: Path) -> None:
    weight = torch.randn(1000)
    write_tensors(tmp_path / "a", {"a": weight, "b": weight.detach(), "c": weight.clone(), "d": weight})
    back = read_tensors(tmp_path / "a")
    assert back["a"] is back["b"] is back["d"]
    assert back["a"] is not back["c"]
    assert list(tensor_shapes(tmp_path / "a")) == ["a", "c", "b", "d"]
    assert (tmp_path / "a").stat().st_size < 2.5 * 4000


def test_other_overlaps_are_stored_apart_with_their_values(tmp_path: Path) -> None:
    base = torch.arange(12.0)
    tensors = {"all": base, "matrix": base.view(3, 4), "part": base[2:5], "turned": base.view(3, 4).t()}
    write_tensors(tmp_path / "a", tensors)
    back = read_tensors(tmp_path / "a")
    assert all(torch.equal(back[name], tensors[name]) for name in tensors)


def test_a_conjugate_view_is_not_the_tensor_it_views(tmp_path: Path) -> None:
    z = torch.tensor([1 + 2j, 3 - 4j])
    write_tensors(tmp_path / "a", {"z": z, "conjugate": z.conj()})
    assert torch.equal(read_tensors(tmp_path / "a")["conjugate"], torch.tensor([1 - 2j, 3 + 4j]))


def test_empty_tensors_are_never_aliases_of_one_another(tmp_path: Path) -> None:
    write_tensors(tmp_path / "a", {"a": torch.zeros(0, 2), "b": torch.zeros(0, 2), "c": torch.zeros(3, 0)})
    assert list(tensor_shapes(tmp_path / "a").values()) == [(0, 2), (0, 2), (3, 0)]
    back = read_tensors(tmp_path / "a")
    assert back["a"] is not back["b"]


def test_read_tensors_live_in_memory_of_their_own(tmp_path: Path) -> None:
    write_tensors(tmp_path / "a", {"x": torch.ones(1000)})
    back = read_tensors(tmp_path / "a")
    (tmp_path / "a").write_bytes(b"")  # a mapped tensor would now kill the process
    assert back["x"].sum() == 1000


def test_metadata_and_files_of_other_writers(tmp_path: Path) -> None:
    write_tensors(tmp_path / "a", {"x": torch.ones(2)}, metadata={"step": "7", "größe": "日"})
    assert read_metadata(tmp_path / "a") == {"step": "7", "größe": "日"}
    assert torch.equal(load_file(tmp_path / "a")["x"], torch.ones(2))
    save_file({"y": torch.ones(3)}, tmp_path / "b")
    assert torch.equal(read_tensors(tmp_path / "b")["y"], torch.ones(3))
    assert read_metadata(tmp_path / "b") == {}


def test_no_tensors_at_all(tmp_path: Path) -> None:
    write_tensors(tmp_path / "a", {})
    assert read_tensors(tmp_path / "a") == {}


@pytest.mark.parametrize(
    ("tensors", "metadata", "error", "message"),
    [
        ({"x": [1.0]}, None, TypeError, "'x' must be a tensor; received list"),
        ({3: torch.ones(1)}, None, TypeError, "names of tensors are str; received 3"),
        ({"__metadata__": torch.ones(1)}, None, ValueError, "reserved"),
        ({"x": torch.eye(2).to_sparse()}, None, ValueError, "'x' is a sparse or quantised"),
        ({"x": torch.ones(2, device="meta")}, None, ValueError, "'x' is on the meta device"),
        ({"x": torch.ones(2, dtype=torch.complex128)}, None, ValueError, "'x' has dtype torch.complex128"),
        ({}, {"step": 7}, TypeError, "metadata maps str to str; received 'step': 7"),
        ({}, {"lucid.aliases": "{}"}, ValueError, "'lucid.aliases' is reserved"),
        ({}, {"lucid.sha256": "0"}, ValueError, "'lucid.sha256' is reserved"),
    ],
)
def test_what_cannot_be_written_is_refused_by_name(
    tmp_path: Path, tensors: dict, metadata: dict | None, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        write_tensors(tmp_path / "a", tensors, metadata)
    assert names(tmp_path) == []


def test_a_full_disk_is_an_os_error_and_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "a"
    write_tensors(path, {"x": torch.ones(2)})
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, before[1]))
    try:
        with pytest.raises(OSError, match=str(path)):
            write_tensors(path, {"x": torch.zeros(1000)})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert torch.equal(read_tensors(path)["x"], torch.ones(2))
    assert names(tmp_path) == ["a"]


def test_a_missing_folder_is_an_os_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="nowhere"):
        write_tensors(tmp_path / "nowhere" / "a", {"x": torch.ones(2)})


def test_the_file_is_replaced_and_never_written_in_place(tmp_path: Path) -> None:
    path = tmp_path / "a"
    write_tensors(path, {"x": torch.ones(2)})
    with path.open("rb") as held:
        write_tensors(path, {"x": torch.zeros(5)})
        assert len(held.read()) != path.stat().st_size
    assert path.stat().st_mode & 0o777 == 0o666 & ~current_umask()


def current_umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


F32 = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}
TWICE = b'{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"a":{"dtype":"F32","shape":[1,2],"data_offsets":[0,8]}}'


@pytest.mark.parametrize(
    ("header", "data", "message"),
    [
        ({"a": F32}, b"1234567", "holds 7 bytes of tensors where its header says 8"),
        ({"a": F32}, b"123456789", "holds 9 bytes of tensors where its header says 8"),
        ({"a": F32, "b": F32}, b"12345678", "overlap or leave a gap at byte 8"),
        ({"a": F32 | {"data_offsets": [4, 12]}}, b"123456789012", "overlap or leave a gap at byte 0"),
        ({"a": F32 | {"shape": [2**40, 2**40]}}, b"12345678", "'a' needs .* bytes, not 8"),
        ({"a": F32 | {"shape": [-2]}}, b"12345678", "'a' does not describe a tensor"),
        ({"a": F32 | {"shape": [2.0]}}, b"12345678", "'a' does not describe a tensor"),
        ({"a": F32 | {"shape": [2**63, 0], "data_offsets": [0, 0]}}, b"", "'a' does not describe a tensor"),
        ({"a": F32 | {"dtype": "PICKLE"}}, b"12345678", "'a' does not describe a tensor"),
        ({"a": 3}, b"12345678", "'a' does not describe a tensor"),
        ({"__metadata__": {"a": 3}}, b"", "metadata of .* is damaged"),
        ({"__metadata__": [3]}, b"", "metadata of .* is damaged"),
        ({"a": F32, "__metadata__": {"lucid.aliases": "["}}, b"12345678", "alias map.*not valid JSON"),
        ({"a": F32, "__metadata__": {"lucid.aliases": "[]"}}, b"12345678", "alias map.*must be a JSON object"),
        ({"a": F32, "__metadata__": {"lucid.aliases": '{"b": "c"}'}}, b"12345678", "'b' cannot stand for 'c'"),
        ({"a": F32, "__metadata__": {"lucid.aliases": '{"a": "a"}'}}, b"12345678", "'a' cannot stand for 'a'"),
        ({"a": F32, "__metadata__": {"lucid.aliases": '{"b": 1}'}}, b"12345678", "'b' cannot stand for '1'"),
        (TWICE, b"12345678", "the key 'a' is given twice"),
        (b"[1, 2]", b"", "its header is not a JSON object"),
        (b'{"a": ', b"", "not valid JSON, or was cut short"),
        (b'{"a":' * 200_000, b"", "nested too deeply"),
        (b"{}\t", b"", "only spaces may follow its JSON"),
    ],
    ids=range(22),
)
def test_damaged_headers_are_named(tmp_path: Path, header: object, data: bytes, message: str) -> None:
    path = hand_made(tmp_path / "a.safetensors", header, data)
    for read in (read_tensors, tensor_shapes, read_metadata):
        with pytest.raises(ValueError, match=message) as caught:
            read(path)
        assert str(path) in str(caught.value)


def test_a_null_metadata_is_none(tmp_path: Path) -> None:
    path = hand_made(tmp_path / "a", {"a": F32, "__metadata__": None}, b"12345678")
    assert read_tensors(path)["a"].shape == (2,)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "holds 0 bytes: it was cut short"),
        (b"1234567", "holds 7 bytes: it was cut short"),
        (b"\x80\x04\x95\x10\x00\x00\x00\x00\x00\x00\x00}", "announces a header of .* bytes"),
        (b"PK\x03\x04" + bytes(100), "not a safetensors file"),
        (b"\x93NUMPY\x01\x00" + bytes(100), "announces a header of .* bytes"),
        (struct.pack("<Q", 2**63) + b"{}", "announces a header of 9223372036854775808 bytes and holds 10 in all"),
    ],
    ids=range(6),
)
def test_foreign_and_truncated_files_are_named(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "a").write_bytes(content)
    with pytest.raises(ValueError, match=message):
        read_tensors(tmp_path / "a")


def test_a_header_larger_than_the_bound_is_refused_unread(tmp_path: Path) -> None:
    with (tmp_path / "a").open("wb") as file:
        file.write(struct.pack("<Q", MAX_HEADER_BYTES + 1))
        file.truncate(MAX_HEADER_BYTES + 100)  # sparse: it takes no room on the disk
    with pytest.raises(ValueError, match=f"has a header of {MAX_HEADER_BYTES + 1} bytes; at most {MAX_HEADER_BYTES}"):
        tensor_shapes(tmp_path / "a")


def test_missing_files_and_folders(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="there is no file"):
        read_tensors(tmp_path / "a")
    with pytest.raises(ValueError, match="not a regular file"):
        read_tensors(tmp_path)


def test_shapes_come_from_the_header_alone(tmp_path: Path) -> None:
    """A terabyte that is not there: only a reader of the header can answer at once."""
    size = 1 << 40
    header = {"a": {"dtype": "U8", "shape": [1 << 20, 1 << 20], "data_offsets": [0, size]}}
    path = hand_made(tmp_path / "a", header)
    try:
        os.truncate(path, path.stat().st_size + size)
    except OSError as error:
        pytest.skip(f"the file system has no sparse files of this size: {error}")
    assert tensor_shapes(path) == {"a": torch.Size([1 << 20, 1 << 20])}


@given(data=st.data())
@settings(max_examples=200, deadline=None)
def test_a_mutated_file_is_read_or_refused_with_a_value_error(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    path = tmp_path_factory.getbasetemp() / "mutated.safetensors"
    weight = torch.arange(6.0)
    write_tensors(path, {"weight": weight, "tied": weight, "bias": torch.ones(2, dtype=torch.int8)}, {"step": "3"})
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(content) - 1))
        kind = data.draw(st.sampled_from(["flip", "set", "cut", "insert"]))
        if kind == "flip":
            content[at] ^= 1 << data.draw(st.integers(0, 7))
        elif kind == "set":
            content[at] = data.draw(st.sampled_from(b'\x00\xff"0{}[]:,-9'))
        elif kind == "cut" and at > 0:
            del content[at:]
        else:
            content.insert(at, data.draw(st.integers(0, 255)))
    path.write_bytes(content)
    try:
        tensors = read_tensors(path)
    except ValueError as error:
        assert str(path) in str(error)  # noqa: PT017
    else:
        assert {name: tensor.shape for name, tensor in tensors.items()} == tensor_shapes(path)


# The checksum


ODD = {
    "tied": torch.arange(3.0),
    "bool": torch.tensor([True, False]),
    "bfloat16": torch.ones(2, 2, dtype=torch.bfloat16),
    "complex": torch.tensor([1 + 2j]).conj(),
    "one of two": torch.tensor([1 + 2j]).imag,
    "scalar": torch.tensor(3, dtype=torch.int16),
    "empty": torch.zeros(0, 3),
    "größe": torch.ones(2, 3, 4).transpose(0, 2),
}


def test_the_checksum_is_kept_over_every_kind_of_tensor(tmp_path: Path) -> None:
    tensors = ODD | {"tie": ODD["tied"]}
    write_tensors(tmp_path / "a", tensors, {"größe": "日\n", "step": "3"})
    back, metadata = read_verified(tmp_path / "a")
    assert metadata == {"größe": "日\n", "step": "3"}
    assert all(torch.equal(back[name], tensor) for name, tensor in tensors.items())
    assert back["tie"] is back["tied"]


def forged(path: Path, change: Callable[[dict[str, Any]], None], data: bytes | None = None) -> None:
    """Write a file again with its header changed and, maybe, other bytes of tensors."""
    content = path.read_bytes()
    length = struct.unpack("<Q", content[:8])[0]
    header = json.loads(content[8 : 8 + length])
    change(header)
    hand_made(path, header, content[8 + length :] if data is None else data)


@pytest.mark.parametrize(
    "change",
    [
        lambda h: h["__metadata__"].update(step="4"),
        lambda h: h["__metadata__"].update(more=""),
        lambda h: h["__metadata__"].pop("step"),
        lambda h: h["__metadata__"].pop("format"),
        lambda h: h["__metadata__"].pop("lucid.aliases"),
        lambda h: h["__metadata__"].update({"lucid.sha256": h["__metadata__"]["lucid.sha256"].upper()}),
        lambda h: h.update(other=h.pop("n")),
        lambda h: h["n"].update(dtype="F32"),
        lambda h: h["matrix"].update(shape=[3, 2]),
        lambda h: h["matrix"].update(shape=[6]),
        lambda h: h.update(extra={"dtype": "U8", "shape": [0], "data_offsets": [24, 24]}),
    ],
    ids=range(11),
)
def test_any_change_of_the_header_is_refused(tmp_path: Path, change: Callable[[dict[str, Any]], None]) -> None:
    matrix = torch.ones(2, 3, dtype=torch.int32)
    tensors = {"matrix": matrix, "tie": matrix, "n": torch.tensor([7], dtype=torch.int32)}
    write_tensors(tmp_path / "a", tensors, {"step": "3"})
    for read in (read_verified, read_tensors):
        assert read(tmp_path / "a")
    forged(tmp_path / "a", change)
    for read in (read_verified, read_tensors):
        with pytest.raises(ValueError, match=r"a' does not have the SHA-256 that it was written with|leave a gap"):
            read(tmp_path / "a")


def test_swapped_tensors_are_refused_and_moved_ones_are_not(tmp_path: Path) -> None:
    write_tensors(tmp_path / "a", {"a": torch.tensor([1.0]), "b": torch.tensor([2.0])})
    data = (tmp_path / "a").read_bytes()[-8:]

    def swap(header: dict[str, Any]) -> None:
        header["a"]["data_offsets"], header["b"]["data_offsets"] = (
            header["b"]["data_offsets"],
            header["a"]["data_offsets"],
        )

    forged(tmp_path / "a", swap, data[4:] + data[:4])
    assert read_verified(tmp_path / "a")[0] == {"a": torch.tensor([1.0]), "b": torch.tensor([2.0])}
    forged(tmp_path / "a", swap)
    with pytest.raises(ValueError, match="does not have the SHA-256"):
        read_verified(tmp_path / "a")


def test_files_without_a_checksum_are_read_and_never_called_verified(tmp_path: Path) -> None:
    """Other programs' files, and those of lucid before it wrote checksums."""
    save_file({"y": torch.ones(3)}, tmp_path / "a", {"lucid.aliases": '{"z": "y"}'})
    assert read_tensors(tmp_path / "a").keys() == {"y", "z"}
    with pytest.raises(UncheckedError, match=r"a' carries no checksum .*: it is damaged, or another program wrote it"):
        read_verified(tmp_path / "a")


def test_a_copy_keeps_values_and_ties_and_no_memory(tmp_path: Path) -> None:
    tensors = ODD | {"tie": ODD["tied"], "part": ODD["tied"][1:]}
    copies = copied(tensors)
    assert list(copies) == list(tensors)
    assert copies["tie"] is copies["tied"]
    for name, tensor in tensors.items():
        assert torch.equal(copies[name], tensor)
        assert copies[name].is_contiguous()
        assert not tensor.numel() or copies[name].data_ptr() != tensor.data_ptr()
    assert copies["part"].untyped_storage().nbytes() == 8
    copies = copied({"weight": torch.nn.Parameter(torch.ones(2))})
    assert not copies["weight"].requires_grad
