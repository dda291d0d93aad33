from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from compress.taught import TaughtPictures
from compress.teacher import load_teacher
from core.errors import DataError
from core.inference import derain


def test_each_picture_is_derained_once(
    make_teacher: Callable[..., Path], picture, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    teacher = load_teacher(make_teacher())
    calls = []

    def counted(*arguments):
        calls.append(0)
        return derain(*arguments)

    monkeypatch.setattr("compress.taught.derain", counted)
    rainy = picture(18, 21)  # no multiple of 4
    other = rainy.reshape(21, 18, 3)  # the same bytes, another picture
    wanted = derain(teacher, rainy, 4)
    taught = TaughtPictures(teacher, tmp_path / "kept")
    for _ in range(2):
        np.testing.assert_array_equal(taught(rainy), wanted)
    assert len(calls) == 1
    again = TaughtPictures(load_teacher(make_teacher()), tmp_path / "kept")
    np.testing.assert_array_equal(again(rainy), wanted)
    assert len(calls) == 1
    assert again(other).shape == other.shape
    assert len(calls) == 2


def test_other_teachers_and_views_have_their_own(
    make_teacher: Callable[..., Path], picture, tmp_path: Path
) -> None:
    rainy = picture(16, 16)
    results = []
    for place, views in ((make_teacher(), 1), (make_teacher(), 2), (make_teacher("deconv"), 1)):
        results.append(TaughtPictures(load_teacher(place, views), tmp_path / "kept")(rainy))
    assert len({result.tobytes() for result in results}) == 3
    assert len(list((tmp_path / "kept").glob("*/*.png"))) == 3


def test_a_torn_file_is_written_anew(
    make_teacher: Callable[..., Path], picture, tmp_path: Path
) -> None:
    taught = TaughtPictures(load_teacher(make_teacher()), tmp_path)
    wanted = taught(picture(16, 16))
    (file,) = tmp_path.glob("*/*.png")
    whole = file.read_bytes()
    file.write_bytes(whole[:40])
    np.testing.assert_array_equal(taught(picture(16, 16)), wanted)
    assert file.read_bytes() == whole


def test_a_folder_that_cannot_be_written(
    make_teacher: Callable[..., Path], picture, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match=r"file/.*\.png: cannot be written") as caught:
        TaughtPictures(load_teacher(make_teacher()), tmp_path / "file")(picture(16, 16))
    assert "\n" not in str(caught.value)
