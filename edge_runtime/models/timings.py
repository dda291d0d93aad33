"""Times of each artifact in each engine of this machine, as ``--tune`` remembers them.

One JSON file in the user's cache folder. An entry is about one machine, one version of one engine
with one provider, and one artifact by its hash; when any of them changes it is no longer found.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from msgspec import Meta

from edge_runtime.errors import RecordError, TuneError
from edge_runtime.files import cache_folder, write_atomically
from edge_runtime.records import from_plain

_ENTRIES_KEPT = 1000


@dataclass(frozen=True)
class Timing:
    """One line of the table.

    Attributes:
        machine: ``Machine.key``.
        engine: With its version, such as ``'onnxruntime 1.31.1'``.
        provider: What executes in it, such as ``'CPUExecutionProvider'``.
        sha256: Of the artifact.
        milliseconds: Median for one picture, comparable with those of the same run; None where
            the engine cannot run the artifact.
        good: Whether it loses so little against the others of its name that it may be chosen.
    """

    machine: str
    engine: str
    provider: str
    sha256: str
    milliseconds: Annotated[float, Meta(gt=0)] | None
    good: bool

    @property
    def _about(self) -> tuple[str, str, str, str]:
        return self.machine, self.engine, self.provider, self.sha256


def remember(timings: Iterable[Timing]) -> Path:
    """Add ``timings`` to the table, in the place of older ones about the same, and return its file.

    Raises:
        TuneError: It cannot be written; what it held is untouched.
    """
    file = cache_folder() / "tune.json"
    table = {entry._about: entry for entry in recall()}
    for timing in timings:
        table.pop(timing._about, None)
        table[timing._about] = timing
    kept = list(table.values())[-_ENTRIES_KEPT:]
    text = json.dumps([vars(entry) for entry in kept], indent=1) + "\n"
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(file, text.encode())
    except OSError as error:
        raise TuneError(
            f"{file}: cannot be written ({error.strerror}), so --backend auto will not know; "
            "name another folder in XDG_CACHE_HOME"
        ) from None
    return file


def recall() -> list[Timing]:
    """Return the table, oldest first; what is missing, damaged or not ours is left out."""
    try:
        entries = json.loads((cache_folder() / "tune.json").read_bytes())
    except (OSError, ValueError, RecursionError, TuneError):
        return []
    found = []
    for entry in entries if isinstance(entries, list) else []:
        with contextlib.suppress(RecordError):
            found.append(from_plain(Timing, entry, "timing"))
    return found
