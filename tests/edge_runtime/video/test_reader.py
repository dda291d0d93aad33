from contextlib import closing
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from edge_runtime import cli
from edge_runtime.derainer import Derainer
from edge_runtime.errors import VideoError
from edge_runtime.video.derain import derain_video
from edge_runtime.video.frames import Frame
from edge_runtime.video.hdr import to_ordinary
from edge_runtime.video.reader import open_reader
from edge_runtime.video.tracks import Timeline
from tests.edge_runtime.video.conftest import UNEVEN, make_clip, read_clip

_EVEN = range(0, 400, 40)


def _frames(path: Path) -> tuple[list[Frame], list[str]]:
    with closing(open_reader(path)) as reader:
        return [item for item in reader if isinstance(item, Frame)], reader.notes


def _matrix(a: int, b: int, c: int, d: int) -> bytes:
    values = (a << 16, b << 16, 0, c << 16, d << 16, 0, 0, 0, 1 << 30)
    return b"".join(value.to_bytes(4, "big", signed=True) for value in values)


@pytest.mark.parametrize(
    "matrix",
    [
        (-1, 0, 0, 1), (1, 0, 0, -1), (-1, 0, 0, -1), (0, 1, -1, 0),
        (0, -1, 1, 0), (0, 1, 1, 0), (0, -1, -1, 0), (0, 0, 0, 0),
    ],
)  # fmt: skip
def test_frames_are_turned_and_mirrored_as_the_display_matrix_says(
    tmp_path: Path, matrix: tuple[int, int, int, int]
) -> None:
    make_clip(tmp_path / "a.mp4", times=_EVEN, sound=None)
    plain = _frames(tmp_path / "a.mp4")[0][0].rgb
    head, track = (tmp_path / "a.mp4").read_bytes().split(b"tkhd")
    (tmp_path / "b.mp4").write_bytes(
        head + b"tkhd" + track.replace(_matrix(1, 0, 0, 1), _matrix(*matrix), 1)
    )
    a, b, c, d = matrix if any(matrix) else (1, 0, 0, 1)
    y, x = np.mgrid[: plain.shape[0], : plain.shape[1]]
    right, down = a * x + c * y, b * x + d * y
    right, down = right - right.min(), down - down.min()
    expected = np.zeros((down.max() + 1, right.max() + 1, 3), np.uint8)
    expected[down, right] = plain
    assert np.array_equal(_frames(tmp_path / "b.mp4")[0][0].rgb, expected)


@pytest.mark.parametrize("order", ["tff", "bff"])
def test_of_two_fields_the_first_makes_a_frame(
    tmp_path: Path, derainer: Derainer, order: str
) -> None:
    source, target = tmp_path / "a.mp4", tmp_path / "b.mp4"
    interlaced = {"flags": "+ildct+ilme"}
    first = make_clip(source, fields=order, pixels="yuv444p", options=interlaced, times=_EVEN)
    summary = derain_video(derainer, source, target)
    times, frames = read_clip(target)
    assert times == read_clip(source)[0]
    for frame, expected in zip(frames, first, strict=True):
        assert np.abs(frame.astype(int) - expected).mean() < 8
    with av.open(str(target)) as container:
        assert not any(frame.interlaced_frame for frame in container.decode(video=0))
    assert summary.notes == ("is interlaced; the result is progressive, one frame for two fields",)


@pytest.mark.parametrize("transfer", [16, 18])
def test_hdr_becomes_what_ordinary_displays_show(
    tmp_path: Path, derainer: Derainer, transfer: int
) -> None:
    source, target = tmp_path / "a.mp4", tmp_path / "b.mp4"
    light = np.array([0, 1, 10, 50, 203, 1000, 4000])  # cd/m2
    if transfer == 16:  # PQ and HLG of BT.2100
        root = (light / 10_000) ** 0.1593017578125
        code = ((0.8359375 + 18.8515625 * root) / (1 + 18.6875 * root)) ** 78.84375
    else:
        scenic = (light.clip(0, 1000) / 1000) ** (1 / 1.2)
        log = 0.17883277 * np.log(np.maximum(12 * scenic - 0.28466892, 1e-9)) + 0.55991073
        code = np.where(scenic <= 1 / 12, np.sqrt(3 * scenic), log)
    grey = np.repeat(np.round(65_535 * code).astype(np.uint16), 16)
    with av.open(str(source), "w") as container:
        stream: Any = container.add_stream("libx264", rate=25, options={"crf": "1"})
        stream.width, stream.height, stream.pix_fmt = grey.size, 16, "yuv420p10le"
        context = stream.codec_context
        context.colorspace, context.color_primaries, context.color_trc = 9, 9, transfer
        rgb = np.tile(grey[:, None], (16, 1, 3))
        frame = av.VideoFrame.from_ndarray(rgb, format="rgb48le").reformat(
            format="yuv420p10le", src_color_range=2, dst_colorspace=9, dst_color_range=1
        )
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    summary = derain_video(derainer, source, target)
    found = read_clip(target)[1][0][8, 8::16].mean(1)
    # Below half of white paper at 203 cd/m2 as BT.1886 shows it; above rolled off by BT.2390.
    assert found[:4] == pytest.approx(255 * (light[:4] / 203) ** (1 / 2.4), abs=4)
    assert found[4:] == pytest.approx([231, 255, 255], abs=4)
    (note,) = summary.notes
    assert (
        note
        == f"is HDR ({'PQ' if transfer == 16 else 'HLG'}); the result has ordinary colours (BT.709)"
    )
    with av.open(str(target)) as container:
        context = container.streams.video[0].codec_context
        assert (context.colorspace, context.color_primaries, context.color_trc) == (1, 1, 1)


