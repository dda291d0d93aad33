"""Videos, cameras and streams with the places of their results, decided before any work."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from edge_runtime.errors import UsageError
from edge_runtime.pictures.plan import MARK, check_distinct, check_kept
from edge_runtime.pictures.sources import STDIO, is_address, is_clip, is_stream
from edge_runtime.video.outputs import WRITABLE, check_target


@dataclass(frozen=True)
class MovingJob:
    """Something whose frames are derained.

    Attributes:
        source: A video file; or the number of a camera or address of a stream.
        target: A video file, or ``STDIO`` for raw frames on standard output.
        live: Whether the source is a camera or stream.
    """

    source: str
    target: Path
    live: bool = False


def plan_moving(
    names: Sequence[str],
    camera: str | None = None,
    out: str | None = None,
    *,
    force: bool = False,
    skip_existing: bool = False,
    mark: str = MARK,
) -> list[MovingJob]:
    """Pair videos, or one camera or stream, with their outputs, as ``pictures.plan`` does pictures.

    Outputs of videos are named ``<stem><mark><suffix>``, with ``.mp4`` where the suffix cannot be
    written, and lie beside their inputs, or in ``out`` when that is a folder.

    Args:
        names: Video files, or the address of one stream.
        camera: Number of a camera, or the address of a stream.
        out: A video or ``'-'`` for raw frames on standard output, for one input; or a folder for
            videos: one that exists, or any name when it ends in a separator or there are several
            inputs. None writes beside each input. That of a camera may hold the time as
            ``strftime`` writes it, such as ``'%Y-%m-%d %H:%M:%S.mkv'``.
        force: Allow outputs to replace inputs and whatever else exists; without it only results
            that bear ``mark`` are replaced, and not by the name of ``out``.
        skip_existing: Leave out what has its output already.
        mark: Added to the stems of inputs.

    Raises:
        UsageError: The names are not all videos, do not fit ``out``, two would be written to one
            file, or a file would be lost without ``force``.
    """
    live = [name for name in names if is_stream(name)] + ([] if camera is None else [camera])
    if live:
        if len(live) > 1 or len(names) + (camera is not None) > 1:
            raise UsageError(f"{live[0]}: takes a run of its own; leave out the other inputs")
        return [_live_job(live[0], out, force)]
    for name in names:
        if not is_clip(name):
            raise UsageError(f"{name}: is no video file; derain it in a run of its own")
    sources = list({os.path.abspath(name): Path(name) for name in names}.values())
    if out is not None and is_address(out):
        raise UsageError(f"-o {out}: is a web address; name a file or a folder")
    if out == "-":
        if len(sources) > 1:
            raise UsageError("-o -: standard output takes one video; name a folder")
        return [MovingJob(str(sources[0]), STDIO)]
    if out is None:
        pairs = [(source, source.with_name(_marked(source, mark))) for source in sources]
    elif len(sources) > 1 or out.endswith(("/", os.sep)) or os.path.isdir(out):
        if len(sources) > 1 and Path(out).suffix.lower() in WRITABLE:
            raise UsageError(f"-o {out}: names one file for several videos; name a folder")
        pairs = [(source, Path(out) / _marked(source, mark)) for source in sources]
    else:
        pairs = [(sources[0], _named(out, force or skip_existing))]
    check_distinct(pairs)
    if skip_existing:
        pairs = [pair for pair in pairs if not os.path.lexists(pair[1])]
    elif not force:
        check_kept(pairs, mark)
    return [MovingJob(str(source), target) for source, target in pairs]


def _live_job(source: str, out: str | None, force: bool) -> MovingJob:
    if not (source.isdecimal() or is_stream(source)):
        raise UsageError(f"--camera {source}: must be a number, or an address such as rtsp://host/")
    if out is None:
        raise UsageError("a camera needs -o FILE, or -o - for raw frames; name one")
    if out == "-":
        return MovingJob(source, STDIO, live=True)
    return MovingJob(source, _named(time.strftime(out), force), live=True)


def _named(out: str, replace: bool) -> Path:
    """Return the video file that ``-o`` names."""
    check_target(Path(out))
    if not replace and os.path.lexists(out):
        raise UsageError(f"-o {out}: exists already; add --force to replace it")
    return Path(out)


def _marked(source: Path, mark: str) -> str:
    suffix = source.suffix if source.suffix.lower() in WRITABLE else ".mp4"
    return f"{source.stem}{mark}{suffix}"
