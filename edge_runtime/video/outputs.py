"""Places for derained frames other than files: raw bytes, a window, and several at once."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import cv2

from edge_runtime.errors import UsageError, VideoError
from edge_runtime.files import replacing
from edge_runtime.video.files import CRF, check_target, open_writer
from edge_runtime.video.frames import Frame, Reader, VideoInfo, Writer, check_size

_ESCAPE = 27
_TITLE = "edge-derain"


class RawWriter:
    """Writes frames as raw rgb24: rows from the top, three bytes a pixel, no header.

    Args:
        stream: Where to, such as ``sys.stdout.buffer``; it is flushed but not closed.
        info: Of what will be written; all frames have that size.
    """

    def __init__(self, stream: BinaryIO, info: VideoInfo) -> None:
        self._stream = stream
        self._info = info

    def write(self, item: Any) -> None:
        """Write a frame; sound is left out."""
        if isinstance(item, Frame):
            check_size(item, self._info)
            self._stream.write(item.rgb.tobytes())
            self._stream.flush()

    def close(self, *, finish: bool) -> None:
        """Do nothing: every frame is out already."""


class WindowWriter:
    """Shows frames in a window, and ends with KeyboardInterrupt on q, Escape or its closing.

    Raises:
        UsageError: This OpenCV has no windows, or there is no display.
    """

    def __init__(self) -> None:
        try:
            cv2.namedWindow(_TITLE, cv2.WINDOW_NORMAL | cv2.WINDOW_KEEPRATIO)
        except cv2.error:
            raise UsageError(
                "--show: this OpenCV cannot open a window; replace opencv-python-headless by "
                "opencv-python, or pipe -o - to a player"
            ) from None

    def write(self, item: Any) -> None:
        """Show a frame; sound is left out."""
        if not isinstance(item, Frame):
            return
        cv2.imshow(_TITLE, cv2.cvtColor(item.rgb, cv2.COLOR_RGB2BGR))
        key = cv2.waitKey(1) & 0xFF
        if key in (_ESCAPE, ord("q")) or cv2.getWindowProperty(_TITLE, cv2.WND_PROP_VISIBLE) < 1:
            raise KeyboardInterrupt

    def close(self, *, finish: bool) -> None:
        """Close the window."""
        cv2.destroyAllWindows()


class Tee:
    """Writes to several writers in turn."""

    def __init__(self, writers: Sequence[Writer]) -> None:
        self._writers = writers

    def write(self, item: Any) -> None:
        """Write to each."""
        for writer in self._writers:
            writer.write(item)

    def close(self, *, finish: bool) -> None:
        """Close each, also when one of them fails."""
        with contextlib.ExitStack() as stack:
            for writer in self._writers:
                stack.callback(writer.close, finish=finish)


@contextlib.contextmanager
def destination(
    info: VideoInfo,
    *,
    file: Path | None = None,
    raw: BinaryIO | None = None,
    show: bool = False,
    crf: int = CRF,
    sound: Reader | None = None,
) -> Iterator[Writer]:
    """Give a writer to any of a file, a raw stream and a window.

    The folder of the file is made. When the block ends, the file is completed and takes its
    name; when the block raises, what lay under that name stays as it was.

    Args:
        info: Of what will be written.
        file: A video; its suffix is one of ``video_files.WRITABLE``.
        raw: A stream for raw rgb24 frames.
        show: Whether to open a window.
        crf: Constant rate factor of the file, from 0 (best) to 51.
        sound: Whose sound and metadata go into the file.

    Raises:
        VideoError: The file cannot be written.
        UsageError: Unknown suffix, ``crf`` out of range, or no window can be opened.
    """
    suffix = None if file is None else check_target(file)
    try:
        with contextlib.ExitStack() as stack:
            writers: list[Writer] = []
            if show:
                writers.append(WindowWriter())
            if raw is not None:
                writers.append(RawWriter(raw, info))
            if file is not None and suffix is not None:
                file.parent.mkdir(parents=True, exist_ok=True)
                part = stack.enter_context(replacing(file))
                writers.append(open_writer(part, suffix, info, crf, sound))
            writer = Tee(writers)
            try:
                yield writer
            except BaseException:
                writer.close(finish=False)
                raise
            writer.close(finish=True)
            if file is not None and not part.exists():
                raise VideoError(f"{file}: is not written, because no frame came")
    except BrokenPipeError:
        raise  # nobody reads the raw stream any more
    except OSError as error:
        raise VideoError(
            f"{file}: cannot be written ({error.strerror}); choose another place"
        ) from None