def test_hues_of_hdr_stay_in_bt709() -> None:
    light = np.array([[0.6274, 0.0691, 0.0164], [0.3293, 0.9195, 0.0880], [0.0433, 0.0114, 0.8956]])
    root = (light * 0.3 * 203 / 10_000) ** 0.1593017578125  # BT.2087: red, green, blue of BT.709
    code = ((0.8359375 + 18.8515625 * root) / (1 + 18.6875 * root)) ** 78.84375
    found = to_ordinary(np.round(code * 65_535).astype(np.uint16)[:, None], 16, 9)
    assert found[:, 0] == pytest.approx(np.eye(3) * 255 * 0.3 ** (1 / 2.4), abs=6)


@pytest.mark.parametrize(
    ("codec", "pixels", "suffix", "notes"),
    [
        ("libx264", "yuvj420p", ".mp4", []),
        ("libx264", "yuv420p10le", ".mkv", ["has 10 bits a colour; the result has 8"]),
        ("libx264rgb", "rgb24", ".mkv", []),
        ("png", "rgb24", ".mov", []),
    ],
)
def test_colours_of_other_pixels(
    tmp_path: Path, codec: str, pixels: str, suffix: str, notes: list[str]
) -> None:
    path = tmp_path / f"a{suffix}"
    scenes = make_clip(path, codec=codec, pixels=pixels, sound=None)
    frames, found = _frames(path)
    for frame, expected in zip(frames, scenes, strict=True):
        assert np.abs(frame.rgb.astype(int) - expected).mean() < 3
    assert found == notes


def _alpha(path: Path) -> NDArray[np.uint8]:
    decoder: Any = av.CodecContext.create("libvpx-vp9", "r")
    with av.open(str(path)) as container:
        packet = next(container.demux(video=0))
        return decoder.decode(packet)[0].to_ndarray(format="rgba")[..., 3]


@pytest.mark.parametrize(("codec", "pixels"), [("libvpx-vp9", "yuva420p"), ("png", "rgba")])
def test_transparency_stays_where_the_file_can_hold_it(
    tmp_path: Path, derainer: Derainer, codec: str, pixels: str
) -> None:
    source = tmp_path / ("a.webm" if codec == "libvpx-vp9" else "a.mov")
    options = {"auto-alt-ref": "0"} if codec == "libvpx-vp9" else {}
    make_clip(
        source, codec=codec, pixels=pixels, options=options, sound=None, about={"alpha_mode": "1"}
    )
    assert derain_video(derainer, source, tmp_path / "b.webm").notes == ()
    alpha = _alpha(tmp_path / "b.webm")
    assert alpha[:, :28].min() > 250
    assert alpha[:, 36:].max() < 5
    notes = derain_video(derainer, source, tmp_path / "b.mp4").notes
    assert notes == ("left out: transparency; .webm holds it",)


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_times_that_start_again_go_on(tmp_path: Path, derainer: Derainer, suffix: str) -> None:
    source, target = tmp_path / "a.ts", tmp_path / f"b{suffix}"
    make_clip(source, times=range(0, 2000, 40))
    source.write_bytes(source.read_bytes() * 3)
    summary = derain_video(derainer, source, target)
    assert summary.frames == 150
    steps = np.diff([float(time) for time in read_clip(target)[0]])
    assert steps.min() > 0.03
    assert steps.max() < 0.2
    with av.open(str(source)) as before, av.open(str(target)) as after:
        sounds = [sum(1 for p in file.demux(audio=0) if p.size) for file in (before, after)]
    assert sounds[0] == sounds[1]


