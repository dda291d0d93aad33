"""Published PReNet-family weights (Ren et al., CVPR 2019) as checkpoints of this project."""

from __future__ import annotations

import argparse
import dataclasses
import hashlib
import pickle
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, get_args

import torch
from torch import Tensor

from core.checkpoint import Checkpoint, save_checkpoint
from core.errors import CheckpointError
from core.networks.gan_lstm import GanLstmConfig
from edge_runtime.errors import UsageError

Family = Literal["prenet", "prenet_r", "prn", "prn_r"]

_BLOCKS = 5
_GATES = ("conv_i", "conv_f", "conv_o", "conv_g")
"""Their gates, in the order in which ``ConvLSTMCell`` stacks its own."""


def import_prenet(path: str | Path, family: Family) -> Checkpoint:
    """Read a public state dict of the PReNet family as a GAN-LSTM checkpoint.

    The file is read with ``weights_only=True``: no code in it can run.

    Args:
        path: ``.pth`` file that holds the state dict.
        family: which of the networks it is of: ``prenet``; ``prn`` without ConvLSTM; ``prenet_r``
            and ``prn_r`` with one residual block applied five times.

    Returns:
        A teacher whose width is that of the weights, in float32, with six stages, as the published
        ones have, which the weights do not tell. What it was trained on is not in the file, so
        ``data`` is empty.

    Raises:
        CheckpointError: the file cannot be read, or its keys and shapes are not those of the
            family; all that are unknown, missing or misshaped are listed.
    """
    path = Path(path)
    published = _read(path)
    entry = published.get("conv0.0.weight", torch.empty(0))
    config = GanLstmConfig(
        width=entry.shape[0] if entry.dim() == 4 and len(entry) else GanLstmConfig.width,
        stages=6,
        blocks=_BLOCKS,
        attention="none",
        residual_output=True,
        base_layer=False,
        recurrent=family in ("prenet", "prenet_r"),
        share_blocks=family in ("prenet_r", "prn_r"),
    )
    _require_shapes(path, family, published, config)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    return Checkpoint(
        name=family,
        role="teacher",
        architecture="gan_lstm",
        config=config,
        weights=_renamed(published, config),
        recipe=(f"import: {family} from {path.name}, sha256 {digest}",),
    )


def _read(path: Path) -> dict[str, Tensor]:
    try:
        found: Any = torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read ({error.strerror or error})") from error
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError, KeyError) as error:
        raise CheckpointError(
            f"{path}: torn, or holds more than weights; only plain state dicts are read"
        ) from error
    if not isinstance(found, dict) or not all(isinstance(key, str) for key in found):
        raise CheckpointError(f"{path}: holds a {type(found).__name__}, not a state dict")
    wrong = [key for key, value in found.items() if not isinstance(value, Tensor)]
    if wrong:
        raise CheckpointError(f"{path}: not a plain state dict; no weights are {', '.join(wrong)}")
    return {key: value.float() for key, value in found.items()}


def _layers(config: GanLstmConfig) -> dict[str, tuple[str, int, int]]:
    """Return name here (gates are stacked: none), outputs and inputs by published name."""
    width = config.width
    layers = {"conv0.0": ("entry", width, 6), "conv.0": ("exit", 3, width)}
    for number in range(1 if config.share_blocks else _BLOCKS):
        theirs, ours = f"res_conv{number + 1}", f"body.{number}"
        layers[f"{theirs}.0"] = (f"{ours}.first", width, width)
        layers[f"{theirs}.2"] = (f"{ours}.second", width, width)
    if config.recurrent:
        layers |= {f"{gate}.0": ("", width, 2 * width) for gate in _GATES}
    return layers


def _require_shapes(
    path: Path, family: str, found: dict[str, Tensor], config: GanLstmConfig
) -> None:
    wanted: dict[str, list[int]] = {}
    for name, (_, outputs, inputs) in _layers(config).items():
        wanted |= {f"{name}.weight": [outputs, inputs, 3, 3], f"{name}.bias": [outputs]}
    wrong = {
        "unknown": sorted(found.keys() - wanted.keys()),
        "missing": sorted(wanted.keys() - found.keys()),
        "misshaped": [
            f"{key} {list(found[key].shape)} instead of {shape}"
            for key, shape in wanted.items()
            if key in found and list(found[key].shape) != shape
        ],
    }
    problems = [f"{kind}: {', '.join(keys)}" for kind, keys in wrong.items() if keys]
    if problems:
        raise CheckpointError(
            f"{path}: not the weights of {family}; {'; '.join(problems)}; "
            f"families are {', '.join(get_args(Family))}"
        )


def _renamed(published: dict[str, Tensor], config: GanLstmConfig) -> dict[str, Tensor]:
    """Return the weights under the keys of ``GanLstm``."""
    weights = {
        f"{ours}.{kind}": published[f"{theirs}.{kind}"].clone()
        for theirs, (ours, _, _) in _layers(config).items()
        for kind in ("weight", "bias")
        if ours
    }
    if config.recurrent:
        # Theirs convolve concat(x, h): the first half of the inputs belongs to x.
        gates = torch.cat([published[f"{gate}.0.weight"] for gate in _GATES])
        from_input, from_hidden = gates.chunk(2, dim=1)
        weights["cell.from_input.weight"] = from_input.contiguous()
        weights["cell.from_hidden.weight"] = from_hidden.contiguous()
        weights["cell.from_input.bias"] = torch.cat(
            [published[f"{gate}.0.bias"] for gate in _GATES]
        )
    return weights


def command(arguments: Sequence[str]) -> int:
    """Run ``derain import`` and return its exit code."""
    parser = argparse.ArgumentParser(
        prog="derain import",
        description="Turn published weights of the PReNet family into a checkpoint.",
    )
    parser.add_argument("weights", metavar="FILE", help="state dict (.pth); no code in it runs")
    parser.add_argument("--family", required=True, choices=get_args(Family))
    parser.add_argument("-o", dest="out", metavar="CKPT", help="default: FILE with .safetensors")
    parser.add_argument(
        "--licence", default="", metavar="TEXT", help="what may be done with the weights"
    )
    options = parser.parse_args(arguments)

    out = Path(options.out or Path(options.weights).with_suffix(".safetensors"))
    if out.exists():
        raise UsageError(f"{out}: exists already; name another with -o")
    checkpoint = import_prenet(options.weights, options.family)
    checkpoint = dataclasses.replace(checkpoint, licence=options.licence)
    save_checkpoint(out, checkpoint)
    print(f"{checkpoint.name} ({checkpoint.architecture}): {out}")
    return 0
