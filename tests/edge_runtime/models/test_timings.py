import dataclasses
import json
from pathlib import Path

import pytest

from edge_runtime.errors import TuneError
from edge_runtime.models.catalog import (
    Timing,
    cache_folder,
    recall,
    remember,
)

TIMING = Timing("board, 4 cores, Linux aarch64", "onnxruntime 1.31.1", "CPU", "ab12", 330.5, True)


@pytest.fixture(autouse=True)
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "edge-derain" / "tune.json"


def test_nothing_is_known_at_first(file: Path) -> None:
    assert recall() == []
    assert not file.parent.exists()


def test_what_is_remembered_comes_back(file: Path) -> None:
    broken = dataclasses.replace(TIMING, engine="litert 2", milliseconds=None)
    assert remember([TIMING, broken]) == file
    assert recall() == [TIMING, broken]


@pytest.mark.parametrize("change", ["machine", "engine", "provider", "sha256"])
def test_only_the_same_thing_is_replaced(change: str) -> None:
    other = dataclasses.replace(TIMING, **{change: "other"})
    again = dataclasses.replace(TIMING, milliseconds=100.0)
    remember([TIMING, other])
    remember([again])
    assert recall() == [other, again]


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"[{",
        b"\xff\xfe",
        b"{}",
        b"7",
        b"[7, null, {}]",
        json.dumps([{**vars(TIMING), "milliseconds": "fast"}]).encode(),
        json.dumps([{**vars(TIMING), "milliseconds": True}]).encode(),
        json.dumps([{**vars(TIMING), "milliseconds": -1.0}]).encode(),
        json.dumps([{**vars(TIMING), "sha256": 7}]).encode(),
        json.dumps([{**vars(TIMING), "more": 7}]).encode(),
        json.dumps([{k: v for k, v in vars(TIMING).items() if k != "good"}]).encode(),  # older
        b"[" * 100_000,
    ],
)
def test_what_is_torn_is_ignored_and_replaced(file: Path, content: bytes) -> None:
    file.parent.mkdir()
    file.write_bytes(content)
    assert recall() == []
    remember([TIMING])
    assert recall() == [TIMING]


def test_what_is_whole_survives_what_is_torn(file: Path) -> None:
    remember([TIMING])
    file.write_text(json.dumps([{"machine": 7}, vars(TIMING)]))
    assert recall() == [TIMING]


def test_a_place_that_cannot_be_written_is_one_line(file: Path) -> None:
    file.parent.write_bytes(b"in the way")
    with pytest.raises(TuneError, match=r"tune\.json: cannot be written .*; name another folder"):
        remember([TIMING])
    assert recall() == []


def test_the_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Path, "home", lambda: tmp_path / "home")
    for chosen in ("", "relative"):  # which the specification says to ignore
        monkeypatch.setenv("XDG_CACHE_HOME", chosen)
        assert cache_folder() == tmp_path / "home" / ".cache" / "edge-derain"

    def homeless() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", homeless)
    assert recall() == []
    with pytest.raises(TuneError, match="there is no home folder"):
        remember([TIMING])
