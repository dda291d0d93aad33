"""Records of a work folder: what each step was made of, so that a rerun knows what is left."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from compress.distillation import DistillConfig
from compress.recipe.recipe import STEP_OPTIONS, Step
from core.config import build_config
from core.errors import CheckpointError, ConfigError, disk_errors
from core.training.config import differences
from edge_runtime.errors import RecordError
from edge_runtime.files import write_atomically
from edge_runtime.models.card import card_path
from edge_runtime.models.records import from_plain, parse, to_plain

_BEFORE = "before"
_UNSAID = {"name": "unsaid", "architecture": "student"}
"""For what a step that does not train leaves out."""


@dataclass(frozen=True)
class Record:
    """What a step was started with, and what came of it.

    Attributes:
        plain: all that makes the step, what :meth:`compress.recipe.recipe.Step.plain` returns.
        input: sha256 of the checkpoint that it starts from, empty without one.
        teacher: sha256 of the teacher, empty without one.
        sha256: of the checkpoint that it made, empty until then.
        steps: optimizer steps that it took.
        seconds: that it took, those before an interruption included as far as it trained.
        notes: what there was to say about it, one line each.
    """

    plain: Any
    input: str = ""
    teacher: str = ""
    sha256: str = ""
    steps: int = 0
    seconds: float = 0.0
    notes: tuple[str, ...] = ()


class StepFiles:
    """Where the files of one step lie in the work folder.

    Attributes:
        checkpoint: what the step makes; its card lies beside it.
        folder: its training runs.
    """

    def __init__(self, work: Path, step: Step) -> None:
        self._step, self._before = step, work / _BEFORE
        self.checkpoint = work / f"{step.name}.safetensors"
        self.folder = work / step.name
        self._record = work / f"{step.name}.record.json"

    def read(self) -> Record | None:
        """Return what is remembered of the step; None where nothing is, or nothing readable."""
        try:
            text = self._record.read_text(encoding="utf-8")
            return from_plain(Record, parse(text, "record"), "record")
        except (OSError, UnicodeDecodeError, RecordError):
            return None

    def write(self, record: Record) -> None:
        """Remember ``record``; raises CheckpointError where the folder cannot be written to."""
        text = json.dumps(dataclasses.asdict(record), indent=1) + "\n"
        with disk_errors(self._record, CheckpointError):
            self._record.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(self._record, text.encode())

    def stale(self, wanted: Record) -> str | None:
        """Say why what is there is not that of ``wanted``; None where it is, or nothing is."""
        found = self.read()
        if found is None:
            left = self.checkpoint.exists() or self.folder.exists()
            return f"{self._record} is missing or torn" if left else None
        changed = differences(_completed(found.plain), wanted.plain)
        if found.input != wanted.input:
            changed.append("its input changed")
        if found.teacher != wanted.teacher:
            changed.append("the teacher changed")
        if not changed and found.sha256 and digest(self.checkpoint) != found.sha256:
            changed.append(f"{self.checkpoint} is missing or was changed")
        return ", ".join(changed) or None

    def finished(self) -> Record | None:
        """Return the record of a step that ended; only :meth:`stale` says whether it counts."""
        found = self.read()
        return found if found and found.sha256 and card_path(self.checkpoint).exists() else None

    def set_aside(self) -> None:
        """Move all files of the step into a folder ``before``, in place of what lies there."""
        card = card_path(self.checkpoint)
        for path in (self._record, self.checkpoint, card, self.folder):
            if path.exists():
                self._before.mkdir(exist_ok=True)
                _remove(self._before / path.name)
                path.rename(self._before / path.name)

    def forget(self) -> None:
        """Remove what a step left that failed before it had anything to keep."""
        if not any(self.folder.rglob("state.safetensors")):
            _remove(self.folder)
            self._record.unlink(missing_ok=True)


def _completed(plain: dict[str, Any]) -> dict[str, Any]:
    """Add the options that were not known yet when a step was recorded, with their defaults.

    So a step that took days is not done again for an option that does not touch it. What cannot
    be read any more stays as it is, and differs.
    """
    training = {key: value for key, value in plain.items() if key not in ("kind", "options")}
    whole = "name" in training
    try:
        filled = to_plain(build_config(DistillConfig, {**_UNSAID, **training}, "record"))
        kind = STEP_OPTIONS.get(plain["kind"])
        options = kind and to_plain(build_config(kind, plain["options"], "record"))
    except (ConfigError, KeyError):
        return plain
    known = {key: value for key, value in filled.items() if whole or key in training}
    return {"kind": plain["kind"], **known, "options": options}


def digest(path: Path) -> str:
    """Return the SHA-256 of a file in hexadecimal; empty where there is none."""
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
