"""Data sets of rendered pairs: rainy and clean pictures, streaks, parameters, contact sheet."""

from __future__ import annotations

import argparse
import contextlib
import os
import tempfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from core.config import load_config
from core.errors import ConfigError, DataError, check_bounds, disk_errors
from core.pairs import Image, SourceConfig, find_pairs
from core.progress import track
from core.rain.depth import read_depth
from core.rain.real import Masks, read_masks
from core.rain.render import Rendered, render
from core.rain.scene import PRESETS, RenderConfig
from edge_runtime.models.records import to_json, to_plain
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
        check_bounds(self, "--", seed=0)
        if not 1 <= self.per_image <= 9999:
            raise ConfigError(f"--per-image {self.per_image} is not within [1, 9999]")


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
    files = find_pairs(SourceConfig("clean", root=job.clean))
    for stem, count in Counter(file.clean.stem for file in files).items():
        if count > 1:
            raise DataError(f"{job.clean}: two pictures are named {stem}; rename one")
    depths = {path.stem: path for path in Path(job.depth).glob("[!.]*.png")} if job.depth else {}
    if job.depth and not depths.keys() & {file.clean.stem for file in files}:
        raise DataError(f"{job.depth}: no depth picture is named as one in {job.clean}")
    masks: Masks = read_masks(job.streaks) if job.streaks else ()
    with disk_errors(out, DataError):
        out.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{out.name}-", dir=out.parent) as temporary:
            folder = Path(temporary) / out.name
            for name in FOLDERS:
                (folder / name).mkdir(parents=True)
            rows: list[Rendered] = []
            for index, file in enumerate(track(files, "synthesize" if progress else None)):
                _, clean = file.read()
                stem = file.clean.stem
                depth = read_depth(depths[stem], *clean.shape[:2]) if stem in depths else None
                for number in range(job.per_image):
                    seed = int(np.random.default_rng([job.seed, index, number]).integers(2**32))
                    rendered = render(clean, job.rain, seed, depth, masks)
                    if not number and len(rows) < PREVIEWED:
                        rows.append(rendered)
                    _write(folder, stem, number, seed, rendered)
            if job.preview:
                write_picture(folder / "preview.png", Picture(_contact_sheet(rows)))
            (folder / "synthesis.json").write_text(to_json(job), encoding="utf-8")
            if out.exists():
                out.rmdir()
            folder.rename(out)
    return len(files) * job.per_image


def _write(folder: Path, stem: str, number: int, seed: int, rendered: Rendered) -> None:
    """Write a rain; a clean picture is on the disk once, under all its names, where it can be."""
    name, first = f"{stem}_{number + 1:02d}", folder / "clean" / f"{stem}_01.png"
    write_picture(folder / "rainy" / f"{name}.png", Picture(rendered.rainy))
    streaks = np.repeat(rendered.streaks[..., None], 3, axis=2)
    write_picture(folder / "streaks" / f"{name}.png", Picture(streaks, grey=True))
    parameters = to_json({"seed": seed, "rain": to_plain(rendered.scene)})
    (folder / "parameters" / f"{name}.json").write_text(parameters, encoding="utf-8")
    twin = folder / "clean" / f"{name}.png"
    if number and rendered.scene.night[0] == 1:
        with contextlib.suppress(OSError):
            os.link(first, twin)
            return
    write_picture(twin, Picture(rendered.clean))


def _contact_sheet(rows: Sequence[Rendered]) -> Image:
    """Lay out clean, rainy, streaks and transmission side by side, a row for each picture."""
    strips = []
    for each in rows:
        veil = (each.transmission * 255).astype(np.uint8)
        planes = [np.repeat(plane[..., None], 3, axis=2) for plane in (each.streaks, veil)]
        height = max(1, round(CELL * veil.shape[0] / veil.shape[1]))
        pictures = (each.clean, each.rainy, *planes)
        cells = [cv2.resize(p, (CELL, height), interpolation=cv2.INTER_AREA) for p in pictures]
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
    parser.add_argument("--streaks", metavar="DIR", default="", help="streak pictures, or a clip")
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
