import errno
import io
import sys
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pytest

from edge_runtime.derainer import Derainer
from edge_runtime.errors import MissingExtraError, UsageError, VideoError
from edge_runtime.video.derain import derain_video
from edge_runtime.video.frames import Frame, VideoInfo
from edge_runtime.video.outputs import CRF, RawWriter, crf_of, destination
from tests.edge_runtime.video.conftest import UNEVEN, make_clip, read_clip


def _sound(path: Path) -> list[bytes]:
    with av.open(str(path)) as container:
        return [bytes(packet) for packet in container.demux(audio=0) if packet.size]


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".m4v", ".MP4"])
def test_every_frame_keeps_its_time_and_sound_its_bytes(
    tmp_path: Path, halving: Derainer, suffix: str
) -> None:
    source, target = tmp_path / "a.mp4", tmp_path / f"new/b{suffix}"
    scenes = make_clip(source)
    calls: list[int] = []
    summary = derain_video(halving, source, target, on_frame=lambda: calls.append(1))
    assert (summary.frames, summary.damaged, summary.width, summary.height) == (10, 0, 64, 48)
    assert len(calls) == 10
    times, frames = read_clip(target)
    assert times == read_clip(source)[0]
    assert [round(1000 * (time - times[0])) for time in times] == list(UNEVEN)
    for scene, frame in zip(scenes, frames, strict=True):
        assert np.abs(frame.astype(int) - scene // 2).mean() < 3
    assert _sound(target) == _sound(source)
    with av.open(str(source)) as before, av.open(str(target)) as after:
        assert after.metadata["title"] == "Rain"
        assert after.duration is not None
        assert before.duration is not None
        assert abs(after.duration - before.duration) < 50_000  # microseconds
        assert after.streams.video[0].codec_context.name == "h264"
    assert [path.name for path in target.parent.iterdir()] == [target.name]


@pytest.mark.parametrize(("suffix", "codec"), [(".mkv", "aac"), (".webm", "opus")])
def test_other_containers_keep_distances_and_sound(
    tmp_path: Path, derainer: Derainer, suffix: str, codec: str
) -> None:
    source, target = tmp_path / "a.mp4", tmp_path / f"b{suffix}"
    make_clip(source)
    derain_video(derainer, source, target)
    times = read_clip(target)[0]
    assert [round(1000 * (time - times[0])) for time in times] == list(UNEVEN)
    with av.open(str(target)) as container:
        (track,) = container.streams.audio
        assert track.codec_context.name == codec
        seconds = sum(f.samples / f.sample_rate for f in container.decode(audio=0))
    assert seconds == pytest.approx(0.5, abs=0.08)


def test_a_silent_video_stays_silent(tmp_path: Path, derainer: Derainer) -> None:
    make_clip(tmp_path / "a.mp4", sound=None)
    derain_video(derainer, tmp_path / "a.mp4", tmp_path / "b.mp4")
    with av.open(str(tmp_path / "b.mp4")) as container:
        assert not container.streams.audio


@pytest.mark.skipif(
    not hasattr(av.VideoStream, "set_display_rotation"), reason="this PyAV writes no rotation"
)
@pytest.mark.parametrize("rotation", [90, -90, 180])
def test_frames_are_turned_upright_as_opencv_turns_them(
    tmp_path: Path, derainer: Derainer, rotation: int
) -> None:
    source, target = tmp_path / "a.mp4", tmp_path / "b.mp4"
    make_clip(source, rotation=rotation, aspect=Fraction(4, 3))
    derain_video(derainer, source, target)
    expected = cv2.VideoCapture(str(source)).read()[1][..., ::-1]
    with av.open(str(target)) as container:
        frame = next(container.decode(video=0))
        assert frame.rotation == 0
        aspect = container.streams.video[0].sample_aspect_ratio
    assert aspect == (Fraction(4, 3) if rotation == 180 else Fraction(3, 4))
    found = frame.to_ndarray(format="rgb24")
    assert found.shape == expected.shape
    assert np.abs(found.astype(int) - expected).mean() < 3


@pytest.mark.parametrize("matrix", [None, 1, 6])
def test_colours_and_their_tags_stay(
    tmp_path: Path, derainer: Derainer, matrix: int | None
) -> None:
    source, target = tmp_path / "a.mp4", tmp_path / "b.mp4"
    make_clip(source, matrix=matrix)
    derain_video(derainer, source, target)
    planes = []
    for path in (source, target):
        with av.open(str(path)) as container:
            stream = container.streams.video[0]
            context = stream.codec_context
            assert (context.colorspace, context.color_primaries) == (matrix or 2, matrix or 2)
            planes.append(next(container.decode(stream)).to_ndarray().astype(int))
    # Compared as they are stored, in which a wrong matrix or range would show as a shift.
    assert np.abs(planes[0] - planes[1]).mean() < 1.2
    assert abs(float((planes[0] - planes[1]).mean())) < 0.5


def test_odd_sides_gain_a_repeated_line(tmp_path: Path, derainer: Derainer) -> None:
    source, target = tmp_path / "a.mp4", tmp_path / "b.mp4"
    scenes = make_clip(source, size=(65, 47))
    derain_video(derainer, source, target)
    found = read_clip(target)[1][0]
    assert found.shape == (48, 66, 3)
    expected = np.pad(scenes[0], ((0, 1), (0, 1), (0, 0)), mode="edge")
    assert np.abs(found.astype(int) - expected).mean() < 5


def test_without_pyav_it_says_what_to_install(
    tmp_path: Path, derainer: Derainer, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_clip(tmp_path / "a.mp4")
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(MissingExtraError, match=r"av is not installed; run: pip install "):
        derain_video(derainer, tmp_path / "a.mp4", tmp_path / "b.mp4")
    assert not (tmp_path / "b.mp4").exists()


def test_steadied(tmp_path: Path, derainer: Derainer, monkeypatch: pytest.MonkeyPatch) -> None:
    make_clip(tmp_path / "a.mp4")
    monkeypatch.setattr("edge_runtime.steady.Steadier.__call__", lambda _, f: np.zeros_like(f))
    derain_video(derainer, tmp_path / "a.mp4", tmp_path / "b.mp4", steady=True)
    assert read_clip(tmp_path / "b.mp4")[1][0].max() <= 2


def test_a_quality_is_a_rate_factor() -> None:
    assert [crf_of(quality) for quality in (1, 65, 100)] == [51, CRF, 0]


def test_quality_follows_the_rate_factor(tmp_path: Path, derainer: Derainer) -> None:
    make_clip(tmp_path / "a.mp4", size=(320, 240))
    for crf in (5, 40):
        derain_video(derainer, tmp_path / "a.mp4", tmp_path / f"{crf}.mp4", crf=crf)
    assert (tmp_path / "5.mp4").stat().st_size > 1.5 * (tmp_path / "40.mp4").stat().st_size


def test_damaged_packets_are_passed_over_and_counted(tmp_path: Path, derainer: Derainer) -> None:
    source, target = tmp_path / "a.mp4", tmp_path / "b.mp4"
    make_clip(source, sound=None, times=range(0, 1200, 40))
    data = bytearray(source.read_bytes())
    with av.open(str(source)) as container:
        packets = [packet for packet in container.demux(video=0) if packet.size]
    for packet in packets[10:14]:
        assert packet.pos is not None
        data[packet.pos : packet.pos + packet.size] = b"\xff" * packet.size
    source.write_bytes(data)
    summary = derain_video(derainer, source, target)
    assert summary.damaged > 0
    assert 15 <= summary.frames < 30
    assert len(read_clip(target)[1]) == summary.frames


@pytest.mark.parametrize("error", [KeyboardInterrupt, VideoError])
def test_an_end_before_the_end_leaves_what_was(
    tmp_path: Path, derainer: Derainer, error: type[BaseException]
) -> None:
    source, target = tmp_path / "a.mp4", tmp_path / "b.mp4"
    make_clip(source)
    target.write_bytes(b"old")

    def stop() -> None:
        assert len(list(tmp_path.glob(".edge-derain-*.part"))) == 1
        raise error("stop")

    with pytest.raises(error):
        derain_video(derainer, source, target, on_frame=stop)
    assert target.read_bytes() == b"old"
    assert not list(tmp_path.glob(".*"))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "a.mp4: no such file; check the name"),
        (b"", "a.mp4: is empty; copy it again"),
        (b"junk" * 999, "a.mp4: not a video"),
    ],
)
def test_sources_that_are_no_videos(
    tmp_path: Path, derainer: Derainer, content: bytes | None, message: str
) -> None:
    source = tmp_path / "a.mp4"
    if content is not None:
        source.write_bytes(content)
    with pytest.raises(VideoError, match=message) as caught:
        derain_video(derainer, source, tmp_path / "b.mp4")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "b.mp4").exists()


