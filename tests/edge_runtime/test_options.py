import pytest

from edge_runtime.options import parse_amount, parse_seconds, parse_shard, whole_number


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("300MB", 300_000_000),
        ("1.5GiB", 3 << 29),
        ("200M", 200_000_000),
        ("100MP", 100_000_000),
        (" 90000 ", 90_000),
        ("4k", 4_000),
    ],
)
def test_amounts(text: str, expected: int) -> None:
    assert parse_amount(text) == expected


@pytest.mark.parametrize("text", ["", "0", "-1", "MB", "1TBx", "nan", "1e9"])
def test_what_is_no_amount(text: str) -> None:
    with pytest.raises(ValueError, match="must be an amount"):
        parse_amount(text)


def test_shards() -> None:
    assert parse_shard("2/8") == (2, 8)


@pytest.mark.parametrize("text", ["0/4", "5/4", "1", "1/0", "a/b", "1/2/3"])
def test_what_is_no_shard(text: str) -> None:
    with pytest.raises(ValueError, match="must be I/N"):
        parse_shard(text)


@pytest.mark.parametrize(("text", "expected"), [("90", 90.0), ("0.5", 0.5), (".25", 0.25)])
def test_seconds(text: str, expected: float) -> None:
    assert parse_seconds(text) == expected


@pytest.mark.parametrize("text", ["0", "0.0", "-1", "", "nan", "inf", "1e3", "1.", "9" * 400])
def test_what_is_no_number_of_seconds(text: str) -> None:
    with pytest.raises(ValueError, match="must be a number of seconds above 0"):
        parse_seconds(text)


def test_whole_numbers() -> None:
    assert [whole_number(0, 51)(text) for text in ("0", "51", "07")] == [0, 51, 7]
    assert whole_number(1)("123456") == 123_456
    for text in ("52", "-1", "1.0", "", "x", "٣"):
        with pytest.raises(ValueError, match="must be a whole number from 0 to 51, got"):
            whole_number(0, 51)(text)
    with pytest.raises(ValueError, match="must be a whole number of at least 1, got '0'"):
        whole_number(1)("0")
