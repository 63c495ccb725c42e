"""Tar archives: the standard library's reader is the oracle; what is damaged, hostile or cut short is refused."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.data.shard_files import tar_of

from lucid.data.tar import members, name_at, read_index, read_member

LONG = "a/" * 60 + "b" * 90


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_members_are_where_the_standard_library_finds_them(tmp_path: Path, form: int) -> None:
    sizes = [0, 1, 511, 512, 513, 70_000, 2_000_000, 3]
    names = [f"d/{i}.bin" for i in range(8)]
    names[2] = "folder/" * 20 + "name.txt"
    if form != tarfile.USTAR_FORMAT:
        names[3], names[4] = LONG, "ünï.png"
    path = tar_of(
        tmp_path / "a.tar", [(n, bytes([i]) * s) for i, (n, s) in enumerate(zip(names, sizes, strict=True))], form
    )
    with tarfile.open(path) as archive:
        expected = [(m.name, m.offset_data, m.size) for m in archive.getmembers()]
    assert [tuple(member) for member in members(path)] == expected
    with path.open("rb") as file:
        for number, member in enumerate(members(path)):
            assert read_member(file, path, member.offset, member.size) == bytes([number]) * sizes[number]


def test_sizes_beyond_eight_gigabytes_are_read(tmp_path: Path) -> None:
    """A header with a size in binary; the file is sparse."""
    path = tmp_path / "a.tar"
    info = tarfile.TarInfo("big.bin")
    info.size = 9 * 2**30
    with path.open("wb") as file:
        file.write(info.tobuf(tarfile.GNU_FORMAT))
        file.seek(512 + info.size)
        file.write(bytes(1024))
    assert [tuple(member) for member in members(path)] == [("big.bin", 512, 9 * 2**30)]
    with path.open("wb") as file:
        head = info.tobuf(tarfile.PAX_FORMAT)
        file.write(head)
        file.seek(len(head) + info.size)
        file.write(bytes(1024))
    assert [(member.size, member.offset) for member in members(path)] == [(9 * 2**30, len(head))]


def test_folders_and_hidden_files_are_passed_over(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        for name in ("d", "d/._x.png", "d/.DS_Store", "d/__key__", "d/x.png"):
            info = tarfile.TarInfo(name)
            info.type = tarfile.DIRTYPE if name == "d" else tarfile.REGTYPE
            archive.addfile(info)
    assert [member.name for member in members(tmp_path / "a.tar")] == ["d/x.png"]


def test_members_of_an_example_share_what_is_before_the_first_dot(tmp_path: Path) -> None:
    names = ["v1.0/a.png", "v1.0/a.cls", "v1.0/b.cls", "v1.0/b.PNG", "w/b.png"]
    path = tar_of(tmp_path / "a.tar", [(name, bytes(i)) for i, name in enumerate(names)])
    assert [member.example for member in members(path)] == ["v1.0/a", "v1.0/a", "v1.0/b", "v1.0/b", "w/b"]
    assert read_index(path, frozenset({"png"})).sizes.tolist() == [0, 3, 4]


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["a.png", "b.cls", "c.png"], "example 'b' of the shard .* has no .png members"),
        (["a.png", "b.png", "c.cls"], "example 'c' of the shard .* has no .png members"),
        (["a.png", "a.PNG", "b.png"], "example 'a' of the shard .* has 2 .png members"),
    ],
)
def test_every_example_has_one_x(tmp_path: Path, names: list[str], message: str) -> None:
    path = tar_of(tmp_path / "a.tar", [(name, b"1") for name in names])
    with pytest.raises(ValueError, match=message):
        read_index(path, frozenset({"png"}))


def test_a_file_that_is_cut_anywhere_before_its_end_mark_is_refused(tmp_path: Path) -> None:
    path = tar_of(tmp_path / "a.tar", [(f"{i}.bin", b"x" * 700) for i in range(3)])
    content = path.read_bytes()
    end = 3 * (512 + 1024)
    for length in [*range(0, end + 512, 64), end + 511]:
        path.write_bytes(content[:length])
        with pytest.raises(ValueError, match=f"{path}.* was cut short"):
            list(members(path))
    path.write_bytes(content[: end + 512])
    assert len(list(members(path))) == 3


def test_links_and_devices_are_refused(tmp_path: Path) -> None:
    for kind in (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.GNUTYPE_SPARSE):
        with tarfile.open(tmp_path / "a.tar", "w") as archive:
            info = tarfile.TarInfo("x.png")
            info.type, info.linkname = kind, "/etc/passwd"
            archive.addfile(info)
        with pytest.raises(ValueError, match=r"'x.png' of the shard .* is a link or a special file"):
            list(members(tmp_path / "a.tar"))


def test_compressed_and_other_files_are_no_archives(tmp_path: Path) -> None:
    path = tmp_path / "a.tar"
    with tarfile.open(path, "w:gz") as archive:
        archive.addfile(tarfile.TarInfo("x"), io.BytesIO())
    path.write_bytes(path.read_bytes().ljust(600, b"\1"))
    with pytest.raises(ValueError, match="is not an uncompressed tar archive"):
        list(members(path))


def test_every_flipped_bit_of_a_header_is_seen_or_harmless(tmp_path: Path) -> None:
    """The sum of a header sees every change of one bit in it, but those in the padding of its own field."""
    path = tar_of(tmp_path / "a.tar", [("a.bin", b"1" * 600), ("b.bin", b"2" * 600)])
    content = path.read_bytes()
    sound = [tuple(member) for member in members(path)]
    for start in (0, 512 + 1024):
        for position in range(start, start + 512):
            changed = bytearray(content)
            changed[position] ^= 1 << (position % 8)
            path.write_bytes(changed)
            try:
                assert [tuple(member) for member in members(path)] == sound
            except ValueError as error:
                assert str(path) in str(error)  # noqa: PT017 (either may be)
            else:
                assert 148 <= position - start < 156


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=3000), st.integers(0, 3000))
def test_no_bytes_lead_to_another_error(tmp_path_factory: pytest.TempPathFactory, noise: bytes, position: int) -> None:
    path = tmp_path_factory.mktemp("noise") / "a.tar"
    tar_of(path, [("a.bin", b"1" * 600), (LONG, b"2" * 600)], tarfile.PAX_FORMAT)
    content = path.read_bytes()
    path.write_bytes(content[:position] + noise + content[position + len(noise) :])
    try:
        found = list(members(path))
    except ValueError as error:
        assert str(path) in str(error)  # noqa: PT017
    else:
        assert all(member.offset + member.size <= path.stat().st_size for member in found)


def test_a_record_of_no_length_is_refused_and_not_read_for_ever(tmp_path: Path) -> None:
    path = tar_of(tmp_path / "a.tar", [(LONG, b"2" * 600)], tarfile.PAX_FORMAT)
    content = path.read_bytes()
    begin = content.index(b" path=") - 3
    path.write_bytes(content[:begin] + b"000" + content[begin + 3 :])
    with pytest.raises(ValueError, match="is damaged: its extended header at byte 512"):
        list(members(path))


def test_a_member_is_named_by_its_place(tmp_path: Path) -> None:
    path = tar_of(tmp_path / "a.tar", [("d/a.bin", b"1"), ("d/b.bin", b"2")])
    assert name_at(path, list(members(path))[1].offset) == f"'d/b.bin' of the shard '{path}'"
