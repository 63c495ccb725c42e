"""The stack: last in, first out; empty is an error."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest

from lucid.codec.coding.bits import DECISIONS
from lucid.codec.coding.stack import RanDryError, Stack, seed_bytes
from lucid.codec.errors import CodecError


def rows(n: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).random((n, 2)) + 0.01


def test_what_is_popped_can_be_pushed_back() -> None:
    stack = Stack.of_seed(bytes(range(40)))
    before = stack.payload()
    symbols = stack.pop(50, DECISIONS, rows(50))
    assert stack.payload() != before
    stack.push(symbols, DECISIONS, rows(50))
    assert stack.payload() == before


def test_a_payload_is_the_stack() -> None:
    stack = Stack.of_seed(bytes(12))
    stack.push(np.array([1, 0, 1, 1], dtype=np.int32), DECISIONS, rows(4))
    again = Stack.of_payload(stack.payload())
    assert again.pop(4, DECISIONS, rows(4)).tolist() == [1, 0, 1, 1]
    assert again.seed() == bytes(12)


@pytest.mark.parametrize("seed", [bytes(12), b"\xff" * 12, bytes(11) + b"\x01"])
def test_a_seed_of_any_bytes_is_given_back(seed: bytes) -> None:
    assert Stack.of_payload(Stack.of_seed(seed).payload()).seed() == seed


def test_more_than_there_is_cannot_be_popped() -> None:
    stack = Stack.of_seed(bytes(12))
    stack.pop(60, DECISIONS, np.ones((60, 2)))
    with pytest.raises(RanDryError):
        stack.pop(60, DECISIONS, np.ones((60, 2)))


@pytest.mark.parametrize("payload", [b"", b"1234", b"12345\0"])
def test_what_no_encoder_wrote_is_refused(payload: bytes) -> None:
    with pytest.raises(CodecError, match="damaged"):
        Stack.of_payload(payload)


def test_what_is_left_must_be_a_seed() -> None:
    with pytest.raises(CodecError, match="does not end in a seed"):
        Stack.of_payload(b"12345678").seed()


def test_a_long_seed_goes_on_with_digests_of_digests() -> None:
    digest = hashlib.sha256(b"x").digest()
    assert (
        seed_bytes(digest, 80)
        == digest + hashlib.sha256(digest).digest() + (hashlib.sha256(hashlib.sha256(digest).digest()).digest()[:16])
    )
