"""The command ``edge-derain`` on videos, streams and cameras."""

import functools
import http.server
import io
import json
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest

from edge_runtime import cli
from edge_runtime.video import camera
from edge_runtime.video.frames import Frame, VideoInfo
from tests.conftest import Refused


def _clip(name: str, frames: int = 12, side: int = 32) -> None:
    writer = cv2.VideoWriter(name, cv2.VideoWriter.fourcc(*"mp4v"), 10, (side, side))
    for number in range(frames):
        writer.write(np.full((side, side, 3), 100 + 8 * (number % 16), np.uint8))
    writer.release()


def _count(name: str | Path) -> int:
    return int(cv2.VideoCapture(str(name)).get(cv2.CAP_PROP_FRAME_COUNT))


def test_videos_with_a_line_for_each(
    here: Path, model: str, capfd: pytest.CaptureFixture[str]
) -> None:
    for name in ("a.mp4", "b.mp4"):
        _clip(name)
    Path("c.mp4").write_bytes(b"junk")
    assert cli.main(["a.mp4", "c.mp4", "b.mp4", "-o", "new", "--model", model]) == 1
    out, err = capfd.readouterr()
    first, second = out.splitlines()
    assert first.startswith("echo fp32 · 32x32 · 12 frames · ")
    assert first.endswith(" frames/s · CPUExecutionProvider · new/a_derained.mp4")
    assert second.endswith("new/b_derained.mp4")
    assert err.startswith("edge-derain: error: c.mp4: not a video that can be read")
    assert len(err.splitlines()) == 1
    assert _count("new/a_derained.mp4") == 12
    assert sorted(path.name for path in Path("new").iterdir()) == [
        "a_derained.mp4",
        "b_derained.mp4",
    ]


def test_json(here: Path, model: str, capsys: pytest.CaptureFixture[str]) -> None:
    _clip("a.mp4")
    Path("c.mp4").write_bytes(b"junk")
    assert cli.main(["a.mp4", "c.mp4", "--json", "--steady", "--model", model]) == 1
    first, second = map(json.loads, capsys.readouterr().out.splitlines())
    assert first.pop("milliseconds") > 0
    assert first.pop("frames_per_second") > 0
    assert first == {
        "input": "a.mp4",
        "output": "a_derained.mp4",
        "rain": 1.0,
        "model": "echo",
        "precision": "fp32",
        "width": 32,
        "height": 32,
        "frames": 12,
        "provider": "CPUExecutionProvider",
        "damaged_packets": 0,
    }
    assert second.keys() == {"input", "error"}


