import errno
import io
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest

from edge_runtime.errors import UsageError, VideoError
from edge_runtime.video import files as video_files
from edge_runtime.video import outputs as sinks
from edge_runtime.video.frames import Frame, VideoInfo
from edge_runtime.video.outputs import RawWriter, WindowWriter, destination

_INFO = VideoInfo(6, 4, Fraction(10), Fraction(1, 1000))


def _frame(number: int = 0, shape: tuple[int, int] = (4, 6)) -> Frame:
    rgb = np.arange(shape[0] * shape[1] * 3, dtype=np.uint8).reshape(*shape, 3) + number
    return Frame(rgb.astype(np.uint8), Fraction(number, 10))


def test_raw_frames_are_rows_of_rgb() -> None:
    stream = io.BytesIO()
    with destination(_INFO, raw=stream) as writer:
        writer.write(_frame(0))
        writer.write("sound")
        writer.write(_frame(1))
    assert stream.getvalue() == bytes(range(72)) + bytes(range(1, 73))


def test_another_size_is_refused() -> None:
    with pytest.raises(VideoError, match=r"changes from 6 x 4 to 5 x 4 at 0\.30 s; split"):
        RawWriter(io.BytesIO(), _INFO).write(_frame(3, (4, 5)))


def test_a_reader_that_left_is_no_video_error() -> None:
    class Pipe(io.BytesIO):
        def write(self, _: object, /) -> int:
            raise BrokenPipeError(errno.EPIPE, "gone")

    with pytest.raises(BrokenPipeError), destination(_INFO, raw=Pipe()) as writer:
        writer.write(_frame())


def test_a_file_and_raw_frames_at_once(tmp_path: Path) -> None:
    stream, file = io.BytesIO(), tmp_path / "new/a.mp4"
    with destination(_INFO, file=file, raw=stream) as writer:
        for number in range(5):
            writer.write(_frame(number))
    assert len(stream.getvalue()) == 5 * 72
    assert cv2.VideoCapture(str(file)).get(cv2.CAP_PROP_FRAME_COUNT) == 5
    assert list(file.parent.iterdir()) == [file]


@pytest.mark.parametrize("with_av", [True, False])
def test_a_block_that_raises_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, with_av: bool
) -> None:
    monkeypatch.setattr(video_files, "has_av", lambda: with_av)

    def fail() -> None:
        with destination(_INFO, file=tmp_path / "a.mp4") as writer:
            writer.write(_frame())
            raise VideoError("camera on fire")

    with pytest.raises(VideoError, match="camera on fire"):
        fail()
    assert list(tmp_path.iterdir()) == []


def test_no_window_is_a_clear_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise cv2.error("not implemented")

    monkeypatch.setattr(cv2, "namedWindow", fail)
    with pytest.raises(UsageError, match="--show: this OpenCV cannot open a window; replace"):
        WindowWriter()


@pytest.mark.parametrize(
    ("key", "visible", "ends"),
    [(-1, 1.0, False), (27, 1.0, True), (ord("q"), 1.0, True), (-1, 0.0, True)],
)
def test_a_window_shows_bgr_and_ends_on_keys(
    monkeypatch: pytest.MonkeyPatch, key: int, visible: float, ends: bool
) -> None:
    shown = []
    for name, function in {
        "namedWindow": lambda *_: None,
        "imshow": lambda _, picture: shown.append(picture),
        "waitKey": lambda _: key,
        "getWindowProperty": lambda *_: visible,
        "destroyAllWindows": lambda: shown.append("closed"),
    }.items():
        monkeypatch.setattr(sinks.cv2, name, function)
    with destination(_INFO, show=True) as writer:
        if ends:
            with pytest.raises(KeyboardInterrupt):
                writer.write(_frame())
        else:
            writer.write(_frame())
    np.testing.assert_array_equal(shown[0], _frame().rgb[..., ::-1])
    assert shown[-1] == "closed"


def test_a_file_without_frames_is_not_written(tmp_path: Path) -> None:
    file = tmp_path / "a.mp4"
    with (
        pytest.raises(VideoError, match=r"a\.mp4: is not written, because no frame came"),
        destination(_INFO, file=file),
    ):
        pass
    assert list(tmp_path.iterdir()) == []
