"""Video files by way of PyAV: every frame at its own time, with all else that they hold."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from fractions import Fraction
from pathlib import Path
from typing import Any

from edge_runtime.errors import MissingExtraError, VideoError
from edge_runtime.video.frames import Frame, VideoInfo
from edge_runtime.video.hdr import HIGH
from edge_runtime.video.pixels import BT709, Progressive, lost_range, unpack
from edge_runtime.video.tracks import Timeline, is_cover

_DEFAULT_RATE = Fraction(25)
_PATIENCE = 10.0  # seconds for a live source to open, and to give its next packet
_ERRORS_IN_A_ROW = 1000  # after which reading a damaged file is given up
_DEMUXERS = (
    "asf,avi,dv,flv,gxf,h261,h263,h264,hevc,ivf,m4v,matroska,mjpeg,mov,mpeg,mpegts,mpegvideo,mxf,"
    "nut,obu,ogg,rm,vc1,vvc,wtv,yuv4mpegpipe"
)
"""FFmpeg's names of what a local file may be: nothing that opens other files."""
# About the container that was read, not about what is in it.
_CONTAINER_KEYS = ("major_brand", "minor_version", "compatible_brands", "encoder")
# Of the metadata of a picture, what stays true when it is encoded anew.
_PICTURE_KEYS = ("creation_time", "handler_name", "language", "timecode", "title")


def pyav() -> Any:
    """Return PyAV, which is imported only where something moves.

    Raises:
        MissingExtraError: It is not installed.
    """
    try:
        import av
    except ImportError:
        raise MissingExtraError("av", "video") from None
    return av


def open_reader(source: Path) -> AvReader:
    """Open a video file. Whatever it holds and is called, no other file is opened for it.

    Raises:
        VideoError: The file is missing, empty, or no video.
        MissingExtraError: PyAV is not installed.
    """
    try:
        size = source.stat().st_size if source.is_file() else None
    except OSError as error:
        raise VideoError(f"{source}: cannot be read ({error.strerror})") from None
    if size is None:
        raise VideoError(f"{source}: no such file; check the name")
    if size == 0:
        raise VideoError(f"{source}: is empty; copy it again")
    local = {"protocol_whitelist": "file", "format_whitelist": _DEMUXERS}
    return AvReader(f"file:{source}", title=str(source), options=local)


