"""The options of the ``compress`` command."""

from __future__ import annotations

import argparse

import edge_runtime
from edge_runtime.options import checked, parse_amount


def command_parser() -> argparse.ArgumentParser:
    """Return the parser of all commands; that of ``distill`` comes from its config."""
    parser = argparse.ArgumentParser(
        prog="compress", description="Make networks smaller, and measure what they cost."
    )
    parser.add_argument(
        "--version", action="version", version=f"%(prog)s {edge_runtime.__version__}"
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
    commands.add_parser(
        "quantize", help="store weights and activations in fewer bits", add_help=False
    )
    _add_run(
        commands.add_parser(
            "run",
            help="do all steps of a recipe, or what is left of them",
            description="Distill, prune and quantize as a recipe says, in a folder of its own. "
            "Interrupted, the same command goes on; where the recipe changed, it does again what "
            "follows from that.",
        )
    )
    _add_search(
        commands.add_parser(
            "search",
            help="find the recipe of the best student within a time",
            description="Measure students in int8 and fp32 in both engines, try them in short "
            "runs, the better ones for longer, and write the recipe of the one that is chosen. The "
            "same command goes on where it was interrupted.",
        )
    )
    _add_report(
        commands.add_parser(
            "report",
            help="put size, latency and quality of artifacts side by side, as a page",
            description="Gather cards and what edge-report --json wrote on any number of boards "
            "into one page of HTML, and the same as Markdown, CSV and PNG.",
        )
    )
    return parser


def _add_run(run: argparse.ArgumentParser) -> None:
    run.add_argument("recipe", metavar="RECIPE", help="such as configs/students/small.yaml")
    run.add_argument("--work", metavar="DIR", help="folder of all results: runs/recipe_NAME")
    _add_place(run)


def _add_search(search: argparse.ArgumentParser) -> None:
    search.add_argument(
        "--max-ms",
        type=float,
        metavar="MS",
        help="of an int8 artifact at 1280 x 720 on one thread, in either engine",
    )
    search.add_argument(
        "--max-drop",
        type=float,
        metavar="DB",
        help="score to give up for time: the fastest within this of the best is chosen",
    )
    search.add_argument("--rounds", type=int, metavar="N", help="of successive halving")
    search.add_argument(
        "--config",
        metavar="FILE",
        default="configs/search.yaml",
        help="what to search through: %(default)s",
    )
    search.add_argument("--work", metavar="DIR", help="folder of all results: runs/search_NAME")
    search.add_argument("-o", dest="out", metavar="FILE", help="recipe to write: WORK/recipe.yaml")
    _add_place(search)


def _add_report(report: argparse.ArgumentParser) -> None:
    report.add_argument(
        "results", nargs="+", metavar="RESULT", help="artifact, checkpoint, card, report, or folder"
    )
    report.add_argument("-o", dest="out", metavar="DIR", default="report", help="default: report/")
    report.add_argument(
        "--reference", metavar="DIR", help="reference set to show (default: the one that ships)"
    )
    report.add_argument(
        "--quality", metavar="SET/PROTOCOL", help="of the curves, such as validation/rgb"
    )
    report.add_argument(
        "--fail-if",
        action="append",
        default=[],
        metavar="CONDITION",
        help="exit with 1 where it is true of an artifact, such as 'loss_db > 0.5'; repeatable",
    )
    report.add_argument("--force", action="store_true", help="write into a folder that exists")


def _add_place(command: argparse.ArgumentParser) -> None:
    command.add_argument("--data-root", metavar="DIR", help="folder of the data sets")
    command.add_argument("--teacher", metavar="CKPT", help="checkpoint: shipped name, or path")
    command.add_argument("--dry-run", action="store_true", help="say what it would do and cost")


def prune_parser() -> argparse.ArgumentParser:
    """Return the parser of ``compress prune``, without the options of a training run."""
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
        "--target-macs",
        type=checked(_share_or_amount),
        metavar="SHARE|N",
        help="MACs per pixel to keep: as a share, such as 0.5, or so many, such as 5k",
    )
    parser.add_argument(
        "--target-bytes",
        type=checked(parse_amount),
        metavar="N",
        help="of the weights in fp32, such as 200KB",
    )
    parser.add_argument("--stages", type=int, metavar="N", help="of a recurrent network to keep")
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


def quantize_parser() -> argparse.ArgumentParser:
    """Return the parser of ``compress quantize``, without the options of a training run."""
    quantize = argparse.ArgumentParser(
        prog="compress quantize",
        description="Quantize a checkpoint. int8 is calibrated on training crops and scored on "
        "the validation sets of the config.",
        epilog="With --qat also every option of a training run, such as --steps N, "
        "--learning-rate, --name, --out DIR or --resume.",
        allow_abbrev=False,
    )
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
        "--keep-float", nargs="+", default=[], metavar="LAYER", help="leave these in float (int8)"
    )
    quantize.add_argument(
        "--max-drop", type=float, metavar="DB", help="keep the worst layers in float (int8)"
    )
    quantize.add_argument("--qat", action="store_true", help="fine-tune as --config says (int8)")
    return quantize


def _share_or_amount(text: str) -> float:
    """Return a share below 1 as it is, and anything else as :func:`parse_amount` reads it."""
    try:
        share = float(text)
    except ValueError:
        share = 1.0
    return share if share < 1 else parse_amount(text)
