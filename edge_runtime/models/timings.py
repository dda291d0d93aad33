"""Remember how fast each artifact is in each engine of this machine: the table of ``--tune``.

One JSON file in the user's cache folder. An entry is about one machine, one version of one engine
with one provider, and one artifact by its hash; when any of them changes it is no longer found.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edge_runtime.errors import TuneError
from edge_runtime.files import cache_folder, write_atomically

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
    """

    machine: str
    engine: str
    provider: str
    sha256: str
    milliseconds: float | None

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
    found = [_timing(entry) for entry in entries] if isinstance(entries, list) else []
    return [timing for timing in found if timing is not None]


def _timing(entry: Any) -> Timing | None:
    texts = ("machine", "engine", "provider", "sha256")
    if not isinstance(entry, dict) or entry.keys() != {*texts, "milliseconds"}:
        return None
    time = entry["milliseconds"]
    if not all(isinstance(entry[key], str) for key in texts):
        return None
    if time is not None and not (type(time) in (int, float) and time > 0):
        return None
    return Timing(**entry)
