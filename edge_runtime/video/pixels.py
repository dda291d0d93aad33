"""Pixels of FFmpeg's frames as upright, progressive 8-bit RGB, and back as encoders take them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_runtime.video.frames import UNSPECIFIED, Frame, VideoInfo, even

# swscale's SWS_BICUBIC, SWS_ACCURATE_RND, SWS_FULL_CHR_H_INT: its defaults darken a little.
_EXACT = 0x4 | 0x40000 | 0x2000
LIMITED, _FULL = 1, 2  # FFmpeg's ranges: 16 to 235, and 0 to 255
_BT601, BT709 = 6, 1  # matrices of H.273
# H.273 matrix -> swscale's coefficients, which count differently.
_COEFFICIENTS = {1: 1, 4: 4, 5: 5, 6: 5, 7: 7, 9: 9}
_HD_LINES = 720
_HIGH_RANGES = {16: "PQ", 18: "HLG"}  # transfers of H.273
_TO_ORDINARY = (
    "out_primaries=bt709:out_transfer=bt709:out_color_matrix=bt709:out_range=pc:intent=perceptual"
)


class Ordinary:
    """Makes decoded frames progressive, and of ordinary dynamic range.

    Attributes:
        notes: What was found that the result will not have, in words.
    """

    def __init__(self) -> None:
        self.notes: list[str] = []
        self._high: str | None = None
        self._woven = False
        self._graph: Any = None
        self._shape: Any = None

    @property
    def is_high(self) -> bool:
        """Whether frames come with a high dynamic range, and leave as BT.709."""
        return self._high is not None

    def each(self, frame: Any, transfer: int) -> Iterator[Any]:
        """Yield what is ready after one more frame of PyAV.

        Args:
            frame: As decoded.
            transfer: Its transfer characteristics, as a code point of H.273.
        """
        if self._shape is None:
            self._high = _HIGH_RANGES.get(transfer)
            bits = max(component.bits for component in frame.format.components)
            if self._high:
                self.notes.append(f"is HDR ({self._high}); the result is not, but BT.709")
            elif bits > 8:
                self.notes.append(f"has {bits} bits a colour; the result has 8")
        if frame.interlaced_frame and not self._woven:
            self._woven = True
            self.notes.append("is interlaced; the result is progressive, one frame for two fields")
        shape = (frame.width, frame.height, frame.format.name, self._woven)
        if shape != self._shape:
            yield from self.rest()
            self._shape = shape
            self._graph = self._filters(frame) if self._high or self._woven else None
        if self._graph is None:
            yield frame
        else:
            self._graph.push(frame)
            yield from self._ready()

    def rest(self) -> Iterator[Any]:
        """Yield what still waits, as the last one of interlaced frames does for the next."""
        if self._graph is not None:
            self._graph.push(None)
            yield from self._ready()

    def _filters(self, frame: Any) -> Any:
        from av.filter import Graph

        graph = Graph()
        nodes = [
            graph.add_buffer(
                width=frame.width,
                height=frame.height,
                format=frame.format,
                time_base=frame.time_base,
            )
        ]
        if self._woven:
            nodes.append(graph.add("bwdif", "mode=send_frame:deint=interlaced"))
        if self._high:
            nodes += [graph.add("scale", _TO_ORDINARY), graph.add("format", "rgb24")]
        graph.link_nodes(*nodes, graph.add("buffersink")).configure()
        return graph

    def _ready(self) -> Iterator[Any]:
        from av import error

        while True:
            try:
                yield self._graph.vpull()
            except (error.BlockingIOError, error.EOFError):
                return


def unpack(frame: Any) -> tuple[NDArray[np.uint8], NDArray[np.uint8] | None, bool]:
    """Return a frame of PyAV as RGB, its alpha or None, and whether sides changed places.

    Args:
        frame: Decoded. Its display matrix, turned or mirrored, is applied.

    Raises:
        ValueError: There is no way from its pixel format to RGB.
    """
    has_alpha = any(component.is_alpha for component in frame.format.components)
    pixels = frame.to_ndarray(
        format="rgba" if has_alpha else "rgb24",
        interpolation=_EXACT,
        src_colorspace=_coefficients(frame.colorspace, frame.height),
        src_color_range=frame.color_range or LIMITED,
        dst_color_range=_FULL,
    )
    a, b, c, d = _display_matrix(frame)
    is_turned = abs(b) > abs(a)
    if is_turned:
        pixels, a, d = pixels.swapaxes(0, 1), c, b
    pixels = pixels[:: -1 if d < 0 else 1, :: -1 if a < 0 else 1]
    alpha = np.ascontiguousarray(pixels[..., 3]) if has_alpha else None
    return np.ascontiguousarray(pixels[..., :3]), alpha, is_turned


def _display_matrix(frame: Any) -> tuple[int, int, int, int]:
    """Return a, b, c, d, by which (x, y) is shown at (ax + cy, bx + dy)."""
    from av.sidedata.sidedata import Type

    try:
        data = frame.side_data.get(Type.DISPLAYMATRIX)
    except ValueError:  # PyAV reads none where one is of a kind that it does not know
        turns = round(frame.rotation / 90) % 4
        return ((1, 0, 0, 1), (0, -1, 1, 0), (-1, 0, 0, -1), (0, 1, -1, 0))[turns]
    if data is None:
        return 1, 0, 0, 1
    a, b, _, c, d = np.frombuffer(data, np.int32)[:5].tolist()
    return a, b, c, d


def pack(frame: Frame, info: VideoInfo) -> Any:
    """Return a frame as 8-bit YUV of limited range with colour at half size, and even sides."""
    from av import VideoFrame

    pixels = frame.rgb if frame.alpha is None else np.dstack([frame.rgb, frame.alpha])
    kind = "rgb24" if frame.alpha is None else "rgba"
    picture = VideoFrame.from_ndarray(np.ascontiguousarray(even(pixels)), format=kind)
    picture = picture.reformat(
        format=pixel_format(info),
        interpolation=_EXACT,
        src_color_range=_FULL,
        dst_colorspace=_coefficients(info.colour[0], info.height),
        dst_color_range=LIMITED,
    )
    picture.colorspace, picture.color_range = storable(info.colour[0], info.height), LIMITED
    return picture


def pixel_format(info: VideoInfo) -> str:
    """Return FFmpeg's name of the pixels that ``pack`` gives."""
    return "yuva420p" if info.alpha else "yuv420p"


def _coefficients(matrix: int, height: int) -> int:
    """Return swscale's coefficients for a matrix; where none is stated, those players assume."""
    if matrix in _COEFFICIENTS:
        return _COEFFICIENTS[matrix]
    return _COEFFICIENTS[BT709 if height >= _HD_LINES else _BT601]


def storable(matrix: int, height: int) -> int:
    """Return the matrix to state in a file: RGB and exotic sources get a usual one."""
    if matrix == UNSPECIFIED or matrix in _COEFFICIENTS:
        return matrix
    return BT709 if height >= _HD_LINES else _BT601
