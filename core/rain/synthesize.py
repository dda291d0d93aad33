"""Data sets of rendered pairs: rainy and clean pictures, streaks, parameters, contact sheet."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from core.config import load_config, to_plain
from core.errors import ConfigError, DataError, disk_errors
from core.pairs import Image, SourceConfig, find_pairs
from core.progress import track
from core.rain.depth import find_depths, read_depth
from core.rain.render import Rendered, render
from core.rain.scene import PRESETS, RenderConfig, draw_scene
from core.rain.streaks import Masks, read_masks
from edge_runtime.pictures.picture import Picture, write_picture

FOLDERS = ("rainy", "clean", "streaks", "parameters")
PREVIEWED = 12
"""Pictures on a contact sheet, each with its first rain."""
CELL = 300
"""Width of a picture on it, in pixels."""


@dataclass(frozen=True)
class SynthesisJob:
    """What to write, and from what.

    Attributes:
        clean: folder of pictures without rain.
        out: folder to make; it must not exist, or be empty.
        rain: ranges of the rain.
        per_image: rainy pictures of every clean one.
        seed: picture ``i``'s rain ``k`` is drawn with the random state ``(seed, i, k)``.
        depth: optional folder of depth pictures with the same stems; uint16 centimetres.
        streaks: optional folder of streak pictures, grey on black.
        preview: write a contact sheet ``preview.png`` as well.
    """

    clean: str
    out: str
    rain: RenderConfig
    per_image: int = 12
    seed: int = 0
    depth: str = ""
    streaks: str = ""
    preview: bool = False

    def __post_init__(self) -> None:
        if not 1 <= self.per_image <= 9999:
            raise ConfigError(f"--per-image {self.per_image} is not within [1, 9999]")
        if self.seed < 0:
            raise ConfigError(f"--seed {self.seed} must be 0 or more")


def synthesize(job: SynthesisJob, progress: bool = False) -> int:
    """Write ``rainy/ clean/ streaks/ parameters/ synthesis.json`` under ``job.out``.

    ``rainy`` and ``clean`` have equal file stems, so that the layout ``folders`` reads them. The
    folder appears when it is complete; a run that ends early leaves nothing.

    Returns:
        The number of pairs.

    Raises:
        DataError: a folder that is missing, empty or unreadable, two clean pictures of one stem,
            depth pictures that belong to none of them, or no room on the disk.
        ImageError: a picture that cannot be written.
        ConfigError: ``job.out`` exists and is not an empty folder.
    """
    out = Path(job.out)
    if out.exists() and not (out.is_dir() and not any(out.iterdir())):
        raise ConfigError(f"{out}: is there already; choose a new folder or remove it")
    writer = _Writer(job, progress)
    with disk_errors(out, DataError):
        out.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{out.name}-", dir=out.parent) as temporary:
            folder = Path(temporary) / out.name
            pairs = writer.write(folder)
            if out.exists():
                out.rmdir()
            folder.rename(out)
    return pairs


class _Writer:
    """Reads what a job names, then writes it all to one folder."""

    def __init__(self, job: SynthesisJob, progress: bool) -> None:
        self._job = job
        self._title = "synthesize" if progress else None
        self._files = find_pairs(SourceConfig("clean", root=job.clean))
        stems = [file.clean.stem for file in self._files]
        for stem, count in Counter(stems).items():
            if count > 1:
                raise DataError(f"{job.clean}: two pictures are named {stem}; rename one")
        self._depths = find_depths(job.depth) if job.depth else {}
        if job.depth and not set(stems) & set(self._depths):
            raise DataError(f"{job.depth}: no depth picture is named as one in {job.clean}")
        self._masks: Masks = read_masks(job.streaks) if job.streaks else {}

    def write(self, folder: Path) -> int:
        for name in FOLDERS:
            (folder / name).mkdir(parents=True)
        rows: list[tuple[Image, Rendered]] = []
        for index, file in enumerate(track(self._files, self._title)):
            _, clean = file.read()
            stem = file.clean.stem
            first: Path | None = None
            for number, rendered in enumerate(self._rains(index, stem, clean)):
                name = f"{stem}_{number + 1:02d}"
                write_picture(folder / "rainy" / f"{name}.png", Picture(rendered.rainy))
                streaks = cv2.cvtColor(rendered.streaks, cv2.COLOR_GRAY2RGB)
                write_picture(
                    folder / "streaks" / f"{name}.png",
                    Picture(np.asarray(streaks, np.uint8), grey=True),
                )
                (folder / "parameters" / f"{name}.json").write_text(
                    rendered.scene.to_json(), encoding="utf-8"
                )
                twin = folder / "clean" / f"{name}.png"
                if first is None:
                    write_picture(twin, Picture(clean))
                    first = twin
                    if len(rows) < PREVIEWED:
                        rows.append((clean, rendered))
                else:
                    _link(first, twin)
        if self._job.preview:
            write_picture(folder / "preview.png", Picture(contact_sheet(rows)))
        made_from = json.dumps(to_plain(self._job), indent=2) + "\n"
        (folder / "synthesis.json").write_text(made_from, encoding="utf-8")
        return len(self._files) * self._job.per_image

    def _rains(self, index: int, stem: str, clean: Image) -> Iterator[Rendered]:
        depth = None
        if stem in self._depths:
            depth = read_depth(self._depths[stem], *clean.shape[:2])
        for number in range(self._job.per_image):
            rng = np.random.default_rng([self._job.seed, index, number])
            scene = draw_scene(self._job.rain, rng, list(self._masks))
            yield render(clean, scene, depth, self._masks)


def _link(first: Path, twin: Path) -> None:
    """Give a clean picture a second name without a second copy, where the disk can."""
    with contextlib.suppress(OSError):
        os.link(first, twin)
        return
    shutil.copyfile(first, twin)


def contact_sheet(rows: Sequence[tuple[Image, Rendered]]) -> Image:
    """Lay out clean, rainy, streaks and transmission side by side, a row for each picture.

    Args:
        rows: at least one, each a clean picture, uint8 (H, W, 3) RGB, and a rain on it.

    Returns:
        uint8 (H', 1200, 3) RGB; pictures keep their proportions.
    """
    strips = []
    for clean, rendered in rows:
        veil = (rendered.transmission * 255).astype(np.uint8)
        planes = [np.repeat(plane[..., None], 3, axis=2) for plane in (rendered.streaks, veil)]
        height = max(1, round(CELL * clean.shape[0] / clean.shape[1]))
        kind = cv2.INTER_AREA if clean.shape[1] > CELL else cv2.INTER_LINEAR
        pictures = (clean, rendered.rainy, *planes)
        cells = [cv2.resize(picture, (CELL, height), interpolation=kind) for picture in pictures]
        strips.append(np.hstack(cells).astype(np.uint8))
    return np.vstack(strips)


def command(arguments: Sequence[str]) -> int:
    """Run ``derain synthesize`` and return its exit code."""
    parser = argparse.ArgumentParser(
        prog="derain synthesize",
        description="Render rain on clean pictures and write pairs, streaks and parameters.",
    )
    parser.add_argument("clean", metavar="CLEAN_DIR", help="folder of pictures without rain")
    parser.add_argument("-o", "--out", metavar="OUT", required=True, help="folder to make")
    parser.add_argument("--per-image", type=int, default=12, metavar="N", help="rains a picture")
    parser.add_argument("--depth", metavar="DIR", default="", help="uint16 PNG in centimetres")
    parser.add_argument("--streaks", metavar="DIR", default="", help="streak pictures to lay too")
    parser.add_argument("--seed", type=int, default=0, help="another seed is another rain")
    parser.add_argument("--preview", action="store_true", help="write a contact sheet as well")
    ranges = parser.add_mutually_exclusive_group()
    ranges.add_argument("--preset", choices=sorted(PRESETS), default="mixed", help="kind of rain")
    ranges.add_argument("--config", metavar="FILE", help="YAML with ranges of the rain")
    options = vars(parser.parse_args(arguments))

    preset, file = options.pop("preset"), options.pop("config")
    rain = load_config(RenderConfig, file) if file else PRESETS[preset]
    job = SynthesisJob(rain=rain, **options)
    print(f"{synthesize(job, progress=True)} pairs in {job.out}")
    return 0
