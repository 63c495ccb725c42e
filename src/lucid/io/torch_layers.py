"""The layers of `torch.nn` that can be described: each with the arguments that are read back from its attributes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import nn

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["CONTAINERS", "LAYERS", "arguments_of", "layer_name"]

_CONV = "in_channels out_channels kernel_size stride padding dilation groups bias padding_mode"
_CONV_TRANSPOSE = "in_channels out_channels kernel_size stride padding output_padding groups bias dilation padding_mode"
_RUNNING_NORM = "num_features eps momentum affine track_running_stats bias"
_MAX_POOL = "kernel_size stride padding dilation return_indices ceil_mode"
_AVG_POOL = "kernel_size stride padding ceil_mode count_include_pad divisor_override"

_ARGUMENTS: dict[str, str] = {
    "Identity": "",
    "Linear": "in_features out_features bias",
    "Bilinear": "in1_features in2_features out_features bias",
    "Embedding": "num_embeddings embedding_dim padding_idx max_norm norm_type scale_grad_by_freq sparse",
    **{f"Conv{d}d": _CONV for d in (1, 2, 3)},
    **{f"ConvTranspose{d}d": _CONV_TRANSPOSE for d in (1, 2, 3)},
    # activations
    **dict.fromkeys(("ReLU", "ReLU6", "SELU", "SiLU", "Mish", "Hardsigmoid", "Hardswish"), "inplace"),
    **dict.fromkeys(("Sigmoid", "Tanh", "LogSigmoid", "Softsign", "Tanhshrink", "Softmax2d"), ""),
    **dict.fromkeys(("Softmax", "Softmin", "LogSoftmax", "GLU"), "dim"),
    **dict.fromkeys(("ELU", "CELU"), "alpha inplace"),
    **dict.fromkeys(("Hardshrink", "Softshrink"), "lambd"),
    "GELU": "approximate",
    "LeakyReLU": "negative_slope inplace",
    "RReLU": "lower upper inplace",
    "PReLU": "num_parameters",
    "Softplus": "beta threshold",
    "Hardtanh": "min_val max_val inplace",
    "Threshold": "threshold value inplace",
    # normalisation
    **{f"BatchNorm{d}d": _RUNNING_NORM for d in (1, 2, 3)},
    **{f"InstanceNorm{d}d": _RUNNING_NORM for d in (1, 2, 3)},
    "GroupNorm": "num_groups num_channels eps affine bias",
    "LayerNorm": "normalized_shape eps elementwise_affine bias",
    "RMSNorm": "normalized_shape eps elementwise_affine",
    "LocalResponseNorm": "size alpha beta k",
    # dropout
    **dict.fromkeys(("Dropout", "Dropout1d", "Dropout2d", "Dropout3d"), "p inplace"),
    **dict.fromkeys(("AlphaDropout", "FeatureAlphaDropout"), "p inplace"),
    # shape
    "Flatten": "start_dim end_dim",
    "Unflatten": "dim unflattened_size",
    "Fold": "output_size kernel_size dilation padding stride",
    "Unfold": "kernel_size dilation padding stride",
    "PixelShuffle": "upscale_factor",
    "PixelUnshuffle": "downscale_factor",
    "ChannelShuffle": "groups",
    "Upsample": "size scale_factor mode align_corners recompute_scale_factor",
    "UpsamplingNearest2d": "size scale_factor",
    "UpsamplingBilinear2d": "size scale_factor",
    # pooling
    **{f"MaxPool{d}d": _MAX_POOL for d in (1, 2, 3)},
    "AvgPool1d": "kernel_size stride padding ceil_mode count_include_pad",
    "AvgPool2d": _AVG_POOL,
    "AvgPool3d": _AVG_POOL,
    **{f"LPPool{d}d": "norm_type kernel_size stride ceil_mode" for d in (1, 2, 3)},
    **{f"AdaptiveAvgPool{d}d": "output_size" for d in (1, 2, 3)},
    **{f"AdaptiveMaxPool{d}d": "output_size return_indices" for d in (1, 2, 3)},
    # padding
    **{f"{kind}Pad{d}d": "padding" for kind in ("Zero", "Reflection", "Replication", "Circular") for d in (1, 2, 3)},
    **{f"ConstantPad{d}d": "padding value" for d in (1, 2, 3)},
}

# An older PyTorch lacks a few of these layers; a description that names one it lacks is then an unknown class.
LAYERS: Mapping[str, tuple[type[nn.Module], tuple[str, ...]]] = {
    f"torch.nn.{name}": (getattr(nn, name), tuple(names.split()))
    for name, names in _ARGUMENTS.items()
    if hasattr(nn, name)
}
CONTAINERS: Mapping[str, type[nn.Module]] = {
    "torch.nn.Sequential": nn.Sequential,
    "torch.nn.ModuleList": nn.ModuleList,
    "torch.nn.ModuleDict": nn.ModuleDict,
}
_NAMES = {cls: name for name, (cls, _) in LAYERS.items()} | {cls: name for name, cls in CONTAINERS.items()}


def layer_name(module: nn.Module) -> str | None:
    """The name of exactly this class of layer in a description; None for any other class, subclasses included."""
    return _NAMES.get(type(module))


def arguments_of(module: nn.Module) -> dict[str, object]:
    """The constructor arguments of a layer in `LAYERS`, read from its attributes."""
    return {
        name: module.bias is not None if name == "bias" else getattr(module, name)
        for name in LAYERS[_NAMES[type(module)]][1]
        if name != "bias" or not _bias_goes_unsaid(module)
    }


def _bias_goes_unsaid(module: nn.Module) -> bool:
    """A norm that has its bias, or no affine part at all, has it by default, and older PyTorch lacks the argument."""
    return hasattr(module, "eps") and (module.bias is not None or module.weight is None)
