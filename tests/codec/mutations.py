"""Files that were damaged by chance, by a careless hand, or by somebody who knows the format."""

from __future__ import annotations

import copy
import json
import random
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

from lucid.codec.container.header import read_header
from lucid.codec.container.index import Member, block_check, index_bytes, read_index
from lucid.codec.container.numbers import varint
from lucid.codec.container.source import Source
from lucid.codec.errors import CodecError
from lucid.io import read_verified, write_tensors

Mutation = Callable[[bytes, random.Random, Sequence[bytes]], bytes]

INTERESTING = (0, 1, 2, 0x7F, 0x80, 0xFF)
HUGE = (0, 1, 127, 128, 2**14, 2**20, 2**26 - 1, 2**31, 2**40, 2**62, 2**63 - 1)


def _flip(data: bytes, chance: random.Random, others: Sequence[bytes]) -> bytes:
    changed = bytearray(data)
    for _ in range(chance.choice((1, 1, 1, 2, 8))):
        changed[chance.randrange(len(changed))] ^= 1 << chance.randrange(8)
    return bytes(changed)


def _set(data: bytes, chance: random.Random, others: Sequence[bytes]) -> bytes:
    changed = bytearray(data)
    changed[chance.randrange(len(changed))] = chance.choice((*INTERESTING, chance.randrange(256)))
    return bytes(changed)


def _cut(data: bytes, chance: random.Random, others: Sequence[bytes]) -> bytes:
    return data[: chance.randrange(len(data))]


def _remove(data: bytes, chance: random.Random, others: Sequence[bytes]) -> bytes:
    start, end = sorted(chance.randrange(len(data) + 1) for _ in range(2))
    return data[:start] + data[end:]


def _insert(data: bytes, chance: random.Random, others: Sequence[bytes]) -> bytes:
    place = chance.randrange(len(data) + 1)
    return data[:place] + chance.randbytes(chance.choice((1, 2, 4, 64))) + data[place:]


def _repeat(data: bytes, chance: random.Random, others: Sequence[bytes]) -> bytes:
    start, end = sorted(chance.randrange(len(data) + 1) for _ in range(2))
    return data[:end] + data[start:end] + data[end:]


def _splice(data: bytes, chance: random.Random, others: Sequence[bytes]) -> bytes:
    other = chance.choice(others)
    start, end = sorted(chance.randrange(min(len(data), len(other)) + 1) for _ in range(2))
    return data[:start] + other[start:end] + data[end:]


def _join(data: bytes, chance: random.Random, others: Sequence[bytes]) -> bytes:
    other = chance.choice(others)
    return data[: chance.randrange(len(data) + 1)] + other[chance.randrange(len(other) + 1) :]


def _header_field(data: bytes, chance: random.Random, others: Sequence[bytes]) -> bytes:
    """One of the first bytes, or a number there, as somebody would who knows where they are."""
    place = chance.randrange(min(len(data), 32))
    return data[:place] + varint(chance.choice(HUGE)) + data[place + chance.choice((0, 1, 1, 2)) :]


def _members(data: bytes) -> tuple[list[Member], int]:
    """What the index of a file names, and where its header ends; nothing where there is no sound index."""
    try:
        header, end = read_header(Source(data))
        return (read_index(Source(data), end) if header.indexed else []), end
    except CodecError:
        return [], 0


def _index_field(data: bytes, chance: random.Random, others: Sequence[bytes]) -> bytes:
    """A size, number or kind in the index changed, and every checksum of the container put right."""
    members, end = _members(data)
    if not members:
        return _header_field(data, chance, others)
    chance.shuffle(members)
    if chance.random() < 0.5:
        members = members[: chance.randrange(len(members) + 1)] + members[:1]
    body = b"".join(data[m.position : m.position + m.size] for m in members)
    return data[:end] + body + index_bytes(data[:end], members, chance.choice((1, 2, 7, 11, 2**20)))


