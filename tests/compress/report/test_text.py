import pytest

from compress.report.text import number


@pytest.mark.parametrize(
    ("value", "form", "written"),
    [
        (-0.004, ".2f", "0.00"),
        (-0.006, ".2f", "-0.01"),
        (0.0, ".4f", "0.0000"),
        (1.256, ".2f", "1.26"),
        (None, ".2f", "–"),
    ],
)
def test_what_rounds_to_zero_has_no_sign(value: float | None, form: str, written: str) -> None:
    assert number(value, form) == written