def test_sound_alone_is_no_video(tmp_path: Path, derainer: Derainer) -> None:
    source = tmp_path / "a.mp4"
    with av.open(str(source), "w") as container:
        track: Any = container.add_stream("aac", rate=44_100)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 4096), np.float32), "fltp", "mono")
        frame.sample_rate = 44_100
        container.mux(track.encode(frame))
        container.mux(track.encode(None))
    with pytest.raises(VideoError, match=r"a\.mp4: has no video stream"):
        derain_video(derainer, source, tmp_path / "b.mp4")


def test_targets_that_cannot_be(tmp_path: Path, derainer: Derainer) -> None:
    source = tmp_path / "a.mp4"
    make_clip(source)
    with pytest.raises(UsageError, match=r"b\.avi: cannot write \.avi as video; use \.mp4"):
        derain_video(derainer, source, tmp_path / "b.avi")
    with pytest.raises(UsageError, match="crf must be from 0 to 51, got 52"):
        derain_video(derainer, source, tmp_path / "b.mp4", crf=52)
    with pytest.raises(VideoError, match=r"b\.mp4: cannot be written"):
        derain_video(derainer, source, source / "b.mp4")
    (tmp_path / "c.mp4").mkdir()
    with pytest.raises(VideoError, match=r"c\.mp4: cannot be written"):
        derain_video(derainer, source, tmp_path / "c.mp4")
    assert sorted(path.name for path in tmp_path.iterdir() if path.suffix == ".mp4") == [
        "a.mp4",
        "c.mp4",
    ]


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