def _payload_with_checks(data: bytes, chance: random.Random, others: Sequence[bytes]) -> bytes:
    """A block changed and its checksum in the index put right: what only the hash of its content can tell."""
    members, end = _members(data)
    blocks = [m for m in members if m.kind in (0, 1) and m.size]
    if not blocks:
        return _flip(data[-max(1, len(data) // 2) :], chance, others) if len(data) < 40 else _late_flip(data, chance)
    block = chance.choice(blocks)
    changed = bytearray(data)
    changed[block.position + chance.randrange(block.size)] ^= 1 << chance.randrange(8)
    body = bytes(changed[block.position : block.position + block.size])
    put_right = [m if m is not block else type(m)(**{**m.__dict__, "check": block_check(body)}) for m in members]
    stop = members[-1].position + members[-1].size
    return bytes(changed[:stop]) + index_bytes(data[:end], put_right, max(m.examples for m in blocks))


def _late_flip(data: bytes, chance: random.Random) -> bytes:
    changed = bytearray(data)
    changed[chance.randrange(12, len(changed))] ^= 1 << chance.randrange(8)
    return bytes(changed)


MUTATIONS: tuple[Mutation, ...] = (
    *(_flip, _set, _cut, _remove, _insert, _repeat, _splice, _join),
    *(_header_field, _index_field, _payload_with_checks),
)


FORGERIES = (_index_field, _payload_with_checks)
"""Those that make the file's checksums anew."""


def mutated(data: bytes, chance: random.Random, others: Sequence[bytes]) -> tuple[bytes, bool]:
    """Another file, by one mutation or a few after one another, and whether any of them was a forgery."""
    forged = False
    for _ in range(chance.choice((1, 1, 1, 2, 3))):
        if data:
            mutation = chance.choice(MUTATIONS)
            data, forged = mutation(data, chance, others), forged or mutation in FORGERIES
    return data, forged


# Codecs, forged: their own checksum is right, and what they say is not.

VALUES = (0, 1, -1, 2, 7, 2**20, 2**31, 2**53, 2**80, -(2**60), 0.5, True, None, "", "x", "linear", [], [0], {}, [[1]])


def forged_codec(data: bytes, chance: random.Random) -> bytes:
    """A codec with a few things in its description or tensors changed, and its checksum made anew."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.codec"
        path.write_bytes(data)
        tensors, texts = read_verified(path)
        description = json.loads(texts["lucid.codec"])
        for _ in range(chance.choice((1, 1, 2, 4))):
            if chance.random() < 0.7:
                _change_json(description, chance)
            else:
                _change_tensor(tensors, chance)
        text = json.dumps(description)
        write_tensors(path, tensors, {**texts, "lucid.codec": text})
        return path.read_bytes()


def _change_json(description: Any, chance: random.Random) -> None:
    """Something else at a random place; what else is often what stands at another place."""
    places: list[tuple[Any, Any]] = []

    def walk(value: Any) -> None:
        for key in list(value) if isinstance(value, dict) else range(len(value)):
            places.append((value, key))
            if isinstance(value[key], dict | list):
                walk(value[key])

    walk(description)
    holder, key = chance.choice(places)
    roll = chance.random()
    if roll < 0.15:
        del holder[key]
    elif roll < 0.5:
        other, other_key = chance.choice(places)
        holder[key] = copy.deepcopy(other[other_key])
    elif roll < 0.6 and type(holder[key]) is int:
        holder[key] += chance.choice((-1, 1, 64, -64))
    else:
        holder[key] = chance.choice(VALUES)


def _change_tensor(tensors: dict[str, torch.Tensor], chance: random.Random) -> None:
    name = chance.choice(sorted(tensors))
    tensor = tensors[name]
    match chance.randrange(6):
        case 0:
            del tensors[name]
        case 1:
            tensors[name] = tensor.to(chance.choice((torch.float64, torch.int64, torch.bool, torch.float16)))
        case 2:
            tensors[name] = tensor.flatten()[: chance.randrange(tensor.numel() + 1)]
        case 3:
            tensors[name] = tensors[chance.choice(sorted(tensors))].clone()
        case 4 if tensor.is_floating_point():
            tensors[name] = torch.full_like(tensor, chance.choice((float("nan"), float("inf"), 0.0, 1e300, -1.0)))
        case _:
            whole = tensor.long() if not tensor.is_floating_point() else tensor
            flat = whole.clone().flatten()
            if len(flat):
                flat[chance.randrange(len(flat))] = chance.choice((-1, 0, 2**31, -(2**31), 2**52, -(2**62)))
            tensors[name] = flat.reshape(tensor.shape)
