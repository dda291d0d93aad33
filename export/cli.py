"""The ``derain-export`` command: turn checkpoints into artifacts, prove them equal, card them."""

from __future__ import annotations

import argparse
import dataclasses
import functools
import json
import math
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import edge_runtime
from edge_runtime.errors import UsageError
from edge_runtime.terminal import aligned, exit_code, termination_raised
from export.errors import ExportError

if TYPE_CHECKING:
    from compress.against_teacher import Score
    from export.build import Built
    from export.verify import Check


def main(argv: Sequence[str] | None = None) -> int:
    """Run the ``derain-export`` command and return its exit code."""
    arguments = _parser().parse_args(argv)
    commands = {"onnx": _onnx, "tflite": _tflite, "verify": _verify, "card": _card, "all": _all}
    with termination_raised():  # so that what is staged is cleared away
        return exit_code(
            "derain-export", lambda: commands[arguments.command](arguments), extra="export"
        )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="derain-export", description="Turn checkpoints into artifacts that engines run."
    )
    parser.add_argument(
        "--version", action="version", version=f"%(prog)s {edge_runtime.__version__}"
    )
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    onnx = commands.add_parser(
        "onnx",
        help="write an ONNX artifact and its card, once it is verified",
        description="Write DIR/NAME_PRECISION.onnx and its card, once it is proven equal to torch.",
    )
    _add_export(onnx, "uint8", "fp32", "fp16", "int8")
    tflite = commands.add_parser(
        "tflite",
        help="write a TFLite artifact and its card, once it is verified",
        description="Write DIR/NAME_PRECISION.tflite and its card, once it is proven equal to "
        "torch. dynamic is TFLite's dynamic range: int8 weights, float activations.",
    )
    _add_export(tflite, "int8", "fp32", "fp16", "dynamic", "int8")
    verify = commands.add_parser(
        "verify",
        help="compare an artifact with the network it came from",
        description="Compare an artifact with the network it came from, at several sizes.",
    )
    verify.add_argument("artifact", metavar="ARTIFACT", help="artifact with its card beside it")
    verify.add_argument("--checkpoint", metavar="CKPT", required=True, help="what it came from")
    verify.add_argument("--json", action="store_true", help="print one JSON object a check")
    _add_all(
        commands.add_parser(
            "all",
            help="rebuild every artifact that ships, or check them",
            description="Build every artifact that a release config lists. Without "
            "--quality-config, artifacts that did not change keep their scores.",
        )
    )
    card = commands.add_parser(
        "card",
        help="write the cards of checkpoints",
        description="Write CKPT.safetensors.json beside a checkpoint: what it is, costs and scores."
        " Without --quality-config, an older card of the same weights keeps its scores.",
    )
    card.add_argument(
        "checkpoints", nargs="+", metavar="CKPT", help="checkpoint: shipped name, or path"
    )
    card.add_argument("-o", dest="out", metavar="FILE", help="write the one card to this file")
    card.add_argument(
        "--precision",
        choices=("32-true", "bf16-mixed", "auto"),
        help="of the arithmetic that is scored: bf16-mixed is faster where the processor has it, "
        "and hardly moves a score; auto takes it there (default: 32-true)",
    )
    card.add_argument(
        "--sets", nargs="+", metavar="NAME", help="score on these data sets of the config alone"
    )
    _add_quality(card, "checkpoints")
    return parser


def _add_export(parser: argparse.ArgumentParser, io: str, *precisions: str) -> None:
    parser.add_argument("checkpoint", metavar="CKPT", help="checkpoint: shipped name, or path")
    parser.add_argument("-o", dest="out", metavar="DIR", required=True, help="folder to write to")
    parser.add_argument(
        "--precision",
        choices=precisions,
        help="of the artifact (default: the checkpoint's); int8 needs a quantized checkpoint",
    )
    parser.add_argument("--name", default="", help="name of the model (default: the checkpoint's)")
    parser.add_argument(
        "--step",
        action="store_true",
        help="one stage of a recurrent network, as NAME_step: edge-derain --stages repeats it",
    )
    parser.add_argument(
        "--size",
        type=_size,
        metavar="HxW",
        help="a static graph for pictures of this size (default: any size)",
    )
    parser.add_argument(
        "--io",
        choices=("float32", io),
        default="float32",
        help=f"type of the pictures in and out (default: float32); {io} needs --precision int8",
    )
    parser.add_argument("--force", action="store_true", help="replace an artifact of this name")
    _add_quality(parser, "artifact")


