"""Video files by way of PyAV: every frame at its own time, with sound, metadata and colour tags."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from edge_runtime.errors import MissingExtraError, UsageError, VideoError
from edge_runtime.video.frames import UNSPECIFIED, Frame, VideoInfo, check_size, even

MUXERS = {".mp4": "mp4", ".m4v": "mp4", ".mov": "mov", ".mkv": "matroska", ".webm": "webm"}
"""Suffixes, in lower case, of the videos that can be written, with FFmpeg's names of them."""
WRITABLE = tuple(MUXERS)
CRF = 18
"""Default constant rate factor: what the encoder loses is hard to see."""
MAX_CRF = 51

# swscale's SWS_BICUBIC, SWS_ACCURATE_RND, SWS_FULL_CHR_H_INT: its defaults darken a little.
_EXACT = 0x4 | 0x40000 | 0x2000
_LIMITED, _FULL = 1, 2  # FFmpeg's ranges: 16 to 235, and 0 to 255
_BT601, _BT709 = 6, 1  # matrices of H.273
# H.273 matrix -> swscale's coefficients, which count differently.
_COEFFICIENTS = {1: 1, 4: 4, 5: 5, 6: 5, 7: 7, 9: 9}
_HD_LINES = 720
_DEFAULT_RATE = Fraction(25)
_PATIENCE = 10.0  # seconds for a live source to open, and to give its next packet
# About the container that was read, not about what is in it.
_CONTAINER_KEYS = ("major_brand", "minor_version", "compatible_brands", "encoder")


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


def check_target(target: Path) -> str:
    """Return the suffix in lower case, or raise UsageError when no video is written under it."""
    suffix = target.suffix.lower()
    if suffix not in WRITABLE:
        raise UsageError(
            f"{target}: cannot write {suffix or 'no suffix'} as video; use {', '.join(WRITABLE)}"
        )
    return suffix


def crf_of(quality: int) -> int:
    """Return the constant rate factor for a quality from 1 (worst) to 100 (best)."""
    return round(MAX_CRF * (100 - quality) / 99)


def open_reader(source: Path) -> AvReader:
    """Open a video file.

    Raises:
        VideoError: The file is missing, empty, or no video.
        MissingExtraError: PyAV is not installed.
    """
    if not source.is_file():
        raise VideoError(f"{source}: no such file; check the name")
    if source.stat().st_size == 0:
        raise VideoError(f"{source}: is empty; copy it again")
    return AvReader(str(source))


