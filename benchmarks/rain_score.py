"""The gate's rain score: its weights from photographs with and without rain, and both its errors.

    python benchmarks/rain_score.py fit --data-root DATA     # writes the weights that ship
    python benchmarks/rain_score.py table --data-root DATA   # its errors on validation pictures

What the default model takes out of each picture is measured as the device measures it. The score
is the mean of six small perceptrons, fitted on training pictures: dry photographs at several sizes,
the same with rendered rain, Rain800, and photographs of real rain. Rainy pictures that deraining
makes no better by half a decibel do not count.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from core.evaluation.evaluate import EvaluationConfig
from core.pairs import Image, SourceConfig, find_pairs
from core.progress import track
from core.rain.render import render
from core.rain.scene import PRESETS, draw_scene
from edge_runtime import Derainer
from edge_runtime.files import write_atomically
from edge_runtime.gate import THRESHOLD, WEIGHTS, features, places, rain_score, strength_of
from edge_runtime.metrics import psnr
from edge_runtime.models.catalog import DEFAULT_MODEL
from edge_runtime.pyramid import passes

KINDS = ("light", "heavy", "veil", "mixed", "sparse")
RAIN800 = "train/Rain800_concat_clean_left_rainy_right"
GAIN_DB = 0.5
THRESHOLDS = (0.1, 0.2, 0.3, 0.4, 0.42, 0.5, 0.6, 0.7, 0.8)
PERCEPTRONS, UNITS, EPOCHS, DECAY, NOISE = 6, 10, 120, 0.5, 0.2


class Case(NamedTuple):
    """A picture to be scored: its set, and its clean version, itself where it is dry."""

    name: str
    rainy: Image
    clean: Image | None

    @property
    def dry(self) -> bool:
        return self.clean is self.rainy


class Measured(NamedTuple):
    """What the network takes out of pictures, measured: (N, F), and what is known of them."""

    features: NDArray[np.float32]
    names: NDArray[np.str_]
    dry: NDArray[np.bool_]
    gain: NDArray[np.float64]
    """In dB; infinite where there is no clean version, and for dry pictures."""
    decibels: NDArray[np.float64]
    """PSNR of what is derained in full; infinite where there is no clean version."""


def training_cases(root: Path, rng: np.random.Generator) -> Iterator[Case]:
    """Yield dry photographs at several sizes, each also with rain, pairs, and real rain."""
    for folder in ("clean_bsds", "clean_outdoor", "clean_large"):
        source = SourceConfig(
            "clean", root=f"train/{folder}", scenes="train/scenes.csv", split="train"
        )
        for number, file in enumerate(find_pairs(source, root)):
            clean, _ = file.read()
            sizes = [clean, _scaled(clean, rng.uniform(0.45, 0.85)), _enlarged(clean, rng)]
            if folder == "clean_large":
                sizes += [_window(_scaled(clean, rng.uniform(0.35, 1)), 720, rng) for _ in range(9)]
            for step, picture in enumerate(sizes):
                yield Case("dry", picture, picture)
                wet = _window(picture, 900, rng)
                scene = draw_scene(PRESETS[KINDS[(number + step) % len(KINDS)]], rng)
                yield Case("rendered", render(wet, scene).rainy, wet)
    pairs = SourceConfig("side_by_side", root=RAIN800, scenes="train/scenes.csv", split="train")
    for file in find_pairs(pairs, root)[::2]:
        rainy, clean = file.read()
        yield Case("rain800", rainy, clean)
        yield Case("dry", clean, clean)
    real = SourceConfig("clean", root="train/real_rain_unpaired")
    for file in find_pairs(real, root):
        rainy, _ = file.read()
        part = _window(rainy, rainy.shape[0] * 2 // 3, rng)
        for picture in (rainy, _scaled(rainy, 0.55), _scaled(rainy, 0.78)[:, ::-1], part):
            yield Case("real", np.ascontiguousarray(picture), None)
        yield Case("real", _enlarged(rainy, rng), None)


def validation_cases(root: Path) -> Iterator[Case]:
    """Yield the validation sets, dry outdoor photographs among them."""
    for name, test_set in EvaluationConfig.read("configs/data/validation.yaml").sets.items():
        if test_set.enlarge == 1:
            for _, rainy, clean in test_set.read(str(root)):
                yield Case(name, rainy, rainy if test_set.dry else clean)
    outdoor = SourceConfig(
        "clean", root="train/clean_outdoor", scenes="train/scenes.csv", split="val"
    )
    for file in find_pairs(outdoor, root):
        clean, _ = file.read()
        yield Case("dry_outdoor", clean, clean)


def measure(cases: Iterator[Case], title: str, model: str = DEFAULT_MODEL) -> Measured:
    """Derain each picture at full size, a large one at half the size too, and measure both."""
    derainer = Derainer.load(model, scale=1, threshold=None)
    rows: list[tuple[NDArray[np.float32], str, bool, float, float]] = []
    for case in track(cases, title):
        for factor in passes("auto", *case.rainy.shape[:2]):
            rainy = case.rainy if factor == 1 else _scaled(case.rainy, 1 / factor)
            derained, gain, reached = derainer(rainy), np.inf, np.inf
            if case.clean is not None and factor == 1:
                reached = psnr(derained, case.clean)
                gain = np.inf if case.dry else reached - psnr(rainy, case.clean)
            squares = places(*rainy.shape[:2])
            found = features([rainy[s] for s in squares], [derained[s] for s in squares])
            rows.append((found, case.name, case.dry, gain, reached))
    measured, *known = zip(*rows, strict=True)
    return Measured(np.stack(measured), *map(np.array, known))


def fit(measured: Measured) -> dict[str, Any]:
    """Fit the perceptrons, dry and rainy pictures weighing alike in all, real rain double."""
    mean, scale = measured.features.mean(axis=0), measured.features.std(axis=0) + 1e-3
    inputs = torch.from_numpy(np.clip((measured.features - mean) / scale, -5, 5)).float()
    weights = np.where(measured.dry | (measured.gain >= GAIN_DB), 1.0, 0.0)
    weights[measured.names == "real"] = 2.0
    for part in (measured.dry, ~measured.dry):
        weights[part] *= len(weights) / 2 / weights[part].sum()
    wet = torch.from_numpy(~measured.dry).float()
    counted = torch.from_numpy(weights).float()
    nets = [_perceptron(inputs, wet, counted, seed) for seed in range(PERCEPTRONS)]
    hidden, out = ([net[place] for net in nets] for place in (0, 2))
    return {
        "mean": _short(mean),
        "scale": _short(scale),
        "hidden": _short(torch.cat([layer.weight for layer in hidden]).T),
        "bias": _short(torch.cat([layer.bias for layer in hidden])),
        "out": _short(torch.cat([layer.weight[0] for layer in out]) / len(nets)),
        "offset": float(torch.stack([layer.bias for layer in out]).mean()),
    }


def _perceptron(
    inputs: torch.Tensor, wet: torch.Tensor, weights: torch.Tensor, seed: int
) -> nn.Sequential:
    torch.manual_seed(seed)
    net = nn.Sequential(nn.Linear(inputs.shape[1], UNITS), nn.ReLU(), nn.Linear(UNITS, 1))
    optimizer = torch.optim.AdamW(net.parameters(), lr=5e-3, weight_decay=DECAY)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, EPOCHS)
    loss = nn.BCEWithLogitsLoss(reduction="none")
    for _ in range(EPOCHS):
        for some in torch.randperm(len(inputs)).split(256):
            noisy = inputs[some] + NOISE * torch.randn_like(inputs[some])
            target = 0.01 + 0.98 * wet[some]
            optimizer.zero_grad()
            (loss(net(noisy)[:, 0], target) * weights[some]).mean().backward()
            optimizer.step()
        schedule.step()
    return net.requires_grad_(requires_grad=False)


def table(measured: Measured, stored: dict[str, Any]) -> str:
    """Lay out both errors against the threshold, in per cent, and the sets one by one."""
    mean, scale, hidden, bias, out = (
        np.asarray(stored[name]) for name in ("mean", "scale", "hidden", "bias", "out")
    )
    units = np.clip((measured.features - mean) / scale, -5, 5) @ hidden + bias
    scores = 1 / (1 + np.exp(-(np.maximum(units, 0) @ out + stored["offset"])))
    rainy = ~measured.dry & (measured.gain >= GAIN_DB)
    lines = ["| threshold | dry, changed % | rainy, left alone % |", "| ---: | ---: | ---: |"]
    for threshold in THRESHOLDS:
        changed = 100 * (scores[measured.dry] > threshold).mean()
        left = 100 * (scores[rainy] <= threshold).mean()
        lines.append(f"| {threshold} | {changed:.1f} | {left:.1f} |")
    lines += [
        "",
        "| set | pictures | lowest | median | highest |",
        "| --- | ---: | ---: | ---: | ---: |",
    ]
    for name in dict.fromkeys(measured.names.tolist()):
        part = scores[(measured.names == name) & (measured.dry | rainy)]
        low, middle, high = np.quantile(part, [0, 0.5, 1])
        lines.append(f"| {name} | {len(part)} | {low:.2f} | {middle:.2f} | {high:.2f} |")
    strengths = np.array([strength_of(float(score), THRESHOLD) for score in scores])
    with np.errstate(divide="ignore"):
        left = measured.decibels - 20 * np.log10(strengths)
    lowest = np.where(measured.dry, left, np.inf)
    worst = int(lowest.argmin())
    lines += ["", f"Lowest of the dry pictures: {lowest[worst]:.1f} dB ({measured.names[worst]})."]
    lines[-1] = lines[-1] if np.isfinite(lowest[worst]) else "No dry picture is changed."
    return "\n".join(lines)


def times() -> str:
    """Say what the score takes beside the engine: both on noise of 1280 x 720, one thread."""
    derainer = Derainer.load(precision="int8", threads=1, scale=1, threshold=None)
    rainy = np.random.default_rng(0).integers(0, 256, (720, 1280, 3), np.uint8)
    derained, squares = derainer(rainy), places(720, 1280)
    cv2.setNumThreads(1)
    scored, engine = [], []
    for _ in range(15):
        start = time.perf_counter()
        derainer(rainy)
        between = time.perf_counter()
        rain_score([rainy[s] for s in squares], [derained[s] for s in squares])
        engine.append(between - start)
        scored.append(time.perf_counter() - between)
    score, network = (1000 * min(each) for each in (scored, engine))
    return (
        f"The score takes {score:.1f} ms, {score / network:.1%} of the {network:.0f} ms of "
        f"{derainer.model_path.name} (1280 x 720, one thread, the least of 15)."
    )


def _short(values: Any) -> Any:
    return [float(f"{v:.4g}") if np.ndim(v) == 0 else _short(v) for v in np.asarray(values)]


def _scaled(picture: Image, factor: float) -> Image:
    scaled = cv2.resize(picture, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA)
    return scaled.astype(np.uint8, copy=False)


def _enlarged(picture: Image, rng: np.random.Generator) -> Image:
    factor = float(np.exp(rng.uniform(np.log(1.3), np.log(3))))
    part = _window(picture, round(750 / factor), rng)
    large = cv2.resize(part, None, fx=factor, fy=factor, interpolation=cv2.INTER_CUBIC)
    return large.astype(np.uint8, copy=False)


def _window(picture: Image, side: int, rng: np.random.Generator) -> Image:
    height, width = min(side, picture.shape[0]), min(side * 3 // 2, picture.shape[1])
    top = rng.integers(picture.shape[0] - height + 1)
    left = rng.integers(picture.shape[1] - width + 1)
    return np.ascontiguousarray(picture[top : top + height, left : left + width])


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("do", choices=("fit", "table"))
    parser.add_argument("--data-root", type=Path, default=Path("data"))
    parser.add_argument("--model", default=DEFAULT_MODEL, help="of the table")
    options = parser.parse_args(arguments)
    if options.do == "fit":
        cases = training_cases(options.data_root, np.random.default_rng(5))
        stored = fit(measure(cases, "training pictures"))
        write_atomically(WEIGHTS, (json.dumps(stored) + "\n").encode())
        print(f"{WEIGHTS}: {WEIGHTS.stat().st_size} bytes")
        return 0
    stored = json.loads(WEIGHTS.read_text(encoding="utf-8"))
    cases = validation_cases(options.data_root)
    print(table(measure(cases, "validation pictures", options.model), stored))
    print(f"\n{times()}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
