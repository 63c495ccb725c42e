"""A block of examples: its size is the bound, and it comes back or is an error."""

from __future__ import annotations

import hashlib
import math
import re
from dataclasses import replace

import numpy as np
import pytest
import torch
from tests.codec.coding.networks import MODELS, FunctionRun, Model, chain, one_level, top_down, weak

from lucid.codec.coding import BlockCoder, calibrate, seed_bytes
from lucid.codec.coding.batches import batch_slices
from lucid.codec.coding.entries import DRAWN, PACE
from lucid.codec.errors import CodecError

DIGEST = hashlib.sha256(b"a block").digest()
N = 400


@pytest.fixture(scope="module", params=MODELS.values(), ids=MODELS.keys())
def model(request: pytest.FixtureRequest) -> Model:
    return request.param()


def coder_of(model: Model, n: int = 150) -> BlockCoder:
    return BlockCoder(model.network, calibrate(model.network, model.layout, model.data(n, seed=1)))


def test_a_block_is_the_bound_of_what_was_drawn_and_comes_back(model: Model) -> None:
    coder, x = coder_of(model), model.data(N)
    model.network.runs.clear()
    payload = coder.encode(x, DIGEST)
    # A seed too short, or batches that grow too fast, and the encoder began again: what counts is the last beginning.
    runs: list[FunctionRun] = []
    for run in reversed(model.network.runs):
        runs.append(run)
        if sum(run.n for run in runs) == N:
            break
    bits = -sum(float(model.bound(run).sum()) for run in runs) / math.log(2)
    decoded, seed = coder.decode(payload, N)
    assert torch.equal(decoded, x)
    assert decoded.dtype == torch.int64
    assert seed == seed_bytes(DIGEST, len(seed))
    # Masses of cells are not quite density times width; one byte is not the stack's, seven bits are never filled.
    assert 8 * (len(payload) - len(seed)) == pytest.approx(bits, rel=2e-3, abs=16)


def test_a_block_is_the_evidence_lower_bound(model: Model) -> None:
    x = model.data(N)
    elbo = model.elbo(x, draws=3)
    payload = coder_of(model).encode(x, DIGEST)
    seed = payload[0] // 8 * 4
    net = 8 * (len(payload) - seed) * math.log(2) / N
    # What varies between draws, of which the block has one and the estimate three, and half of a permille for the grid.
    error = float(elbo.std(0).square().mean().sqrt()) * math.sqrt((1 + 1 / 3) / N)
    assert net == pytest.approx(-float(elbo.mean()), abs=3 * error + 0.0005 * net)


@pytest.mark.parametrize("n", [1, 2, 5, 33])
def test_small_blocks_come_back(model: Model, n: int) -> None:
    coder, x = coder_of(model, 20), model.data(n, seed=n)
    assert torch.equal(coder.decode(coder.encode(x, DIGEST), n)[0], x)


def test_every_z_is_what_the_encoder_made_of_it(model: Model) -> None:
    """Decoding retraces the steps: the values that enter the network are the same bits."""
    coder, x = coder_of(model, 20), model.data(40)
    model.network.runs.clear()
    payload = coder.encode(x, DIGEST)
    wrote = model.network.runs[-len(batch_slices(40, 2, 512)) :]
    model.network.runs.clear()
    coder.decode(payload, 40)
    for one, other in zip(wrote, reversed(model.network.runs), strict=True):
        assert one.values.keys() == other.values.keys()
        assert all(torch.equal(one.values[name], other.values[name]) for name in one.values)


def test_data_of_another_kind_comes_back(model: Model) -> None:
    coder = coder_of(model, 20)
    x = torch.cat([torch.zeros(9, 30), torch.ones(9, 30), torch.eye(30)]).long()
    assert torch.equal(coder.decode(coder.encode(x, DIGEST), len(x))[0], x)


def test_the_first_words_are_the_digest() -> None:
    """What is popped first comes from the seed: another digest, another file of the same size."""
    coder, x = coder_of(one_level()), one_level().data(50)
    one, other = (coder.encode(x, hashlib.sha256(name).digest()) for name in (b"1", b"2"))
    assert one != other
    assert abs(len(one) - len(other)) < 0.1 * len(one)


def test_a_longer_seed_is_found_where_three_words_run_dry() -> None:
    """Sixty latents of some four bits each cannot be popped off 96 bits."""
    model = one_level(latents=60)
    coder, x = coder_of(model, 30), model.data(3)
    payload = coder.encode(x, DIGEST)
    decoded, seed = coder.decode(payload, 3)
    assert torch.equal(decoded, x)
    assert len(seed) > 32
    assert seed == seed_bytes(DIGEST, len(seed))


def test_any_byte_changed_is_an_error_or_another_seed(model: Model) -> None:
    coder, x = coder_of(model, 20), model.data(6)
    payload = coder.encode(x, DIGEST)
    for place in range(len(payload)):
        damaged = bytearray(payload)
        damaged[place] ^= 1 << place % 8
        try:
            _, seed = coder.decode(bytes(damaged), 6)
        except CodecError:
            continue
        # The count of words in the first byte can be right by chance of nothing else than the seed's own length.
        assert seed != seed_bytes(DIGEST, len(seed)) or damaged[0] != payload[0]


