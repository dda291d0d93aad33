"""A process that is killed while it writes leaves the old file or the new one."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from edge_runtime.pictures.picture import Picture, write_picture

_SCRIPT = """
import os, random, signal, sys, time
from pathlib import Path
import numpy as np
from edge_runtime.pictures.plan import Job
from edge_runtime.models.card import ModelCard
from edge_runtime.derainer import Derainer
from edge_runtime.errors import ImageError
from edge_runtime.pictures.picture import read_picture
from edge_runtime.pictures.batch import derain_batch

folder, rounds = Path(sys.argv[1]), int(sys.argv[2])
sources = sorted(folder.glob("*.png"))
jobs = [Job(path, folder / "out" / path.name) for path in sources]
originals = {path.name: read_picture(path).rgb for path in sources}

class Darker:
    name = provider = "test"
    def __init__(self, gain):
        self.gain = np.float32(gain)
    def run(self, batch):
        return batch * self.gain

class Card:
    halo, size_multiple, tiling_exact, step, io = 0, 1, True, None, "float32"

random.seed(0)
killed = writing = 0
for turn in range(rounds):
    child = os.fork()
    if not child:
        for gain in (0, 1) * 1000:
            list(derain_batch(Derainer(Darker(gain), Card, Path("none")), jobs))
        os._exit(0)
    time.sleep(random.uniform(0.002, 0.05))
    os.kill(child, signal.SIGKILL)
    killed += os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
    for path in (folder / "out").glob("*"):
        if path.suffix == ".part":
            writing += 1
            path.unlink()
            continue
        found = read_picture(path).rgb
        assert not found.any() or (found == originals[path.name]).all(), path
print(killed, writing, len(list((folder / "out").glob("*.png"))))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_every_output_is_whole_after_fifty_kills(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    for name in "abc":
        rgb = generator.integers(1, 256, (90, 120, 3), np.uint8)
        write_picture(tmp_path / f"{name}.png", Picture(rgb))
    done = subprocess.run(
        [sys.executable, "-c", _SCRIPT, str(tmp_path), "50"],
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
    )
    assert done.stderr == ""
    killed, writing, outputs = map(int, done.stdout.split())
    assert (killed, outputs) == (50, 3)
    assert writing > 0  # some were hit while they wrote, or this would show nothing
