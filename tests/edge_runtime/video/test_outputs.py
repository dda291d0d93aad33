import errno
import io
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest

from edge_runtime.errors import VideoError
from edge_runtime.video.frames import Frame, VideoInfo
from edge_runtime.video.outputs import RawWriter, destination

_INFO = VideoInfo(6, 4, Fraction(10), Fraction(1, 1000))


def _frame(number: int = 0, shape: tuple[int, int] = (4, 6)) -> Frame:
    rgb = np.arange(shape[0] * shape[1] * 3, dtype=np.uint8).reshape(*shape, 3) + number
    return Frame(rgb.astype(np.uint8), Fraction(number, 10))


def test_raw_frames_are_rows_of_rgb() -> None:
    stream = io.BytesIO()
    with destination(_INFO, stream) as writer:
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

    with pytest.raises(BrokenPipeError), destination(_INFO, Pipe()) as writer:
        writer.write(_frame())


def test_a_file_in_a_new_folder(tmp_path: Path) -> None:
    file = tmp_path / "new/a.mp4"
    with destination(_INFO, file) as writer:
        for number in range(5):
            writer.write(_frame(number))
    assert cv2.VideoCapture(str(file)).get(cv2.CAP_PROP_FRAME_COUNT) == 5
    assert list(file.parent.iterdir()) == [file]


def test_a_block_that_raises_leaves_nothing(tmp_path: Path) -> None:
    def fail() -> None:
        with destination(_INFO, tmp_path / "a.mp4") as writer:
            writer.write(_frame())
            raise VideoError("camera on fire")

    with pytest.raises(VideoError, match="camera on fire"):
        fail()
    assert list(tmp_path.iterdir()) == []


def test_a_file_without_frames_is_not_written(tmp_path: Path) -> None:
    file = tmp_path / "a.mp4"
    with (
        pytest.raises(VideoError, match=r"a\.mp4: is not written, because no frame came"),
        destination(_INFO, file),
    ):
        pass
    assert list(tmp_path.iterdir()) == []
