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

from compress.options import command_parser, prune_parser
from edge_runtime.errors import UsageError
from edge_runtime.options import parse_amount
from edge_runtime.terminal import aligned, exit_code

if TYPE_CHECKING:
    from compress.quantization.quantize import Quantized
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
        arguments = command_parser().parse_args(given)
    commands = {
        "cost": _cost,
        "distill": _distill,
        "prune": _prune,
        "quantize": _quantize,
        "run": _run,
        "search": _search,
        "report": _report,
    }
    return exit_code("compress", lambda: commands[arguments.command](arguments), extra="train")


def _distill(arguments: argparse.Namespace) -> int:
    from compress.distillation import DistillConfig, distill, student_options
    from core.training.config import parse_training, training_parser

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
    for line in result.summary:
        print(line)
    return result.exit_code


def _prune(arguments: argparse.Namespace) -> int:
    found, others = prune_parser().parse_known_args(arguments.options)
    if others and not found.config:
        raise UsageError(f"{others[0]} has no use without training; give --config FILE with data")
    if found.importance == "taylor" and not found.config:
        raise UsageError("--importance taylor needs data; give --config FILE, or take l2")

    from compress.pruning.prune import PruneConfig, prune, pruning_options
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
        from compress.distillation import DistillConfig
        from core.training.config import parse_training, training_parser

        options = ["--config", found.config, *pruning_options(before, out.stem), *others]
        parser = training_parser(DistillConfig, prog="compress prune")
        training, resume = parse_training(DistillConfig, parser, options)
    pruned = prune(found.checkpoint, config, training, resume)
    for line in pruned.trained.summary if pruned.trained else ():
        print(line)
    if pruned.trained and (pruned.trained.exit_code or not pruned.trained.first):
        return pruned.trained.exit_code
    after = pruned.checkpoint if training else dataclasses.replace(pruned.checkpoint, name=out.stem)
    save_checkpoint(out, after)
    costs = [_weights_and_macs(checkpoint) for checkpoint in (before, after)]
    print(f"{after.name}: {costs[0]} to {costs[1]}: {out}")
    return 0


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
    from compress.quantization.quantize import to_fp16
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
        for name in (
            "config",
            "data_root",
            "method",
            "crops",
            "symmetric",
            "keep_float",
            "max_drop",
            "qat",
        )
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
    from compress.quantization.quantize import QuantizeConfig, Quantized, read_training, to_int8

    def given(*names: str) -> dict[str, Any]:
        values = {name: getattr(arguments, name) for name in names}
        return {name: value for name, value in values.items() if value is not None}

    trained = {name: str(value) for name, value in given("data_root", "steps").items()}
    training = read_training(checkpoint, Path(arguments.config), trained)
    options = QuantizeConfig(
        symmetric=arguments.symmetric,
        qat=arguments.qat,
        keep_float=tuple(arguments.keep_float),
        **given("method", "crops", "max_drop"),
    )
    found = to_int8(checkpoint, options, training, resume=arguments.resume)
    if not isinstance(found, Quantized):
        for line in found.summary:
            print(line)
        return found.exit_code
    _print_quantized(found)
    return found.checkpoint


def _run(arguments: argparse.Namespace) -> int:
    from compress.recipe.pipeline import Pipeline, outcome_rows
    from compress.recipe.plan import make_plan, plan_rows
    from compress.recipe.recipe import read_recipe

    given = {"data_root": arguments.data_root, "teacher": arguments.teacher}
    recipe = read_recipe(arguments.recipe, **given)
    work = Path(arguments.work or Path(recipe.out) / f"recipe_{recipe.name}")
    pipeline = Pipeline(recipe, work)
    plan = make_plan(pipeline)
    _print_table(plan_rows(plan), texts=2)
    if arguments.dry_run:
        return 0
    outcome = pipeline.run(_say)
    if outcome.stopped:
        print(f"stopped at step {outcome.stopped.step} of training; the same command goes on")
        return outcome.stopped.exit_code
    _print_table(outcome_rows(outcome), texts=1)
    print(f"{recipe.name}: {outcome.finished[-1].checkpoint}")
    return 0


def _search(arguments: argparse.Namespace) -> int:
    from compress.search.config import read_search
    from compress.search.search import Search, candidate_rows, tried_rows

    limits = {
        "max_bytes": _amount("--max-bytes", arguments.max_bytes),
        "max_macs": _amount("--max-macs", arguments.max_macs),
        "max_drop": arguments.max_drop,
        "rounds": arguments.rounds,
    }
    given = {"data_root": arguments.data_root, "teacher": arguments.teacher}
    values, config = read_search(arguments.config, given, limits)
    name, out = values.get("name", ""), values.get("out", "runs")
    work = Path(arguments.work or Path(out) / f"search_{name}")
    search = Search(values, config, work)
    if arguments.dry_run:
        _print_table(candidate_rows(search.candidates))
        for number, rung in enumerate(search.rungs, 1):
            print(f"round {number}: {rung.candidates} candidates, {rung.steps} steps")
        return 0
    found = search.run(Path(arguments.out or work / "recipe.yaml"), _say)
    if found.stopped:
        print(f"stopped at step {found.stopped.step} of training; the same command goes on")
        return found.stopped.exit_code
    _print_table(tried_rows(found), texts=3)
    print(f"chosen: {found.recipe}; make it with: compress run {found.recipe}")
    return 0


def _amount(option: str, text: str | None) -> int | None:
    if text is None:
        return None
    try:
        return parse_amount(text)
    except ValueError as error:
        raise UsageError(f"{option}: {error}") from error


def _say(line: str) -> None:
    print(line, flush=True)


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


def _report(arguments: argparse.Namespace) -> int:
    from compress.report.evidence import make_evidence
    from compress.report.gate import Condition
    from compress.report.page import write_report
    from compress.report.results import gather
    from edge_runtime.report.reference import SHIPPED, read_reference

    conditions = [Condition.parse(text) for text in arguments.fail_if]
    reference = read_reference(Path(arguments.reference) if arguments.reference else SHIPPED)
    results = gather(arguments.results)
    evidence = make_evidence(results, reference, arguments.quality, conditions)
    for path in write_report(evidence, Path(arguments.out), force=arguments.force):
        print(path)
    for verdict in evidence.verdicts:
        for line in verdict.lines:
            print(f"compress: fails if {verdict.title}: {line}", file=sys.stderr)
    return 1 if evidence.failed else 0


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
    """Print rows of which the first ``texts`` columns are words."""
    print("\n".join(aligned(rows, numbers=range(texts, len(rows[0])))), flush=True)


if __name__ == "__main__":
    sys.exit(main())