class AvReader:
    """A video, opened.

    Iterating gives its frames in order, turned upright, and between them packets of sound as they
    are stored, which :class:`AvWriter` takes.

    Args:
        name: A file, device or address.
        device: FFmpeg's name of the kind of device that ``name`` is; None where it is none.
        live: Whether the source does not wait: it has no sound then, frames are decoded without
            delay, and opening or reading that takes more than ten seconds fails.
        options: Of FFmpeg's demuxer.

    Attributes:
        info: What is the same for all frames.
        damaged: How many packets could not be decoded so far and were passed over.

    Raises:
        MissingExtraError: PyAV is not installed.
        VideoError: The file cannot be opened, or has no frame that can be decoded.
    """

    def __init__(
        self,
        name: str,
        *,
        device: str | None = None,
        live: bool = False,
        options: Mapping[str, str] | None = None,
    ) -> None:
        av = pyav()
        self._name = name
        self._live = live
        self.damaged = 0
        self._last = Fraction(0)
        limits = (_PATIENCE, _PATIENCE) if live else None
        try:
            self._container = av.open(
                name, format=device, options=dict(options or {}), timeout=limits
            )
        except (av.FFmpegError, OSError) as error:
            raise VideoError(f"{name}: not a video that can be read ({_reason(error)})") from None
        try:
            self._open()
        except BaseException:
            self.close()
            raise

    def _open(self) -> None:
        from av.stream import Disposition

        covers = Disposition.attached_pic
        streams = [s for s in self._container.streams.video if not s.disposition & covers]
        if not streams:
            raise VideoError(f"{self._name}: has no video stream; name a file with pictures in it")
        self._stream = streams[0]
        self._stream.thread_type = "SLICE" if self._live else "AUTO"
        self.sounds = [] if self._live else list(self._container.streams.audio)
        self.metadata = {
            key: value
            for key, value in self._container.metadata.items()
            if key not in _CONTAINER_KEYS
        }
        self._rate = self._stream.average_rate or self._stream.guessed_rate or _DEFAULT_RATE
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
        context = self._stream.codec_context
        return VideoInfo(
            width=width,
            height=height,
            rate=self._rate,
            clock=self._stream.time_base or 1 / self._rate,
            frames=self._count(),
            pixel_aspect=1 / aspect if self._turns % 2 else aspect,
            colour=(context.colorspace, context.color_primaries, context.color_trc),
        )

    def _count(self) -> int | None:
        if self._stream.frames:
            return int(self._stream.frames)
        length = self._container.duration
        return None if length is None else round(length / 1_000_000 * self._rate)

    def __iter__(self) -> Iterator[Any]:
        yield from self._early
        self._early = []
        yield from self._items

    def _read(self) -> Iterator[Any]:
        av = pyav()
        packets = self._container.demux([self._stream, *self.sounds])
        while True:
            try:
                packet = next(packets, None)
            except (av.FFmpegError, OSError) as error:
                raise VideoError(f"{self._name}: cannot be read on ({_reason(error)})") from None
            if packet is None:
                return
            if packet.stream is not self._stream:
                if packet.dts is not None:  # the last one of each stream is empty
                    yield packet
                continue
            try:
                frames = packet.decode()
            except av.FFmpegError:
                self.damaged += 1
                continue
            for frame in frames:
                yield self._convert(frame)

    def _convert(self, frame: Any) -> Frame:
        clock = frame.time_base or 1 / self._rate
        # A stream without time stamps, such as raw H.264, is played at its nominal rate.
        time = self._last + 1 / self._rate if frame.pts is None else frame.pts * clock
        self._last = time
        self._turns = round(frame.rotation / 90) % 4
        pixels = frame.to_ndarray(
            format="rgb24",
            interpolation=_EXACT,
            src_colorspace=_coefficients(frame.colorspace, frame.height),
            src_color_range=frame.color_range or _LIMITED,
            dst_color_range=_FULL,
        )
        rgb = np.ascontiguousarray(np.rot90(pixels, self._turns))
        return Frame(rgb, time, Fraction(frame.duration or 0) * clock)

    def close(self) -> None:
        """Close the file."""
        self._container.close()