def test_tracks_of_a_part_stay_together_and_odd_times_do_not_spread() -> None:
    timeline = Timeline(joined=True)

    def place(track: int, dts: int | None, pts: int | None = None) -> tuple[int | None, int | None]:
        packet = SimpleNamespace(
            dts=dts,
            pts=dts if pts is None else pts,
            duration=1,
            time_base=Fraction(1, 10),
            stream=SimpleNamespace(index=track),
        )
        timeline.place(packet)
        return packet.dts, packet.pts

    for time in range(0, 100, 1):
        assert place(0, time) == place(1, time) == (time, time)
    assert place(2, 50) == (50, 50)  # subtitles, which are few
    assert place(0, 0) == (100, 100)  # begins again
    assert place(1, 100) == (100, 100)  # still before that
    assert place(1, 1) == (101, 101)
    assert place(0, 99_999) == (102, 102)  # leaps
    assert place(0, 2) == (102, 102)
    assert place(0, 3, pts=9_999_999) == (103, None)
    assert place(0, None) == (None, None)
    assert place(0, 4, pts=7) == (104, 107)
    assert place(2, 3) == (103, 103)


def test_raw_streams_without_times_play_at_their_rate(
    here: Path, model: str, capsys: pytest.CaptureFixture[str]
) -> None:
    make_clip(Path("a.h264"), sound=None, container="h264")
    assert cli.main(["a.h264", "--model", model]) == 0
    out, err = capsys.readouterr()
    assert out.endswith(" · a_derained.mp4\n")
    assert err == "edge-derain: a.h264: holds no times; taken for 25 frames a second\n"
    times = read_clip(Path("a_derained.mp4"))[0]
    assert times == [Fraction(number, 25) for number in range(len(UNEVEN))]


def test_colons_are_no_protocols(here: Path, model: str) -> None:
    make_clip(Path("a.mp4"))
    Path("a.mp4").rename("10:30.mp4")
    assert cli.main(["10:30.mp4", "-o", "file:new/", "--model", model]) == 0
    assert len(read_clip(here / "file:new/10:30_derained.mp4")[0]) == len(UNEVEN)


@pytest.mark.parametrize(
    "script",
    [
        "ffconcat version 1.0\nfile secret.mp4\n",
        "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nsecret.mp4\n#EXT-X-ENDLIST\n",
        "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=video 5000 RTP/AVP 96\n",
    ],
)
def test_no_file_opens_another(here: Path, derainer: Derainer, script: str) -> None:
    make_clip(Path("secret.mp4"))
    Path("a.mp4").write_text(script, encoding="ascii")
    with pytest.raises(VideoError, match=r"a\.mp4: not a video that can be read"):
        derain_video(derainer, "a.mp4", "b.mp4")


def test_what_breaks_off_is_kept_and_told(tmp_path: Path, derainer: Derainer) -> None:
    source, target = tmp_path / "a.mp4", tmp_path / "b.mp4"
    make_clip(tmp_path / "whole.mp4", times=range(0, 4000, 40), sound=None)
    derain_video(derainer, tmp_path / "whole.mp4", source)  # with its index before the frames
    with av.open(str(source)) as container:
        places = [packet.pos for packet in container.demux(video=0)]
    source.write_bytes(source.read_bytes()[: places[60]])
    summary = derain_video(derainer, source, target)
    assert 50 < summary.frames <= 60
    assert len(read_clip(target)[0]) == summary.frames
    (note,) = summary.notes
    assert note.startswith("breaks off after ")
    assert note.endswith(" of 4.0 seconds")


def test_titles_of_before_unicode(tmp_path: Path, derainer: Derainer) -> None:
    source, target = tmp_path / "a.avi", tmp_path / "b.mkv"
    make_clip(source)
    source.write_bytes(source.read_bytes().replace(b"Rain", b"R\xe9 1"))
    derain_video(derainer, source, target)
    with av.open(str(target)) as container:
        assert container.metadata["title"] == "Ré 1"


def test_reading_ends_when_the_file_is_closed(tmp_path: Path) -> None:
    make_clip(tmp_path / "a.mp4", sound=None)
    reader = open_reader(tmp_path / "a.mp4")
    items = iter(reader)
    next(items)
    reader.close()  # as after an interrupt, while another thread reads
    assert list(items) == []


def test_a_name_that_is_too_long(tmp_path: Path, derainer: Derainer) -> None:
    with pytest.raises(VideoError, match=r"\.mp4: cannot be read \(File name too long\)"):
        derain_video(derainer, tmp_path / f"{'a' * 300}.mp4", tmp_path / "b.mp4")


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"GIF89a" + bytes(20), "a.mp4: is GIF, which is not read; convert it"),
        (b"\x89PNG\r\n\x1a\n" + bytes(20), "a.mp4: is a picture, and no video; give it a name"),
        (b"<!doctype html><html>", "a.mp4: is a web page"),
        (b"\0\0\0\x18ftypmp42" + bytes(20), "a.mp4: not a video that can be read"),
        (b"plain text", "a.mp4: not a video that can be read"),
    ],
)
def test_other_files_under_the_name_of_a_video(
    here: Path, derainer: Derainer, data: bytes, said: str
) -> None:
    Path("a.mp4").write_bytes(data)
    with pytest.raises(VideoError, match=said):
        derain_video(derainer, "a.mp4", "b.mp4")
