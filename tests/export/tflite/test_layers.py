"""Layers as plain convolutions, against torch."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from core.quantization import Layer
from export.errors import ExportError
from export.tflite.layers import Convolution, as_convolution

LAYERS: dict[str, Layer] = {
    "same": nn.Conv2d(4, 6, 3, padding=1),
    "no bias": nn.Conv2d(4, 6, 3, padding=1, bias=False),
    "dilated": nn.Conv2d(4, 6, 3, padding=4, dilation=4),
    "dilated, other padding": nn.Conv2d(4, 6, 3, padding=1, dilation=2),
    "pointwise": nn.Conv2d(4, 6, 1),
    "even": nn.Conv2d(4, 6, 2),
    "down": nn.Conv2d(4, 6, 2, stride=2),
    "entry": nn.Conv2d(3, 6, 6, stride=2, padding=2),
    "entry of four": nn.Conv2d(3, 5, 12, stride=4, padding=4),
    "entry without zeros": nn.Conv2d(3, 5, 4, stride=2),
    "overlapping strides": nn.Conv2d(4, 6, 3, stride=2, padding=1),
    "up": nn.ConvTranspose2d(6, 4, 2, stride=2),
    "exit": nn.ConvTranspose2d(6, 3, 6, stride=2, padding=2),
    "exit of four": nn.ConvTranspose2d(6, 3, 12, stride=4, padding=4),
    "transposed": nn.ConvTranspose2d(6, 4, 2),
    "transposed and cut": nn.ConvTranspose2d(6, 4, 3, padding=1),
    "transposed, no bias": nn.ConvTranspose2d(6, 4, 4, stride=2, bias=False),
}


def _folded(x: Tensor, block: int) -> Tensor:
    """Fold NHWC as TensorFlow's space_to_depth: row in the block, column, channel."""
    count, height, width, channels = x.shape
    blocks = x.reshape(count, height // block, block, width // block, block, channels)
    return blocks.permute(0, 1, 3, 2, 4, 5).reshape(count, height // block, width // block, -1)


def _unfolded(x: Tensor, block: int) -> Tensor:
    count, height, width, channels = x.shape
    blocks = x.reshape(count, height, width, block, block, channels // block**2)
    return blocks.permute(0, 1, 3, 2, 4, 5).reshape(count, height * block, width * block, -1)


def _computed(layer: Convolution, x: Tensor) -> Tensor:
    folded = _folded(x, layer.fold).permute(0, 3, 1, 2)
    weight = torch.from_numpy(np.ascontiguousarray(layer.weight)).permute(0, 3, 1, 2)
    bias = torch.from_numpy(layer.bias)
    result = F.conv2d(folded, weight, bias, layer.stride, layer.padding, dilation=layer.dilation)
    return _unfolded(result.permute(0, 2, 3, 1), layer.unfold)


@pytest.mark.parametrize("name", LAYERS)
def test_it_computes_what_the_layer_does(name: str) -> None:
    layer = LAYERS[name]
    x = torch.rand(2, layer.in_channels, 12, 20, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        wanted = layer(x).permute(0, 2, 3, 1)
        found = _computed(as_convolution(name, layer), x.permute(0, 2, 3, 1))
    assert found.shape == wanted.shape
    assert (found - wanted).abs().max() < 1e-5


def test_only_what_gains_from_it_is_folded() -> None:
    folds = {name: as_convolution(name, layer).fold for name, layer in LAYERS.items()}
    folded = {name: fold for name, fold in folds.items() if fold > 1}
    assert folded == {"entry": 2, "entry of four": 4, "entry without zeros": 2}


@pytest.mark.parametrize(
    "layer",
    [
        nn.Conv2d(4, 4, 3, groups=2),
        nn.Conv2d(4, 4, 3, stride=2, dilation=2),
        nn.Conv2d(4, 4, 3, dilation=(1, 2)),
        nn.ConvTranspose2d(4, 4, 3, dilation=2),
        nn.Conv2d(4, 4, (1, 3)),
        nn.Conv2d(4, 4, 3, stride=(1, 2)),
        nn.Conv2d(4, 4, 3, padding=(0, 1)),
        nn.Conv2d(4, 4, 3, padding="same"),
        nn.ConvTranspose2d(4, 4, 3, stride=2),
        nn.ConvTranspose2d(4, 4, 4, stride=2, padding=1),
        nn.ConvTranspose2d(4, 4, 2, stride=2, output_padding=1),
        nn.ConvTranspose2d(4, 4, 2, padding=2),
    ],
)
def test_other_layers_are_refused_by_name(layer: Layer) -> None:
    with pytest.raises(ExportError, match=r"layer up\.0: Conv"):
        as_convolution("up.0", layer)
