import dataclasses
from pathlib import Path

import numpy as np
import pytest

from compress import cli
from compress.report.before_after import before_after
from edge_runtime.derainer import Derainer
from edge_runtime.errors import UsageError
from edge_runtime.pictures.picture import read_picture
from edge_runtime.report.reference import SHIPPED, read_reference

REFERENCE = read_reference(SHIPPED)


def _has(sheet: np.ndarray, picture: np.ndarray) -> bool:
    """Tell whether a picture lies somewhere in a sheet, looking for its first row."""
    height, width = picture.shape[:2]
    windows = np.lib.stride_tricks.sliding_window_view(sheet, (1, width, 3))[:, :, 0, 0]
    starts = np.argwhere((windows[..., :8, :] == picture[0, :8]).all(axis=(2, 3)))
    return any(np.array_equal(sheet[y : y + height, x : x + width], picture) for y, x in starts)


def test_each_kind_of_rain_is_a_row(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "strip.png"
    assert cli.main(["strip", "nano", "-o", str(out)]) == 0
    assert capsys.readouterr().out == f"{out}\n"
    sheet = read_picture(out).rgb
    by_name = {f"{each.dataset}/{each.name}": each for each in REFERENCE.index.pictures}
    with Derainer.load("nano") as derain:
        for name in ("light/coffee", "heavy/chelsea", "veil/astronaut"):
            rainy = REFERENCE.read(by_name[name], "rainy")
            assert _has(sheet, rainy)
            assert _has(sheet, derain(rainy))
            assert _has(sheet, REFERENCE.read(by_name[name], "clean"))
    for name in ("dry/coffee", "heavy/rocket"):  # no rain; the second of its set
        assert not _has(sheet, REFERENCE.read(by_name[name], "clean"))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nano", "-o", "strip.txt"], "cannot write .txt"),
        (["nano", "-o", "there.png"], "there.png: is there already; add --force"),
        (["nono", "-o", "strip.png"], "nono"),
        (["nano", "-o", "strip.png", "--reference", "nowhere"], "nowhere: no reference set"),
    ],
)
def test_a_wrong_request_writes_nothing(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "there.png").write_bytes(b"mine")
    assert cli.main(["strip", *arguments]) in (1, 2)
    err = capsys.readouterr().err
    assert message in err
    assert len(err.splitlines()) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["there.png"]
    assert (tmp_path / "there.png").read_bytes() == b"mine"


def test_a_set_without_rain_is_refused() -> None:
    dry = [picture for picture in REFERENCE.index.pictures if picture.dataset == "dry"]
    index = dataclasses.replace(REFERENCE.index, pictures=tuple(dry))
    with pytest.raises(UsageError, match="no picture has rain; name another set"):
        before_after(["nano"], dataclasses.replace(REFERENCE, index=index))