class AvWriter:
    """A video file in the making; see ``frames.Writer``.

    H.264, or VP9 in ``.webm``, 8 bits, colour at half size, in the colour space of the source.
    Sound is copied, or encoded anew where the container cannot hold it as it is.

    Args:
        path: Where to write, whatever its suffix.
        suffix: One of ``WRITABLE``, which chooses the container.
        info: Of what will be written.
        crf: Constant rate factor of the encoder, from 0 (best) to 51.
        source: Whose sound and metadata go along; None for neither.

    Raises:
        UsageError: ``crf`` is out of range.
        MissingExtraError: PyAV is not installed.
        VideoError: The file cannot be made.
    """

    def __init__(
        self, path: Path, suffix: str, info: VideoInfo, crf: int, source: AvReader | None = None
    ) -> None:
        if not 0 <= crf <= MAX_CRF:
            raise UsageError(f"crf must be from 0 to {MAX_CRF}, got {crf}")
        av = pyav()
        self._info = info
        self._last: int | None = None
        self._failure = av.FFmpegError
        options = {"movflags": "+faststart"} if MUXERS[suffix] in ("mp4", "mov") else {}
        try:
            self._container = av.open(
                str(path), "w", format=MUXERS[suffix], container_options=options
            )
            self._stream = self._add_video(suffix, crf)
            self._sounds = {}
            for sound in source.sounds if source else ():
                self._sounds[sound.index] = _SoundTrack(self._container, sound)
            if source is not None:
                self._container.metadata.update(source.metadata)
        except (av.FFmpegError, OSError) as error:
            raise _unwritable(error) from None

    def _add_video(self, suffix: str, crf: int) -> Any:
        if suffix == ".webm":
            codec, options = "libvpx-vp9", {"b": "0", "cpu-used": "5", "row-mt": "1"}
        else:
            codec, options = "libx264", {"preset": "veryfast"}
        # Encoders store the rate in 16 bits or so; the true times are in the frames.
        rate = max(self._info.rate.limit_denominator(1001), Fraction(1, 1001))
        options["crf"] = str(crf)
        stream: Any = self._container.add_stream(codec, rate=rate, options=options)
        stream.width = self._info.width + self._info.width % 2
        stream.height = self._info.height + self._info.height % 2
        stream.pix_fmt = "yuv420p"
        context = stream.codec_context
        context.time_base = self._info.clock
        context.sample_aspect_ratio = self._info.pixel_aspect
        matrix, primaries, transfer = self._info.colour
        context.colorspace = _storable(matrix, self._info.height)
        context.color_primaries, context.color_trc = primaries, transfer
        context.color_range = _LIMITED
        return stream

    def write(self, item: Any) -> None:
        """Append a frame, or a packet of the source's sound; see ``frames.Writer``."""
        try:
            if isinstance(item, Frame):
                self._container.mux(self._stream.encode(self._convert(item)))
            else:
                self._container.mux(self._sounds[item.stream.index].convert(item))
        except (self._failure, OSError) as error:
            raise _unwritable(error) from None

    def _convert(self, frame: Frame) -> Any:
        from av import VideoFrame

        check_size(frame, self._info)
        picture = VideoFrame.from_ndarray(np.ascontiguousarray(even(frame.rgb)), format="rgb24")
        picture = picture.reformat(
            format="yuv420p",
            interpolation=_EXACT,
            src_color_range=_FULL,
            dst_colorspace=_coefficients(self._info.colour[0], self._info.height),
            dst_color_range=_LIMITED,
        )
        context = self._stream.codec_context
        picture.colorspace, picture.color_range = context.colorspace, _LIMITED
        ticks = round(frame.time / self._info.clock)
        # Encoders refuse times that do not grow, which broken files have.
        ticks = ticks if self._last is None else max(ticks, self._last + 1)
        self._last = ticks
        picture.pts, picture.time_base = ticks, self._info.clock
        picture.duration = round(frame.duration / self._info.clock)
        return picture

    def close(self, *, finish: bool) -> None:
        """End the file; see ``frames.Writer``."""
        try:
            if finish:
                self._container.mux(self._stream.encode(None))
                for sound in self._sounds.values():
                    self._container.mux(sound.convert(None))
            self._container.close()
        except (self._failure, OSError) as error:
            if finish:
                raise _unwritable(error) from None


class _SoundTrack:
    """One sound stream on its way: copied where the container takes its codec, else encoded."""

    def __init__(self, container: Any, source: Any) -> None:
        self._decoder = None
        if source.codec_context.codec.canonical_name in container.supported_codecs:
            self._stream = container.add_stream_from_template(source)
        else:
            codec = "libopus" if container.format.name == "webm" else "aac"
            rate = 48_000 if codec == "libopus" else source.codec_context.sample_rate
            self._stream = container.add_stream(codec, rate=rate)
            self._stream.layout = source.codec_context.layout
            self._decoder = source
        self._stream.metadata.update(source.metadata)

    def convert(self, packet: Any) -> list[Any]:
        """Return what to mux for a packet of the source; None ends the stream."""
        if self._decoder is not None:
            frames = self._decoder.decode(packet) + ([None] if packet is None else [])
            return [coded for frame in frames for coded in self._stream.encode(frame)]
        if packet is None:
            return []
        packet.stream = self._stream
        return [packet]


def _coefficients(matrix: int, height: int) -> int:
    """Return swscale's coefficients for a matrix; where none is stated, those players assume."""
    if matrix in _COEFFICIENTS:
        return _COEFFICIENTS[matrix]
    return _COEFFICIENTS[_BT709 if height >= _HD_LINES else _BT601]


def _storable(matrix: int, height: int) -> int:
    """Return the matrix to state in the file: RGB and exotic sources get a usual one."""
    if matrix == UNSPECIFIED or matrix in _COEFFICIENTS:
        return matrix
    return _BT709 if height >= _HD_LINES else _BT601


def _reason(error: BaseException) -> str:
    reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return str(reason).splitlines()[0]


def _unwritable(error: BaseException) -> VideoError:
    return VideoError(f"the video cannot be written ({_reason(error)}); choose another place")
