"""The ``derain-export`` command: turn checkpoints into artifacts, prove them equal, card them."""

from __future__ import annotations

import argparse
import dataclasses
import json
import math
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from edge_runtime.errors import EdgeDerainError, MissingExtraError, UsageError

if TYPE_CHECKING:
    from core.evaluate import Derain
    from edge_runtime.card import QualityRow
    from export.verify import Check

    Score = Callable[[Derain], tuple[QualityRow, ...]]


def main(argv: Sequence[str] | None = None) -> int:
    """Run the ``derain-export`` command and return its exit code."""
    arguments = _parser().parse_args(argv)
    commands = {"onnx": _onnx, "verify": _verify, "card": _card}
    try:
        return commands[arguments.command](arguments)
    except EdgeDerainError as error:
        return _fail(error)
    except ModuleNotFoundError as error:
        return _fail(MissingExtraError(error.name or str(error), "export"))
    except KeyboardInterrupt:
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="derain-export", description="Turn checkpoints into artifacts that engines run."
    )
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    onnx = commands.add_parser(
        "onnx",
        help="write an ONNX artifact and its card, once it is verified",
        description="Write DIR/NAME_PRECISION.onnx and its card, once it is proven equal to torch.",
    )
    onnx.add_argument("checkpoint", metavar="CKPT", help="checkpoint: shipped name, or path")
    onnx.add_argument("-o", dest="out", metavar="DIR", required=True, help="folder to write to")
    onnx.add_argument(
        "--precision",
        choices=("fp32", "fp16", "int8"),
        help="of the artifact (default: the checkpoint's); int8 needs a quantized checkpoint",
    )
    onnx.add_argument("--name", default="", help="name of the model (default: the checkpoint's)")
    _add_quality(onnx, "artifact")
    verify = commands.add_parser(
        "verify",
        help="compare an artifact with the network it came from",
        description="Compare an artifact with the network it came from, at several sizes.",
    )
    verify.add_argument("artifact", metavar="ARTIFACT", help="artifact with its card beside it")
    verify.add_argument("--checkpoint", metavar="CKPT", required=True, help="what it came from")
    verify.add_argument("--json", action="store_true", help="print one JSON object a check")
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
    _add_quality(card, "checkpoints")
    return parser


def _add_quality(parser: argparse.ArgumentParser, scored: str) -> None:
    parser.add_argument(
        "--quality-config", metavar="FILE", help=f"YAML with data sets to score the {scored} on"
    )
    parser.add_argument("--data-root", metavar="DIR", help="folder of the data sets")


def _onnx(arguments: argparse.Namespace) -> int:
    from core.checkpoint import load_checkpoint
    from core.evaluate import quality_table
    from export.build import build_onnx

    quality = _score(arguments.quality_config, arguments.data_root)
    checkpoint = load_checkpoint(arguments.checkpoint)
    built = build_onnx(
        checkpoint,
        Path(arguments.out),
        precision=arguments.precision,
        name=arguments.name,
        quality=quality,
    )
    _print_checks(built.checks)
    if built.card.quality:
        print(f"\n{quality_table(built.card.quality)}")
    print(f"\n{built.artifact}: {(built.card.bytes or 0) / 1000:.0f} kB, verified against torch")
    return 0


def _card(arguments: argparse.Namespace) -> int:
    if arguments.out and len(arguments.checkpoints) > 1:
        raise UsageError(
            f"-o {arguments.out} takes one card, and there are {len(arguments.checkpoints)} "
            "checkpoints; leave it out to write beside them"
        )
    from core.checkpoint import find_checkpoint, load_checkpoint
    from core.evaluate import quality_table
    from core.inference import derainer_of
    from edge_runtime.card import card_path
    from export.cards import card_checkpoint

    score = _score(arguments.quality_config, arguments.data_root)
    paths = [find_checkpoint(name) for name in arguments.checkpoints]
    for path, checkpoint in [(path, load_checkpoint(path)) for path in paths]:
        quality = score(derainer_of(checkpoint)) if score else None
        out = Path(arguments.out) if arguments.out else card_path(path)
        card = card_checkpoint(path, checkpoint, quality, out)
        if card.quality:
            print(f"{quality_table(card.quality)}\n")
        print(
            f"{out}: {card.name}, {card.parameters:,} parameters, "
            f"{card.macs_per_pixel / 1000:.2f} kMAC per pixel"
        )
    return 0


def _score(config_path: str | None, data_root: str | None) -> Score | None:
    if config_path is None:
        if data_root is not None:
            raise UsageError(
                f"--data-root {data_root} has no use without --quality-config; give both"
            )
        return None
    from core.config import load_config
    from core.evaluate import EvaluationConfig, evaluate

    config = load_config(EvaluationConfig, config_path)
    if data_root is not None:
        config = dataclasses.replace(config, data_root=data_root)
    return lambda derainer: evaluate(derainer, config, progress=sys.stderr.isatty())


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
    print(f"{'height x width':14}  {'picture':8}  {'max difference':14}  {'limit':7}  8-bit PSNR")
    for check in checks:
        size = f"{check.height} x {check.width}"
        same = "same" if math.isinf(check.psnr) else f"{check.psnr:.1f} dB"
        limit = f"{check.psnr_limit:.0f} dB" if check.psnr_limit else f"{check.limit:.0e}"
        verdict = "" if check.passed else "  FAILED"
        print(
            f"{size:14}  {check.picture:8}  {check.max_difference:<14.2e}  {limit:<7}  "
            f"{same}{verdict}"
        )


def _fail(error: EdgeDerainError) -> int:
    print(f"derain-export: error: {error}", file=sys.stderr)
    return error.exit_code


if __name__ == "__main__":
    sys.exit(main())
