"""The ``derain`` command: train, score and compare networks, make rain, read published weights."""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import edge_runtime
from edge_runtime.errors import EdgeDerainError, MissingExtraError, UsageError

if TYPE_CHECKING:
    from core.evaluation.evaluate import Derain, EvaluationConfig
    from core.evaluation.reference import ReferenceWriter

USAGE = """usage: derain COMMAND ...

commands:
  train       train a network:        derain train --config configs/student_small.yaml
  evaluate    score a model:          derain evaluate --model small --config configs/quality.yaml
  table       compare checkpoints:    derain table core/checkpoints
  synthesize  rain on clean pictures: derain synthesize CLEAN_DIR -o OUT --preset heavy
  import      read published weights: derain import PreNet.pth --family prenet
  gmm-prior   learn a patch mixture:  derain gmm-prior --config configs/gmm_prior.yaml -o FILE

`derain COMMAND --help` lists the options of a command; `derain --version` prints the version.
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the ``derain`` command and return its exit code."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    commands = {
        "train": _train,
        "evaluate": _evaluate,
        "table": _table,
        "import": _import,
        "synthesize": _synthesize,
        "gmm-prior": _gmm_prior,
    }
    if not arguments or arguments[0] in ("-h", "--help"):
        print(USAGE, end="", file=sys.stdout if arguments else sys.stderr)
        return 0 if arguments else 2
    if arguments[0] == "--version":
        print(f"derain {edge_runtime.__version__}")
        return 0
    try:
        if arguments[0] not in commands:
            raise UsageError(f"unknown command {arguments[0]!r}; there are {', '.join(commands)}")
        return commands[arguments[0]](arguments[1:])
    except EdgeDerainError as error:
        return _fail(error)
    except ModuleNotFoundError as error:
        return _fail(MissingExtraError((error.name or str(error)).split(".")[0], "train"))
    except KeyboardInterrupt:
        print("derain: interrupted", file=sys.stderr)
        return 130


def _fail(error: EdgeDerainError) -> int:
    print(f"derain: error: {error}", file=sys.stderr)
    return error.exit_code


def _train(arguments: Sequence[str]) -> int:
    from core.training.config import TrainConfig
    from core.training.options import parse_training, training_parser
    from core.training.train import train

    parser = training_parser(TrainConfig, prog="derain train", description="Train a network.")
    config, resume = parse_training(TrainConfig, parser, arguments)
    result = train(config, resume=resume)
    for line in result.summary():
        print(line)
    return result.exit_code


def _evaluate(arguments: Sequence[str]) -> int:
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
    where.add_argument("--config", metavar="FILE", help="YAML with the data sets (quality.yaml)")
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
    parser.add_argument("--iterations", type=int, metavar="N", help="of --method gmm (default 6)")
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

    from core.evaluation.evaluate import mean_rows, quality_table, score_pairs
    from core.evaluation.files import (
        check_picture_targets,
        check_text_target,
        save_picture,
        scores_csv,
        write_text,
    )

    config = _downloaded(options) if options.root else _configured(options)
    save = Path(options.save) if options.save else None
    for option in ("json", "csv"):
        if getattr(options, option):
            check_text_target(f"--{option}", Path(getattr(options, option)))
    if save:
        check_picture_targets(config, save, force=options.force)
    model = _model(options)
    scores = []
    with _reference_writer(options) as reference:
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
    if options.iterations is not None and not options.method:
        raise UsageError(f"--iterations {options.iterations} goes with --method gmm; leave it out")
    for option in ("precision", "views"):
        value = getattr(options, option)
        if value and not options.checkpoint:
            raise UsageError(f"--{option} {value} goes with --checkpoint; leave it out")
    if (options.views or 1) > 1 and options.reference:
        raise UsageError(
            f"--views {options.views}: the teacher of a reference set is one pass of one file; "
            "leave it out, or --reference"
        )
    if options.force and not (options.save or options.reference):
        raise UsageError(
            "--force lets --save replace files; give --save DIR or --reference DIR, or leave it out"
        )


def _downloaded(options: argparse.Namespace) -> EvaluationConfig:
    from core.evaluation.evaluate import EvaluationConfig, TestSetConfig
    from core.evaluation.published import published_sets
    from core.evaluation.reference import as_data_sets
    from core.pairs import SourceConfig
    from edge_runtime.report.reference import is_reference

    if options.dataset:
        return published_sets(options.dataset, options.root)
    if is_reference(Path(options.root)):
        return as_data_sets(Path(options.root))
    source = SourceConfig(layout="published", root=os.path.abspath(options.root))
    return EvaluationConfig({source.name: TestSetConfig(source)}, data_root=".")


def _configured(options: argparse.Namespace) -> EvaluationConfig:
    from core.config import config_parser, parse_config
    from core.evaluation.evaluate import EvaluationConfig

    values = ["--config", options.config]
    if options.data_root:
        values += ["--data_root", options.data_root]
    config = parse_config(EvaluationConfig, config_parser(EvaluationConfig), values)
    return config.only(options.sets) if options.sets else config


def _model(options: argparse.Namespace) -> Derain:
    if options.checkpoint:
        from core.checkpoint import load_checkpoint
        from core.inference import derainer_of

        checkpoint = load_checkpoint(options.checkpoint)
        return derainer_of(checkpoint, options.precision or "32-true", options.views or 1)
    if options.method:
        from core.papers.gmm.derain import GmmConfig, gmm_derainer
        from core.papers.gmm.files import load_background

        settings = GmmConfig()
        if options.iterations is not None:
            settings = dataclasses.replace(settings, iterations=options.iterations)
        return gmm_derainer(load_background(), settings)
    from edge_runtime import Derainer

    return Derainer.load(options.model)


def _reference_writer(
    options: argparse.Namespace,
) -> contextlib.AbstractContextManager[ReferenceWriter | None]:
    if not options.reference:
        return contextlib.nullcontext()
    from core.checkpoint import find_checkpoint
    from core.evaluation.reference import ReferenceWriter, teacher_of
    from edge_runtime.models.catalog import find_model

    checkpoint = options.checkpoint
    path = find_checkpoint(checkpoint) if checkpoint else find_model(options.model)
    return ReferenceWriter(Path(options.reference), teacher_of(path), force=options.force)


def _gmm_prior(arguments: Sequence[str]) -> int:
    from core.papers.gmm.cli import gmm_prior

    return gmm_prior(arguments)


def _table(arguments: Sequence[str]) -> int:
    if arguments and arguments[0] == "papers":
        from core.papers.cli import papers

        return papers(arguments[1:])
    parser = argparse.ArgumentParser(
        prog="derain table",
        description="Compare checkpoints: cost, training and PSNR, from their cards, as Markdown. "
        "`derain table papers` compares the methods of the papers (--help says more).",
    )
    parser.add_argument(
        "places", nargs="+", metavar="CKPT", help="checkpoint: shipped name, path, or a folder"
    )
    parser.add_argument(
        "--columns", nargs="+", metavar="SET/PROTOCOL", help="such as validation/rgb rain100h/y"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object a line")
    options = parser.parse_args(arguments)

    from core.evaluation.table import card_command, find_checkpoints, make_table, markdown

    table = make_table(find_checkpoints(options.places), options.columns)
    if options.json:
        for row in table.rows:
            print(row.to_json())
    else:
        print(markdown(table))
    for row in table.rows:
        if row.path and not row.carded:
            print(
                f"derain: {row.path}: no card; make it: {card_command(row.path)}", file=sys.stderr
            )
    return 0


def _synthesize(arguments: Sequence[str]) -> int:
    from core.config import load_config
    from core.rain.config import PRESETS, RenderConfig
    from core.rain.synthesize import SynthesisJob, synthesize

    parser = argparse.ArgumentParser(
        prog="derain synthesize",
        description="Render rain on clean pictures and write pairs, streaks and parameters.",
    )
    parser.add_argument("clean", metavar="CLEAN_DIR", help="folder of pictures without rain")
    parser.add_argument("-o", "--out", metavar="OUT", required=True, help="folder to make")
    parser.add_argument("--per-image", type=int, default=12, metavar="N", help="rains a picture")
    parser.add_argument("--depth", metavar="DIR", default="", help="uint16 PNG in centimetres")
    parser.add_argument("--streaks", metavar="DIR", default="", help="streak pictures to lay too")
    parser.add_argument("--seed", type=int, default=0, help="another seed is another rain")
    parser.add_argument("--preview", action="store_true", help="write a contact sheet as well")
    ranges = parser.add_mutually_exclusive_group()
    ranges.add_argument("--preset", choices=sorted(PRESETS), default="mixed", help="kind of rain")
    ranges.add_argument("--config", metavar="FILE", help="YAML with ranges of the rain")
    options = vars(parser.parse_args(arguments))

    preset, file = options.pop("preset"), options.pop("config")
    rain = load_config(RenderConfig, file) if file else PRESETS[preset]
    job = SynthesisJob(rain=rain, **options)
    print(f"{synthesize(job, progress=True)} pairs in {job.out}")
    return 0


def _import(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="derain import",
        description="Turn published weights of the PReNet family into a checkpoint.",
    )
    parser.add_argument("weights", metavar="FILE", help="state dict (.pth); no code in it runs")
    parser.add_argument("--family", required=True, help="prenet, prenet_r, prn or prn_r")
    parser.add_argument("-o", dest="out", metavar="CKPT", help="default: FILE with .safetensors")
    parser.add_argument("--name", default="", help="of the model (default: the family's)")
    parser.add_argument("--stages", type=int, default=6, help="passes over the picture (default 6)")
    options = parser.parse_args(arguments)

    from core.checkpoint import save_checkpoint
    from core.prenet import import_prenet

    out = Path(options.out or Path(options.weights).with_suffix(".safetensors"))
    if out.exists():
        raise UsageError(f"{out}: exists already; name another with -o")
    checkpoint = import_prenet(
        options.weights, options.family, name=options.name, stages=options.stages
    )
    save_checkpoint(out, checkpoint)
    print(f"{checkpoint.name} ({checkpoint.architecture}): {out}")
    return 0
