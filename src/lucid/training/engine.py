"""Processes, devices and precision: the one file that knows PyTorch's distributed engine.

`torchrun` (or SLURM, or anything else that sets RANK, WORLD_SIZE and MASTER_ADDR) starts the processes; alone, there is
one. Weights and their gradients are kept alike by PyTorch's `DistributedDataParallel`, or divided by its `fully_shard`.
"""

from __future__ import annotations

import copy
import os
from collections.abc import Generator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist  # noqa: TID251  this is the file
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh  # noqa: TID251  this is the file
from torch.distributed.fsdp import FSDPModule, fully_shard  # noqa: TID251  this is the file
from torch.distributed.rendezvous import rendezvous  # noqa: TID251  this is the file
from torch.distributed.tensor import DTensor, distribute_tensor  # noqa: TID251  this is the file
from torch.nn.parallel import DistributedDataParallel

from lucid.data import Share
from lucid.evaluation import Team
from lucid.training.networks import networks_of
from lucid.training.precision import device_of, precision_of
from lucid.training.settings import Settings

__all__ = [
    "OWN_BUFFERS",
    "Engine",
    "as_sharded",
    "evaluating_together",
    "gathered",
    "gradient_norm",
    "is_main_process",
    "launch",
    "was_restarted",
    "whole",
]

_HALF = {"bf16-mixed": torch.bfloat16, "fp16-mixed": torch.float16}
OWN_BUFFERS = ("beta_step", "latent_shapes")
"""Buffers of lucid's models that say where training is: the same in every process, and no statistics of the data."""

_PATIENCE = timedelta(days=7)

_UNIT = 1_000_000
"""Parameters from which on a layer is gathered and freed by itself; smaller ones go with the rest."""


def is_main_process() -> bool:
    """Whether this process is the one that writes and speaks."""
    return int(os.environ.get("RANK", "0")) == 0


@contextmanager
def evaluating_together() -> Generator[Team | None]:
    """The processes that torchrun has started, to evaluate together; None where there is one.

    They exchange a few numbers an example block, by way of the host, wherever they compute.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield None
        return
    started = not dist.is_initialized()
    if started:
        # The first may measure more than the bounds, while the others wait for it.
        dist.init_process_group("gloo", timeout=_PATIENCE)
    hosts: Any = None if started else dist.new_group(backend="gloo", timeout=_PATIENCE)

    def total(numbers: Tensor) -> Tensor:
        held = numbers.clone()
        dist.all_reduce(held, dist.ReduceOp.SUM, hosts)
        return held

    try:
        yield Team(Share(dist.get_rank(), dist.get_world_size()), total)
    finally:
        if started:
            dist.destroy_process_group()


def launch() -> str | None:
    """What torchrun calls the launch of these processes: the same for all of them, on every machine and each start."""
    name = os.environ.get("TORCHELASTIC_RUN_ID")
    return None if name == "none" else name


def was_restarted(before: str | None) -> bool:
    """Whether the processes were started again after one was lost, by torchrun or by SLURM.

    Args:
        before: What `launch` said when the run began. Counts of starts are each machine's own.
    """
    counts = ("TORCHELASTIC_RESTART_COUNT", "SLURM_RESTART_COUNT")
    return any(int(os.environ.get(name, "0")) > 0 for name in counts) or (before is not None and before == launch())


class Engine:
    """Where a run computes, and with whom.

    Args:
        settings: Of the run.
        model: As it was given.

    Attributes:
        rank: Which process this is.
        of: How many there are.
        device: Where this one computes.
        precision: The precision, "auto" decided.
        dtype: Of the weights.

    Raises:
        ValueError: If the device is not there or cannot compute in that precision, or batches cannot be divided.
    """

    _runs = 0
    """Runs of this process so far that were several processes'."""

    def __init__(self, settings: Settings, model: nn.Module) -> None:
        self.device = device_of(settings, int(os.environ.get("LOCAL_RANK", "0")))
        self.precision = precision_of(settings, self.device, model)
        self.dtype = torch.float64 if self.precision == "float64" else torch.float32
        self._half = _HALF.get(self.precision)
        self._sharded = settings.strategy == "sharded"
        self._started = self._start()
        self.rank, self.of = (dist.get_rank(), dist.get_world_size()) if dist.is_initialized() else (0, 1)
        if settings.batch_size < self.of:
            raise ValueError(
                f"batch_size counts the examples of all processes together: {settings.batch_size} cannot be divided "
                f"among {self.of}"
            )
        # Flags and sums of the host go their own way, and do not wait for the device.
        self._hosts: Any = dist.new_group(backend="gloo") if self.of > 1 else None

    def _start(self) -> bool:
        """Join the other processes; whether it was done here, and not by the caller before."""
        if dist.is_initialized() or int(os.environ.get("WORLD_SIZE", "1")) == 1:
            return False
        if self.device.type == "cuda":
            torch.cuda.set_device(self.device)
        store, rank, of = next(rendezvous("env://"))
        # The store outlives a run, and its processes: none may find the addresses of the last one there. On several
        # machines, which count starts each for itself, TORCH_DISABLE_SHARE_RDZV_TCP_STORE=1 gives each start a new one.
        alone = os.environ.get("GROUP_WORLD_SIZE") == "1"
        start = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0") if alone else "0"
        Engine._runs += 1
        store = dist.PrefixStore(f"start {start} run {Engine._runs}", store)  # pyright: ignore[reportPrivateImportUsage]
        backend = "nccl" if self.device.type == "cuda" else "gloo"
        dist.init_process_group(backend, store=store, rank=rank, world_size=of)
        return True

    @contextmanager
    def running(self) -> Generator[None]:
        """Leave the other processes afterwards, if this engine joined them."""
        try:
            yield
        finally:
            if self._started and dist.is_initialized():
                dist.destroy_process_group()

    @property
    def share(self) -> Share:
        """Which rows of every batch are this process's."""
        return Share(self.rank, self.of)

    @property
    def main(self) -> bool:
        """Whether this process writes and speaks."""
        return self.rank == 0

    def autocast(self) -> AbstractContextManager[Any]:
        """Networks compute in half precision within it, where that was chosen."""
        return torch.autocast(self.device.type, self._half) if self._half is not None else nullcontext()

    # The model

    def place(self, model: nn.Module) -> nn.Module:
        """The model that is trained: `model` itself on the device, or a copy of it where weights are sharded.

        A sharded model can no longer be used as a plain one; so the copy is sharded, and `model` receives its weights
        whenever it is saved, and at the end.
        """
        if self.of == 1 or not self._sharded:
            return model.to(self.device, self.dtype)
        model.to(dtype=self.dtype)
        return copy.deepcopy(model).to(self.device)

    def distribute(self, step: nn.Module, model: nn.Module) -> nn.Module:
        """The step, synchronised with those of the other processes; all begin with the weights of the first.

        Args:
            step: What is called: the model and the objective.
            model: The model within it, as `place` gave it.
        """
        if self.of == 1:
            return step
        if not self._sharded:
            own = [f"model.{name}" for name in OWN_BUFFERS]
            DistributedDataParallel._set_params_and_buffers_to_ignore_for_model(step, own)  # pyright: ignore[reportPrivateUsage]
            for tensor in model.buffers():
                dist.broadcast(tensor, 0)
            return DistributedDataParallel(step, gradient_as_bucket_view=True)
        for tensor in (*model.parameters(), *model.buffers()):
            dist.broadcast(tensor.detach(), 0)
        mesh = init_device_mesh(self.device.type, (self.of,))
        for unit in _units(model):
            fully_shard(unit, mesh=mesh)
        fully_shard(step, mesh=mesh)
        return step

    @property
    def sharded(self) -> bool:
        """Whether weights are divided among processes."""
        return self._sharded and self.of > 1

    def align(self, model: nn.Module) -> None:
        """Give every process the first one's statistics (batch normalisation's); data-parallel steps do so anyway."""
        if self.sharded:
            for name, buffer in model.named_buffers():
                if name not in OWN_BUFFERS:
                    dist.broadcast(buffer, 0)

    def accumulating(self, step: nn.Module, last: bool) -> AbstractContextManager[Any]:
        """Within it, a backward pass adds to the gradients; only the last one of a batch synchronises them."""
        if isinstance(step, DistributedDataParallel) and not last:
            return step.no_sync()
        if isinstance(step, FSDPModule):
            step.set_requires_gradient_sync(last)
        return nullcontext()

    # Agreement

    def sum(self, numbers: Sequence[float]) -> list[float]:
        """Sums over the processes, in float64."""
        return self._reduce(numbers, dist.ReduceOp.SUM)

    def any(self, flags: Sequence[bool]) -> list[bool]:
        """Of each flag, whether it is set in any process."""
        return [bool(flag) for flag in self._reduce([float(flag) for flag in flags], dist.ReduceOp.MAX)]

    def _reduce(self, numbers: Sequence[float], how: Any) -> list[float]:
        if self.of == 1:
            return list(numbers)
        held = torch.tensor(numbers, dtype=torch.float64)
        dist.all_reduce(held, how, self._hosts)
        return held.tolist()

    def wait_for_main(self) -> None:
        """Go on when every process has come here, so the first has written what the others will read."""
        if self.of > 1:
            dist.barrier(self._hosts)


