"""The options of ``edge-derain``, and amounts as people write them. Imports nothing heavy."""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable, Sequence
from typing import Literal, TypeVar

PRECISIONS = ("auto", "fp32", "fp16", "int8", "dynamic")
FORMATS = ("jpg", "png", "webp", "tif", "bmp", "avif")
VIEWS = ("compare", "diff")

_FACTORS = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9, "KI": 2**10, "MI": 2**20, "GI": 2**30}
_AMOUNT = re.compile(r"(\d+(?:\.\d+)?)\s*([KMG]I?)?(?:B|P|PX)?", re.IGNORECASE)

Value = TypeVar("Value")


def parse_options(argv: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line; exits with 2 and a usage line where it is wrong."""
    parser = argparse.ArgumentParser(
        prog="edge-derain",
        description="Remove rain from photographs, videos and cameras.",
        epilog="Without -o, street.jpg becomes street_derained.jpg beside it.",
    )
    parser.add_argument(
        "images", nargs="*", metavar="IMAGE", help="picture, folder, pattern, video, stream, or -"
    )
    _add_outputs(parser)
    _add_batches(parser)
    _add_moving(parser)
    parser.add_argument(
        "--model",
        metavar="NAME|PATH",
        help="model to use (default: small; --self-test: all)",
    )
    parser.add_argument(
        "--stages",
        type=checked(whole_or_auto),
        metavar="N|auto",
        help="of a model that is one stage; auto: until the picture is still (default: all)",
    )
    parser.add_argument(
        "--scale",
        type=checked(whole_or_auto),
        default="auto",
        metavar="N|auto",
        help="look for rain at 1/N of the size: 1, 2, 4, 8, 16 (default: auto, by the size)",
    )
    parser.add_argument(
        "--always",
        action="store_true",
        help="derain whatever looks dry too (default: its pixels stay as they are)",
    )
    parser.add_argument(
        "--ensemble",
        action="store_true",
        help="derain the mirror image too and take the mean: better, in twice the time",
    )
    _add_engines(parser)
    parser.add_argument("--list-models", action="store_true", help="show the models that ship")
    parser.add_argument(
        "--self-test", action="store_true", help="check that models compute here what they should"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object a line")
    parser.add_argument(
        "--tile",
        type=checked(whole_number(0)),
        metavar="N",
        help="derain in tiles of N pixels, to save memory; 0: whole (default: large pictures)",
    )
    parser.add_argument(
        "--max-pixels",
        type=checked(parse_amount),
        metavar="N",
        help="refuse larger pictures before decoding them (default: 100M)",
    )
    parser.add_argument("--version", action="store_true", help="print the version and exit")
    arguments = parser.parse_intermixed_args(argv)
    wanted = arguments.images or arguments.watch or arguments.camera is not None
    modes = (arguments.list_models, arguments.self_test, arguments.version)
    if not (wanted or any(modes)):
        parser.error("name at least one IMAGE, or --list-models, or --self-test")
    return arguments


def _add_engines(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("engines")
    group.add_argument(
        "--precision",
        choices=PRECISIONS,
        default="auto",
        help="of the network (default: auto, as edge-report --tune found)",
    )
    group.add_argument(
        "--threads",
        type=checked(whole_number(1)),
        metavar="N",
        help="threads (default: physical cores)",
    )


def _add_outputs(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("what is written, and where")
    group.add_argument("-o", dest="out", help="file; folder when it exists or ends in /; - stdout")
    group.add_argument(
        "--suffix", metavar="TEXT", help="added to the names of outputs (default: _derained)"
    )
    group.add_argument("--format", choices=FORMATS, help="of outputs (default: as the input)")
    group.add_argument(
        "--quality",
        type=checked(whole_number(1, 100)),
        metavar="Q",
        help="of JPEG, WebP and AVIF, 1 to 100 (default: as the input, or 95); of videos "
        "(default: 65)",
    )
    group.add_argument(
        "--view", choices=VIEWS, help="write rainy and derained side by side, or the removed rain"
    )
    group.add_argument("--force", action="store_true", help="replace originals and -o FILE")
    group.add_argument(
        "--dry-run", action="store_true", help="only say how much each picture looks like rain"
    )


def _add_batches(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("batches")
    group.add_argument("-r", "--recursive", action="store_true", help="folders in folders too")
    group.add_argument(
        "--skip-existing", action="store_true", help="leave out what has its output already"
    )
    group.add_argument(
        "--shard", type=checked(parse_shard), metavar="I/N", help="only part I (1 to N) of N"
    )
    group.add_argument(
        "--watch", metavar="DIR", help="derain what appears in a folder, until interrupted"
    )


def _add_moving(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("videos and cameras")
    group.add_argument(
        "--camera", metavar="N|URL", help="derain a camera (0 is the first) or stream as it comes"
    )
    group.add_argument(
        "--seconds", type=checked(parse_seconds), metavar="S", help="stop a camera after so long"
    )
    group.add_argument("--steady", action="store_true", help="less flicker where nothing moves")


def checked(parse: Callable[[str], Value]) -> Callable[[str], Value]:
    """Return ``parse`` with its ValueError made one that argparse prints."""

    def explained(text: str) -> Value:
        try:
            return parse(text)
        except ValueError as error:
            raise argparse.ArgumentTypeError(str(error)) from None

    return explained


def parse_amount(text: str) -> int:
    """Return ``'300MB'``, ``'1.5GiB'``, ``'200M'`` or ``'90000'`` as a whole number of at least 1.

    Raises:
        ValueError: It is none.
    """
    match = _AMOUNT.fullmatch(text.strip())
    amount = int(float(match[1]) * _FACTORS[(match[2] or "").upper()]) if match else 0
    if amount < 1:
        raise ValueError(f"must be an amount such as 300M, got {text!r}")
    return amount


def parse_seconds(text: str) -> float:
    """Return ``'90'`` or ``'0.5'`` as a number above 0.

    Raises:
        ValueError: It is none.
    """
    seconds = float(text) if re.fullmatch(r"\d+(\.\d+)?|\.\d+", text) else 0.0
    if not 0 < seconds < float("inf"):
        raise ValueError(f"must be a number of seconds above 0, got {text!r}")
    return seconds


def whole_number(low: int, high: int | None = None) -> Callable[[str], int]:
    """Return a function that reads a whole number from ``low`` to ``high``, and raises ValueError.

    None sets no upper limit.
    """

    def parse(text: str) -> int:
        number = int(text) if re.fullmatch(r"\d{1,9}", text, re.ASCII) else -1
        if number < low or (high is not None and number > high):
            limits = f"of at least {low}" if high is None else f"from {low} to {high}"
            raise ValueError(f"must be a whole number {limits}, got {text!r}")
        return number

    return parse


def whole_or_auto(text: str) -> int | Literal["auto"]:
    """Read ``'auto'`` or a whole number from 1.

    Raises:
        ValueError: It is neither.
    """
    if text == "auto":
        return "auto"
    try:
        return whole_number(1)(text)
    except ValueError:
        raise ValueError(f"must be a whole number of at least 1, or auto, got {text!r}") from None


def parse_shard(text: str) -> tuple[int, int]:
    """Read ``'I/N'``: which of N parts of a batch, counted from 1.

    Raises:
        ValueError: It is not of that form, or I is not from 1 to N.
    """
    match = re.fullmatch(r"(\d+)/(\d+)", text)
    if not match or not 1 <= int(match[1]) <= int(match[2]):
        raise ValueError(f"must be I/N with I from 1 to N, such as 2/8, got {text!r}")
    return int(match[1]), int(match[2])
