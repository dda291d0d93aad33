"""The command ``edge-derain``. Imports nothing heavy before it knows that there is work to do."""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import json
import os
import sys
import time
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from edge_runtime.errors import EdgeDerainError, ImageError

if TYPE_CHECKING:
    from pathlib import Path

    from tqdm import tqdm

    from edge_runtime.batch import Job
    from edge_runtime.card import ModelCard
    from edge_runtime.derainer import Derainer

INTERRUPTED = 130
BROKEN_PIPE = 141


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code.

    0 when everything asked for was done, 1 when a picture failed, 2 when the request itself is
    wrong, 130 after Ctrl-C, 141 when nobody reads the output any more.
    """
    _never_fail_on_encoding()
    try:
        return _run(_parse(argv))
    except EdgeDerainError as error:
        _complain(str(error))
        return error.exit_code
    except KeyboardInterrupt:
        _complain("interrupted")
        return INTERRUPTED
    except BrokenPipeError:
        # Python flushes stdout once more on exit, which must not fail again.
        with contextlib.suppress(OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return BROKEN_PIPE


def _parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="edge-derain",
        description="Remove rain from photographs.",
        epilog="Without -o, street.jpg becomes street_derained.jpg beside it.",
    )
    parser.add_argument("images", nargs="*", metavar="IMAGE", help="picture, or folder of pictures")
    parser.add_argument("-o", dest="out", help="output file, or folder when it exists or ends in /")
    parser.add_argument(
        "--model", default="small", metavar="NAME|PATH", help="model to use (default: small)"
    )
    parser.add_argument("--list-models", action="store_true", help="show the models that ship")
    parser.add_argument("--json", action="store_true", help="print one JSON object a line")
    parser.add_argument(
        "--threads", type=_thread_count, metavar="N", help="threads (default: physical cores)"
    )
    parser.add_argument(
        "--tile",
        type=_tile_side,
        metavar="N",
        help="derain in tiles of N pixels, to save memory; 0: whole (default: large pictures)",
    )
    parser.add_argument("--force", action="store_true", help="replace originals and -o FILE")
    parser.add_argument("--version", action="store_true", help="print the version and exit")
    arguments = parser.parse_args(argv)
    if not (arguments.images or arguments.list_models or arguments.version):
        parser.error("name at least one IMAGE, or --list-models")
    return arguments


def _thread_count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"must be a whole number of at least 1, got {text!r}")
    return int(text)


def _tile_side(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"must be a number of pixels, or 0, got {text!r}")
    return int(text)


def _run(arguments: argparse.Namespace) -> int:
    if arguments.version:
        import edge_runtime

        print(f"edge-derain {edge_runtime.__version__}")
        return 0
    if arguments.list_models:
        _list_models(as_json=arguments.json)
        return 0
    from edge_runtime.batch import plan
    from edge_runtime.derainer import Derainer

    jobs = plan(arguments.images, arguments.out, force=arguments.force)
    derainer = Derainer.load(arguments.model, threads=arguments.threads, tile=arguments.tile)
    failures = _derain_all(derainer, jobs, as_json=arguments.json)
    if not failures:
        return 0
    if len(jobs) == 1:
        _complain(failures[0])
    else:
        _complain("\n  ".join([f"{len(failures)} of {len(jobs)} failed:", *failures]))
    return 1


def _derain_all(derainer: Derainer, jobs: Sequence[Job], *, as_json: bool) -> list[str]:
    """Derain every picture, print a line for each, and return what went wrong with the others."""
    failures = []
    with _progress_bar(len(jobs)) as bar:
        for job in jobs:
            line = None
            try:
                record = _derain_one(derainer, job)
                line = json.dumps(record) if as_json else _summary(record)
            except EdgeDerainError as error:
                failures.append(str(error))
                if as_json:
                    line = json.dumps({"input": str(job.source), "error": str(error)})
            if bar is not None:
                bar.clear()
            if line is not None:
                print(line, flush=True)
            if bar is not None:
                bar.update()
                bar.refresh()
    return failures


def _derain_one(derainer: Derainer, job: Job) -> dict[str, Any]:
    from edge_runtime.image import check_suffix, read_picture, write_picture

    check_suffix(job.target)
    try:
        with _native_messages_hidden():
            picture = read_picture(job.source)
        start = time.perf_counter()
        derained = derainer(picture.rgb)
        seconds = time.perf_counter() - start
        _make_folder(job.target.parent)
        write_picture(job.target, dataclasses.replace(picture, rgb=derained))
    except MemoryError:
        raise ImageError(f"{job.source}: does not fit into memory; reduce or split it") from None
    height, width = derained.shape[:2]
    return {
        "input": str(job.source),
        "output": str(job.target),
        "model": derainer.card.name,
        "precision": derainer.card.precision,
        "width": width,
        "height": height,
        "milliseconds": round(seconds * 1000, 3),
        "provider": derainer.session.provider,
    }


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ImageError(
            f"{folder}: cannot be made ({error.strerror}); choose another with -o"
        ) from None


def _summary(record: dict[str, Any]) -> str:
    parts = (
        f"{record['model']} {record['precision']}",
        f"{record['width']}x{record['height']}",
        f"{record['milliseconds']:.0f} ms",
        record["output"],
    )
    return _separator().join(parts)


def _list_models(*, as_json: bool) -> None:
    from edge_runtime.models import WEIGHTS, list_models

    models = list_models()
    if as_json:
        for path, card in models:
            print(json.dumps({"path": str(path), **json.loads(card.to_json())}))
        return
    if not models:
        _complain(f"there are no models in {WEIGHTS}")
    rows = [("name", "precision", "format", "kB", "kMAC/pixel", "dB rgb")]
    rows += [_model_row(card) for _, card in models]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        print("  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)).rstrip())


def _model_row(card: ModelCard) -> tuple[str, str, str, str, str, str]:
    scored = [row for row in card.quality if row.protocol == "rgb"]
    return (
        card.name,
        card.precision,
        card.format,
        f"{(card.bytes or 0) / 1000:.0f}",
        f"{card.macs_per_pixel / 1000:.1f}",
        f"{scored[0].psnr:.2f} ({scored[0].dataset})" if scored else "-",
    )


def _progress_bar(total: int) -> contextlib.AbstractContextManager[tqdm[Any] | None]:
    """Return a bar on stderr, or None where one picture or a pipe makes it noise."""
    if total < 2 or not sys.stderr.isatty():
        return contextlib.nullcontext()
    from tqdm import tqdm

    return tqdm(total=total, unit="picture", leave=False, file=sys.stderr)


def _complain(message: str) -> None:
    print(f"edge-derain: error: {message}", file=sys.stderr, flush=True)


def _separator() -> str:
    try:
        " · ".encode(sys.stdout.encoding or "ascii")
    except UnicodeEncodeError:
        return " | "
    return " · "


def _never_fail_on_encoding() -> None:
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(AttributeError, ValueError):
            stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]


@contextlib.contextmanager
def _native_messages_hidden() -> Iterator[None]:
    """Keep what libpng and OpenCV print about damaged files off the terminal.

    They write to file descriptor 2 themselves; the error that follows says it in one line.
    """
    try:
        saved = os.dup(2)
    except OSError:
        yield
        return
    null = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(null, 2)
        yield
    finally:
        os.dup2(saved, 2)
        os.close(null)
        os.close(saved)


if __name__ == "__main__":
    sys.exit(main())