def test_raw_frames_on_standard_output(
    here: Path, model: str, capsysbinary: pytest.CaptureFixture[bytes]
) -> None:
    _clip("a.mp4")
    assert cli.main(["a.mp4", "-o", "-", "--json", "--model", model]) == 0
    out, err = capsysbinary.readouterr()
    assert len(out) == 12 * 32 * 32 * 3
    frames = np.frombuffer(out, np.uint8).reshape(12, 32, 32, 3)
    assert np.abs(frames.mean((1, 2, 3)) - np.arange(100, 196, 8) / 2).max() < 3
    assert json.loads(err)["output"] == "-"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["a.mp4", "--format", "png"], "--format: is for pictures; leave it out"),
        (["a.mp4", "--max-pixels", "1G"], "--max-pixels: is for pictures; leave it out"),
        (["a.jpg", "--steady"], "--steady: is for videos and cameras; leave it out"),
        (["a.mp4", "--seconds", "3"], "--seconds: is for cameras; leave it out"),
        (["a.mp4", "a.jpg"], "a.jpg: is no video file"),
        (["--camera", "0"], "a camera needs -o FILE"),
    ],
)
def test_options_without_effect_are_refused(
    here: Path, arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(arguments) == 2
    assert capsys.readouterr().err.startswith(f"edge-derain: error: {message}")


@pytest.mark.parametrize("option", [["--quality", "101"], ["--quality", "x"], ["--seconds", "0"]])
def test_values_out_of_range(option: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        cli.main(["a.mp4", *option])
    assert "must be" in capsys.readouterr().err


def test_a_progress_bar_only_on_a_terminal(
    here: Path, model: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    _clip("a.mp4")
    assert cli.main(["a.mp4", "--model", model]) == 0
    assert capsys.readouterr().err == ""
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    monkeypatch.setattr("tqdm.tqdm.monitor_interval", 0)
    assert cli.main(["a.mp4", "--model", model]) == 0
    err = capsys.readouterr().err
    assert "/12 [" in err
    assert "frame/s" in err


class _Synthetic:
    """A camera of 20 frames at 100 a second, then nothing."""

    damaged = 0
    info = VideoInfo(16, 16, Fraction(100), Fraction(1, 1000))

    def __iter__(self) -> Iterator[Frame]:
        for _ in range(20):
            time.sleep(0.01)
            yield Frame(np.full((16, 16, 3), 200, np.uint8), Fraction(0))

    def close(self) -> None:
        pass


def test_a_camera_that_breaks_off_keeps_its_recording(
    here: Path, model: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(camera, "open_live", lambda source: _Synthetic())
    monkeypatch.setattr(camera, "ATTEMPTS", 0)
    assert cli.main(["--camera", "0", "-o", "a.mp4", "--json", "--model", model]) == 1
    out, err = capsys.readouterr()
    record = json.loads(out)
    assert record["frames"] + record["dropped"] == 20
    assert record["p95_ms"] >= record["p50_ms"] > 0
    assert record["reconnects"] == 0
    assert record["error"] == "camera 0: broke off and did not come back in 0 attempts"
    assert err.splitlines() == [f"edge-derain: error: {record['error']}"]
    assert _count("a.mp4") == record["frames"]


def test_seconds_stop_a_camera(
    here: Path, model: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(camera, "open_live", lambda source: _Synthetic())
    arguments = ["--camera", "0", "-o", "a.mp4", "--seconds", "0.08", "--model", model]
    assert cli.main(arguments) == 0
    line = capsys.readouterr().out
    assert " dropped · latency " in line
    assert 1 <= _count("a.mp4") < 20


@pytest.fixture
def address(here: Path) -> Iterator[str]:
    """Serve the folder over HTTP."""

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

    handler = functools.partial(Quiet, directory=str(here))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_a_stream_over_http(
    here: Path, model: str, address: str, capsys: pytest.CaptureFixture[str]
) -> None:
    _clip("a.mp4", frames=40)
    assert cli.main([f"{address}/a.mp4", "-o", "b.mp4", "--json", "--model", model]) == 0
    record = json.loads(capsys.readouterr().out)
    assert record["frames"] + record["dropped"] == 40
    assert record["input"] == f"{address}/a.mp4"
    assert _count("b.mp4") == record["frames"]


def test_a_stream_that_is_not_there(here: Path, model: str, address: str, refused: Refused) -> None:
    said = f"edge-derain: error: {address}/none.mp4: gives no picture"
    assert refused(cli.main, [f"{address}/none.mp4", "-o", "b.mp4", "--model", model], said) == 1


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_leaves_the_old_file(
    here: Path, model: str, number: signal.Signals, code: int
) -> None:
    _clip("a.mp4", frames=300, side=256)
    Path("b.mp4").write_bytes(b"old")
    command = [sys.executable, "-m", "edge_runtime.cli", "a.mp4", "-o", "b.mp4", "--force"]
    with subprocess.Popen([*command, "--model", model], stderr=subprocess.PIPE) as process:
        deadline = time.monotonic() + 60
        while not list(here.glob(".edge-derain-*.part")) and time.monotonic() < deadline:
            time.sleep(0.01)
        process.send_signal(number)
        _, err = process.communicate(timeout=60)
    assert process.returncode == code, err
    assert Path("b.mp4").read_bytes() == b"old"
    assert sorted(path.name for path in here.iterdir()) == ["a.mp4", "b.mp4"]


def test_a_reader_that_leaves(here: Path, model: str) -> None:
    _clip("a.mp4", frames=100, side=128)
    command = [sys.executable, "-m", "edge_runtime.cli", "a.mp4", "-o", "-", "--model", model]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert isinstance(process.stdout, io.BufferedReader)
        process.stdout.read(1000)
        process.stdout.close()
        assert process.stderr is not None
        assert process.stderr.read() == b""
    assert process.returncode == 141
