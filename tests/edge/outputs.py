"""What every shipped artifact makes of one picture, on this machine; and how two machines differ.

    python tests/edge/outputs.py write PICTURE FOLDER
    python tests/edge/outputs.py compare FOLDER OTHER

``write`` leaves ``<artifact>.npy``: the engine's own float32 values in [0, 1], CHW. ``compare``
takes those and the pictures beside them, and exits with 1 where a difference is above its limit.
"""

import argparse
import sys
from pathlib import Path

import numpy as np

from edge_runtime.derainer import open_session
from edge_runtime.engines.onnx_runtime import CPU
from edge_runtime.models.catalog import list_models
from edge_runtime.pictures.picture import read_picture
from edge_runtime.report.golden import LIMITS

LARGEST = {"fp32": 1e-5, "fp16": 1e-5, "int8": 0.05}
"""How far one value of an artifact may be from that of another machine, of 1. Float weights of 16
bits are widened before they are used. int8 rounds inside of the network, where sums in another
order may fall to the code beside."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("task", choices=["write", "compare"])
    parser.add_argument("first", type=Path, metavar="PICTURE|FOLDER")
    parser.add_argument("second", type=Path, metavar="FOLDER")
    arguments = parser.parse_args()
    if arguments.task == "compare":
        return compare(arguments.first, arguments.second)
    write(arguments.first, arguments.second)
    return 0


def write(picture: Path, folder: Path) -> None:
    """Run every artifact that ships on a picture, whole; print a line for each."""
    rainy = read_picture(picture).rgb.astype(np.float32) / 255
    for path, card in list_models():
        height, width = (side - side % card.size_multiple for side in rainy.shape[:2])
        batch = np.ascontiguousarray(rainy[:height, :width].transpose(2, 0, 1)[None])
        session = open_session(path, card, 1, CPU)
        np.save(folder / f"{path.name}.npy", session.run(batch)[0])
        print(f"{path.name}: {session.name} {session.provider}", flush=True)


def compare(folder: Path, other: Path) -> int:
    """Print the largest difference of every result, and return 1 unless all are within limits."""
    names = sorted(path.name for path in folder.iterdir())
    if not names or names != sorted(path.name for path in other.iterdir()):
        print(f"{folder} and {other} do not hold the same results")
        return 1
    good = True
    for name in names:
        precision = next(kind for kind in LARGEST if kind in name)
        if name.endswith(".npy"):
            limit = LARGEST[precision]
            difference = np.abs(np.load(folder / name) - np.load(other / name))
        else:
            limit = LIMITS[precision].largest
            difference = np.abs(_levels(folder / name) - _levels(other / name))
        largest = float(difference.max())
        good &= largest <= limit  # not so of NaN
        print(f"{name}: differs by up to {largest:.2g} of {limit:g}, mean {difference.mean():.2g}")
    return int(not good)


def _levels(path: Path) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    return np.asarray(read_picture(path).rgb, dtype=np.float64)


if __name__ == "__main__":
    sys.exit(main())
