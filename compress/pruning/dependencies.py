"""Dependencies between channels, found by torch-pruning's graph: those that must go together."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch_pruning import DependencyGraph
from torch_pruning.dependency import Group
from torch_pruning.pruner.function import ConvPruner

from core.networks.gan_lstm import GanLstm
from core.networks.jorder import Jorder
from core.networks.layers import ChannelAttention, ShuffledConv2d, SpatialAttention
from core.networks.rescan import Rescan

Convolution = (nn.Conv2d, nn.ConvTranspose2d)


class Axis:
    """Channels that several layers share: removing one removes it from all of them.

    Attributes:
        name: of the layer whose output channels stand for the axis.
    """

    def __init__(self, graph: DependencyGraph, root: nn.Conv2d | nn.ConvTranspose2d) -> None:
        self._graph, self._root = graph, root
        self.name: str = graph._module2name[root].removeprefix("net.")

    @property
    def width(self) -> int:
        """Channels that are left."""
        return self._root.out_channels

    def per_channel(self, of: Callable[[Tensor], Tensor]) -> Tensor:
        """Add up values of all weights and biases that go with each channel.

        Args:
            of: what to add up for a parameter, shaped like it.

        Returns:
            float (width,).
        """
        total = self._root.weight.new_zeros(self.width)
        for item in self._group(range(self.width)):
            layer = item.dep.target.module
            if not isinstance(layer, Convolution):
                continue
            outward = self._graph.is_out_channel_pruning_fn(item.dep.handler)
            values = _sum_but(of(layer.weight), int(outward == layer.transposed))
            if outward and layer.bias is not None:
                values = values + of(layer.bias)
            if outward and isinstance(layer, ShuffledConv2d):
                values = values.view(-1, layer.scale**2).sum(1)
            roots = torch.tensor(item.root_idxs, device=total.device)
            total.index_add_(0, roots, values[item.idxs])
        return total

    def remove(self, channels: list[int]) -> None:
        """Take ``channels`` out of every layer of the axis, gradients included."""
        self._group(channels).prune()

    def _group(self, channels: Any) -> Group:
        prune = self._graph.get_pruner_of_module(self._root).prune_out_channels
        return self._graph.get_pruning_group(self._root, prune, list(channels))


def find_axes(net: nn.Module, size_multiple: int) -> list[Axis]:
    """Find the axes along which a network can lose channels.

    Left out are pictures, the one channel of a spatial attention's map, and what a channel
    attention squeezes to, which costs nothing per pixel.

    Args:
        net: a network of :data:`core.networks.ARCHITECTURES`; its parameters need gradients.
        size_multiple: of its input.
    """
    side = -(-32 // size_multiple) * size_multiple
    example = next(net.parameters()).new_zeros(1, 3, side, side)
    with torch.enable_grad():
        graph = DependencyGraph().build_dependency(
            _Traced(net), example, customized_pruners={ShuffledConv2d: _ShuffledPruner()}
        )
    squeezes = [module.squeeze for module in net.modules() if isinstance(module, ChannelAttention)]
    groups = graph.get_all_groups(ignored_layers=squeezes, root_module_types=Convolution)
    return [Axis(graph, _root(graph, group)) for group in groups if not _reaches_output(group)]


class _ShuffledPruner(ConvPruner):  # type: ignore[misc]  # the library has no types
    """Removes the whole block of pixels that stands for a channel after the shuffle."""

    def prune_out_channels(self, layer: ShuffledConv2d, idxs: Sequence[int]) -> ShuffledConv2d:
        block = layer.scale**2
        blocks = [index * block + place for index in idxs for place in range(block)]
        pruned: ShuffledConv2d = super().prune_out_channels(layer, blocks)
        return pruned

    def get_out_channels(self, layer: ShuffledConv2d) -> int:
        return layer.out_channels // layer.scale**2


class _Traced(nn.Module):
    """A view of a network for tracing: the same dependencies, not the same values.

    torch-pruning follows a layer that runs once and works on channels of equal number. So GAN-LSTM,
    JORDER and RESCAN show one of their stages, with a block that is shared applied once; the hidden
    state enters that very stage again, added to itself, which ties the channels of both. A spatial
    attention's map, one channel that multiplies them all, becomes an output of its own, as does the
    rain mask of JORDER.
    """

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, rainy: Tensor) -> list[Tensor]:
        maps: list[Tensor] = []
        hooks = [
            module.register_forward_hook(_divert(maps))
            for module in self.net.modules()
            if isinstance(module, SpatialAttention)
        ]
        try:
            net = self.net
            show = _SHOWN.get(type(net))
            picture = show(net, rainy) if show else net(rainy)
        finally:
            for hook in hooks:
                hook.remove()
        # A step behind the last layer is what marks a result: its channels are not to be removed.
        return [result.clone() for result in (picture, *maps)]


def _divert(maps: list[Tensor]) -> Callable[..., Tensor]:
    def hook(module: SpatialAttention, inputs: tuple[Tensor], output: Tensor) -> Tensor:
        maps.append(module.weigh(inputs[0]))
        return inputs[0]

    return hook


def _one_gan_lstm_stage(net: Any, rainy: Tensor) -> Tensor:
    pictures = 3 if net.config.base_layer else 2
    features = torch.relu(net.entry(torch.cat([rainy] * pictures, dim=1)))
    if net.cell is not None:
        features = _one_step(net.cell, features)
    body = net.body[0] if net.config.share_blocks else net.through_body
    picture: Tensor = net.exit(body(features))
    return picture


def _one_jorder_stage(net: Any, rainy: Tensor) -> Tensor:
    features = net.context.refine(torch.relu(net.context.entry(rainy)))
    mask = net.mask(features)
    streaks = net.streaks(torch.cat([features, mask], dim=1))
    rest = rainy - streaks
    change = net.background(torch.cat([features, mask, streaks, rest], dim=1))
    return torch.cat([rest + change, mask], dim=1)  # the channels of all three are to stay


def _one_rescan_stage(net: Any, rainy: Tensor) -> Tensor:
    features = rainy
    for layer in net.layers:
        features = layer.attention(_one_step(layer.cell, features))
    picture: Tensor = net.exit(net.merge_attention(net.merge(features)))
    return picture


def _one_step(cell: Any, x: Tensor) -> Tensor:
    """Add up, gate by gate, all that a recurrent cell computes of x and of the hidden state."""
    width = cell.from_hidden.in_channels
    hidden = total = _add_gates(cell.from_input(x), width)
    for convolution in cell.children():
        if convolution is not cell.from_input:
            total = total + _add_gates(convolution(hidden), width)
    return total


def _add_gates(gates: Tensor, width: int) -> Tensor:
    count = gates.shape[1] // width
    if count == 1:  # a single chunk breaks the chain that torch-pruning follows
        return gates
    first, *others = gates.chunk(count, dim=1)
    for gate in others:
        first = first + gate
    return first


_SHOWN: dict[type[nn.Module], Callable[[Any, Tensor], Tensor]] = {
    GanLstm: _one_gan_lstm_stage,
    Jorder: _one_jorder_stage,
    Rescan: _one_rescan_stage,
}
"""What a network of stages shows; the others show all that they do."""


def _root(graph: DependencyGraph, group: Group) -> Any:
    """The layer with the fewest outputs, for each channel of an LSTM is an output of four gates."""
    layers = [
        item.dep.target.module
        for item in group
        if graph.is_out_channel_pruning_fn(item.dep.handler)
        and isinstance(item.dep.target.module, Convolution)
    ]
    return min(layers, key=lambda layer: layer.out_channels)


def _reaches_output(group: Group) -> bool:
    return any(type(item.dep.target.module).__name__ == "_OutputOp" for item in group)


def _sum_but(values: Tensor, dimension: int) -> Tensor:
    return values.transpose(0, dimension).flatten(1).sum(1)
