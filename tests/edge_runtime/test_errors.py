import pytest

from edge_runtime import errors


@pytest.mark.parametrize(
    ("package", "extra", "line"),
    [
        ("ai-edge-litert", "tflite", "pip install ai-edge-litert"),
        ("av", "video", "pip install av"),
        ("onnxruntime", "", "pip install onnxruntime"),
        ("torch", "train", "pip install 'edge-derain[train]'"),
    ],
)
def test_missing_extra_carries_the_pip_line(package: str, extra: str, line: str) -> None:
    assert str(errors.MissingExtraError(package, extra)).endswith(f"; run: {line}")


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.EdgeDerainError, 1),
        (errors.ImageError, 1),
        (errors.UsageError, 2),
        (errors.ModelNotFoundError, 2),
    ],
)
def test_exit_codes(error: type[errors.EdgeDerainError], code: int) -> None:
    assert issubclass(error, errors.EdgeDerainError)
    assert error.exit_code == code


def test_a_metric_error_is_a_value_error() -> None:
    assert issubclass(errors.MetricError, ValueError)
