"""Results that tests of the report make up: cards and device reports with a known Pareto front."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from edge_runtime.machine import Machine
from edge_runtime.models.card import ModelCard, QualityRow
from edge_runtime.models.records import to_json
from edge_runtime.report.device import ArtifactReport, DeviceReport, ReferenceUsed
from edge_runtime.report.measure import Latency
from edge_runtime.report.scores import PictureScores, sum_up

TEACHER_PSNR = 28.0


def card(
    file: str, kilobytes: float, psnr: float, *, role: str = "student", **changes: Any
) -> ModelCard:
    """Return the card of ``NAME_PRECISION.FORMAT``, scored on the data set ``val``."""
    stem, _, suffix = file.rpartition(".")
    rows = tuple(
        QualityRow(
            dataset="val", images=5, protocol=protocol, input_psnr=20.0 + more, input_ssim=0.6,
            psnr=psnr + more, ssim=psnr / 100,
        )
        for protocol, more in (("rgb", 0.0), ("y", 1.5))
    )  # fmt: skip
    values: dict[str, Any] = {
        "name": stem.rpartition("_")[0] or stem,
        "role": role,
        "architecture": "student",
        "config": {},
        "format": suffix,
        "precision": stem.rpartition("_")[2] if role == "student" else "fp32",
        "layout": "NHWC" if suffix == "tflite" else "NCHW",
        "size_multiple": 8,
        "halo": 0,
        "tiling_exact": True,
        "parameters": 1000,
        "macs_per_pixel": 2500.0,
        "quality": rows,
        "recipe": ("train: from scratch", f"export: {suffix}"),
        "data": (),
        "versions": {},
        "licence": "test only",
        "bytes": round(kilobytes * 1000),
        "sha256": hashlib.sha256(file.encode()).hexdigest(),
    }
    return ModelCard(**{**values, **changes})


def teacher_card() -> ModelCard:
    """Return the card of the teacher's checkpoint."""
    return card("master.safetensors", 9000, TEACHER_PSNR, role="teacher")


def pictures(loss: float) -> tuple[PictureScores, ...]:
    """Return scores of two rainy pictures that lose ``loss`` and twice that, and of a dry one."""
    return tuple(
        PictureScores(
            dataset=dataset, name=name, protocol=protocol, input_psnr=given, input_ssim=0.6,
            teacher_psnr=teacher, teacher_ssim=0.9, psnr=teacher - lost, ssim=0.89,
            fidelity_db=40.0, psnr_loss_db=lost, ssim_loss=0.01,
        )
        for dataset, name, given, teacher, lost in (
            ("rain", "a", 20.0, 28.0, loss),
            ("rain", "b", 20.0, 30.0, 2 * loss),
            ("dry", "c", 100.0, 100.0, 50.0),
        )
        for protocol in ("rgb", "y")
    )  # fmt: skip


def measured(
    file: str, of: ModelCard, ms: float, loss: float, peak_bytes: int = 50_000_000
) -> ArtifactReport:
    """Return what a device says of an artifact."""
    scores = pictures(loss)
    return ArtifactReport(
        file=file, card=of, engine="engine 1", provider="CPU", threads=1,
        latency=Latency(720, 1280, 2, 10, ms, ms * 1.5, ms * 0.9), peak_bytes=peak_bytes,
        sets=sum_up(scores), pictures=scores,
    )  # fmt: skip


def device(
    *artifacts: ArtifactReport, cpu: str = "Board One", reference: str = "1" * 64
) -> DeviceReport:
    """Return the report of a device."""
    return DeviceReport(
        made="2026-11-22T00:00:00+00:00",
        version="0",
        machine=Machine(cpu, 4, "Linux aarch64", "3.11", {"onnx": "engine 1"}),
        reference=ReferenceUsed(
            sha256=reference, images=3, protocol="as always", teacher="master",
            teacher_sha256=teacher_card().sha256 or "",
        ),
        artifacts=artifacts,
    )  # fmt: skip


def write(path: Path, record: Any) -> Path:
    """Write a card or a device report as JSON."""
    text = record.to_json() if isinstance(record, ModelCard) else to_json(record)
    assert json.loads(text)
    path.write_text(text, encoding="utf-8")
    return path
