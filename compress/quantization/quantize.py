"""Quantization of a checkpoint: after training, or with fine-tuning, to int8 or fp16."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from torch import nn

from compress.quantization.calibrate import (
    METHODS,
    Method,
    Observed,
    calibration_crops,
    choose_scales,
    observe,
)
from compress.quantization.sensitivity import Harm, Judge, Judged, keep_in_float, measure_harm
from core.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from core.config import nearest
from core.errors import CheckpointError, ConfigError, TrainingError
from core.quantization import (
    Placement,
    Quantization,
    Scheme,
    TensorScale,
    channel_axis,
    weight_scales,
)
from core.training.config import TrainConfig, parse_training, training_parser
from core.training.train import TrainResult, train
from edge_runtime.errors import UsageError
from edge_runtime.models.records import to_plain

SATURATED = 1e-3
"""Share of a tensor's values beyond its scale from which on a warning is due."""
HARM_CROPS = 64


@dataclass(frozen=True)
class QuantizeConfig:
    """What to quantize a network to.

    Attributes:
        scheme: ``int8`` or ``fp16``, for which the other fields say nothing.
        method: how scales are chosen; ``auto`` compares all and takes the one that scores best.
        crops: how many crops of the mixture to calibrate on.
        symmetric: zero points 0 everywhere, as TensorRT wants them; ReLUs lose half the codes.
        qat: fine-tune with the rounding in place, by the loop and the options of a training.
        keep_float: layers that stay in float whatever they harm.
        max_drop: largest loss of score in dB; the worst layers stay in float until it holds.
            None keeps none.
    """

    scheme: Scheme = "int8"
    method: Method | Literal["auto"] = "auto"
    crops: int = 256
    symmetric: bool = False
    qat: bool = False
    keep_float: tuple[str, ...] = ()
    max_drop: float | None = None

    def __post_init__(self) -> None:
        if self.max_drop is not None and not self.max_drop >= 0:
            raise UsageError(f"--max-drop {self.max_drop} must be 0 or more dB, such as 0.05")


@dataclass(frozen=True)
class Quantized:
    """What came of it.

    Attributes:
        checkpoint: in int8.
        before: what the network reached in float, and ``after`` in int8.
        methods: what each method reached that was tried, before any fine-tuning.
        tuned: what fine-tuning reached, None without; where calibration had reached more, the
            calibrated network was kept.
        harms: of each layer, worst first; empty where no layer had to be kept in float.
        warnings: one line each.
    """

    checkpoint: Checkpoint
    before: Judged
    after: Judged
    methods: Mapping[Method, Judged]
    tuned: Judged | None
    harms: tuple[Harm, ...]
    warnings: tuple[str, ...]


def quantize(
    checkpoint: Checkpoint,
    options: QuantizeConfig,
    training: TrainConfig | None = None,
    resume: bool = False,
    progress: bool = True,
) -> Checkpoint:
    """Quantize a checkpoint in one call.

    Args:
        checkpoint: in float, as :func:`core.checkpoint.load_checkpoint` reads it.
        options: what to quantize it to.
        training: data, which int8 needs, as :func:`to_int8` takes it; see :func:`read_training`.
        resume: go on with an interrupted fine-tuning.
        progress: show bars on standard error.

    Raises:
        CheckpointError, ConfigError, DataError: as :func:`to_fp16` and :func:`to_int8`.
        TrainingError: a signal stopped the fine-tuning; ``resume`` goes on with it.
    """
    if options.scheme == "fp16":
        return to_fp16(checkpoint)
    if training is None:
        raise ConfigError("int8 needs data to calibrate on; give a training config")
    found = to_int8(checkpoint, options, training, resume, progress)
    if not isinstance(found, Quantized):
        raise TrainingError(" ".join(found.summary))
    return found.checkpoint


