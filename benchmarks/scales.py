"""What --scale does to large pictures: the reference set, enlarged, derained at several scales.

    python benchmarks/scales.py

Prints PSNR (rgb, dB) as a Markdown table: each row is a kind of rain at a size, each column a
scale. Enlarged rain is what a camera of more pixels makes of the same scene, without its finest
detail. Dry pictures are counted to 60 dB.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

import edge_runtime
from edge_runtime import Derainer
from edge_runtime.metrics import psnr
from edge_runtime.pictures.picture import read_picture
from edge_runtime.pictures.sources import find_pictures
from edge_runtime.pyramid import Scale, passes

REFERENCE = Path(edge_runtime.__file__).parent / "reference"
SCALES: tuple[Scale, ...] = (1, 2, 4, "auto")
MOST = 60.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--reference", type=Path, default=REFERENCE, help="reference set")
    parser.add_argument("--model", default="small")
    parser.add_argument("--enlarge", type=int, nargs="+", default=[1, 2, 4], metavar="N")
    parser.add_argument("--threads", type=int)
    arguments = parser.parse_args()
    derainer = Derainer.load(arguments.model, threads=arguments.threads, threshold=None)
    print("| rain | size | rainy |", *(f"--scale {scale} |" for scale in SCALES))
    print("| --- | --- |", " ---: |" * (len(SCALES) + 1))
    for kind in sorted(path for path in (arguments.reference / "rainy").iterdir() if path.is_dir()):
        for times in arguments.enlarge:
            scores = [_scores(derainer, path, times) for path in find_pictures(kind)]
            means = np.mean(scores, axis=0)
            print(f"| {kind.name} | x{times} |", *(f"{mean:.2f} |" for mean in means), flush=True)


def _scores(derainer: Derainer, path: Path, times: int) -> list[float]:
    """Return the PSNR of the rainy picture, and of what each scale makes of it."""
    clean_path = path.parents[2] / "clean" / path.parent.name / path.name
    rainy, clean = (_enlarged(read_picture(each).rgb, times) for each in (path, clean_path))
    scores, done = [min(psnr(rainy, clean), MOST)], dict[tuple[int, ...], float]()
    for scale in SCALES:
        same = passes(scale, *rainy.shape[:2])
        if same not in done:
            derainer.scale = scale
            done[same] = min(psnr(derainer(rainy), clean), MOST)
        scores.append(done[same])
    return scores


def _enlarged(picture: NDArray[Any], times: int) -> NDArray[Any]:
    size = picture.shape[1] * times, picture.shape[0] * times
    return cv2.resize(picture, size, interpolation=cv2.INTER_CUBIC)


if __name__ == "__main__":
    main()
