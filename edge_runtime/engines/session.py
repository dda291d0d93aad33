"""A session for an artifact: the engine that its card calls for, loaded when it is needed."""

from __future__ import annotations

from pathlib import Path

from edge_runtime.engines.base import Engine, Session, Stages
from edge_runtime.errors import SessionError, UsageError
from edge_runtime.models.card import ModelCard


def open_session(
    artifact: Path,
    card: ModelCard,
    threads: int | None = None,
    provider: str | None = None,
    stages: Stages | None = None,
) -> Session:
    """Open ``artifact`` in the engine that its card calls for.

    Raises:
        UsageError: ``stages`` that the artifact does not have; see ``StagedSession``.
        MissingExtraError: The engine is not installed.
        SessionError: The engine cannot open the artifact, or no engine here reads its format.
    """
    if card.step is not None:
        from edge_runtime.engines.stages import SIGNATURE, StagedSession

        engine = _open_engine(artifact, card, threads, provider, SIGNATURE)
        return StagedSession(engine, card.step, artifact, stages)
    if stages is not None:
        raise UsageError(
            f"stages {stages}: {artifact.name} is a whole network; leave it out, or name an "
            "artifact of derain-export with --step"
        )
    return _open_engine(artifact, card, threads, provider)


def _open_engine(
    artifact: Path,
    card: ModelCard,
    threads: int | None,
    provider: str | None,
    signature: tuple[int, int] = (1, 1),
) -> Engine:
    if card.format == "onnx":
        from edge_runtime.engines.onnx_runtime import OnnxSession

        return OnnxSession(artifact, threads, provider, signature)
    if card.format == "tflite":
        from edge_runtime.engines.litert import TfliteSession

        return TfliteSession(artifact, threads, signature)
    raise SessionError(
        f"{artifact}: no engine here reads {card.format!r}; use an .onnx or .tflite model"
    )