def _size(text: str) -> tuple[int, int]:
    match = re.fullmatch(r"(\d{1,5})x(\d{1,5})", text, re.ASCII)
    if not match:
        raise argparse.ArgumentTypeError(f"must be HEIGHTxWIDTH such as 480x640, got {text!r}")
    return int(match[1]), int(match[2])


def _add_all(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("config", metavar="FILE", help="such as configs/release.yaml")
    parser.add_argument(
        "-o", dest="out", metavar="DIR", help="folder of the artifacts (default: those that ship)"
    )
    parser.add_argument(
        "--check", action="store_true", help="write nothing; name what differs, and exit 1 then"
    )
    _add_quality(parser, "artifacts")


def _add_quality(parser: argparse.ArgumentParser, scored: str) -> None:
    parser.add_argument(
        "--quality-config", metavar="FILE", help=f"YAML with data sets to score the {scored} on"
    )
    parser.add_argument("--data-root", metavar="DIR", help="folder of the data sets")
    parser.add_argument(
        "--teacher",
        metavar="CKPT",
        help=f"also measure what the {scored} give up against this checkpoint, and how alike the "
        "pictures are",
    )
    parser.add_argument(
        "--cache",
        metavar="DIR",
        help="where the teacher's pictures are kept for the next time (default: in the user's "
        "cache folder)",
    )


def _onnx(arguments: argparse.Namespace) -> int:
    from export.build import build_onnx

    _export(functools.partial(build_onnx, io=arguments.io), arguments)
    return 0


def _tflite(arguments: argparse.Namespace) -> int:
    from export.build import build_tflite

    _export(functools.partial(build_tflite, io=arguments.io), arguments)
    return 0


def _export(build: Callable[..., Built], arguments: argparse.Namespace) -> None:
    from compress.against_teacher import loss_table
    from core.evaluation.table import quality_table
    from export.artifact_card import load_described

    if arguments.step and arguments.size:
        raise UsageError("--step takes any size; leave --size out")
    quality = _score(arguments)
    built = build(
        load_described(arguments.checkpoint),
        Path(arguments.out),
        precision=arguments.precision,
        name=arguments.name,
        quality=quality,
        step=arguments.step,
        size=arguments.size,
        force=arguments.force,
    )
    _print_checks(built.checks)
    if built.card.quality:
        print(f"\n{quality_table(built.card.quality)}")
    if built.card.teacher:
        print(f"\n{loss_table(built.card.teacher)}")
    print(f"\n{built.artifact}: {(built.card.bytes or 0) / 1000:.0f} kB, verified against torch")


def _all(arguments: argparse.Namespace) -> int:
    from core.config import load_config
    from edge_runtime.models.catalog import WEIGHTS
    from export.release import ReleaseConfig, build_release, check_release

    if arguments.check and arguments.quality_config:
        raise UsageError(
            f"--quality-config {arguments.quality_config}: --check scores nothing; leave it out"
        )
    config = load_config(ReleaseConfig, arguments.config)
    score = _score(arguments, config.teacher)
    folder = WEIGHTS if arguments.out is None else Path(arguments.out)
    if not arguments.check:
        for number, built in enumerate(build_release(config, folder, score), 1):
            scored = f"{len(built.card.quality)} scores" if built.card.quality else "not scored"
            size = f"{(built.card.bytes or 0) / 1000:.0f} kB"
            print(
                f"{number} of {len(config)}  {built.artifact}: {size}, verified, {scored}",
                flush=True,
            )
        return 0
    differing = 0
    for name, problems in check_release(config, folder):
        print(f"{name}: {'; '.join(problems) or 'same'}", flush=True)
        differing += bool(problems)
    if differing:
        raise ExportError(
            f"{folder}: {differing} differ from {arguments.config}; "
            "build them again with derain-export all"
        )
    return 0


def _card(arguments: argparse.Namespace) -> int:
    if arguments.out and len(arguments.checkpoints) > 1:
        raise UsageError(
            f"-o {arguments.out} takes one card, and there are {len(arguments.checkpoints)} "
            "checkpoints; leave it out to write beside them"
        )
    from compress.against_teacher import loss_table
    from core.checkpoint import find_checkpoint, load_checkpoint
    from core.evaluation.table import quality_table
    from core.inference import derainer_of
    from edge_runtime.models.card import card_path
    from export.artifact_card import card_checkpoint

    score, precision = _score(arguments), arguments.precision
    for option, value in (("precision", precision), ("sets", arguments.sets)):
        if value and not score:
            raise UsageError(f"--{option} has no use without --quality-config; give both")
    paths = [find_checkpoint(name) for name in arguments.checkpoints]
    for path, checkpoint in [(path, load_checkpoint(path)) for path in paths]:
        derain = derainer_of(checkpoint, precision or "32-true")
        scores = score(derain, checkpoint.recipe) if score else None
        out = Path(arguments.out) if arguments.out else card_path(path)
        card = card_checkpoint(path, checkpoint, scores, out)
        if card.quality:
            print(f"{quality_table(card.quality)}\n")
        if card.teacher:
            print(f"{loss_table(card.teacher)}\n")
        print(
            f"{out}: {card.name}, {card.parameters:,} parameters, "
            f"{card.macs_per_pixel / 1000:.2f} kMAC per pixel"
        )
    return 0


def _score(arguments: argparse.Namespace, teacher: str = "") -> Score | None:
    """Return what scores as the options ask for; ``teacher`` is that of a release config."""
    if arguments.quality_config is None:
        for option in ("data_root", "teacher", "cache"):
            value = getattr(arguments, option)
            if value is not None:
                name = option.replace("_", "-")
                raise UsageError(f"--{name} {value} has no use without --quality-config; give both")
        return None
    from compress.against_teacher import AgainstTeacher, without_teacher
    from compress.teacher import load_teacher
    from core.config import load_config
    from core.evaluation.evaluate import EvaluationConfig
    from edge_runtime.files import cache_folder

    config = load_config(EvaluationConfig, arguments.quality_config)
    if arguments.data_root is not None:
        config = dataclasses.replace(config, data_root=arguments.data_root)
    if getattr(arguments, "sets", None):
        config = config.only(arguments.sets)
    teacher, progress = arguments.teacher or teacher, sys.stderr.isatty()
    if not teacher:
        return without_teacher(config, progress)
    folder = Path(arguments.cache) if arguments.cache else cache_folder() / "teachers"
    return AgainstTeacher(load_teacher(teacher), config, folder, progress)


def _verify(arguments: argparse.Namespace) -> int:
    from core.checkpoint import load_checkpoint
    from export.verify import compare, require_parity

    artifact = Path(arguments.artifact)
    checks = compare(artifact, load_checkpoint(arguments.checkpoint))
    if arguments.json:
        for check in checks:
            print(json.dumps(_record(check)))
    else:
        _print_checks(checks)
    require_parity(artifact, checks)
    return 0


def _record(check: Check) -> dict[str, object]:
    """Return a check as JSON values; infinity and NaN have none and become null."""
    values = {**dataclasses.asdict(check), "passed": check.passed}
    return {
        key: None if isinstance(value, float) and not math.isfinite(value) else value
        for key, value in values.items()
    }


def _print_checks(checks: Sequence[Check]) -> None:
    rows = [("height x width", "picture", "max difference", "limit", "8-bit PSNR", "")]
    for check in checks:
        same = "same" if math.isinf(check.psnr) else f"{check.psnr:.1f} dB"
        limit = f"{check.psnr_limit:.0f} dB" if check.psnr_limit else f"{check.limit:.0e}"
        size, difference = f"{check.height} x {check.width}", f"{check.max_difference:.2e}"
        rows.append(
            (size, check.picture, difference, limit, same, "" if check.passed else "FAILED")
        )
    print("\n".join(aligned(rows)))


if __name__ == "__main__":
    sys.exit(main())