def _units(model: nn.Module) -> list[nn.Module]:
    """Layers that are large enough to be gathered, and freed again, one at a time."""
    found: list[nn.Module] = []
    for network in networks_of(model).values():
        # The model may run the layers of a Sequential itself, to have what enters its last one.
        layers = list(network) if isinstance(network, nn.Sequential) else [network]
        found += [layer for layer in layers if sum(p.numel() for p in layer.parameters()) >= _UNIT]
    return found


def whole(tensor: Tensor) -> Tensor:
    """All of a tensor that may be sharded; every process must ask."""
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def gathered(tensors: Mapping[str, Tensor], *, wanted: bool) -> dict[str, Tensor]:
    """All of each tensor, the sharded ones in the memory of the host; every process must ask.

    One at a time: the device never holds more than one of them whole.

    Args:
        tensors: By name, in the same order in every process.
        wanted: Whether this process keeps them; else it is given none.
    """
    found: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        if isinstance(tensor, DTensor):
            full = tensor.full_tensor()
            if wanted:
                found[name] = full.cpu()
        elif wanted:
            found[name] = tensor
    return found


def as_sharded(tensor: Tensor, like: Tensor) -> Tensor:
    """A whole tensor divided as `like` is; every process must ask, and the first one's numbers count."""
    if not isinstance(like, DTensor):
        return tensor
    return distribute_tensor(tensor.to(like.device), like.device_mesh, like.placements)


def gradient_norm(gradients: list[Tensor]) -> Tensor:
    """The norm of all gradients together, over all processes; every process must ask."""
    if any(isinstance(gradient, DTensor) for gradient in gradients):
        return whole(torch.nn.utils.get_total_norm(gradients))
    norms = torch._foreach_norm(gradients)  # pyright: ignore[reportPrivateUsage, reportPrivateImportUsage]
    return torch.linalg.vector_norm(torch.stack(norms))
