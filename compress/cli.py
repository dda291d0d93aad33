"""The ``compress`` command: make networks smaller, and what they cost."""

from __future__ import annotations

import argparse
import dataclasses
import json
import math
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge_runtime.errors import EdgeDerainError, MissingExtraError, UsageError

if TYPE_CHECKING:
    from compress.quantize import Quantized
    from core.checkpoint import Checkpoint

_HEADINGS = (
    "name",
    "architecture",
    "parameters",
    "fp32 kB",
    "kMAC/pixel",
    "receptive field",
    "halo",
)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the ``compress`` command and return its exit code."""
    given = list(sys.argv[1:] if argv is None else argv)
    if given[:1] in (["distill"], ["prune"]):  # with options that are the fields of a config
        arguments = argparse.Namespace(command=given[0], options=given[1:])
    else:
        arguments = _parser().parse_args(given)
    commands = {"cost": _cost, "distill": _distill, "prune": _prune, "quantize": _quantize}
    try:
        return commands[arguments.command](arguments)
    except EdgeDerainError as error:
        return _fail(error)
    except ModuleNotFoundError as error:
        return _fail(MissingExtraError(error.name or str(error), "train"))
    except KeyboardInterrupt:
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="compress", description="Make networks smaller, and measure what they cost."
    )
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    cost = commands.add_parser(
        "cost",
        help="print parameters, bytes, multiply-accumulates, receptive field and halo",
        description="Print what networks cost to run, whatever the machine.",
    )
    cost.add_argument(
        "checkpoints", nargs="+", metavar="CKPT", help="checkpoint: shipped name, or path"
    )
    cost.add_argument("--json", action="store_true", help="print one JSON object a line")
    commands.add_parser("distill", help="train a student under a teacher", add_help=False)
    commands.add_parser("prune", help="take channels or stages out of a network", add_help=False)
    _add_quantize(
        commands.add_parser(
            "quantize",
            help="store weights and activations in fewer bits, with or without fine-tuning",
            description="Quantize a checkpoint. int8 is calibrated on training crops and scored on "
            "the validation sets of the config.",
        )
    )
    return parser


def _add_quantize(quantize: argparse.ArgumentParser) -> None:
    quantize.add_argument(
        "--checkpoint", metavar="CKPT", required=True, help="checkpoint: shipped name, or path"
    )
    quantize.add_argument("--scheme", choices=("int8", "fp16"), required=True)
    quantize.add_argument("-o", dest="out", metavar="FILE", help="default: NAME_SCHEME.safetensors")
    quantize.add_argument("--config", metavar="FILE", help="training config (int8)")
    quantize.add_argument("--data-root", metavar="DIR", help="folder of the data sets (int8)")
    quantize.add_argument(
        "--method",
        choices=("auto", "minmax", "percentile", "entropy"),
        help="how scales are chosen; auto, the default, compares all (int8)",
    )
    quantize.add_argument("--crops", type=int, metavar="N", help="to calibrate on: 256 (int8)")
    quantize.add_argument(
        "--symmetric", action="store_true", help="zero points 0, as TensorRT needs them (int8)"
    )
    quantize.add_argument(
        "--max-drop", type=float, metavar="DB", help="keep the worst layers in float (int8)"
    )
    quantize.add_argument("--qat", action="store_true", help="fine-tune as --config says (int8)")
    quantize.add_argument(
        "--steps", type=int, metavar="N", help="length of the fine-tuning (--qat)"
    )
    quantize.add_argument("--resume", action="store_true", help="go on with it (--qat)")


def _distill(arguments: argparse.Namespace) -> int:
    from compress.distill import DistillConfig, distill, student_options
    from core.training_options import parse_training, training_parser

    parser = training_parser(
        DistillConfig,
        prog="compress distill",
        description="Train a student that learns from a teacher; without --teacher, alone.",
    )
    known = argparse.ArgumentParser("compress distill", add_help=False, allow_abbrev=False)
    for each in (parser, known):
        each.add_argument(
            "--student",
            metavar="CKPT",
            default=argparse.SUPPRESS,
            help="take architecture and network of this checkpoint (name, path) or YAML config",
        )
    found, others = known.parse_known_args(arguments.options)
    options = student_options(found.student) if "student" in found else []
    config, resume = parse_training(DistillConfig, parser, [*options, *others])
    result = distill(config, resume)
    for line in result.summary():
        print(line)
    return result.exit_code


def _prune(arguments: argparse.Namespace) -> int:
    found, others = _prune_parser().parse_known_args(arguments.options)
    if others and not found.config:
        raise UsageError(f"{others[0]} has no use without training; give --config FILE with data")
    if found.importance == "taylor" and not found.config:
        raise UsageError("--importance taylor needs data; give --config FILE, or take l2")

    from compress.prune import PruneConfig, prune, pruning_options
    from core.checkpoint import load_checkpoint, save_checkpoint

    before = load_checkpoint(found.checkpoint)
    out = Path(found.out or f"{before.name}_pruned.safetensors")
    if out.exists():
        raise UsageError(f"{out}: exists already; name another with -o")
    fields = ("target_macs", "target_bytes", "stages", "importance", "rounds", "batches")
    chosen = {name: getattr(found, name) for name in fields if getattr(found, name) is not None}
    config = PruneConfig(**chosen)
    training, resume = None, False
    if found.config:
        from compress.distill import DistillConfig
        from core.training_options import parse_training, training_parser

        options = ["--config", found.config, *pruning_options(before, out.stem), *others]
        parser = training_parser(DistillConfig, prog="compress prune")
        training, resume = parse_training(DistillConfig, parser, options)
    pruned = prune(found.checkpoint, config, training, resume)
    for line in pruned.trained.summary() if pruned.trained else ():
        print(line)
    if pruned.trained and (pruned.trained.exit_code or not pruned.trained.first):
        return pruned.trained.exit_code
    after = pruned.checkpoint if training else dataclasses.replace(pruned.checkpoint, name=out.stem)
    save_checkpoint(out, after)
    costs = [_weights_and_macs(checkpoint) for checkpoint in (before, after)]
    print(f"{after.name}: {costs[0]} to {costs[1]}: {out}")
    return 0


def _prune_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="compress prune",
        description="Take the least important channels out of a network, and train it in between.",
        epilog="With --config also every option of a training run, such as --data-root DIR, "
        "--steps N (of each round), --learning-rate, --out DIR or --resume. The teacher is the "
        "unpruned network, unless --teacher names another.",
        allow_abbrev=False,
    )
    parser.add_argument(
        "--checkpoint", metavar="CKPT", required=True, help="checkpoint: shipped name, or path"
    )
    parser.add_argument(
        "--target-macs", type=float, metavar="SHARE", help="of the MACs per pixel to keep, as 0.5"
    )
    parser.add_argument("--target-bytes", type=int, metavar="N", help="of the weights in fp32")
    parser.add_argument("--stages", type=int, metavar="N", help="of a GAN-LSTM to keep")
    parser.add_argument(
        "--importance",
        choices=("l2", "taylor"),
        help="which channels go: small weights, or little effect on the loss, which is better and "
        "needs data (default with --config)",
    )
    parser.add_argument("--rounds", type=int, metavar="N", help="of pruning and training: 3")
    parser.add_argument("--batches", type=int, metavar="N", help="of data for taylor: 32")
    parser.add_argument("--config", metavar="FILE", help="training config; without it, no training")
    parser.add_argument("-o", dest="out", metavar="FILE", help="default: NAME_pruned.safetensors")
    return parser


def _weights_and_macs(checkpoint: Checkpoint) -> str:
    from compress.cost import macs_per_pixel

    net = checkpoint.build()
    kilobytes = 4 * sum(parameter.numel() for parameter in net.parameters()) / 1000
    macs = macs_per_pixel(net, checkpoint.config.size_multiple) / 1000
    return f"{macs:.3f} kMAC/pixel and {kilobytes:.1f} kB"


def _cost(arguments: argparse.Namespace) -> int:
    from compress.cost import measure_cost
    from core.checkpoint import load_checkpoint

    records: list[dict[str, Any]] = []
    for path in arguments.checkpoints:
        checkpoint = load_checkpoint(path).unquantized()
        cost = measure_cost(checkpoint.build(), checkpoint.config.size_multiple)
        named = {"name": checkpoint.name, "architecture": checkpoint.architecture}
        records.append({"path": path, **named, **dataclasses.asdict(cost)})
    if arguments.json:
        for record in records:
            print(json.dumps(record))
    else:
        _print_table([_HEADINGS, *(_row(record) for record in records)])
    return 0


def _quantize(arguments: argparse.Namespace) -> int:
    _check_quantize(arguments)
    from compress.quantize import to_fp16
    from core.checkpoint import load_checkpoint, save_checkpoint

    checkpoint = load_checkpoint(arguments.checkpoint)
    out = Path(arguments.out or f"{checkpoint.name}_{arguments.scheme}.safetensors")
    if out.exists():
        raise UsageError(f"{out}: exists already; name another with -o")
    if arguments.scheme == "fp16":
        quantized = to_fp16(checkpoint)
    else:
        ended = _to_int8(checkpoint, arguments)
        if isinstance(ended, int):
            return ended
        quantized = ended
    save_checkpoint(out, quantized)
    print(f"{quantized.name} ({arguments.scheme}): {out}")
    return 0


def _check_quantize(arguments: argparse.Namespace) -> None:
    given = {
        f"--{name.replace('_', '-')}": getattr(arguments, name)
        for name in ("config", "data_root", "method", "crops", "symmetric", "max_drop", "qat")
    }
    if arguments.scheme == "fp16":
        for option, value in given.items():
            if value:
                raise UsageError(f"{option} has no use with --scheme fp16; leave it out")
    elif not arguments.config:
        raise UsageError(
            "--scheme int8 needs data to calibrate on; give a training config, such as "
            "--config configs/quantize.yaml"
        )
    for option in ("steps", "resume"):
        if getattr(arguments, option) and not arguments.qat:
            raise UsageError(f"--{option} is of the fine-tuning; add --qat, or leave it out")


def _to_int8(checkpoint: Checkpoint, arguments: argparse.Namespace) -> Checkpoint | int:
    from compress.quantize import Job, Quantized, read_job_config, to_int8

    options = {
        name: str(getattr(arguments, name))
        for name in ("data_root", "steps")
        if getattr(arguments, name) is not None
    }
    chosen = {
        name: getattr(arguments, name)
        for name in ("method", "crops", "max_drop")
        if getattr(arguments, name) is not None
    }
    config = read_job_config(checkpoint, Path(arguments.config), options)
    job = Job(config, symmetric=arguments.symmetric, qat=arguments.qat, **chosen)
    found = to_int8(checkpoint, job, resume=arguments.resume)
    if not isinstance(found, Quantized):
        for line in found.summary():
            print(line)
        return found.exit_code
    _print_quantized(found)
    return found.checkpoint


def _print_quantized(found: Quantized) -> None:
    rows = [("float", found.before), *found.methods.items(), ("result", found.after)]
    headings = ("", *found.before.psnr, "score", "drop")
    table = [
        (
            name,
            *(f"{judged.psnr[dataset]:.2f}" for dataset in found.before.psnr),
            f"{judged.score:.3f}",
            f"{found.before.score - judged.score:.3f}",
        )
        for name, judged in rows
    ]
    _print_table([headings, *table], texts=1)
    kept = found.checkpoint.quantization.float_layers if found.checkpoint.quantization else ()
    for harm in found.harms:
        place = "float" if harm.layer in kept else "int8"
        alone = -10 * math.log10(harm.error or 1e-12)
        print(f"{place:5}  {harm.layer}: alone {alone:.1f} dB from float")
    for line in found.warnings:
        print(f"compress: warning: {line}", file=sys.stderr)


def _row(record: dict[str, Any]) -> tuple[str, ...]:
    return (
        record["name"],
        record["architecture"],
        f"{record['parameters']:,}",
        f"{record['bytes_fp32'] / 1000:.1f}",
        f"{record['macs_per_pixel'] / 1000:.3f}",
        "global" if record["receptive_field"] is None else str(record["receptive_field"]),
        "-" if record["halo"] is None else str(record["halo"]),
    )


def _print_table(rows: Sequence[Sequence[str]], texts: int = 2) -> None:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = list(zip(row, widths, strict=True))
        left = [cell.ljust(width) for cell, width in cells[:texts]]
        print("  ".join([*left, *(cell.rjust(width) for cell, width in cells[texts:])]))


def _fail(error: EdgeDerainError) -> int:
    print(f"compress: error: {error}", file=sys.stderr)
    return error.exit_code


if __name__ == "__main__":
    sys.exit(main())
