"""The artefact of a model: a folder with config.json (what it is) and model.safetensors (its weights).

config.json holds the description of the model and of its data protocol, the figures measured on it, the versions that
wrote it, and the size and SHA-256 of the weights. Nothing in either file is ever executed or unpickled.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor, nn

from lucid.io.building import construct
from lucid.io.checks import (
    CONFIG,
    FORMAT,
    SCHEMA,
    WEIGHTS,
    check_fits,
    checked_config,
    checked_weights,
    is_artefact,
    rebuilt_buffers,
    sha256_of,
)
from lucid.io.description import describe
from lucid.io.files import write_json
from lucid.io.folders import check_replaceable, previous_of, whole_folder
from lucid.io.tensors import read_tensors, write_tensors

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["load", "save"]

_SPARE_BYTES = 1 << 30


def save(
    model: nn.Module,
    folder: str | os.PathLike[str],
    figures: Mapping[str, Any] | None = None,
    *,
    weights: Mapping[str, Tensor] | None = None,
) -> None:
    """Write a model to a folder, whole or not at all; an artefact already there is replaced.

    Parts of the user's own classes are recorded as opaque: `load` then asks for them. `load` restores the weights
    and buffers with their dtypes, which parameters are frozen and which are tied, `model.protocol` and the figures.

    Args:
        model: The model; its class is registered (`lucid.io.register`), as `VAE` is.
        folder: The artefact's folder; missing parents are created.
        figures: Measured numbers to keep beside the model (a JSON dict). Figures of an earlier `load` are not written
            again by themselves: pass `model.figures` if they still hold.
        weights: What to write in the place of the model's own weights and buffers, such as their average: all names of
            its state dict, in the same shapes.

    Raises:
        TypeError: `model` is not an `nn.Module`.
        ValueError: The model itself cannot be described, a tensor or figure cannot be written, or `folder` holds
            something that is not an artefact, or files that replacing it would delete.
        OSError: The folder cannot be written (full disk, no permission); an artefact already there is left as it was.

    Example:
        >>> import tempfile, torch
        >>> from lucid import io
        >>> model = torch.nn.Linear(2, 1)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     io.save(model, folder, figures={"elbo": -1.5})
        ...     loaded = io.load(folder)
        >>> torch.equal(loaded.weight, model.weight), loaded.figures
        (True, {'elbo': -1.5})
    """
    if not isinstance(model, nn.Module):
        raise TypeError(f"save takes an nn.Module; received {type(model).__name__}")
    target = Path(os.path.realpath(folder))
    check_replaceable(target, is_artefact, (CONFIG, WEIGHTS))
    config = _config_of(model, figures)
    tensors = _state_of(model)
    if weights is not None:
        tensors = _in_place_of(tensors, weights)
    with whole_folder(target) as staging:
        write_tensors(staging / WEIGHTS, tensors)
        config["weights"] = {
            "file": WEIGHTS,
            "bytes": (staging / WEIGHTS).stat().st_size,
            "sha256": sha256_of(staging / WEIGHTS),
        }
        write_json(staging / CONFIG, config)


def _config_of(model: nn.Module, figures: Mapping[str, Any] | None) -> dict[str, Any]:
    import lucid  # for the version alone; at import time the package may still be initialising

    description = describe(model)
    if description["class"] == "opaque":
        raise ValueError(
            f"a {description['type']} cannot be saved, because {description['reason']}; save takes a model of a "
            "registered class (lucid.io.register) as its constructor made it: not wrapped, compiled or with hooks"
        )
    state = model.state_dict(keep_vars=True)
    return {
        "format": FORMAT,
        "schema": SCHEMA,
        "lucid": lucid.__version__,
        "torch": str(torch.__version__),
        "model": description,
        "protocol": describe(getattr(model, "protocol", None)),
        "figures": dict(figures or {}),
        "frozen": [name for name, item in state.items() if isinstance(item, nn.Parameter) and not item.requires_grad],
        "buffer_dtypes": {
            name: str(item.dtype).removeprefix("torch.") for name, item in rebuilt_buffers(model).items()
        },
    }


def _state_of(model: nn.Module) -> dict[str, Tensor]:
    state = cast("dict[str, object]", model.state_dict(keep_vars=True))
    for name, item in state.items():
        if not isinstance(item, Tensor):
            raise ValueError(f"the state dict's {name!r} is a {type(item).__name__}; an artefact holds tensors only")
        if nn.parameter.is_lazy(item):
            raise ValueError(f"the parameter {name!r} has no shape yet: call the model on an example before saving it")
    tensors = cast("dict[str, Tensor]", state)
    _refuse_partial_ties(tensors)
    return tensors


def _in_place_of(own: Mapping[str, Tensor], weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    for name in sorted(own.keys() ^ weights.keys()):
        raise ValueError(f"weights must have the names of the model's state dict; {name!r} is in only one of the two")
    for name, tensor in own.items():
        if weights[name].shape != tensor.shape:
            raise ValueError(
                f"weights must have the model's shapes; {name!r} is {tuple(weights[name].shape)} in the place of "
                f"{tuple(tensor.shape)}"
            )
    first: dict[int, str] = {}
    tied = {name: first.setdefault(id(tensor), name) for name, tensor in own.items()}  # tied weights stay one
    return {name: weights[tied[name]] for name in own}


def _refuse_partial_ties(tensors: Mapping[str, Tensor]) -> None:
    """Parameters tied through different views of one memory would come back untied; the same view is kept tied."""
    first: dict[int, tuple[str, Tensor]] = {}
    for name, tensor in tensors.items():
        if not isinstance(tensor, nn.Parameter) or tensor.is_meta or not tensor.numel():
            continue
        other_name, other = first.setdefault(tensor.data_ptr(), (name, tensor))
        if other is not tensor and (other.shape, other.stride()) != (tensor.shape, tensor.stride()):
            raise ValueError(
                f"the parameters {other_name!r} and {name!r} are different views of the same memory, a tie that an "
                "artefact cannot keep; tie them as one parameter, or clone one"
            )


def load(
    folder: str | os.PathLike[str],
    *,
    encoders: Sequence[nn.Module] | None = None,
    decoders: Sequence[nn.Module] | None = None,
    priors: Sequence[nn.Module] | None = None,
    device: str | torch.device = "cpu",
    **replacements: object,
) -> Any:  # the class is the file's; a narrower type would make every method of it a type error
    """Read a model that `save` wrote, on any machine, without running code from the files.

    Sizes, checksum, names and shapes are checked before any weight is allocated. The model comes in evaluation mode,
    with `model.protocol` and `model.figures`; the global random state is left as it was.

    Args:
        folder: The artefact's folder.
        encoders: Your own modules in place of the saved description: needed where it is opaque, allowed wherever the
            saved weights fit. They receive the saved weights.
        decoders: The same for the decoders.
        priors: The same for the priors.
        device: Where the weights go.
        **replacements: Any other constructor field of the model's configuration (or of the model, where it has no
            configuration), or `protocol`: `load(folder, beta_schedule=my_schedule)`. `beta_schedule=None` says that
            none is wanted.

    Raises:
        FileNotFoundError: No artefact there, or one of its files is missing.
        ValueError: A file is damaged, cut short, too large, of another format or of a newer schema; the weights are not
            those that were saved with config.json; a part is opaque or unknown; or modules given do not fit.
        OSError: A file cannot be read.
    """
    named = {"encoders": encoders, "decoders": decoders, "priors": priors}
    given: dict[str, Any] = {name: list(modules) for name, modules in named.items() if modules is not None}
    given.update(replacements)
    place = _existing(Path(folder))
    config = checked_config(place)
    weights = checked_weights(place, config["weights"])
    protocol = given.pop("protocol") if "protocol" in given else _protocol(config)
    places = _places(config["model"], given)
    limit = 8 * weights.stat().st_size + _SPARE_BYTES  # a layer makes float32 where the file may hold 8-bit numbers
    check_fits(construct(config["model"], "meta", places, max_bytes=limit), weights, sorted(given))
    model = construct(config["model"], "cpu", places)
    if not isinstance(model, nn.Module):
        raise ValueError(f"{str(place / CONFIG)!r} describes a {type(model).__name__}, not a model")
    _assign(model, read_tensors(weights, device), config)
    model.to(device).eval()
    model.protocol = protocol
    model.figures = config["figures"]
    return model


def _existing(folder: Path) -> Path:
    """The folder to read: where a save was killed between its two renames, the artefact it was replacing."""
    previous = previous_of(Path(os.path.realpath(folder)))
    if not folder.exists() and previous.is_dir():
        return previous
    if not folder.exists():
        raise FileNotFoundError(f"there is no folder {str(folder)!r}; load takes the folder that save wrote")
    if not folder.is_dir():
        raise ValueError(f"{str(folder)!r} is a file; load takes the folder that save wrote")
    return folder


def _protocol(config: Mapping[str, Any]) -> Any:
    # In a dict, so that an error can say "protocol"; on the meta device, since a protocol holds no tensors.
    return construct({"class": "dict", "items": {"protocol": config["protocol"]}}, "meta", {})["protocol"]


def _places(description: dict[str, Any], given: Mapping[str, object]) -> dict[str, object]:
    """The entries of the description that the given objects stand in for."""
    holder = description.get("config")
    nested = isinstance(holder, dict) and "class" in holder
    fields = cast("dict[str, Any]", holder) if nested else description
    for name in given:
        if name not in fields or name == "class":
            known = ", ".join(sorted(fields.keys() - {"class", "as"}))
            raise ValueError(
                f"the saved model has no field {name!r} to replace; it has {known or 'none'}, and 'protocol'"
            )
    return {f"config.{name}" if nested else name: item for name, item in given.items()}


def _assign(model: nn.Module, tensors: Mapping[str, Tensor], config: Mapping[str, Any]) -> None:
    """Put the saved tensors in place: dtypes, ties and frozen parameters as they were saved."""
    built = cast("dict[str, Tensor]", model.state_dict())
    for name, tensor in tensors.items():
        if _kind(tensor) != _kind(built[name]):
            raise ValueError(
                f"the saved weights do not fit the model: {name!r} is {tensor.dtype} in the file and "
                f"{built[name].dtype} in the model"
            )
    parameters = {name for name, _ in model.named_parameters(remove_duplicate=False)}
    shared: dict[int, nn.Parameter] = {}
    state = {
        name: shared.setdefault(id(tensor), nn.Parameter(tensor, requires_grad=False)) if name in parameters else tensor
        for name, tensor in tensors.items()
    }
    model.load_state_dict(state, strict=True, assign=True)
    frozen = set(cast("list[str]", config["frozen"]))
    for name, parameter in model.named_parameters(remove_duplicate=False):
        parameter.requires_grad_(name not in frozen and (parameter.is_floating_point() or parameter.is_complex()))
    _cast_rebuilt(model, cast("dict[str, object]", config["buffer_dtypes"]))


def _kind(tensor: Tensor) -> tuple[bool, bool, bool]:
    """What a change of precision leaves as it is."""
    return tensor.is_floating_point(), tensor.is_complex(), tensor.dtype == torch.bool


def _cast_rebuilt(model: nn.Module, dtypes: Mapping[str, object]) -> None:
    """Give the buffers that the constructor made anew the dtypes that they had (`model.double()` changes them too)."""
    rebuilt = rebuilt_buffers(model)
    for name, text in dtypes.items():
        dtype = getattr(torch, text, None) if isinstance(text, str) else None
        if not isinstance(dtype, torch.dtype):
            raise ValueError(f"{CONFIG} is damaged: the buffer {name!r} cannot have the dtype {str(text)[:80]!r}")
        if name in rebuilt:  # a later version of a class may do without a buffer that holds no state
            owner, _, leaf = name.rpartition(".")
            setattr(model.get_submodule(owner), leaf, rebuilt[name].to(dtype))
