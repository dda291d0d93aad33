"""The function that an artifact holds: a network between pixels and pixels."""

from __future__ import annotations

from torch import Tensor, nn


class ExportGraph(nn.Module):
    """A network whose result is clamped, so that every engine returns legal pixels.

    Shapes: ``rainy`` float32 (N, 3, H, W), RGB in [0, 1], H and W multiples of the network's size
    multiple; ``derained`` is the same.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, rainy: Tensor) -> Tensor:
        derained: Tensor = self.network(rainy)
        return derained.clamp(0, 1)
