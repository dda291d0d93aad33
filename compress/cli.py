"""The ``compress`` command: make networks smaller, and what they cost."""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import json
import math
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from compress.options import command_parser, prune_parser, quantize_parser
from edge_runtime.errors import UsageError
from edge_runtime.terminal import aligned, exit_code

if TYPE_CHECKING:
    from compress.quantization.quantize import Quantized

_HEADINGS = (
    "name",
    "architecture",
    "parameters",
    "fp32 kB",
    "ONNX kB",
    "kMAC/pixel",
    "receptive field",
    "halo",
)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the ``compress`` command and return its exit code."""
    given = list(sys.argv[1:] if argv is None else argv)
    if given[:1] in (
        ["distill"],
        ["prune"],
        ["quantize"],
    ):  # with options that are the fields of a config
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
    from compress.outcome import trained_outcome
    from core.checkpoint import load_checkpoint
    from core.training.config import parse_training, training_parser
    from core.training.state import resumable

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
    with resumable(Path(config.out) / config.name / "state.safetensors"):
        result = distill(config, resume)
    _print_lines(result.summary)
    if result.stopped_by is None and result.first:
        best = result.folder / "best.safetensors"
        init = load_checkpoint(config.init) if config.init else None
        _print_lines(trained_outcome(config, init, load_checkpoint(best), result.score, best))
    return result.exit_code


def _prune(arguments: argparse.Namespace) -> int:
    found, others = prune_parser().parse_known_args(arguments.options)
    if others and not found.config:
        raise UsageError(f"{others[0]} has no use without training; give --config FILE with data")
    if found.importance == "taylor" and not found.config:
        raise UsageError("--importance taylor needs data; give --config FILE, or take l2")

    from compress.cost import macs_per_pixel
    from compress.outcome import outcome_lines, trained_outcome, worth
    from compress.pruning.prune import PruneConfig, prune, pruning_options
    from core.checkpoint import load_checkpoint, save_checkpoint
    from core.training.state import resumable

    before = load_checkpoint(found.checkpoint)
    out = Path(found.out or f"{before.name}_pruned.safetensors")
    if out.exists():
        raise UsageError(f"{out}: exists already; name another with -o")
    if found.target_macs and found.target_macs >= 1:
        whole = macs_per_pixel(before.unquantized().build(), before.config.size_multiple)
        if found.target_macs >= whole:
            raise UsageError(
                f"--target-macs {found.target_macs}: {before.name} has {whole:.0f} MACs per "
                "pixel; take fewer"
            )
        found.target_macs /= whole
    fields = ("target_macs", "target_bytes", "stages", "importance", "rounds", "batches")
    chosen = {name: getattr(found, name) for name in fields if getattr(found, name) is not None}
    config = PruneConfig(**chosen)
    if not found.config:
        pruned = prune(found.checkpoint, config)
        after = dataclasses.replace(pruned.checkpoint, name=out.stem)
        save_checkpoint(out, after)
        _print_lines(outcome_lines(worth(before), worth(after), out))
        return 0

    from compress.distillation import DistillConfig
    from core.training.config import parse_training, training_parser

    options = ["--config", found.config, *pruning_options(before, out.stem), *others]
    parser = training_parser(DistillConfig, prog="compress prune")
    training, resume = parse_training(DistillConfig, parser, options)
    with resumable(Path(training.out) / training.name):
        pruned = prune(found.checkpoint, config, training, resume)
    if pruned.trained:
        _print_lines(pruned.trained.summary)
        if pruned.trained.exit_code or not pruned.trained.first:
            return pruned.trained.exit_code
    save_checkpoint(out, pruned.checkpoint)
    score = pruned.trained.score if pruned.trained else None
    _print_lines(trained_outcome(training, before, pruned.checkpoint, score, out))
    return 0


def _cost(arguments: argparse.Namespace) -> int:
    from compress.cost import checkpoint_bytes, measure_cost
    from core.checkpoint import load_checkpoint

    records: list[dict[str, Any]] = []
    for path in arguments.checkpoints:
        checkpoint = load_checkpoint(path)
        cost = measure_cost(checkpoint.unquantized().build(), checkpoint.config.size_multiple)
        named = {"name": checkpoint.name, "architecture": checkpoint.architecture}
        size = {"bytes_onnx": checkpoint_bytes(checkpoint)}  # in its precision, about
        records.append({"path": path, **named, **dataclasses.asdict(cost), **size})
    if arguments.json:
        for record in records:
            print(json.dumps(record))
    else:
        _print_table([_HEADINGS, *(_row(record) for record in records)])
    return 0


def _quantize(arguments: argparse.Namespace) -> int:
    found, others = quantize_parser().parse_known_args(arguments.options)
    _check_quantize(found, others)
    from compress.outcome import outcome_lines, worth
    from compress.quantization.quantize import (
        QuantizeConfig,
        Quantized,
        read_training,
        to_fp16,
        to_int8,
    )
    from core.checkpoint import load_checkpoint, save_checkpoint
    from core.training.state import resumable

    checkpoint = load_checkpoint(found.checkpoint)
    out = Path(found.out or f"{checkpoint.name}_{found.scheme}.safetensors")
    if out.exists():
        raise UsageError(f"{out}: exists already; name another with -o")
    if found.scheme == "fp16":
        half = to_fp16(checkpoint)
        save_checkpoint(out, half)
        _print_lines(outcome_lines(worth(checkpoint), worth(half), out))
        return 0
    options = [option for option in others if option != "--resume"]
    if found.data_root:
        options.append(f"--data-root={found.data_root}")
    training = read_training(checkpoint, Path(found.config), options)
    fields = ("method", "crops", "max_drop", "symmetric", "qat", "keep_float")
    chosen = {name: getattr(found, name) for name in fields if getattr(found, name) is not None}
    chosen["keep_float"] = tuple(found.keep_float)
    config = QuantizeConfig(**chosen)
    with resumable(Path(training.out) / training.name / "state.safetensors"):
        result = to_int8(checkpoint, config, training, resume="--resume" in others)
    if not isinstance(result, Quantized):
        _print_lines(result.summary)
        return result.exit_code
    save_checkpoint(out, result.checkpoint)
    _print_quantized(result)
    before = worth(checkpoint, result.before.score)
    _print_lines(outcome_lines(before, worth(result.checkpoint, result.after.score), out))
    return 0


def _check_quantize(found: argparse.Namespace, others: Sequence[str]) -> None:
    if found.scheme == "fp16":
        for name, value in vars(found).items():
            if value and name not in ("checkpoint", "scheme", "out"):
                option = f"--{name.replace('_', '-')}"
                raise UsageError(f"{option} has no use with --scheme fp16; leave it out")
    elif not found.config:
        raise UsageError(
            "--scheme int8 needs data to calibrate on; give a training config, such as "
            "--config configs/quantize.yaml"
        )
    if others and not found.qat:
        raise UsageError(f"{others[0]} is of the fine-tuning; add --qat, or leave it out")


def _run(arguments: argparse.Namespace) -> int:
    from compress.recipe.pipeline import Pipeline, outcome_rows
    from compress.recipe.plan import check_data, make_plan, plan_rows
    from compress.recipe.recipe import read_recipe

    given = {"data_root": arguments.data_root, "teacher": arguments.teacher}
    recipe = read_recipe(arguments.recipe, **given)
    work = Path(arguments.work or Path(recipe.out) / f"recipe_{recipe.name}")
    pipeline = Pipeline(recipe, work)
    plan = make_plan(pipeline)
    _print_table(plan_rows(plan), texts=2)
    for planned in plan:
        if not planned.finished:
            check_data(planned.step)
    if arguments.dry_run:
        return 0
    with _goes_on():
        outcome = pipeline.run(_say)
    if outcome.stopped:
        print(f"stopped at step {outcome.stopped.step} of training; the same command goes on")
        return outcome.stopped.exit_code
    _print_table(outcome_rows(outcome), texts=1)
    print(f"{recipe.name}: {outcome.finished[-1].checkpoint}")
    return 0


def _search(arguments: argparse.Namespace) -> int:
    from compress.recipe.plan import check_data
    from compress.recipe.recipe import build_recipe
    from compress.search.config import read_search
    from compress.search.search import Search, candidate_rows, tried_rows

    limits = {
        "max_ms": arguments.max_ms,
        "max_drop": arguments.max_drop,
        "rounds": arguments.rounds,
    }
    given = {"data_root": arguments.data_root, "teacher": arguments.teacher}
    values, config = read_search(arguments.config, given, limits)
    name, out = values.get("name", ""), values.get("out", "runs")
    work = Path(arguments.work or Path(out) / f"search_{name}")
    search = Search(values, config, work)
    for step in build_recipe(search.recipe_of(next(iter(search.networks)))).steps:
        check_data(step)
    if arguments.dry_run:
        _print_table(candidate_rows(search.training.architecture, search.networks))
        for number, rung in enumerate(search.rungs, 1):
            print(f"round {number}: {rung.candidates} candidates, {rung.steps} steps")
        return 0
    with _goes_on():
        found = search.run(Path(arguments.out or work / "recipe.yaml"), _say)
    if found.stopped:
        print(f"stopped at step {found.stopped.step} of training; the same command goes on")
        return found.stopped.exit_code
    _print_table(tried_rows(found), texts=2)
    print(f"chosen: {found.recipe}; make it with: compress run {found.recipe}")
    return 0


@contextlib.contextmanager
def _goes_on() -> Iterator[None]:
    """Let Ctrl-C inside the block say how to go on."""
    try:
        yield
    except KeyboardInterrupt:
        raise KeyboardInterrupt("the same command goes on") from None


def _print_lines(lines: Sequence[str]) -> None:
    for line in lines:
        print(line)


def _say(line: str) -> None:
    print(line, flush=True)


def _print_quantized(found: Quantized) -> None:
    tuned = [("fine-tuned", found.tuned)] if found.tuned else []
    rows = [("float", found.before), *found.methods.items(), *tuned, ("result", found.after)]
    headings = ("", *found.before.psnr, "score", "drop")
    table = [
        (
            name,
            *(f"{judged.psnr[dataset]:.2f}" for dataset in found.before.psnr),
            f"{judged.score:+.3f}",
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
        f"{record['bytes_onnx'] / 1000:.1f}",
        f"{record['macs_per_pixel'] / 1000:.3f}",
        "global" if record["receptive_field"] is None else str(record["receptive_field"]),
        "-" if record["halo"] is None else str(record["halo"]),
    )


def _print_table(rows: Sequence[Sequence[str]], texts: int = 2) -> None:
    """Print rows of which the first ``texts`` columns are words."""
    print("\n".join(aligned(rows, numbers=range(texts, len(rows[0])))), flush=True)


if __name__ == "__main__":
    sys.exit(main())
