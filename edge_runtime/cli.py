"""The command ``edge-derain``. Imports nothing heavy before it knows that there is work to do."""

from __future__ import annotations

import argparse
import contextlib
import functools
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge_runtime.errors import UsageError
from edge_runtime.options import parse_options
from edge_runtime.terminal import (
    FrameProgress,
    Progress,
    complain,
    exit_code,
    native_messages_hidden,
    output_is_closed,
    printable,
    say,
    separator,
    termination_raised,
)

if TYPE_CHECKING:
    from edge_runtime.derainer import Derainer
    from edge_runtime.pictures.batch import Settings
    from edge_runtime.pictures.plan import Job, Naming

PROGRAM = "edge-derain"


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code.

    0 when everything asked for was done, 1 when a picture failed, 2 when the request itself is
    wrong, 130 after Ctrl-C, 141 when nobody reads the output any more, 143 after SIGTERM.
    """
    with termination_raised():
        return exit_code(PROGRAM, lambda: _run(parse_options(argv)))


def _run(arguments: argparse.Namespace) -> int:
    if arguments.version:
        import edge_runtime

        print(f"edge-derain {edge_runtime.__version__}")
        return 0
    if arguments.list_models:
        _refuse_inputs(arguments, "--list-models")
        _list_models(as_json=arguments.json)
        return 0
    if arguments.self_test:
        return _self_test(arguments)
    from edge_runtime.pictures.sources import is_moving

    if (arguments.out == "-" or arguments.images == ["-"]) and output_is_closed():
        raise UsageError("standard output is closed; name a file with -o")
    if arguments.camera is not None or any(map(is_moving, arguments.images)):
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


def _refuse_inputs(arguments: argparse.Namespace, option: str) -> None:
    if arguments.images or arguments.watch is not None or arguments.camera is not None:
        raise UsageError(f"{option} takes no IMAGE, --watch or --camera; leave them out")


def _derain_moving(arguments: argparse.Namespace) -> int:
    """Derain videos, or one camera or stream; print a line for each and return the exit code."""
    from edge_runtime.video.batch import MovingOptions, derain_moving, describe
    from edge_runtime.video.outputs import CRF, crf_of
    from edge_runtime.video.plan import plan_moving

    pictures = ("recursive", "shard", "format", "view", "watch", "max_pixels", "dry_run")
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
                print(printable(line), file=stream, flush=True)
            for note in [] if arguments.json else record.get("notes", []):
                _note(f"{record['input']}: {note}")
            if "error" in record:
                complain(PROGRAM, record["error"])
                failed = True
    return int(failed)


def _derain_pictures(arguments: argparse.Namespace) -> int:
    from edge_runtime.pictures.plan import plan

    unlisted: list[str] = []
    jobs = plan(
        arguments.images,
        arguments.out,
        force=arguments.force,
        recursive=arguments.recursive,
        skip_existing=arguments.skip_existing,
        shard=arguments.shard,
        naming=_naming(arguments),
        unlisted=unlisted.append,
    )
    for line in unlisted:
        complain(PROGRAM, line)
    if not jobs:
        _note("nothing to do")
        return int(bool(unlisted))
    derainer = _load(arguments)
    settings = _settings(arguments)
    failures = _derain_all(derainer, jobs, settings, as_json=arguments.json)
    if len(jobs) > 1 and failures:
        complain(PROGRAM, f"{len(failures)} of {len(jobs)} failed:", *failures)
    elif failures:
        complain(PROGRAM, failures[0])
    return int(bool(failures or unlisted))


def _load(arguments: argparse.Namespace) -> Derainer:
    from edge_runtime.derainer import Derainer
    from edge_runtime.gate import THRESHOLD
    from edge_runtime.models.catalog import DEFAULT_MODEL

    return Derainer.load(
        arguments.model or DEFAULT_MODEL,
        precision=arguments.precision,
        threads=arguments.threads,
        tile=arguments.tile,
        stages=arguments.stages,
        scale=arguments.scale,
        ensemble=arguments.ensemble,
        threshold=0.0 if arguments.always else THRESHOLD,
    )


def _watch(arguments: argparse.Namespace) -> int:
    """Derain what appears in a folder, for ever; failures are told at once."""
    from edge_runtime.pictures.plan import WatchPlan
    from edge_runtime.pictures.sources import SUFFIXES
    from edge_runtime.pictures.watch import Watcher, watch

    if arguments.images or arguments.shard:
        raise UsageError("--watch takes neither IMAGE nor --shard; leave them out")
    if arguments.out == "-":
        raise UsageError("--watch writes many pictures; name a folder with -o")
    naming, folder = _naming(arguments), Path(arguments.watch)
    out = None if arguments.out is None else Path(arguments.out)
    if not naming.mark and os.path.realpath(out or folder) == os.path.realpath(folder):
        raise UsageError("--suffix '': would replace what is watched; name another folder with -o")
    if out is not None and not out.is_dir() and out.suffix.lower() in SUFFIXES:
        raise UsageError(f"-o {out}: names one file for several pictures; name a folder")
    watcher = Watcher(
        folder,
        recursive=arguments.recursive,
        ours=naming.ours,
        out=out,
        unlisted=functools.partial(complain, PROGRAM),
    )
    plan = WatchPlan(out, naming, force=arguments.force, skip_existing=arguments.skip_existing)
    found = watch(watcher)
    derainer = _load(arguments)
    settings = _settings(arguments)
    for sources in found:
        jobs, refused = plan.jobs(sources)
        failures = _derain_all(derainer, jobs, settings, as_json=arguments.json)
        for failure in [*refused, *failures]:
            complain(PROGRAM, failure)
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
        dry_run=arguments.dry_run,
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
                line = printable(_summary(outcome.record(derainer)))
                print(line, file=stream, flush=True)
                for note in outcome.notes:
                    _note(f"{outcome.name}: {note}")
            if outcome.error is not None:
                failures.append(outcome.error)
            progress.advance(outcome.width * outcome.height)
    return failures


def _summary(record: dict[str, Any]) -> str:
    pages = record.get("pages", 1)
    parts = (
        f"{record['model']} {record['precision']}",
        f"{record['width']}x{record['height']}" + (f" x {pages}" if pages > 1 else ""),
        f"rain {record['rain']:.2f}" + ("" if record["strength"] else ", left alone"),
        f"{record['milliseconds']:.0f} ms",
        record["provider"],
        *([record["output"]] if "output" in record else []),
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
        complain(PROGRAM, f"there are no models in {WEIGHTS}")
    for line in model_table(card for _, card in models):
        print(line)


def _self_test(arguments: argparse.Namespace) -> int:
    """Test one model or all that ship, and return the exit code: 1 unless all that ran passed."""
    from edge_runtime.report.self_test import artifacts_of, self_test, self_test_table

    _refuse_inputs(arguments, "--self-test")
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
            complain(PROGRAM, verdict.reason)
    states = [verdict.state for verdict in verdicts]
    if "passed" not in states and "failed" not in states:
        complain(PROGRAM, "--self-test: nothing was tested")
    return int("failed" in states or "passed" not in states)


def _note(message: str) -> None:
    say(f"{PROGRAM}: {message}")


if __name__ == "__main__":
    sys.exit(main())
