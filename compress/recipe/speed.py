"""How fast this machine trains a network, so that a plan can say how long it will take."""

from __future__ import annotations

from dataclasses import replace
from time import perf_counter

import torch
from lightning.fabric import Fabric
from torch import Tensor, nn

from compress.cost import macs_per_pixel
from core.checkpoint import Checkpoint
from core.training.config import TrainConfig
from core.training.devices import make_fabric

PASSES = 3
"""A step costs three forward passes: one, and the gradients of activations and of weights."""
_TIMED = 3
_MACS_AT_ONCE = 1e10
"""Of a timed step, about: a tenth of a second to a second of a processor."""


def training_speed(network: Checkpoint, training: TrainConfig) -> float:
    """Time a few steps without data, optimizer and ``torch.compile``, on one device.

    Args:
        network: what is trained.
        training: batch, crop, precision, threads and device.

    Returns:
        Multiply-accumulates per second.

    Raises:
        ConfigError: the device is not there.
    """
    fabric = make_fabric(replace(training, devices=1, num_nodes=1, strategy="auto"))
    multiple = network.config.size_multiple
    net = network.unquantized().build()
    macs = macs_per_pixel(net, multiple)
    step = fabric.setup_module(net.to(memory_format=torch.channels_last))  # type: ignore[call-overload]
    crop = training.mixture.crop
    most = int(_MACS_AT_ONCE / (PASSES * macs * crop**2))
    crops = max(1, min(training.batch_size // training.accumulate, most))
    rainy = torch.full((crops, 3, crop, crop), 0.5)
    rainy = fabric.to_device(rainy.to(memory_format=torch.channels_last))
    fastest = min(_seconds(fabric, step, rainy) for _ in range(_TIMED))
    return PASSES * macs * rainy.numel() / 3 / fastest


def _seconds(fabric: Fabric, step: nn.Module, rainy: Tensor) -> float:
    start = perf_counter()
    fabric.backward(step(rainy).square().mean())
    if rainy.is_cuda:
        torch.cuda.synchronize()
    return perf_counter() - start
