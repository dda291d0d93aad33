import io
import json
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import pytest

from edge_runtime import cli
from edge_runtime.derainer import Derainer
from edge_runtime.video.derain import derain_video
from tests.conftest import Refused
from tests.edge_runtime.video.conftest import make_clip, read_clip, scene

_JPEG = cv2.imencode(".jpg", scene(32, 32, 0))[1].tobytes()
_SRT = b"1\n00:00:00,100 --> 00:00:00,300\nRain\n"


def _tracks(path: Path) -> list[tuple[str, str | None]]:
    """Return the kinds of the tracks beside the picture, and their codecs or names."""
    with av.open(str(path)) as container:
        return [
            (
                stream.type,
                stream.codec_context.codec.canonical_name
                if stream.codec_context
                else stream.metadata.get("filename"),
            )
            for stream in list(container.streams)[1:]
        ]


def _seconds(path: Path) -> float:
    with av.open(str(path)) as container:
        return sum(frame.samples / frame.sample_rate for frame in container.decode(audio=0))


@pytest.mark.parametrize(
    ("name", "sound", "layout", "rate", "target", "codec"),
    [
        ("a.avi", "pcm_alaw", "mono", 8000, "b.mp4", "aac"),  # states no layout
        ("a.avi", "adpcm_ms", "stereo", 44_100, "b.mp4", "aac"),
        ("a.avi", "pcm_alaw", "mono", 8000, "b.webm", "opus"),
        ("a.mkv", "libopus", "stereo", 48_000, "b.mov", "aac"),  # holds it, but refuses to
        ("a.mkv", "flac", "5.1", 44_100, "b.webm", "opus"),
    ],
)
def test_sound_that_is_encoded_anew(
    tmp_path: Path,
    derainer: Derainer,
    name: str,
    sound: str,
    layout: str,
    rate: int,
    target: str,
    codec: str,
) -> None:
    make_clip(tmp_path / name, sound=sound, layout=layout, rate=rate)
    assert derain_video(derainer, tmp_path / name, tmp_path / target).notes == ()
    assert _tracks(tmp_path / target) == [("audio", codec)]
    assert _seconds(tmp_path / target) == pytest.approx(0.5, abs=0.15)


def test_unknown_sound_is_left_out_and_told(
    here: Path, model: str, capsys: pytest.CaptureFixture[str]
) -> None:
    make_clip(Path("a.mov"), sound="pcm_s16le")
    Path("a.mov").write_bytes(Path("a.mov").read_bytes().replace(b"sowt", b"xxxx"))
    make_clip(Path("b.mp4"))
    assert cli.main(["a.mov", "b.mp4", "--json", "--model", model]) == 0
    first, second = map(json.loads, capsys.readouterr().out.splitlines())
    assert first["notes"] == ["left out: sound 1 (unknown codec)"]
    assert "notes" not in second
    assert cli.main(["a.mov", "--model", model]) == 0
    assert capsys.readouterr().err == "edge-derain: a.mov: left out: sound 1 (unknown codec)\n"
    assert _tracks(Path("a_derained.mov")) == []


def test_in_place_nothing_is_lost(here: Path, model: str, refused: Refused) -> None:
    make_clip(Path("a.mov"), pixels="yuv420p10le", sound=None)
    make_clip(Path("b.mp4"))
    before = Path("a.mov").read_bytes()
    said = "a.mov: is not replaced (has 10 bits a colour; the result has 8); write the result"
    arguments = ["--suffix", "", "--force", "--model", model]
    assert refused(cli.main, ["a.mov", *arguments], said) == 1
    assert Path("a.mov").read_bytes() == before
    make_clip(Path("c.mkv"), sound=None)
    whole = Path("c.mkv").read_bytes()
    with av.open("c.mkv") as container:
        packets = [packet for packet in container.demux(video=0) if packet.size]
    for half in (whole[: packets[6].pos], _overwritten(whole, packets[6])):
        Path("c.mkv").write_bytes(half)
        assert refused(cli.main, ["c.mkv", *arguments], "c.mkv: is not replaced (") == 1
        assert Path("c.mkv").read_bytes() == half
    assert cli.main(["b.mp4", *arguments]) == 0
    assert len(read_clip(Path("b.mp4"))[0]) == 10


def _overwritten(data: bytes, packet: Any) -> bytes:
    end = packet.pos + packet.size
    return data[: packet.pos + 8] + b"\xff" * (packet.size - 8) + data[end:]


