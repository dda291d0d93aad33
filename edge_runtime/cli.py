"""The command ``edge-derain``. Imports nothing heavy before it knows that there is work to do."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from edge_runtime.errors import EdgeDerainError, UsageError
from edge_runtime.quantities import Shard, Workers, parse_amount, parse_seconds, whole_number
from edge_runtime.terminal import (
    FrameProgress,
    Progress,
    Terminated,
    native_messages_hidden,
    never_fail_on_encoding,
    separator,
    termination_raised,
)

if TYPE_CHECKING:
    from edge_runtime.batch import Job, Naming
    from edge_runtime.derainer import Derainer
    from edge_runtime.work import Settings

INTERRUPTED = 130
BROKEN_PIPE = 141
TERMINATED = 143
FORMATS = ("jpg", "png", "webp", "tif", "bmp", "avif")

Value = TypeVar("Value")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code.

    0 when everything asked for was done, 1 when a picture failed, 2 when the request itself is
    wrong, 130 after Ctrl-C, 141 when nobody reads the output any more, 143 after SIGTERM.
    """
    never_fail_on_encoding()
    try:
        with termination_raised():
            return _run(_parse(argv))
    except EdgeDerainError as error:
        _complain(str(error))
        return error.exit_code
    except Terminated:
        _complain("terminated")
        return TERMINATED
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
        "--model", default="small", metavar="NAME|PATH", help="model to use (default: small)"
    )
    parser.add_argument("--list-models", action="store_true", help="show the models that ship")
    parser.add_argument("--json", action="store_true", help="print one JSON object a line")
    parser.add_argument(
        "--threads",
        type=_checked(whole_number(1)),
        metavar="N",
        help="threads (default: physical cores)",
    )
    parser.add_argument(
        "--tile",
        type=_checked(whole_number(0)),
        metavar="N",
        help="derain in tiles of N pixels, to save memory; 0: whole (default: large pictures)",
    )
    parser.add_argument(
        "--max-memory",
        type=_checked(parse_amount),
        metavar="300MB",
        help="choose the tile so that the process stays below this",
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
    if not (wanted or arguments.list_models or arguments.version):
        parser.error("name at least one IMAGE, or --list-models")
    if arguments.tile is not None and arguments.max_memory is not None:
        parser.error("--tile and --max-memory both choose the tile; leave one out")
    return arguments


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
        "--jobs",
        type=_checked(Workers.parse),
        default=Workers(),
        metavar="L:I:S",
        help="pictures loaded, derained and saved at once (default: 1:1:1)",
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
    group.add_argument("--show", action="store_true", help="show the frames in a window")
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


def _run(arguments: argparse.Namespace) -> int:
    if arguments.version:
        import edge_runtime

        print(f"edge-derain {edge_runtime.__version__}")
        return 0
    if arguments.list_models:
        _list_models(as_json=arguments.json)
        return 0
    from edge_runtime.clips import is_clip, is_stream

    if arguments.camera is not None or any(is_clip(n) or is_stream(n) for n in arguments.images):
        return _derain_moving(arguments)
    _refuse(arguments, ("show", "steady", "crf", "seconds"), "is for videos and cameras")
    if arguments.watch is not None:
        return _watch(arguments)
    return _derain_pictures(arguments)


def _refuse(arguments: argparse.Namespace, names: Sequence[str], reason: str) -> None:
    for name in names:
        value = getattr(arguments, name)
        if value is not None and value is not False:
            raise UsageError(f"--{name.replace('_', '-')}: {reason}; leave it out")


def _derain_moving(arguments: argparse.Namespace) -> int:
    """Derain videos, or one camera or stream; print a line for each and return the exit code."""
    from edge_runtime.clips import plan_moving
    from edge_runtime.derainer import Derainer
    from edge_runtime.moving import MovingOptions, derain_moving, describe
    from edge_runtime.video_files import CRF, WITHOUT_AV, has_av

    pictures = ("recursive", "shard", "format", "quality", "compare", "diff", "watch")
    _refuse(arguments, (*pictures, "max_memory", "max_pixels"), "is for pictures")
    jobs = plan_moving(
        arguments.images,
        arguments.camera,
        arguments.out,
        show=arguments.show,
        force=arguments.force,
        skip_existing=arguments.skip_existing,
        mark=_naming(arguments).mark,
    )
    if not any(job.live for job in jobs):
        _refuse(arguments, ("seconds",), "is for cameras")
    crf = CRF if arguments.crf is None else arguments.crf
    options = MovingOptions(arguments.steady, arguments.show, crf, arguments.seconds)
    derainer = Derainer.load(arguments.model, threads=arguments.threads, tile=arguments.tile)
    failed, stream = False, sys.stderr if arguments.out == "-" else sys.stdout
    if not has_av() and arguments.out != "-":
        _note(WITHOUT_AV)
    with native_messages_hidden(), FrameProgress() as progress:
        for record in derain_moving(derainer, jobs, options, sys.stdout.buffer, progress.advance):
            if arguments.json or "frames" in record:
                line = json.dumps(record) if arguments.json else separator().join(describe(record))
                print(line, file=stream, flush=True)
            if "error" in record:
                _complain(record["error"])
                failed = True
    return int(failed)


def _derain_pictures(arguments: argparse.Namespace) -> int:
    from edge_runtime.batch import plan
    from edge_runtime.derainer import Derainer

    jobs = plan(
        arguments.images,
        arguments.out,
        force=arguments.force,
        recursive=arguments.recursive,
        skip_existing=arguments.skip_existing,
        shard=arguments.shard,
        naming=_naming(arguments),
    )
    if not jobs:
        _note("nothing to do")
        return 0
    derainer = Derainer.load(arguments.model, threads=arguments.threads, tile=arguments.tile)
    settings = _settings(derainer, jobs, arguments)
    failures = _derain_all(derainer, jobs, settings, as_json=arguments.json)
    if not failures:
        return 0
    if len(jobs) == 1:
        _complain(failures[0])
    else:
        _complain("\n  ".join([f"{len(failures)} of {len(jobs)} failed:", *failures]))
    return 1


def _watch(arguments: argparse.Namespace) -> int:
    """Derain what appears in a folder, for ever; failures are told at once."""
    from edge_runtime.batch import watched_jobs
    from edge_runtime.derainer import Derainer
    from edge_runtime.watch import Watcher, watch

    if arguments.images or arguments.shard:
        raise UsageError("--watch takes neither IMAGE nor --shard; leave them out")
    if arguments.out == "-":
        raise UsageError("--watch writes many pictures; name a folder with -o")
    naming, out = _naming(arguments), arguments.out and Path(arguments.out)
    watcher = Watcher(
        Path(arguments.watch), recursive=arguments.recursive, ours=naming.ours, out=out
    )
    found = watch(watcher)
    derainer = Derainer.load(arguments.model, threads=arguments.threads, tile=arguments.tile)
    settings = _settings(derainer, None, arguments)
    for sources in found:
        jobs = watched_jobs(sources, out, naming, skip_existing=arguments.skip_existing)
        for failure in _derain_all(derainer, jobs, settings, as_json=arguments.json):
            _complain(failure)
    return 0


def _naming(arguments: argparse.Namespace) -> Naming:
    from edge_runtime.batch import MARKS, Naming

    mark = MARKS[_view(arguments)] if arguments.suffix is None else arguments.suffix
    if Path(f"x{mark}").name != f"x{mark}":
        raise UsageError(f"--suffix {mark}: must not lead into a folder; use -o for that")
    return Naming(mark, arguments.format and f".{arguments.format}")


def _view(arguments: argparse.Namespace) -> str:
    return "compare" if arguments.compare else "diff" if arguments.diff else "derained"


def _settings(
    derainer: Derainer, jobs: Sequence[Job] | None, arguments: argparse.Namespace
) -> Settings:
    """Return how to derain ``jobs``; None are those that are not known yet."""
    from edge_runtime.image import MAX_PIXELS
    from edge_runtime.memory import plan_memory
    from edge_runtime.work import Settings

    memory = None
    if arguments.max_memory is not None:
        memory = plan_memory(derainer, jobs, arguments.max_memory, workers=arguments.jobs.infer)
    return Settings(
        view=_view(arguments),
        quality=arguments.quality,
        max_pixels=arguments.max_pixels or MAX_PIXELS,
        workers=arguments.jobs,
        memory=memory,
    )


def _derain_all(
    derainer: Derainer, jobs: Sequence[Job], settings: Settings, *, as_json: bool
) -> list[str]:
    """Derain every picture, print a line for each, and return what went wrong with the others."""
    from edge_runtime.work import derain_batch

    failures = []
    with (
        native_messages_hidden(),
        Progress(len(jobs)) as progress,
        contextlib.closing(derain_batch(derainer, jobs, settings)) as outcomes,
    ):
        for outcome in outcomes:
            progress.clear()
            # Where the picture itself goes to stdout, its line does not.
            stream = sys.stderr if outcome.is_to_stdout else sys.stdout
            if as_json:
                print(json.dumps(outcome.record(derainer)), file=stream, flush=True)
            elif outcome.error is None:
                print(_summary(outcome.record(derainer)), file=stream, flush=True)
            if outcome.error is not None:
                failures.append(outcome.error)
            progress.advance(outcome.width * outcome.height)
    return failures


def _summary(record: dict[str, Any]) -> str:
    parts = (
        f"{record['model']} {record['precision']}",
        f"{record['width']}x{record['height']}",
        f"{record['milliseconds']:.0f} ms",
        record["output"],
    )
    return separator().join(parts)


def _list_models(*, as_json: bool) -> None:
    from edge_runtime.models import WEIGHTS, list_models, model_table

    models = list_models()
    if as_json:
        for path, card in models:
            print(json.dumps({"path": str(path), **json.loads(card.to_json())}))
        return
    if not models:
        _complain(f"there are no models in {WEIGHTS}")
    for line in model_table(card for _, card in models):
        print(line)


def _note(message: str) -> None:
    print(f"edge-derain: {message}", file=sys.stderr, flush=True)


def _complain(message: str) -> None:
    print(f"edge-derain: error: {message}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
