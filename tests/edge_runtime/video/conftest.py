"""Videos that the tests make, and what is read of them."""

from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from av.filter import Graph
from numpy.typing import NDArray

from edge_runtime.derainer import Derainer

SaveModel = Callable[..., Path]
MILLISECOND = Fraction(1, 1000)
UNEVEN = (0, 40, 55, 130, 133, 210, 300, 301, 420, 480)


@pytest.fixture
def derainer(save_model: SaveModel) -> Derainer:
    """Changes nothing, so that what changed is the video's doing."""
    return Derainer.load(save_model(), threads=1)


@pytest.fixture
def halving(save_model: SaveModel) -> Derainer:
    return Derainer.load(save_model(gain=0.5), threads=1)


def scene(width: int, height: int, number: int) -> NDArray[np.uint8]:
    """Return a smooth picture, different at every corner, that changes with its number."""
    x, y = np.meshgrid(np.linspace(0, 1, width), np.linspace(0, 1, height))
    shade = [40 + 150 * x, 60 + 120 * y, 200 - 100 * x * y + 3 * number]
    return np.clip(np.dstack(shade), 0, 255).astype(np.uint8)


def make_clip(
    path: Path,
    *,
    size: tuple[int, int] = (64, 48),
    times: Sequence[int] = UNEVEN,
    sound: str | None = "aac",
    rotation: int = 0,
    matrix: int | None = None,
    aspect: Fraction | None = None,
    codec: str = "libx264",
    pixels: str = "",
    options: Mapping[str, str] | None = None,
    container: str | None = None,
    layout: str = "stereo",
    rate: int = 44_100,
    fields: str = "",
    about: Mapping[str, str] | None = None,
    more: Callable[[Any], list[Any]] = lambda container: [],
) -> list[NDArray[np.uint8]]:
    """Write a video with FFmpeg and return its frames, which are ``times`` milliseconds in.

    Args:
        fields: ``'tff'`` or ``'bff'`` weaves two pictures into a frame; the first are returned.
        about: Metadata of the picture.
        more: Adds tracks to the file, and returns their packets, or what gives them.
    """
    frames = [scene(*size, number) for number in range(len(times))]
    odd = size[0] % 2 or size[1] % 2
    with av.open(str(path), "w", format=container) as file:
        file.metadata["title"] = "Rain"
        stream: Any = file.add_stream(codec, rate=25, options={"crf": "4", **(options or {})})
        stream.width, stream.height = size
        stream.pix_fmt = pixels or ("yuv444p" if odd else "yuv420p")
        stream.metadata.update(about or {})
        context = stream.codec_context
        context.time_base = MILLISECOND
        if aspect is not None:
            context.sample_aspect_ratio = aspect
        if matrix is not None:
            context.colorspace = context.color_primaries = context.color_trc = matrix
        if rotation:
            stream.set_display_rotation(rotation)
        track: Any = None
        if sound is not None:
            track = file.add_stream(sound, rate=rate, layout=layout)
        packets = more(file)
        for number, (time, rgb) in enumerate(zip(times, frames, strict=True)):
            woven = rgb.copy()
            if fields:
                later = slice(1 if fields == "tff" else 0, None, 2)
                woven[later] = 255 - rgb[later] if number % 2 else 128
            has_alpha = "a" in stream.pix_fmt.removeprefix("gray")
            shown = np.dstack([woven, _half(*size)]) if has_alpha else woven
            frame = av.VideoFrame.from_ndarray(shown, format="rgba" if has_alpha else "rgb24")
            frame = frame.reformat(
                format=stream.pix_fmt,
                src_color_range=2,
                dst_colorspace={None: 5, 6: 5, 1: 1}[matrix],
                dst_color_range=2 if "yuvj" in stream.pix_fmt else 1,
            )
            frame.pts, frame.time_base = time, MILLISECOND
            file.mux(stream.encode(_with_fields(frame, fields) if fields else frame))
        file.mux(stream.encode(None))
        for packet in packets:
            file.mux(packet() if callable(packet) else packet)
        if track is not None:
            tone = np.sin(np.arange(rate // 2) / 10).astype(np.float32) * 0.3
            channels = np.stack([tone] * track.layout.nb_channels)
            audio = av.AudioFrame.from_ndarray(channels, "fltp", layout)
            audio.sample_rate, audio.pts = rate, 0
            file.mux(track.encode(audio))
            file.mux(track.encode(None))
    return frames


def _half(width: int, height: int) -> NDArray[np.uint8]:
    """Return alpha that is opaque on the left, and nothing on the right."""
    return np.tile(np.where(np.arange(width) < width // 2, 255, 0).astype(np.uint8), (height, 1))


def _with_fields(frame: av.VideoFrame, order: str) -> Any:
    graph = Graph()
    source = graph.add_buffer(
        width=frame.width, height=frame.height, format=frame.format, time_base=frame.time_base
    )
    graph.link_nodes(source, graph.add("setfield", order), graph.add("buffersink")).configure()
    graph.push(frame)
    return graph.vpull()


def read_clip(path: Path) -> tuple[list[Fraction], list[NDArray[np.uint8]]]:
    """Return the times and the pictures of a video."""
    with av.open(str(path)) as container:
        frames = list(container.decode(video=0))
    times = [frame.pts * frame.time_base for frame in frames]
    return times, [frame.to_ndarray(format="rgb24") for frame in frames]