def to_fp16(checkpoint: Checkpoint) -> Checkpoint:
    """Quantize to half precision, which needs no data.

    Raises:
        CheckpointError: it is quantized already.
    """
    _require_float(checkpoint)
    quantized = dataclasses.replace(checkpoint, quantization=Quantization("fp16"))
    return _with_line(quantized, "quantize: fp16")


def read_training(checkpoint: Checkpoint, path: Path, options: Sequence[str] = ()) -> TrainConfig:
    """Read a training config for this checkpoint: its own network fields are passed over.

    Args:
        checkpoint: what will be quantized.
        path: YAML file.
        options: of a training run, such as ``--steps=9``, which override the file.

    Raises:
        ConfigError: as :func:`core.config.parse_config`.
    """
    fixed = {
        "name": f"{checkpoint.name}_int8",
        "role": checkpoint.role,
        "architecture": checkpoint.architecture,
        "network": json.dumps(to_plain(checkpoint.config)),
        "init": "",
    }
    arguments = [f"--{name}={value}" for name, value in fixed.items()]
    arguments = ["--config", str(path), *arguments, *options]
    config, _ = parse_training(TrainConfig, training_parser(TrainConfig), arguments)
    return config


def to_int8(
    checkpoint: Checkpoint,
    options: QuantizeConfig,
    training: TrainConfig,
    resume: bool = False,
    progress: bool = True,
) -> Quantized | TrainResult:
    """Quantize to int8.

    Args:
        checkpoint: in float.
        options: what to do.
        training: the mixture to calibrate on, the validation sets to judge by, and for ``qat`` the
            fine-tuning.
        resume: go on with an interrupted fine-tuning.
        progress: show bars on standard error.

    Returns:
        What came of it; or how the fine-tuning ended where a signal stopped it.

    Raises:
        CheckpointError: it is quantized already.
        ConfigError: too few crops, a run that is there already, or as
            :class:`core.training.train.Trainer`.
        DataError: a data set that is missing or has a wrong picture.
    """
    _require_float(checkpoint)
    network = checkpoint.build()
    _check_layers(options.keep_float, network)
    begun = _start(training).with_name("state.safetensors").exists()
    if options.qat and not resume and begun:
        raise ConfigError(
            f"{_start(training).parent} holds a run already; add --resume to go on with it, or "
            "remove it"
        )
    crops = calibration_crops(training, options.crops, progress)
    observed = observe(network, crops, progress)
    judge = Judge(training, checkpoint.config.size_multiple, progress)
    before = judge(network, "float")
    candidates = {
        method: _calibrated(checkpoint, observed, method, options)
        for method in (METHODS if options.method == "auto" else (options.method,))
    }
    methods = {name: judge(each.build(), name) for name, each in candidates.items()}
    best = max(methods, key=lambda name: methods[name].score)
    quantized, after, tuned = candidates[best], methods[best], None
    notes: list[str] = []
    if options.qat:
        ended = _fine_tune(quantized, training, resume, progress)
        if ended.stopped_by is not None or not ended.first:
            return ended
        best_of_it = dataclasses.replace(
            load_checkpoint(ended.folder / "best.safetensors"),
            name=checkpoint.name,
            quantization=load_checkpoint(_start(training)).quantization,
        )
        tuned = judge(best_of_it.build(), "fine-tuned")
        if tuned.score < after.score:
            notes.append(
                f"fine-tuning ended at {tuned.score:+.3f} dB, below the {after.score:+.3f} of "
                "calibration, which is kept; take more --steps or another --learning-rate"
            )
        else:
            quantized, after = best_of_it, tuned
            observed = observe(quantized.unquantized().build(), crops, progress)
    harms: list[Harm] = []
    if options.max_drop is not None and before.score - after.score > options.max_drop:
        harms = measure_harm(quantized, crops[:HARM_CROPS], progress)
        quantized, after = _within(options.max_drop, quantized, harms, before, judge)
    notes += _warnings(quantized, observed, by_score=options.method == "auto")
    return Quantized(quantized, before, after, methods, tuned, tuple(harms), tuple(notes))