class AvReader:
    """A video, opened.

    Iterating gives its frames in order, turned upright, and between them packets of its other
    tracks as they are stored, which :class:`AvWriter` takes. Where times start again, as in joined
    recordings, they go on instead.

    Args:
        name: A file, device or address, as FFmpeg opens it.
        title: What messages call it; None for ``name``.
        device: FFmpeg's name of the kind of device that ``name`` is; None where it is none.
        live: Whether the source does not wait: it has no other tracks then, frames are decoded
            without delay, and opening or reading that takes more than ten seconds fails.
        options: Of FFmpeg's demuxer.

    Attributes:
        info: What is the same for all frames.
        damaged: How many packets could not be read or decoded so far and were passed over.
        tracks: All streams but that of the picture, as PyAV has them.
        covers: Pictures that stand for the video, as stored, by the indices of their streams.
        chapters: As PyAV has them.
        metadata: What the file says of itself.
        picture_metadata: What it says of the picture.

    Raises:
        MissingExtraError: PyAV is not installed.
        VideoError: The file cannot be opened, or has no frame that can be decoded.
    """

    def __init__(
        self,
        name: str,
        *,
        title: str | None = None,
        device: str | None = None,
        live: bool = False,
        options: Mapping[str, str] | None = None,
    ) -> None:
        av = pyav()
        self._name = title or name
        self._live = live
        self.damaged = 0
        self._start: Fraction | None = None
        self._next = Fraction(0)
        self._notes: list[str] = []
        self._progressive = Progressive()
        self._busy, self._is_closed = threading.Lock(), False
        settings = {
            "format": device,
            "options": dict(options or {}),
            "timeout": (_PATIENCE, _PATIENCE) if live else None,
        }
        try:
            try:
                self._connect(name, settings)
            except UnicodeDecodeError:  # titles of before Unicode
                self._connect(name, {**settings, "metadata_encoding": "latin-1"})
        except (av.FFmpegError, OSError) as error:
            told = "" if live else _other_than_video(self._name)
            said = told or f"not a video that can be read ({reason(error)})"
            raise VideoError(f"{self._name}: {said}") from None
        try:
            self._open()
        except BaseException:
            self.close()
            raise

    def _connect(self, name: str, settings: Mapping[str, Any]) -> None:
        self._container = pyav().open(name, **settings)
        self.chapters = [c for c in self._container.chapters() if c["time_base"]]
        found = self._container.metadata.items()
        self.metadata = {key: value for key, value in found if key.lower() not in _CONTAINER_KEYS}

    def _open(self) -> None:
        from av.format import Flags

        streams = [s for s in self._container.streams.video if s.codec_context and not is_cover(s)]
        if not streams:
            raise VideoError(f"{self._name}: has no video stream; name a file with pictures in it")
        self._stream = streams[0]
        self._decoder = _decoder(self._stream)
        self._decoder.thread_type = "SLICE" if self._live else "AUTO"
        others = [s for s in self._container.streams if s.index != self._stream.index]
        self.tracks = [] if self._live else others
        self.covers: dict[int, bytes] = {}
        self.picture_metadata = {
            key: value
            for key, value in self._stream.metadata.items()
            if key.lower() in _PICTURE_KEYS
        }
        self._rate = self._stream.average_rate or self._stream.guessed_rate or _DEFAULT_RATE
        self._clock = self._stream.time_base or 1 / self._rate
        is_joined = Flags(self._container.format.flags) & Flags.ts_discont
        self._timeline = Timeline(bool(is_joined))
        self._items = self._read()
        self._early = []
        for item in self._items:
            self._early.append(item)
            if isinstance(item, Frame):
                break
        else:
            raise VideoError(f"{self._name}: has no frame that can be decoded; copy it again")
        self.info = self._describe(self._early[-1])

    def _describe(self, first: Frame) -> VideoInfo:
        height, width = first.rgb.shape[:2]
        aspect = self._stream.sample_aspect_ratio or Fraction(1)
        return VideoInfo(
            width=width,
            height=height,
            rate=self._rate,
            clock=self._clock,
            frames=self._count(),
            pixel_aspect=1 / aspect if self._is_turned else aspect,
            colour=(BT709, BT709, BT709) if self._colour[2] in HIGH else self._colour,
            alpha=first.alpha is not None,
        )

    def _count(self) -> int | None:
        if self._stream.frames:
            return int(self._stream.frames)
        length = self._container.duration
        return None if length is None else round(length / 1_000_000 * self._rate)

    @property
    def notes(self) -> list[str]:
        """What the frames have that a result cannot hold, as far as they were read."""
        interlaced = "is interlaced; the result is progressive, one frame for two fields"
        return [*self._notes, *([interlaced] if self._progressive.is_needed else [])]

    def __iter__(self) -> Iterator[Any]:
        yield from self._early
        self._early = []
        while True:
            with self._busy:
                item = None if self._is_closed else next(self._items, None)
            if item is None:
                return
            yield item

    def _read(self) -> Iterator[Any]:
        for packet in self._packets():
            if packet is None or packet.stream.index == self._stream.index:
                yield from self._frames(packet)
                continue
            if is_cover(packet.stream):
                self.covers[packet.stream.index] = bytes(packet)
            yield packet
        length = (self._stream.duration or 0) * self._clock
        found = self._next - (self._start or 0)
        if length - found > 1 + length / 50:
            seconds = f"{float(found):.1f} of {float(length):.1f} seconds"
            self._notes.append(f"breaks off after {seconds}")

    def _packets(self) -> Iterator[Any]:
        """Yield the packets of all tracks at their times, and None at the end."""
        av = pyav()
        wanted = [self._stream, *(s for s in self.tracks if s.codec_context is not None)]
        packets, failures = self._container.demux(wanted), 0
        while failures < _ERRORS_IN_A_ROW:
            try:
                packet = next(packets, None)
            except av.error.InvalidDataError:
                failures += 1
                packets = self._container.demux(wanted)
                continue
            except IndexError:  # a track has appeared on the way, at whose end PyAV stumbles
                break
            except (av.FFmpegError, OSError) as error:
                raise VideoError(f"{self._name}: cannot be read on ({reason(error)})") from None
            if packet is None:
                break
            if packet.size:  # the last one of each stream is empty
                self.damaged, failures = self.damaged + failures, 0
                self._timeline.place(packet)
                yield packet
        yield None

    def _frames(self, packet: Any) -> Iterator[Frame]:
        """Yield what is decoded of one more packet of the picture; None ends them."""
        failure = pyav().FFmpegError
        try:
            decoded = self._decoder.decode(packet)
        except failure:
            self.damaged += 1
            decoded = []
        try:
            for frame in decoded:
                frame.time_base = frame.time_base or self._clock
                for ready in self._progressive.each(frame):
                    yield self._convert(ready)
            for ready in self._progressive.rest() if packet is None else ():
                yield self._convert(ready)
        except (failure, ValueError) as error:
            raise VideoError(
                f"{self._name}: has pictures of a form that is not known ({reason(error)}); "
                "convert it first"
            ) from None

    def _convert(self, frame: Any) -> Frame:
        if self._start is None:
            context = self._decoder
            self._colour = (context.colorspace, context.color_primaries, context.color_trc)
            lost = lost_range(frame, context.color_trc)
            self._notes += [] if lost is None else [lost]
        if frame.pts is None:  # as in raw H.264, which is played at its nominal rate
            time = self._next
            if self._start is None and not self._live:
                self._notes.append(f"holds no times; taken for {self._rate} frames a second")
        else:
            time = frame.pts * frame.time_base
        length = Fraction(frame.duration or 0) * frame.time_base
        self._start = time if self._start is None else self._start
        self._next = time + (length or 1 / self._rate)
        rgb, alpha, self._is_turned = unpack(frame, self._colour)
        return Frame(rgb, time, length, alpha)

    def close(self) -> None:
        """Close the file; where another thread reads on, after the item that it is at."""
        with self._busy:
            self._is_closed = True
            self._container.close()


def _decoder(stream: Any) -> Any:
    """Return the decoder of a stream: FFmpeg's own ones pass over the alpha of VP8 and VP9."""
    own = stream.codec_context
    modes = [value for key, value in stream.metadata.items() if key.lower() == "alpha_mode"]
    name = {"vp8": "libvpx", "vp9": "libvpx-vp9"}.get(own.codec.canonical_name)
    return pyav().CodecContext.create(name, "r") if name and modes == ["1"] else own


def reason(error: BaseException) -> str:
    """Return what an error of FFmpeg or of the system says, in one line."""
    said = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return str(said).splitlines()[0]


def _other_than_video(path: str) -> str:
    """Return what to tell of a file that is a picture or a document; nothing of any other."""
    from edge_runtime.pictures.foreign import what_it_is
    from edge_runtime.pictures.picture import format_of

    try:
        with open(path, "rb") as file:
            beginning = file.read(1024)
    except OSError:
        return ""
    suffix = format_of(beginning)
    if suffix is not None:
        return f"is a picture, and no video; give it a name that ends in {suffix}"
    said = what_it_is(beginning)
    return said if said.startswith("is ") and "a video" not in said else ""
