"""Tracks beside the picture: sound, subtitles, covers and what else a video holds, on their way."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection
from fractions import Fraction
from typing import Any

KINDS = ("audio", "subtitle", "video", "attachment")
"""The kinds of tracks that are taken, as FFmpeg names them: all but data."""
_WORDS = {"audio": "sound", "subtitle": "subtitles"}
_JITTER, _BACK = Fraction(1, 10), 1
"""Seconds by which times may fall back, and where no other part is known that they fit to."""
_LEAP, _LEAP_OF_JOINED = 86_400, 10
"""Seconds by which times may leap forward, and where recordings are often joined."""
_PARTS = 16
"""How many parts are known at once: a track is seldom more than one behind the others."""


class Timeline:
    """The time of a file, which goes on where that of its packets starts again.

    A packet whose time falls back, or leaps far forward, begins another part. All tracks of a part
    are moved by the same time, to where the last one ended, so that they stay together.

    Args:
        joined: Whether recordings of this kind are often joined end to end.
    """

    def __init__(self, joined: bool) -> None:
        self._leap = _LEAP_OF_JOINED if joined else _LEAP
        self._offsets = deque([Fraction(0)], maxlen=_PARTS)
        self._tracks: dict[int, tuple[Fraction, Fraction]] = {}  # offset, and end so far

    def place(self, packet: Any) -> None:
        """Move a packet to its time; one without any, or with none that can be, has none after."""
        clock = packet.time_base
        stamp = packet.pts if packet.dts is None else packet.dts
        if stamp is None or not clock:
            return
        if packet.pts is not None and abs(packet.pts - stamp) * clock > self._leap:
            packet.pts = None
        offset = self._offset(packet.stream.index, stamp * clock)
        last = max(stamp, stamp if packet.pts is None else packet.pts) + (packet.duration or 0)
        self._tracks[packet.stream.index] = offset, last * clock + offset
        ticks = round(offset / clock)
        try:
            packet.pts = None if packet.pts is None else packet.pts + ticks
            packet.dts = None if packet.dts is None else packet.dts + ticks
        except OverflowError:
            packet.pts = packet.dts = None

    def _offset(self, track: int, time: Fraction) -> Fraction:
        """Return by how much a time of a track is moved."""
        if track not in self._tracks:
            return self._offsets[-1]
        offset, end = self._tracks[track]
        head = max(end for _, end in self._tracks.values())
        known = [offset, *reversed(self._offsets), offset]
        for number, each in enumerate(known, 1):
            back = _BACK if number == len(known) else _JITTER
            if end - back <= time + each <= head + self._leap:
                return each
        self._offsets.append(head - time)
        return head - time


class Tracks:
    """The tracks, chapters and metadata that a file in the making takes from a video.

    Tracks are copied where the container can hold them; sound is encoded anew where it cannot.

    Args:
        container: The file, of PyAV.
        picture: Its stream of the picture.
        source: The video, an ``AvReader``.
        kinds: Which kinds of tracks are taken, of ``KINDS``.
        copied: Whether sound may be copied.
    """

    def __init__(
        self,
        container: Any,
        picture: Any,
        source: Any,
        *,
        kinds: Collection[str] = KINDS,
        copied: bool = True,
    ) -> None:
        from av.stream import Disposition

        self._container = container
        self._holds = container.supported_codecs
        self._taken: dict[int, _Copied | _Encoded] = {}
        self._notes: list[str] = []
        container.metadata.update(source.metadata)
        picture.metadata.update(source.picture_metadata)
        picture.disposition = Disposition.default.value
        container.set_chapters(source.chapters)
        left = []
        for stream in source.tracks:
            if not (stream.type in kinds and self._take_up(stream, source.covers, copied)):
                left.append(stream)
        left = [stream for stream in left if not _is_kept_otherwise(stream, source)]
        if left:
            known = any(stream.codec_context or stream.type == "attachment" for stream in left)
            better = "; a .mkv holds more" if known and not self._is("matroska") else ""
            self._notes.append(f"left out: {', '.join(map(_label, left))}{better}")

    def _take_up(self, stream: Any, covers: dict[int, bytes], copied: bool) -> bool:
        """Make room for a stream, and return whether there is."""
        if stream.type == "attachment":
            if self._is("matroska"):
                self._container.add_stream_from_template(stream)
            return self._is("matroska")
        if stream.codec_context is None:
            return False
        codec = stream.codec_context.codec.canonical_name
        if is_cover(stream) and self._is("matroska"):
            mime = "image/jpeg" if codec == "mjpeg" else f"image/{codec}"
            name = stream.metadata.get("filename", f"cover.{mime[6:]}")
            self._container.add_attachment(name, mime, covers.get(stream.index, b""))
            return True
        if codec in self._holds and (copied or stream.type != "audio"):
            self._taken[stream.index] = _Copied(stream, self._container)
            if stream.type == "video" and not is_cover(stream):
                self._notes.append(f"{_label(stream)} is copied as it is, with its rain")
            return True
        layout = _layout(stream, self._sound_codec()) if stream.type == "audio" else None
        if layout is None:
            return False
        self._taken[stream.index] = _Encoded(stream, self._container, self._sound_codec(), layout)
        return True

    def _is(self, container: str) -> bool:
        return bool(self._container.format.name == container)

    def _sound_codec(self) -> str:
        return "libopus" if self._is("webm") else "aac"

    @property
    def notes(self) -> list[str]:
        """What is left out so far, or not as one would think, in words."""
        damaged = [
            f"{track.label}: {track.lost} damaged packets passed over"
            for track in self._taken.values()
            if track.lost
        ]
        return [*self._notes, *damaged]

    def take(self, packet: Any) -> None:
        """Write a packet of the source, if its track is taken."""
        track = self._taken.get(packet.stream.index)
        if track is not None:
            self._mux(track, packet)

    def finish(self) -> None:
        """Write what is left of all tracks."""
        for track in self._taken.values():
            self._mux(track, None)

    def _mux(self, track: _Copied | _Encoded, packet: Any) -> None:
        from av import error

        for coded in track.packets(packet):
            try:
                self._container.mux(coded)
            except (error.ArgumentError, error.InvalidDataError):  # such as times that fall back
                track.lost += 1


class _Copied:
    """A track whose packets go on as they are."""

    def __init__(self, stream: Any, container: Any) -> None:
        self._stream = container.add_stream_from_template(stream, opaque=True)
        _describe(self._stream, stream)
        self._next = 0
        self.label = _label(stream)
        self.lost = 0

    def packets(self, packet: Any) -> list[Any]:
        """Return what to write for a packet of the source; None ends the track."""
        if packet is None:
            return []
        if packet.dts is None:
            packet.dts = self._next if packet.pts is None else packet.pts
        self._next = packet.dts + (packet.duration or 1)
        packet.stream = self._stream
        return [packet]


class _Encoded:
    """A track of sound that is encoded anew."""

    def __init__(self, stream: Any, container: Any, codec: str, layout: str) -> None:
        self._decoder = stream
        self._stream = container.add_stream(codec, rate=_rate(stream, codec), layout=layout)
        _describe(self._stream, stream)
        self.label = _label(stream)
        self.lost = 0

    def packets(self, packet: Any) -> list[Any]:
        """Return what to write for a packet of the source; None ends the track."""
        from av import FFmpegError

        coded = []
        try:
            for frame in self._decoder.decode(packet):
                coded += self._stream.encode(frame)
            if packet is None:
                coded += self._stream.encode(None)
        except (FFmpegError, ValueError):  # damaged, or suddenly of another form
            self.lost += 1
        return coded


def is_cover(stream: Any) -> bool:
    """Return whether a stream is a picture that stands for the video."""
    from av.stream import Disposition

    return bool(stream.disposition & Disposition.attached_pic)


def _describe(made: Any, stream: Any) -> None:
    from av.stream import Disposition

    made.metadata.update(stream.metadata)
    second = Disposition.default if stream.type == "video" else Disposition(0)
    made.disposition = (stream.disposition & ~second).value


def _rate(stream: Any, codec: str) -> int:
    """Return the rate at which the sound of a stream is encoded, in samples a second."""
    from av import Codec

    rate = stream.codec_context.sample_rate
    return rate if rate in (Codec(codec, "w").audio_rates or ()) else 48_000


def _layout(stream: Any, codec: str) -> str | None:
    """Return the arrangement of channels in which a stream is encoded; None where none will do.

    That of the stream, or the usual one for so many channels, where it states none.
    """
    from av import Codec, CodecContext, FFmpegError

    context = stream.codec_context
    for layout in (context.layout.name, f"{context.layout.nb_channels}c", "stereo"):
        try:
            encoder: Any = CodecContext.create(codec, "w")
            encoder.sample_rate, encoder.layout = _rate(stream, codec), layout
            encoder.format = (Codec(codec, "w").audio_formats or [])[0]
            encoder.open()
        except (FFmpegError, ValueError):
            continue
        return str(encoder.layout.name)
    return None


def _is_kept_otherwise(stream: Any, source: Any) -> bool:
    """Return whether metadata or chapters hold the same, as beside the data tracks of .mov."""
    if stream.type != "data":
        return False
    return "timecode" in stream.metadata or bool(source.chapters and stream.name == "bin_data")


def _label(stream: Any) -> str:
    """Return what messages call a stream."""
    kind = "cover" if is_cover(stream) else _WORDS.get(stream.type, stream.type)
    if stream.codec_context is not None:
        name = stream.codec_context.codec.canonical_name
    elif stream.type in ("data", "attachment"):
        name = stream.metadata.get("filename") or stream.metadata.get("handler_name") or "unnamed"
    else:
        name = "unknown codec"
    language = stream.metadata.get("language", "und")
    return f"{kind} {stream.index} ({name}{'' if language == 'und' else f', {language}'})"
