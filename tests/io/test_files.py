from __future__ import annotations

import json
import os
import resource
from typing import TYPE_CHECKING

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lucid.io import read_json, write_json
from lucid.io.files import remove_leftovers, whole_file
from lucid.io.folders import whole_folder

if TYPE_CHECKING:
    from pathlib import Path

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text('aé日🜁\n"\\'),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("ab.日"), inner, max_size=3),
    max_leaves=10,
)


def names(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir())


@given(value=JSON)
@settings(max_examples=60, deadline=None)
def test_what_is_written_is_read_back(tmp_path_factory: pytest.TempPathFactory, value: object) -> None:
    path = tmp_path_factory.mktemp("json") / "a.json"
    write_json(path, value)
    assert read_json(path) == value
    assert names(path.parent) == ["a.json"]


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"a": [1.0, float("nan")]}, r"^a\[1\] is nan"),
        ({"a": {"b": float("inf")}}, r"^a\.b is inf"),
        ({"a": {3: 1}}, r"^a has the key 3; the keys of a JSON object are str"),
        ({"a": torch.ones(2)}, r"^a is a torch\.Tensor, which JSON cannot hold.*tolist"),
        ({"a": {1, 2}}, r"^a is a builtins\.set"),
        ({"a": "\ud800"}, r"not valid Unicode"),
    ],
)
def test_values_json_would_change_are_refused(tmp_path: Path, value: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        write_json(tmp_path / "a.json", value)
    assert names(tmp_path) == []


def test_a_value_that_contains_itself_is_refused(tmp_path: Path) -> None:
    value: list[object] = []
    value.append(value)
    with pytest.raises(ValueError, match="nested more than 200 levels deep, or contains itself"):
        write_json(tmp_path / "a.json", value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"  \n", "is empty"),
        (b'{"a": 1', "not valid JSON, or was cut short"),
        (b'{"a": 1, "a": 2}', "the key 'a' is given twice"),
        (b'{"a": {"b": 1, "b": 1}}', "the key 'b' is given twice"),
        (b'{"a": NaN}', "the number NaN is not part of JSON"),
        (b'{"a": -Infinity}', "the number -Infinity is not part of JSON"),
        (b'{"a": 1e999}', "the number 1e999 is too large"),
        (b'{"a": ' + b"9" * 5000 + b"}", "not valid JSON"),
        (b"[" * 200_000, "nested too deeply"),
        (b'{"a":' * 200_000, "nested too deeply"),
        (b"\xff\xfe{}", "is not UTF-8"),
        (b"\x80\x04K\x01.", "is not UTF-8"),
        (b"hello", "not valid JSON"),
    ],
    ids=range(14),
)
def test_damaged_json_is_named(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "a.json"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=message) as caught:
        read_json(path)
    assert str(path) in str(caught.value)


def test_size_is_bounded_both_ways(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    write_json(path, "x" * 100, max_bytes=103)
    assert read_json(path, max_bytes=103) == "x" * 100
    with pytest.raises(ValueError, match="more than 102 bytes"):
        read_json(path, max_bytes=102)
    with pytest.raises(ValueError, match="would hold 103 bytes of JSON; at most 102"):
        write_json(path, "x" * 100, max_bytes=102)
    assert read_json(path) == "x" * 100


def test_missing_files_and_things_that_are_not_files(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="there is no file"):
        read_json(tmp_path / "a.json")
    with pytest.raises(ValueError, match="not a regular file"):
        read_json(tmp_path)
    os.mkfifo(tmp_path / "pipe")  # opening it would wait for ever
    with pytest.raises(ValueError, match="not a regular file"):
        read_json(tmp_path / "pipe")


def test_a_full_disk_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    write_json(path, {"old": True})
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, before[1]))
    try:
        with pytest.raises(OSError, match=r"a\.json"):
            write_json(path, "x" * 5000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert read_json(path) == {"old": True}
    assert names(tmp_path) == ["a.json"]


def test_an_interrupted_write_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.json"
    write_json(path, 1)

    def interrupt(descriptor: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupt)
    with pytest.raises(KeyboardInterrupt):
        write_json(path, 2)
    assert read_json(path) == 1
    assert names(tmp_path) == ["a.json"]


def test_files_get_the_mode_of_the_users_umask(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        write_json(tmp_path / "a.json", 1)
    finally:
        os.umask(before)
    assert (tmp_path / "a.json").stat().st_mode & 0o777 == 0o640


def test_json_is_readable_text(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", {"größe": (1, 2)})
    text = (tmp_path / "a.json").read_text(encoding="utf-8")
    assert "größe" in text
    assert json.loads(text) == {"größe": [1, 2]}


def test_what_killed_writes_left_is_recognised_by_whose_it_was(tmp_path: Path) -> None:
    with whole_file(tmp_path / "a.json") as a, whole_file(tmp_path / "b.json") as b, whole_folder(tmp_path / "c") as c:
        pass
    for left in (a, b):  # as if the blocks had been killed
        left.write_text("half")
    (tmp_path / c.name).mkdir()
    (tmp_path / c.name / "model.safetensors").touch()
    for other in (".mine.tmp", ".a.json.0123456789ab.tmp.txt", "a.json.0123456789ab.tmp"):
        (tmp_path / other).touch()
    before = set(names(tmp_path))
    assert set(remove_leftovers(tmp_path, r"a\.json|c")) == {a, c}
    assert before - set(names(tmp_path)) == {a.name, c.name}


def test_a_folder_that_is_not_there_has_no_leftovers(tmp_path: Path) -> None:
    assert remove_leftovers(tmp_path / "nowhere", ".*") == []