def with_scales(checkpoint: Checkpoint, scales: Mapping[str, TensorScale]) -> Checkpoint:
    """Quantize all layers to int8, with the scales that their weights ask for.

    Args:
        checkpoint: in float.
        scales: of every tensor that is stored, by name.
    """
    layers = Placement(checkpoint.build()).layers
    weights = {
        name: weight_scales(each.weight, channel_axis(each)) for name, each in layers.items()
    }
    quantization = Quantization("int8", dict(scales), weights)
    return dataclasses.replace(checkpoint, quantization=quantization)


def _calibrated(
    checkpoint: Checkpoint,
    observed: Mapping[str, Observed],
    method: Method,
    options: QuantizeConfig,
) -> Checkpoint:
    scales = choose_scales(observed, method, options.symmetric)
    points = ", zero points 0" if options.symmetric else ""
    line = f"quantize: int8, {method} of {options.crops} crops{points}"
    quantized = _with_line(with_scales(checkpoint, scales), line)
    if not options.keep_float:
        return quantized
    kept = keep_in_float(quantized, options.keep_float)
    return _with_line(kept, f"quantize: {', '.join(options.keep_float)} in float")


def _fine_tune(
    quantized: Checkpoint, training: TrainConfig, resume: bool, progress: bool
) -> TrainResult:
    start = _start(training)
    if not resume:
        save_checkpoint(start, quantized)
    return train(dataclasses.replace(training, init=str(start)), resume=resume, progress=progress)


def _start(training: TrainConfig) -> Path:
    return Path(training.out) / training.name / "start.safetensors"


def _within(
    max_drop: float, quantized: Checkpoint, harms: list[Harm], before: Judged, judge: Judge
) -> tuple[Checkpoint, Judged]:
    """Keep the layers with the most harm in float, one more each time, until the budget holds."""
    for count in range(1, len(harms) + 1):
        kept = tuple(harm.layer for harm in harms[:count])
        candidate = keep_in_float(quantized, kept)
        after = judge(candidate.build(), f"{count} of {len(harms)} layers in float")
        if before.score - after.score <= max_drop:
            break
    return _with_line(candidate, f"quantize: {', '.join(kept)} in float"), after


def _warnings(quantized: Checkpoint, observed: Mapping[str, Observed], by_score: bool) -> list[str]:
    """Say in a line each what units are dead, and what saturates unless it was chosen by score."""
    owner = Placement(quantized.unquantized().build()).owner
    scales = quantized.quantization.activations if quantized.quantization else {}
    dead = {name: observed[name].dead for name in scales if observed[name].dead}
    shares = {name: observed[name].saturated(stored) for name, stored in scales.items()}
    beyond = {name: share for name, share in shares.items() if share > SATURATED}
    lines = []
    if dead:
        name = max(dead, key=dead.__getitem__)
        lines.append(
            f"{sum(dead.values())} units are dead, no crop opens them; prune them: most in layer "
            f"{owner[name]}, {dead[name]} of {observed[name].channels}"
        )
    if beyond and not by_score:
        name = max(beyond, key=beyond.__getitem__)
        lines.append(
            f"{len(beyond)} of {len(scales)} tensors saturate; take --method auto or minmax: most "
            f"in layer {owner[name]}, {beyond[name]:.2%} of the values of {name}"
        )
    return lines


def _check_layers(names: tuple[str, ...], network: nn.Module) -> None:
    layers = Placement(network).layers
    for name in names:
        if name not in layers:
            raise UsageError(f"--keep-float {name}: no such layer; {nearest(name, layers)}")


def _require_float(checkpoint: Checkpoint) -> None:
    if checkpoint.quantization:
        raise CheckpointError(
            f"{checkpoint.name}: is {checkpoint.precision} already; quantize the checkpoint that "
            "it was made from"
        )


def _with_line(checkpoint: Checkpoint, line: str) -> Checkpoint:
    return dataclasses.replace(checkpoint, recipe=(*checkpoint.recipe, line))
