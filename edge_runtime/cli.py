"""The command ``edge-derain``. Imports nothing heavy before it knows that there is work to do."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge_runtime.errors import EdgeDerainError, UsageError
from edge_runtime.options import parse_options
from edge_runtime.terminal import (
    INTERRUPTED,
    TERMINATED,
    FrameProgress,
    Progress,
    Terminated,
    native_messages_hidden,
    never_fail_on_encoding,
    separator,
    termination_raised,
)

if TYPE_CHECKING:
    from edge_runtime.derainer import Derainer
    from edge_runtime.pictures.batch import Settings
    from edge_runtime.pictures.plan import Job, Naming

BROKEN_PIPE = 141


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code.

    0 when everything asked for was done, 1 when a picture failed, 2 when the request itself is
    wrong, 130 after Ctrl-C, 141 when nobody reads the output any more, 143 after SIGTERM.
    """
    never_fail_on_encoding()
    try:
        with termination_raised():
            return _run(parse_options(argv))
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


def _run(arguments: argparse.Namespace) -> int:
    if arguments.version:
        import edge_runtime

        print(f"edge-derain {edge_runtime.__version__}")
        return 0
    if arguments.list_models:
        _list_models(as_json=arguments.json)
        return 0
    if arguments.self_test:
        return _self_test(arguments)
    from edge_runtime.pictures.sources import is_clip, is_stream

    if arguments.camera is not None or any(is_clip(n) or is_stream(n) for n in arguments.images):
        return _derain_moving(arguments)
    _refuse(arguments, ("steady", "seconds"), "is for videos and cameras")
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
    from edge_runtime.video.batch import MovingOptions, derain_moving, describe
    from edge_runtime.video.files import CRF, crf_of
    from edge_runtime.video.plan import plan_moving

    pictures = ("recursive", "shard", "format", "view", "watch", "max_pixels")
    _refuse(arguments, pictures, "is for pictures")
    jobs = plan_moving(
        arguments.images,
        arguments.camera,
        arguments.out,
        force=arguments.force,
        skip_existing=arguments.skip_existing,
        mark=_naming(arguments).mark,
    )
    if not any(job.live for job in jobs):
        _refuse(arguments, ("seconds",), "is for cameras")
    crf = CRF if arguments.quality is None else crf_of(arguments.quality)
    options = MovingOptions(arguments.steady, crf, arguments.seconds)
    derainer = _load(arguments)
    failed, stream = False, sys.stderr if arguments.out == "-" else sys.stdout
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
    from edge_runtime.pictures.plan import plan

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
    derainer = _load(arguments)
    settings = _settings(arguments)
    failures = _derain_all(derainer, jobs, settings, as_json=arguments.json)
    if not failures:
        return 0
    if len(jobs) == 1:
        _complain(failures[0])
    else:
        _complain("\n  ".join([f"{len(failures)} of {len(jobs)} failed:", *failures]))
    return 1


def _load(arguments: argparse.Namespace) -> Derainer:
    from edge_runtime.derainer import Derainer
    from edge_runtime.models.catalog import DEFAULT_MODEL

    return Derainer.load(
        arguments.model or DEFAULT_MODEL,
        precision=arguments.precision,
        threads=arguments.threads,
        tile=arguments.tile,
        stages=arguments.stages,
        scale=arguments.scale,
        ensemble=arguments.ensemble,
    )


def _watch(arguments: argparse.Namespace) -> int:
    """Derain what appears in a folder, for ever; failures are told at once."""
    from edge_runtime.pictures.plan import watched_jobs
    from edge_runtime.pictures.watch import Watcher, watch

    if arguments.images or arguments.shard:
        raise UsageError("--watch takes neither IMAGE nor --shard; leave them out")
    if arguments.out == "-":
        raise UsageError("--watch writes many pictures; name a folder with -o")
    naming, out = _naming(arguments), arguments.out and Path(arguments.out)
    watcher = Watcher(
        Path(arguments.watch), recursive=arguments.recursive, ours=naming.ours, out=out
    )
    found = watch(watcher)
    derainer = _load(arguments)
    settings = _settings(arguments)
    for sources in found:
        jobs = watched_jobs(sources, out, naming, skip_existing=arguments.skip_existing)
        for failure in _derain_all(derainer, jobs, settings, as_json=arguments.json):
            _complain(failure)
    return 0


def _naming(arguments: argparse.Namespace) -> Naming:
    from edge_runtime.pictures.plan import MARKS, Naming

    mark = MARKS[arguments.view or "derained"] if arguments.suffix is None else arguments.suffix
    if Path(f"x{mark}").name != f"x{mark}":
        raise UsageError(f"--suffix {mark}: must not lead into a folder; use -o for that")
    return Naming(mark, arguments.format and f".{arguments.format}")


def _settings(arguments: argparse.Namespace) -> Settings:
    from edge_runtime.pictures.batch import Settings
    from edge_runtime.pictures.picture import MAX_PIXELS

    return Settings(
        view=arguments.view or "derained",
        quality=arguments.quality,
        max_pixels=arguments.max_pixels or MAX_PIXELS,
    )


def _derain_all(
    derainer: Derainer, jobs: Sequence[Job], settings: Settings, *, as_json: bool
) -> list[str]:
    """Derain every picture, print a line for each, and return what went wrong with the others."""
    from edge_runtime.pictures.batch import derain_batch

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
        record["provider"],
        record["output"],
    )
    return separator().join(parts)


def _list_models(*, as_json: bool) -> None:
    from edge_runtime.models.catalog import WEIGHTS, list_models, model_table

    models = list_models()
    if as_json:
        for path, card in models:
            print(json.dumps({"path": str(path), **json.loads(card.to_json())}))
        return
    if not models:
        _complain(f"there are no models in {WEIGHTS}")
    for line in model_table(card for _, card in models):
        print(line)


def _self_test(arguments: argparse.Namespace) -> int:
    """Test one model or all that ship, and return the exit code: 1 unless all that ran passed."""
    from edge_runtime.report.self_test import artifacts_of, self_test, self_test_table

    if arguments.images:
        raise UsageError("--self-test takes no IMAGE; leave it out")
    with native_messages_hidden():
        verdicts = list(self_test(artifacts_of(arguments.model), arguments.threads))
    for line in [] if arguments.json else self_test_table(verdicts):
        print(line)
    for verdict in verdicts:
        if arguments.json:
            print(json.dumps(verdict.record()))
        elif verdict.state == "untested":
            _note(f"not tested: {verdict.reason}")
        if verdict.state == "failed":
            _complain(verdict.reason)
    states = [verdict.state for verdict in verdicts]
    if "passed" not in states and "failed" not in states:
        _complain("--self-test: nothing was tested")
    return int("failed" in states or "passed" not in states)


def _note(message: str) -> None:
    print(f"edge-derain: {message}", file=sys.stderr, flush=True)


def _complain(message: str) -> None:
    print(f"edge-derain: error: {message}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
