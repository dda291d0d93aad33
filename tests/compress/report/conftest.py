"""Results with a known Pareto front, and a browser, for tests of the report."""

import fcntl
import hashlib
import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from edge_runtime.machine import Machine
from edge_runtime.models.card import ModelCard, QualityRow
from edge_runtime.models.records import to_json
from edge_runtime.report.device import ArtifactReport, DeviceReport, ReferenceUsed
from edge_runtime.report.measure import Latency
from edge_runtime.report.scores import PictureScores, sum_up

TEACHER_PSNR = 28.0


def card(
    file: str, kilobytes: float, psnr: float, *, role: str = "student", **changes: Any
) -> ModelCard:
    """Return the card of ``NAME_PRECISION.FORMAT``, scored on the data set ``val``."""
    stem, _, suffix = file.rpartition(".")
    rows = tuple(
        QualityRow(
            dataset="val", images=5, protocol=protocol, input_psnr=20.0 + more, input_ssim=0.6,
            psnr=psnr + more, ssim=psnr / 100,
        )
        for protocol, more in (("rgb", 0.0), ("y", 1.5))
    )  # fmt: skip
    values: dict[str, Any] = {
        "name": stem.rpartition("_")[0] or stem,
        "role": role,
        "architecture": "student",
        "config": {},
        "format": suffix,
        "precision": stem.rpartition("_")[2] if role == "student" else "fp32",
        "layout": "NHWC" if suffix == "tflite" else "NCHW",
        "size_multiple": 8,
        "halo": 0,
        "tiling_exact": True,
        "parameters": 1000,
        "macs_per_pixel": 2500.0,
        "quality": rows,
        "recipe": ("train: from scratch", f"export: {suffix}"),
        "data": (),
        "versions": {},
        "licence": "test only",
        "bytes": round(kilobytes * 1000),
        "sha256": hashlib.sha256(file.encode()).hexdigest(),
    }
    return ModelCard(**{**values, **changes})


def teacher_card() -> ModelCard:
    """Return the card of the teacher's checkpoint."""
    return card("master.safetensors", 9000, TEACHER_PSNR, role="teacher")


def pictures(loss: float) -> tuple[PictureScores, ...]:
    """Return scores of two rainy pictures that lose ``loss`` and twice that, and of a dry one."""
    return tuple(
        PictureScores(
            dataset=dataset, name=name, protocol=protocol, input_psnr=given, input_ssim=0.6,
            teacher_psnr=teacher, teacher_ssim=0.9, psnr=teacher - lost, ssim=0.89,
            fidelity_db=40.0, psnr_loss_db=lost, ssim_loss=0.01,
        )
        for dataset, name, given, teacher, lost in (
            ("rain", "a", 20.0, 28.0, loss),
            ("rain", "b", 20.0, 30.0, 2 * loss),
            ("dry", "c", 100.0, 100.0, 50.0),
        )
        for protocol in ("rgb", "y")
    )  # fmt: skip


def measured(
    file: str, of: ModelCard, ms: float, loss: float, peak_bytes: int = 50_000_000
) -> ArtifactReport:
    """Return what a device says of an artifact."""
    scores = pictures(loss)
    return ArtifactReport(
        file=file, card=of, engine="engine 1", provider="CPU", threads=1,
        latency=Latency(720, 1280, 2, 10, ms, ms * 1.5, ms * 0.9), peak_bytes=peak_bytes,
        sets=sum_up(scores), pictures=scores,
    )  # fmt: skip


def device(
    *artifacts: ArtifactReport, cpu: str = "Board One", reference: str = "1" * 64
) -> DeviceReport:
    """Return the report of a device."""
    return DeviceReport(
        made="2026-11-22T00:00:00+00:00",
        version="0",
        machine=Machine(cpu, 4, "Linux aarch64", "3.11", {"onnx": "engine 1"}),
        reference=ReferenceUsed(
            sha256=reference, images=3, protocol="as always", teacher="master",
            teacher_sha256=teacher_card().sha256 or "",
        ),
        artifacts=artifacts,
    )  # fmt: skip


def write(path: Path, record: Any) -> Path:
    """Write a card or a device report as JSON."""
    text = record.to_json() if isinstance(record, ModelCard) else to_json(record)
    assert json.loads(text)
    path.write_text(text, encoding="utf-8")
    return path


NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


class Tab:
    """One page.

    Attributes:
        complaints: What the console said, and errors of scripts and of loading.
    """

    def __init__(self, to_browser: int, from_browser: int) -> None:
        self._write = to_browser
        self._read = open(from_browser, "rb", buffering=0)  # noqa: SIM115
        self._rest = b""
        self._number = 0
        self._session: str | None = None
        self.complaints: list[str] = []
        target = self.send("Target.createTarget", url="about:blank")["targetId"]
        attached = self.send("Target.attachToTarget", targetId=target, flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.send(f"{domain}.enable")

    def send(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Call a method of the DevTools protocol and return its result."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._write, json.dumps(message).encode() + b"\0")
        while (answer := self._next()).get("id") != self._number:
            self._note(answer)
        if "error" in answer:
            raise AssertionError(f"{method}: {answer['error']}")
        return dict(answer["result"])

    def open(self, page: Path, *, width: int, height: int = 900, dark: bool = False) -> None:
        """Load a file at a size of the window, and wait until it is loaded."""
        phone = width < 600
        self.send(
            "Emulation.setDeviceMetricsOverride",
            width=width, height=height, deviceScaleFactor=1, mobile=phone,
        )  # fmt: skip
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.send("Emulation.setEmulatedMedia", features=[scheme])
        self.send("Page.navigate", url=page.as_uri())
        while (event := self._next()).get("method") != "Page.loadEventFired":
            self._note(event)

    def value(self, expression: str) -> Any:
        """Evaluate JavaScript and return its value."""
        found = self.send("Runtime.evaluate", expression=expression, returnByValue=True)
        assert "exceptionDetails" not in found, found
        return found["result"].get("value")

    def press(self, key: str, code: int) -> None:
        """Press a key, as a keyboard does."""
        for kind in ("keyDown", "keyUp"):
            self.send("Input.dispatchKeyEvent", type=kind, key=key, windowsVirtualKeyCode=code)

    def click(self, x: float, y: float) -> None:
        """Press and release the mouse at a place in the window, in pixels."""
        for kind in ("mousePressed", "mouseReleased"):
            self.send("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)

    def close(self) -> None:
        """Stop listening; the browser ends by itself."""
        self._read.close()

    def _next(self) -> dict[str, Any]:
        while b"\0" not in self._rest:
            chunk = self._read.read(1 << 20)
            assert chunk, "the browser died"
            self._rest += chunk
        message, _, self._rest = self._rest.partition(b"\0")
        return dict(json.loads(message))

    def _note(self, event: dict[str, Any]) -> None:
        kinds = ("Runtime.exceptionThrown", "Runtime.consoleAPICalled", "Log.entryAdded")
        outside = event.get("method") == "Network.requestWillBeSent" and not event["params"][
            "request"
        ]["url"].startswith(("file:", "data:"))
        if event.get("method") in kinds or outside:
            self.complaints.append(json.dumps(event["params"])[:500])


@pytest.fixture(scope="module")
def tab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tab]:
    """A headless Chromium, driven through its debugging pipe: no driver and no package."""
    program = next((path for name in NAMES if (path := shutil.which(name))), None)
    if program is None:
        pytest.skip("no Chromium or Chrome is installed")
    profile = tmp_path_factory.mktemp("profile")
    theirs_in, ours_out = os.pipe()
    ours_in, theirs_out = os.pipe()
    high = [fcntl.fcntl(each, fcntl.F_DUPFD, 20) for each in (theirs_in, theirs_out)]

    def take_places() -> None:
        os.dup2(high[0], 3)
        os.dup2(high[1], 4)

    flags = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]
    flags += ["--remote-debugging-pipe", f"--user-data-dir={profile}", "--hide-scrollbars"]
    flags += ["--disable-background-networking", "--disable-component-update", "--no-first-run"]
    process = subprocess.Popen(
        [program, *flags],
        pass_fds=(3, 4),
        preexec_fn=take_places,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    for each in (theirs_in, theirs_out, *high):
        os.close(each)
    tab = None
    try:
        tab = Tab(ours_out, ours_in)
        yield tab
    finally:
        process.terminate()
        process.wait(timeout=20)
        os.close(ours_out)
        if tab is not None:
            tab.close()
