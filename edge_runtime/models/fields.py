"""What each field of a card may hold. One table, because a field means the same wherever it is."""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Callable
from typing import Any

from edge_runtime.errors import CardError

Rule = tuple[Callable[[Any], bool], str]


def check_fields(record: Any) -> None:
    """Check every field of a dataclass instance against the table.

    Raises:
        CardError: Names the field, its value and what it must be.
    """
    for field in dataclasses.fields(record):
        value = getattr(record, field.name)
        holds, expected = _RULES[field.name]
        if not holds(value):
            raise CardError(f"{field.name} must be {expected}, got {value!r}")


def plain_json(value: Any) -> Any:
    """Return ``value`` as JSON gives it back: tuples become lists.

    Raises:
        CardError: Something in it is not a JSON value, or is NaN or infinite.
    """
    if isinstance(value, (list, tuple)):
        return [plain_json(item) for item in value]
    if isinstance(value, dict) and all(isinstance(key, str) for key in value):
        return {key: plain_json(item) for key, item in value.items()}
    if value is None or isinstance(value, (str, bool, int)) or _is_finite(value):
        return value
    raise CardError(f"config must hold plain finite JSON values, got {value!r}")


def _is_finite(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _is_psnr(value: Any) -> bool:
    return _is_finite(value) or value == math.inf


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and bool(value.strip())


def _is_sha256(value: Any) -> bool:
    return isinstance(value, str) and re.fullmatch("[0-9a-f]{64}", value) is not None


def _is_texts(value: Any) -> bool:
    return isinstance(value, tuple) and all(isinstance(item, str) for item in value)


def _is_versions(value: Any) -> bool:
    return isinstance(value, dict) and all(
        isinstance(key, str) and isinstance(item, str) for key, item in value.items()
    )


def _integer_from(least: int) -> Rule:
    def holds(value: Any) -> bool:
        return isinstance(value, int) and not isinstance(value, bool) and value >= least

    return holds, f"an integer of at least {least}"


def _one_of(*choices: str) -> Rule:
    return lambda value: value in choices, "one of " + ", ".join(repr(c) for c in choices)


def _or_none(rule: Rule) -> Rule:
    holds, expected = rule
    return lambda value: value is None or holds(value), f"{expected}, or null"


def _of_record(name: str) -> Callable[[Any], bool]:
    # By name, because the records import this module.
    return lambda value: dataclasses.is_dataclass(value) and type(value).__name__ == name


_TEXT: Rule = (_is_text, "a text that is not blank")
_TEXTS: Rule = (_is_texts, "a list of texts")
_BOOLEAN: Rule = (lambda value: isinstance(value, bool), "true or false")
_FINITE: Rule = (_is_finite, "a finite number")
_PSNR: Rule = (_is_psnr, "a number of dB, infinite where all pairs are identical")
_SSIM: Rule = (lambda value: _is_finite(value) and -1 <= value <= 1, "a number from -1 to 1")
_SHA256: Rule = (_is_sha256, "64 lower-case hexadecimal digits")
_THREE: Rule = (
    lambda value: isinstance(value, tuple) and len(value) == 3 and all(map(_is_finite, value)),
    "three finite numbers",
)

_RULES: dict[str, Rule] = {
    "schema": _integer_from(1),
    "name": (
        lambda value: isinstance(value, str) and re.fullmatch(r"\w[\w.-]*", value) is not None,
        "letters, digits, '_', '-' and '.', beginning with a letter or digit",
    ),
    "role": _one_of("student", "teacher"),
    "architecture": _TEXT,
    "config": (lambda value: isinstance(value, dict), "an object"),
    "format": _one_of("onnx", "tflite", "safetensors"),
    "precision": _one_of("fp32", "fp16", "int8", "dynamic"),
    "io": _one_of("float32", "int8"),
    "layout": _one_of("NCHW", "NHWC"),
    "size_multiple": _integer_from(1),
    "halo": _integer_from(0),
    "tiling_exact": _BOOLEAN,
    "parameters": _integer_from(0),
    "macs_per_pixel": (lambda value: _is_finite(value) and value >= 0, "a number of at least 0"),
    "quality": (
        lambda value: isinstance(value, tuple) and all(map(_of_record("QualityRow"), value)),
        "a tuple of QualityRow",
    ),
    "teacher": _or_none((_of_record("TeacherLoss"), "a TeacherLoss")),
    "recipe": _TEXTS,
    "data": _TEXTS,
    "versions": (_is_versions, "an object of texts"),
    "licence": _TEXT,
    "golden": _or_none((_of_record("Golden"), "a Golden")),
    "step": _or_none((_of_record("StageStep"), "a StageStep")),
    "bytes": _or_none(_integer_from(1)),
    "sha256": _or_none(_SHA256),
    "dataset": _TEXT,
    "images": _integer_from(1),
    "protocol": _one_of("rgb", "y"),
    "input_psnr": _PSNR,
    "input_ssim": _SSIM,
    "psnr": _PSNR,
    "ssim": _SSIM,
    "taught": _BOOLEAN,
    "rows": (
        lambda value: isinstance(value, tuple) and all(map(_of_record("LossRow"), value)),
        "a tuple of LossRow",
    ),
    "psnr_loss_db": _FINITE,
    "ssim_loss": _FINITE,
    "fidelity_db": _or_none(_FINITE),
    "drawer": _integer_from(1),
    "seed": _integer_from(0),
    "height": _integer_from(1),
    "width": _integer_from(1),
    "input_sha256": _SHA256,
    "output_sha256": _SHA256,
    "mean": _THREE,
    "deviation": _THREE,
    "samples": (
        lambda value: isinstance(value, str) and re.fullmatch("([0-9a-f]{2})+", value) is not None,
        "pairs of lower-case hexadecimal digits",
    ),
    "stages": _integer_from(1),
    "state_width": _integer_from(1),
    "state_scale": _integer_from(1),
}
