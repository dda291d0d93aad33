"""The ``compress`` command: what a network costs."""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
from collections.abc import Sequence
from typing import Any

from edge_runtime.errors import EdgeDerainError, MissingExtraError

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
    arguments = _parser().parse_args(argv)
    try:
        return _cost(arguments.checkpoints, as_json=arguments.json)
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
    return parser


def _cost(paths: Sequence[str], *, as_json: bool) -> int:
    from compress.cost import measure_cost
    from core.checkpoint import load_checkpoint

    records: list[dict[str, Any]] = []
    for path in paths:
        checkpoint = load_checkpoint(path)
        cost = measure_cost(checkpoint.build(), checkpoint.config.size_multiple)
        named = {"name": checkpoint.name, "architecture": checkpoint.architecture}
        records.append({"path": path, **named, **dataclasses.asdict(cost)})
    if as_json:
        for record in records:
            print(json.dumps(record))
    else:
        _print_table([_HEADINGS, *(_row(record) for record in records)])
    return 0


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


def _print_table(rows: Sequence[Sequence[str]]) -> None:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        texts = [cell.ljust(width) for cell, width in zip(row[:2], widths[:2], strict=True)]
        numbers = [cell.rjust(width) for cell, width in zip(row[2:], widths[2:], strict=True)]
        print("  ".join([*texts, *numbers]))


def _fail(error: EdgeDerainError) -> int:
    print(f"compress: error: {error}", file=sys.stderr)
    return error.exit_code


if __name__ == "__main__":
    sys.exit(main())