@pytest.mark.parametrize("cut", [0, 1, 5, 13, -4, -1])
def test_a_payload_cut_short_is_an_error(cut: int) -> None:
    model = chain()
    coder, x = coder_of(model, 20), model.data(40)
    payload = coder.encode(x, DIGEST)[:cut]
    with pytest.raises(CodecError, match=r"damaged|altered|cut short"):
        coder.decode(payload, 40)


def test_running_dry_ends_at_once() -> None:
    """A short payload that says it holds a million examples costs the time of its own bits."""
    model = one_level()
    coder = coder_of(model, 20)
    payload = coder.encode(model.data(4), DIGEST)
    model.network.runs.clear()
    with pytest.raises(CodecError, match="ends too early"):
        coder.decode(payload, 100_000)
    assert len(model.network.runs) <= 2


def test_collapsed_latents_are_shared() -> None:
    """Level 1 of this model has collapsed, and nothing else."""
    model = top_down()
    layout = calibrate(model.network, model.layout, model.data(150, seed=1))
    assert [int((latent.grid.shared == 1).sum()) for latent in layout.latents if latent.grid] == [0, 4, 0]


def test_weak_latents_cost_a_constant_of_few_bytes_at_any_size() -> None:
    """Four hundred latents would take some 50 words of seed, and all but six of them say next to nothing."""
    model = weak()
    x = model.data(N)
    marked = calibrate(model.network, model.layout, model.data(100, seed=1))
    grid = marked.latents[0].grid
    assert grid is not None
    assert bool((grid.shared[:6] == 0).all())
    assert int((grid.shared > DRAWN).sum()) > 350
    unmarked = replace(marked, latents=(replace(marked.latents[0], grid=replace(grid, shared=grid.shared == DRAWN)),))
    short, long = (BlockCoder(model.network, layout) for layout in (marked, unmarked))
    for n in (40, 100):
        elbo = model.elbo(x[:n], draws=8)
        bound = -float(elbo.mean(0).sum()) / math.log(2) / 8
        noise = float(elbo.std(0).square().sum().sqrt()) / math.log(2) / 8
        payloads = [short.encode(x[:n], hashlib.sha256(bytes([i])).digest()) for i in range(4)]
        size = sum(map(len, payloads)) / 4
        # Four draws here and eight there; 45 bytes are 1 % of 300 small images, and the seed alone is 12 of them.
        assert bound - 3 * noise * (1 / 4 + 1 / 8) ** 0.5 < size < bound + 45
        decoded, seed = short.decode(payloads[0], n)
        assert torch.equal(decoded, x[:n])
        assert len(seed) <= 16
        assert len(long.encode(x[:n], DIGEST)) > bound + 150


def test_a_beginning_too_fast_for_the_data_is_slowed_down() -> None:
    """Calibrated as if an example added four times what it does: the stack runs dry until the pace is slow enough."""
    model = weak()
    x = model.data(60)
    layout = calibrate(model.network, model.layout, model.data(100, seed=1))
    grid = layout.latents[0].grid
    assert grid is not None
    late = grid.shared > DRAWN
    hasty = torch.where(late, (grid.shared.int() - 8).clamp(min=DRAWN + 1), grid.shared.int()).to(torch.uint8)
    coder = BlockCoder(
        model.network, replace(layout, latents=(replace(layout.latents[0], grid=replace(grid, shared=hasty)),))
    )
    payload = coder.encode(x, DIGEST)
    decoded, seed = coder.decode(payload, 60)
    assert torch.equal(decoded, x)
    assert payload[1] > PACE
    assert seed == seed_bytes(DIGEST, len(seed))


@pytest.mark.parametrize(
    ("levels", "received"),
    [(torch.tensor([[2**31]]), "from 2147483648 to 2147483648"), (torch.zeros(0, 1).long(), "no examples")],
)
def test_levels_that_no_file_can_hold_are_refused(levels: torch.Tensor, received: str) -> None:
    with pytest.raises(ValueError, match=re.escape(received)):
        coder_of(one_level(), 5).encode(levels, DIGEST)


def test_time_is_told_by_stage() -> None:
    model = one_level()
    coder = coder_of(model, 20)
    coder.encode(model.data(50), DIGEST)
    assert set(coder.seconds) == {"networks", "tables", "coder"}
    assert all(seconds > 0 for seconds in coder.seconds.values())


@pytest.mark.parametrize("divisor", [2, 8])
@pytest.mark.parametrize("n", [1, 2, 7, 100, 1000])
def test_batches_hold_every_example_once(n: int, divisor: int) -> None:
    slices = batch_slices(n, divisor, 64)
    assert np.array_equal(np.concatenate([np.arange(s.start, s.stop) for s in slices]), np.arange(n))
    assert all(1 <= s.stop - s.start <= max(1, min(64, s.start // divisor)) for s in slices)
