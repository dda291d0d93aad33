"""The ``derain`` command: its sub-commands, and that which scores whatever derains pictures."""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import importlib
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import edge_runtime
from edge_runtime.errors import UsageError
from edge_runtime.terminal import aligned, exit_code

COMMANDS = {
    "train": ("core.training.train", "train a network", "--config configs/own_folder.yaml"),
    "evaluate": ("core.cli", "score a model", "--model small --config configs/quality.yaml"),
    "table": ("core.evaluation.table", "compare checkpoints", "core/checkpoints"),
    "strip": ("core.papers.strip", "draw pictures before and after", "small base -o strip.jpg"),
    "synthesize": ("core.rain.synthesize", "rain on clean pictures", "CLEAN -o OUT --preset heavy"),
    "import": ("core.prenet", "read published weights", "PreNet.pth --family prenet"),
}
"""Of each sub-command the module with its function ``command``, what it does, and an example."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the ``derain`` command and return its exit code."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    return exit_code("derain", lambda: _run(arguments), extra="train")


def _run(arguments: Sequence[str]) -> int:
    if not arguments or arguments[0] in ("-h", "--help"):
        print(_usage(), file=sys.stdout if arguments else sys.stderr)
        return 0 if arguments else 2
    if arguments[0] == "--version":
        print(f"derain {edge_runtime.__version__}")
        return 0
    if arguments[0] not in COMMANDS:
        raise UsageError(f"unknown command {arguments[0]!r}; there are {', '.join(COMMANDS)}")
    module, *_ = COMMANDS[arguments[0]]
    if arguments[:2] == ["table", "papers"]:
        module, arguments = "core.papers.page", arguments[1:]
    run: Callable[[Sequence[str]], int] = importlib.import_module(module).command
    return run(arguments[1:])


def _usage() -> str:
    rows = [
        (f"  {name}", f"{does}:", f"derain {name} {example}")
        for name, (_, does, example) in COMMANDS.items()
    ]
    return "\n".join(
        [
            "usage: derain COMMAND ...",
            "",
            "commands:",
            *aligned(rows),
            "",
            "`derain COMMAND --help` lists the options of a command; "
            "`derain --version` prints the version.",
        ]
    )


def command(arguments: Sequence[str]) -> int:
    """Run ``derain evaluate``, which brings together what scores and what is scored."""
    parser = argparse.ArgumentParser(
        prog="derain evaluate",
        description="Score a checkpoint, an artifact or a method and print the quality table.",
    )
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument(
        "--checkpoint", metavar="CKPT", help="checkpoint: shipped name, or path (.safetensors)"
    )
    which.add_argument("--model", help="shipped model by name, or an artifact by path")
    which.add_argument("--method", choices=("gmm",), help="no network: Gaussian mixtures (slow)")
    where = parser.add_mutually_exclusive_group(required=True)
    where.add_argument("--config", metavar="FILE", help="YAML with the data sets, or of a training")
    where.add_argument(
        "--root", metavar="DIR", help="one data set, as it was downloaded, or a reference set"
    )
    parser.add_argument("--dataset", metavar="NAME", help="which one that is, such as rain100h")
    parser.add_argument("--data-root", "--data_root", metavar="DIR", help="folder of the data sets")
    parser.add_argument("--sets", nargs="+", metavar="NAME", help="only these data sets")
    parser.add_argument(
        "--precision",
        choices=("32-true", "bf16-mixed", "auto"),
        help="of the arithmetic of a checkpoint: bf16-mixed is faster where the processor has it, "
        "and auto takes it there (default: 32-true)",
    )
    parser.add_argument(
        "--views",
        type=int,
        choices=(1, 2, 4, 8),
        help="passes of a checkpoint over a picture, mirrored (2), upside down (4) and turned (8) "
        "as well: the mean of all is scored (default: 1)",
    )
    parser.add_argument("--json", metavar="FILE", help="write the rows to this file as well")
    parser.add_argument("--csv", metavar="FILE", help="write the scores of every picture to it")
    parser.add_argument("--save", metavar="DIR", help="write derained pictures: DIR/SET/NAME.png")
    parser.add_argument(
        "--reference",
        metavar="DIR",
        help="write a reference set for devices, with the model as "
        "teacher: rainy/ clean/ teacher/ reference.json",
    )
    parser.add_argument(
        "--force", action="store_true", help="let --save and --reference replace what exists"
    )
    options = parser.parse_args(arguments)
    _check_evaluation(options)

    from core.checkpoint import find_checkpoint, load_checkpoint
    from core.evaluation.evaluate import Derain, EvaluationConfig, mean_rows, score_pairs
    from core.evaluation.files import (
        ReferenceWriter,
        check_picture_targets,
        check_text_target,
        downloaded_sets,
        save_picture,
        scores_csv,
        teacher_of,
        write_text,
    )
    from core.evaluation.score import row_means, validation_score
    from core.evaluation.table import quality_table
    from core.inference import derainer_of
    from core.papers.gmm.derain import gmm_derainer
    from core.papers.gmm.mixture import load_background
    from edge_runtime import Derainer
    from edge_runtime.models.catalog import find_model

    if options.root:
        config = downloaded_sets(options.root, options.dataset)
    else:
        config = EvaluationConfig.read(options.config, options.data_root)
        config = config.only(options.sets) if options.sets else config
    save = Path(options.save) if options.save else None
    for option in ("json", "csv"):
        if getattr(options, option):
            check_text_target(f"--{option}", Path(getattr(options, option)))
    if save:
        check_picture_targets(config, save, force=options.force)
    model: Derain
    if options.checkpoint:
        checkpoint = load_checkpoint(options.checkpoint)
        model = derainer_of(checkpoint, options.precision or "32-true", options.views or 1)
    elif options.method:
        model = gmm_derainer(load_background())
    else:
        model = Derainer.load(options.model, threshold=None)
    scores = []
    with contextlib.ExitStack() as stack:
        reference = None
        if options.reference:
            named = options.checkpoint
            teacher = teacher_of(find_checkpoint(named) if named else find_model(options.model))
            writer = ReferenceWriter(Path(options.reference), teacher, force=options.force)
            reference = stack.enter_context(writer)
        for scored in score_pairs(model, config, progress=True):
            scores.append(scored.score)
            if save:
                save_picture(save, scored.score, scored.derained)
            if reference:
                reference.add(scored)
        if reference:
            reference.finish()
    rows = mean_rows(scores)
    print(quality_table(rows))
    print(f"\nscore {validation_score(row_means(rows), config.sets):+.2f} dB")
    if options.json:
        text = json.dumps([dataclasses.asdict(row) for row in rows], indent=2) + "\n"
        write_text("--json", Path(options.json), text)
    if options.csv:
        write_text("--csv", Path(options.csv), scores_csv(scores))
    return 0


def _check_evaluation(options: argparse.Namespace) -> None:
    if options.root and (options.data_root or options.sets):
        raise UsageError(
            f"--root {options.root} is one data set; --data-root and --sets go with --config"
        )
    if options.dataset and not options.root:
        raise UsageError(
            f"--dataset {options.dataset} says what --root DIR holds; give --root, or take "
            "--sets with --config"
        )
    if options.reference and options.method:
        raise UsageError(
            f"--reference {options.reference}: its teacher is a file, which --method "
            f"{options.method} has none of; give --checkpoint or --model"
        )
    for option in ("precision", "views"):
        value = getattr(options, option)
        if value and not options.checkpoint:
            raise UsageError(f"--{option} {value} goes with --checkpoint; leave it out")
    if (options.views or 1) > 1 and options.reference:
        raise UsageError(
            f"--views {options.views}: the teacher of a reference set is one pass of one file; "
            "leave it out, or --reference"
        )
