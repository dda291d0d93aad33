import io
import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from edge_runtime import memory
from edge_runtime.derainer import WINDOW_PIXELS, Derainer
from edge_runtime.errors import ImageError, UsageError
from edge_runtime.memory import MemoryGate, MemoryPlan, picture_cost, plan_memory
from edge_runtime.pictures.picture import Picture, write_picture
from edge_runtime.pictures.plan import Job

SaveModel = Callable[..., Path]
ROOT = Path(__file__).parents[2]


@pytest.fixture
def derainer(save_model: SaveModel, monkeypatch: pytest.MonkeyPatch) -> Derainer:
    """A model with a halo of 96 in a process that holds 100 MB, and 100 bytes a window pixel."""
    peak = 100_000_000 + 100 * memory._PROBE_SIDE**2
    monkeypatch.setattr(
        memory, "resident_bytes", lambda *, peak=False, most=peak: most if peak else 100_000_000
    )
    return Derainer.load(save_model(halo=96), threads=1)


def _job(tmp_path: Path, width: int) -> Job:
    path = tmp_path / f"{width}.bmp"
    Image.new("L", (width, 1000)).save(path)
    return Job(path, path)


def test_the_largest_window_that_leaves_room_for_the_largest_picture(
    tmp_path: Path, derainer: Derainer
) -> None:
    limit = 300_000_000
    free = 200_000_000 / memory._SAFETY
    for width in (1000, 5000):
        plan = plan_memory(derainer, [_job(tmp_path, 10), _job(tmp_path, width)], limit)
        cost = picture_cost((tmp_path / f"{width}.bmp").read_bytes())
        window = (plan.window_pixels or 0) * 100
        assert window + cost <= free
        assert plan.window_pixels == WINDOW_PIXELS or window + 100 + cost > free
        assert plan.picture_bytes >= cost
        assert plan.strict


def test_what_is_not_known_yet_gets_half(derainer: Derainer) -> None:
    plan = plan_memory(derainer, None, 300_000_000)
    assert plan.picture_bytes == pytest.approx(100_000_000 / memory._SAFETY, rel=0.1)
    shared = plan_memory(derainer, None, 300_000_000, workers=4)
    assert (shared.window_pixels or 0) < (plan.window_pixels or 0)


def test_too_little_says_how_much_is_needed(derainer: Derainer) -> None:
    with pytest.raises(UsageError, match=r"101MB: too little for echo; give at least (\d+)MB") as e:
        plan_memory(derainer, None, 101_000_000)
    needed = int(str(e.value).split()[-1].removesuffix("MB"))
    plan_memory(derainer, None, (needed + 1) * 10**6)


def test_a_model_whose_tiles_differ_is_not_tiled_behind_your_back(save_model: SaveModel) -> None:
    derainer = Derainer.load(save_model(tiling_exact=False), threads=1)
    with pytest.raises(UsageError, match="gives other results in tiles"):
        plan_memory(derainer, None, 10**9)


def test_costs() -> None:
    def encoded(kind: str, array: np.ndarray) -> bytes:
        buffer = io.BytesIO()
        Image.fromarray(array).save(buffer, kind)
        return buffer.getvalue()

    shallow, deep = np.zeros((30, 40), np.uint8), np.zeros((30, 40), np.uint16)
    for kind, array, each in (("PNG", shallow, 12), ("PNG", deep, 24), ("TIFF", deep, 24)):
        data = encoded(kind, array)
        assert picture_cost(data) == 1200 * each + len(data)
    assert picture_cost(b"junk") == 4


def test_the_gate_lets_in_what_fits_and_always_one() -> None:
    gate = MemoryGate(MemoryPlan(None, 100, False), threading.Event())
    gate.enter(0, 500, "huge")
    entered = threading.Event()

    def second() -> None:
        gate.enter(1, 10, "small")
        entered.set()

    thread = threading.Thread(target=second)
    thread.start()
    assert not entered.wait(0.05)
    gate.leave(500)
    assert entered.wait(5)
    thread.join()
    gate.enter(2, 90, "fits beside")


def test_the_gate_keeps_the_order() -> None:
    gate, entered = MemoryGate(MemoryPlan(None, 100, False), threading.Event()), threading.Event()

    def second() -> None:
        gate.enter(1, 1, "second")
        entered.set()

    thread = threading.Thread(target=second)
    thread.start()
    assert not entered.wait(0.05)
    gate.enter(0, 1, "first")
    assert entered.wait(5)
    thread.join()


def test_a_strict_gate_refuses_and_goes_on() -> None:
    gate = MemoryGate(MemoryPlan(64, 100, True), threading.Event())
    with pytest.raises(ImageError, match=r"huge: takes 0 MB, and 0 MB are left for it; raise"):
        gate.enter(0, 101, "huge")
    gate.enter(1, 100, "fits")


def test_a_stopped_gate_opens() -> None:
    stop = threading.Event()
    gate = MemoryGate(MemoryPlan(64, 100, True), stop)
    gate.enter(0, 100, "fits")
    stop.set()
    with pytest.raises(InterruptedError):
        gate.enter(1, 1, "late")


_SCRIPT = """
import json, re, sys
from edge_runtime.cli import main
code = main(sys.argv[1:])
# Not ru_maxrss, which begins with that of the process that started this one.
peak = re.search(r"VmHWM:\\s+(\\d+) kB", open("/proc/self/status").read())[1]
print(json.dumps([code, int(peak) * 1024]))
"""


def _peak(folder: Path, *arguments: str) -> int:
    """Run the command in a process of its own and return the most bytes that it held."""
    done = subprocess.run(
        [sys.executable, "-c", _SCRIPT, *arguments, "--threads", "1"],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=300,
        check=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    code, peak = json.loads(done.stdout.splitlines()[-1])
    assert code == 0
    return int(peak)


def _save(path: Path, height: int, width: int) -> None:
    smooth = np.mgrid[0:height, 0:width].sum(axis=0) // 28
    write_picture(path, Picture(np.dstack([smooth] * 3).astype(np.uint8)))


on_linux = pytest.mark.skipif(sys.platform != "linux", reason="reads the peak as Linux tells it")


@on_linux
def test_a_real_run_stays_below_its_limit(tmp_path: Path) -> None:
    _save(tmp_path / "a.png", 1500, 2000)
    assert _peak(tmp_path, "a.png", "--max-memory", "180MB") <= 180_000_000


@on_linux
def test_4k_takes_300_mb_without_being_told(tmp_path: Path) -> None:
    _save(tmp_path / "a.jpg", 2160, 3840)
    assert _peak(tmp_path, "a.jpg", "--model", "small_fp32", "--backend", "onnx") <= 300_000_000
