"""Pixels of FFmpeg's frames as upright, progressive 8-bit RGB, and back as encoders take them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_runtime.video.frames import UNSPECIFIED, Frame, VideoInfo, even
from edge_runtime.video.hdr import HIGH, to_ordinary

# swscale's SWS_BICUBIC, SWS_ACCURATE_RND, SWS_FULL_CHR_H_INT: its defaults darken a little.
_EXACT = 0x4 | 0x40000 | 0x2000
LIMITED, _FULL = 1, 2  # FFmpeg's ranges: 16 to 235, and 0 to 255
_BT601, BT709 = 6, 1  # matrices of H.273
# H.273 matrix -> swscale's coefficients, which count differently.
_COEFFICIENTS = {1: 1, 4: 4, 5: 5, 6: 5, 7: 7, 9: 9}
_HD_LINES = 720


class Progressive:
    """Makes one frame of the two fields of interlaced ones.

    Attributes:
        is_needed: Whether there were any so far.
    """

    def __init__(self) -> None:
        self.is_needed = False
        self._graph: Any = None
        self._shape: Any = None

    def each(self, frame: Any) -> Iterator[Any]:
        """Yield what is ready after one more frame of PyAV."""
        self.is_needed = self.is_needed or frame.interlaced_frame
        shape = (frame.width, frame.height, frame.format.name, self.is_needed)
        if shape != self._shape:
            yield from self.rest()
            self._shape = shape
            self._graph = _filters(frame) if self.is_needed else None
        if self._graph is None:
            yield frame
        else:
            self._graph.push(frame)
            yield from self._ready()

    def rest(self) -> Iterator[Any]:
        """Yield what still waits, as the last frame does for the next."""
        if self._graph is not None:
            self._graph.push(None)
            yield from self._ready()

    def _ready(self) -> Iterator[Any]:
        from av import error

        while True:
            try:
                yield self._graph.vpull()
            except (error.BlockingIOError, error.EOFError):
                return


def _filters(frame: Any) -> Any:
    from av.filter import Graph

    graph = Graph()
    source = graph.add_buffer(
        width=frame.width, height=frame.height, format=frame.format, time_base=frame.time_base
    )
    bwdif = graph.add("bwdif", "mode=send_frame:deint=interlaced")
    graph.link_nodes(source, bwdif, graph.add("buffersink")).configure()
    return graph


def unpack(
    frame: Any, colour: tuple[int, int, int]
) -> tuple[NDArray[np.uint8], NDArray[np.uint8] | None, bool]:
    """Return a frame of PyAV as RGB, its alpha or None, and whether sides changed places.

    Args:
        frame: Decoded. Its display matrix, turned or mirrored, is applied.
        colour: Matrix, primaries and transfer as code points of H.273. Of a high dynamic range
            the ordinary one is made, without alpha.

    Raises:
        ValueError: There is no way from its pixel format to RGB.
    """
    is_high = colour[2] in HIGH
    has_alpha = not is_high and any(component.is_alpha for component in frame.format.components)
    pixels = frame.to_ndarray(
        format="rgb48le" if is_high else "rgba" if has_alpha else "rgb24",
        interpolation=_EXACT,
        src_colorspace=_coefficients(frame.colorspace, frame.height),
        src_color_range=frame.color_range or LIMITED,
        dst_color_range=_FULL,
    )
    if is_high:
        pixels = to_ordinary(pixels, colour[2], colour[1])
    a, b, c, d = _display_matrix(frame)
    is_turned = abs(b) > abs(a)
    if is_turned:
        pixels, a, d = pixels.swapaxes(0, 1), c, b
    pixels = pixels[:: -1 if d < 0 else 1, :: -1 if a < 0 else 1]
    alpha = np.ascontiguousarray(pixels[..., 3]) if has_alpha else None
    return np.ascontiguousarray(pixels[..., :3]), alpha, is_turned


def lost_range(frame: Any, transfer: int) -> str | None:
    """Return in words what of the range of a frame 8 bits do not hold, or None."""
    bits = max(component.bits for component in frame.format.components)
    if transfer in HIGH:
        return f"is HDR ({HIGH[transfer]}); the result has ordinary colours (BT.709)"
    return f"has {bits} bits a colour; the result has 8" if bits > 8 else None


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
