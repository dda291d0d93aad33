"""The config of a network, read off the layers that pruning has left it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from torch import nn

from core.networks.deconv import DeconvConfig, DeconvNet
from core.networks.gan_lstm import GanLstm, GanLstmConfig
from core.networks.jorder import HEADS, Jorder, JorderConfig
from core.networks.rescan import Rescan, RescanConfig
from core.networks.student import StudentConfig, StudentNet


def pruned_config(net: nn.Module) -> Any:
    """Return the config that builds a network of just these shapes.

    Fields that only pruning sets stay empty where the shapes are those of an unpruned network.

    Args:
        net: a network of :data:`core.networks.ARCHITECTURES`, whose layers may be narrower than
            its own ``config`` says.

    Raises:
        KeyError: another class of network.
    """
    return _READERS[type(net)](net)


def _student(net: Any) -> StudentConfig:
    config: StudentConfig = net.config
    widths = (net.entry.out_channels, *_outputs(net.down))
    encoder = tuple(tuple(block.first.out_channels for block in level) for level in net.encoder)
    decoder = tuple(tuple(block.first.out_channels for block in level) for level in net.decoder)
    return replace(
        config,
        widths=widths,
        encoder_inner=_unless(encoder, _own(widths, config.encoder_blocks)),
        decoder_inner=_unless(decoder, _own(widths, config.decoder_blocks)),
    )


def _deconv(net: Any) -> DeconvConfig:
    config: DeconvConfig = net.config
    widths, up = _outputs(net.down), _outputs(net.up)[:-1]
    return replace(config, widths=widths, up_widths=_unless(up, widths[:0:-1]))


def _gan_lstm(net: Any) -> GanLstmConfig:
    config: GanLstmConfig = net.config
    width, coarse = net.exit.in_channels, _outputs(net.down)
    levels = [(width, *coarse)[level] for level in config.module_levels]
    squeezed = [
        block.attention.squeeze.out_channels for block in net.body if config.attention == "channel"
    ]
    entry = net.entry.out_channels
    return replace(
        config,
        width=width,
        entry_width=0 if entry == width else entry,
        coarse_widths=_unless(coarse, tuple(width * 2 ** (i + 1) for i in range(len(coarse)))),
        inner_widths=_unless(tuple(block.first.out_channels for block in net.body), tuple(levels)),
        squeeze_widths=_unless(tuple(squeezed), tuple(max(4, level // 4) for level in levels)),
    )


def _jorder(net: Any) -> JorderConfig:
    config: JorderConfig = net.config
    width = net.context.entry.out_channels
    paths = _outputs(path.first for path in net.context.paths)
    heads = _outputs(getattr(net, name).first for name in HEADS)
    return replace(
        config,
        width=width,
        path_widths=_unless(paths, (width,) * len(paths)),
        head_widths=_unless(heads, (width,) * len(heads)),
    )


def _rescan(net: Any) -> RescanConfig:
    config: RescanConfig = net.config
    attentions = [*(layer.attention for layer in net.layers), net.merge_attention]
    widths = _outputs(attention.excite for attention in attentions)
    squeezed = _outputs(attention.squeeze for attention in attentions)
    return replace(
        config,
        width=widths[0],
        layer_widths=_unless(widths, (widths[0],) * len(widths)),
        squeeze_widths=_unless(squeezed, tuple(max(4, width // 4) for width in widths)),
    )


def _outputs(layers: Any) -> tuple[int, ...]:
    return tuple(layer.out_channels for layer in layers)


def _own(widths: tuple[int, ...], blocks: tuple[int, ...]) -> tuple[tuple[int, ...], ...]:
    return tuple((width,) * count for width, count in zip(widths, blocks, strict=False))


def _unless(found: tuple[Any, ...], own: tuple[Any, ...]) -> tuple[Any, ...]:
    return () if found == own else found


_READERS: dict[type[nn.Module], Callable[[Any], Any]] = {
    DeconvNet: _deconv,
    GanLstm: _gan_lstm,
    Jorder: _jorder,
    Rescan: _rescan,
    StudentNet: _student,
}