def test_damaged_sound_does_not_stop_the_picture(tmp_path: Path, derainer: Derainer) -> None:
    source, target = tmp_path / "a.mp4", tmp_path / "b.webm"
    make_clip(source)
    data = bytearray(source.read_bytes())
    with av.open(str(source)) as container:
        packets = [packet for packet in container.demux(audio=0) if packet.size]
    for packet in packets[4:7]:
        assert packet.pos is not None
        data[packet.pos + 8 : packet.pos + packet.size] = b"\xff" * (packet.size - 8)
    source.write_bytes(data)
    summary = derain_video(derainer, source, target)
    assert summary.frames == 10
    assert summary.notes == ("sound 1 (aac): 3 damaged packets passed over",)
    assert _seconds(target) > 0.3


def _everything(container: Any) -> list[Any]:
    """Add subtitles, a cover, a font, a chapter and a second camera, as ``make_clip`` wants it."""
    container.set_chapters(
        [{"id": 1, "start": 0, "end": 200, "time_base": Fraction(1, 1000),
          "metadata": {"title": "Drops"}}]
    )  # fmt: skip
    packets: list[Any] = []
    with av.open(io.BytesIO(_SRT), format="srt") as lines:
        track = container.add_stream_from_template(lines.streams.subtitles[0], opaque=True)
        track.metadata["language"] = "fra"
        for packet in lines.demux():
            if packet.size:
                packet.stream = track
                packets.append(packet)
    second = container.add_stream("mpeg4", rate=25)
    second.width, second.height = 32, 32
    container.add_attachment("front.jpg", "image/jpeg", _JPEG)
    container.add_attachment("font.ttf", "application/x-truetype-font", b"font" * 9)
    frame = av.VideoFrame.from_ndarray(scene(32, 32, 0), format="rgb24").reformat(format="yuv420p")
    return [*packets, lambda: second.encode(frame), lambda: second.encode(None)]


_ALL = [
    ("audio", "aac"),
    ("subtitle", "subrip"),
    ("video", "mpeg4"),
    ("video", "mjpeg"),
    ("attachment", "font.ttf"),
]


_RAIN = "video 3 (mpeg4) is copied as it is, with its rain"


@pytest.mark.parametrize(
    ("suffix", "tracks", "notes"),
    [
        (".mkv", _ALL, (_RAIN,)),
        (
            ".mp4",
            [("audio", "aac"), ("video", "mpeg4"), ("video", "mjpeg")],
            (
                _RAIN,
                "left out: subtitles 2 (subrip, fra), attachment 5 (font.ttf); a .mkv holds more",
            ),
        ),
        (
            ".webm",
            [("audio", "opus")],
            (
                "left out: subtitles 2 (subrip, fra), video 3 (mpeg4), cover 4 (mjpeg), "
                "attachment 5 (font.ttf); a .mkv holds more",
            ),
        ),
    ],
)
def test_other_tracks_stay_where_the_file_can_hold_them(
    tmp_path: Path,
    derainer: Derainer,
    suffix: str,
    tracks: list[tuple[str, str]],
    notes: tuple[str, ...],
) -> None:
    source, target = tmp_path / "a.mkv", tmp_path / f"b{suffix}"
    make_clip(source, more=_everything)
    assert _tracks(source) == _ALL
    assert derain_video(derainer, source, target).notes == notes
    assert [track for track in _tracks(target) if track[0] != "data"] == tracks
    with av.open(str(target)) as container:
        (chapter,) = container.chapters()
        assert chapter["end"] * (chapter["time_base"] or 0) == Fraction(1, 5)
        assert chapter["metadata"]["title"] == "Drops"
        pictures = [stream for stream in container.streams if stream.type == "video"]
        assert [stream.disposition.value & 1 for stream in pictures[:2]] == [1, 0][: len(pictures)]
        if suffix == ".mkv":
            streams = [container.streams[number] for number in (2, 4)]
            stored = {p.stream.index: bytes(p) for p in container.demux(streams) if p.size}
            assert stored == {2: b"Rain", 4: _JPEG}
            assert container.streams[2].metadata["language"] == "fra"
            assert container.streams.attachments[0].data == b"font" * 9


def test_results_of_results_keep_covers_chapters_and_timecode(
    tmp_path: Path, derainer: Derainer
) -> None:
    make_clip(tmp_path / "a.mkv", more=_everything)
    derain_video(derainer, tmp_path / "a.mkv", tmp_path / "b.mp4")
    summary = derain_video(derainer, tmp_path / "b.mp4", tmp_path / "c.mp4")
    assert summary.notes == ("video 2 (mpeg4) is copied as it is, with its rain",)
    assert _tracks(tmp_path / "c.mp4") == _tracks(tmp_path / "b.mp4")
    make_clip(tmp_path / "a.mov", about={"timecode": "01:00:00:00"}, times=range(0, 400, 40))
    assert derain_video(derainer, tmp_path / "a.mov", tmp_path / "b.mov").notes == ()
    with av.open(str(tmp_path / "b.mov")) as container:
        assert container.streams.video[0].metadata["timecode"] == "01:00:00:00"
