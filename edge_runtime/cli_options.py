"""The options of ``edge-derain``. Imports nothing heavy."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from typing import TypeVar

from edge_runtime.quantities import (
    Shard,
    parse_amount,
    parse_scale,
    parse_seconds,
    parse_stages,
    whole_number,
)

BACKENDS = ("auto", "onnx", "tflite")
PRECISIONS = ("auto", "fp32", "fp16", "int8", "dynamic")
FORMATS = ("jpg", "png", "webp", "tif", "bmp", "avif")

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
        "--model", metavar="NAME|PATH", help="model to use (default: small; --self-test: all)"
    )
    parser.add_argument(
        "--stages",
        type=_checked(parse_stages),
        metavar="N|auto",
        help="of a model that is one stage; auto: until the picture is still (default: all)",
    )
    parser.add_argument(
        "--scale",
        type=_checked(parse_scale),
        default="auto",
        metavar="N|auto",
        help="look for rain at 1/N of the size: 1, 2, 4, 8, 16 (default: auto, by the size)",
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
        type=_checked(whole_number(0)),
        metavar="N",
        help="derain in tiles of N pixels, to save memory; 0: whole (default: large pictures)",
    )
    parser.add_argument(
        "--max-pixels",
        type=_checked(parse_amount),
        metavar="N",
        help="refuse larger pictures before decoding them (default: 100M)",
    )
    parser.add_argument("--version", action="store_true", help="print the version and exit")
    arguments = parser.parse_args(argv)
    wanted = arguments.images or arguments.watch or arguments.camera is not None
    modes = (arguments.list_models, arguments.self_test, arguments.tune, arguments.version)
    if not (wanted or any(modes)):
        parser.error("name at least one IMAGE, or --list-models, or --self-test")
    return arguments


def _add_engines(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("engines")
    group.add_argument(
        "--backend", choices=BACKENDS, default="auto", help="engine (default: auto, see --tune)"
    )
    group.add_argument(
        "--precision", choices=PRECISIONS, default="auto", help="of the network (default: auto)"
    )
    group.add_argument(
        "--threads",
        type=_checked(whole_number(1)),
        metavar="N",
        help="threads (default: physical cores)",
    )
    group.add_argument(
        "--tune", action="store_true", help="measure what is fastest here, and use it from now on"
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
        type=_checked(whole_number(1, 100)),
        metavar="Q",
        help="of JPEG, WebP and AVIF, 1 to 100 (default: as the input, or 95)",
    )
    view = group.add_mutually_exclusive_group()
    view.add_argument(
        "--compare", action="store_true", help="write rainy and derained side by side instead"
    )
    view.add_argument("--diff", action="store_true", help="write the removed rain instead")
    group.add_argument("--force", action="store_true", help="replace originals and -o FILE")


def _add_batches(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("batches")
    group.add_argument("-r", "--recursive", action="store_true", help="folders in folders too")
    group.add_argument(
        "--skip-existing", action="store_true", help="leave out what has its output already"
    )
    group.add_argument(
        "--shard", type=_checked(Shard.parse), metavar="I/N", help="only part I (1 to N) of N"
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
        "--seconds", type=_checked(parse_seconds), metavar="S", help="stop a camera after so long"
    )
    group.add_argument("--steady", action="store_true", help="less flicker where nothing moves")
    group.add_argument(
        "--crf",
        type=_checked(whole_number(0, 51)),
        metavar="N",
        help="of the video encoder, 0 (best) to 51 (default: 18)",
    )


def _checked(parse: Callable[[str], Value]) -> Callable[[str], Value]:
    """Return ``parse`` with its ValueError made one that argparse prints."""

    def checked(text: str) -> Value:
        try:
            return parse(text)
        except ValueError as error:
            raise argparse.ArgumentTypeError(str(error)) from None

    return checked
