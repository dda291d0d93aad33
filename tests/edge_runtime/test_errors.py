import pytest

from edge_runtime import errors


def test_missing_extra_carries_the_pip_line() -> None:
    assert "pip install 'edge-derain[tflite]'" in str(
        errors.MissingExtraError("ai_edge_litert", "tflite")
    )
    assert "pip install 'edge-derain'" in str(errors.MissingExtraError("onnxruntime", ""))


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
