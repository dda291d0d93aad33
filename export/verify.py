"""The proof that an artifact computes what its network does, without which no export is done."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from core.checkpoint import Checkpoint
from core.config import network_config
from core.inference import derainer_of
from core.rain.drawn import FixedRain
from edge_runtime.derainer import Derainer, open_session
from edge_runtime.metrics import psnr
from edge_runtime.models.card import Golden, ModelCard, QualityRow, load_card
from edge_runtime.models.records import to_plain
from edge_runtime.report.golden import GoldenResult, check_golden, compare_with_golden, golden_input
from export.artifact import read_embedded_card
from export.errors import ExportError, ParityError
from export.graph import ExportGraph, Precision, at_precision


class Limits(NamedTuple):
    """How far an artifact may be from torch.

    Attributes:
        difference: largest absolute difference, for pixels in [0, 1].
        psnr: smallest PSNR in dB between the two as 8-bit pictures.
        noise_psnr: the same for noise, which no network was calibrated on.
    """

    difference: float
    psnr: float = 0.0
    noise_psnr: float = 0.0


LIMITS = {
    "fp32": Limits(1e-5),
    "fp16": Limits(2e-3),
    "int8": Limits(math.inf, psnr=45.0, noise_psnr=30.0),
    "dynamic": Limits(math.inf, psnr=45.0, noise_psnr=40.0),
}
"""By precision. fp16 and dynamic are compared with the network in float32, int8 with the
fake-quantized one. There an engine may round a sum to the code beside, which changes the rounding
of all that follows: two results then differ by about as much as either does from float32, at any
place."""
QUALITY_LIMIT_DB = 0.05
"""How much less PSNR against clean pictures than torch an int8 artifact may reach."""
QUALITY_CAP_DB = 50.0
"""What more PSNR than this counts: such pictures differ by less than a level of 8 bits."""

Batch = NDArray[np.float32]


@dataclass(frozen=True)
class Check:
    """One comparison of an artifact with torch.

    Attributes:
        picture: what was put in: ``streaks``, ``noise``, or ``both`` in one batch; ``golden``
            compares the artifact's result with its golden pair, ``golden/torch`` torch's.
        height: of the input in pixels; ``width`` likewise.
        max_difference: largest absolute difference of the outputs, in [0, 1].
        psnr: between the outputs as 8-bit pictures, in dB, the lowest of the batch; infinite
            where they are identical.
        limit: what ``max_difference`` may be.
        psnr_limit: what ``psnr`` must be at least.
    """

    picture: str
    height: int
    width: int
    max_difference: float
    psnr: float
    limit: float
    psnr_limit: float = 0.0

    @property
    def passed(self) -> bool:  # a NaN fails
        return self.max_difference <= self.limit and self.psnr >= self.psnr_limit

    @property
    def excess(self) -> float:
        """How many times its limit the error is; infinite for a NaN."""
        errors = (self.max_difference / self.limit, 10 ** ((self.psnr_limit - self.psnr) / 20))
        return math.inf if math.isnan(self.max_difference) else max(errors)


def verify(artifact: Path, checkpoint: Checkpoint) -> list[Check]:
    """Check that ``artifact`` is whole and computes what ``checkpoint`` does.

    Args:
        artifact: with its card beside it.
        checkpoint: what it was exported from.

    Returns:
        All comparisons, each within its limit.

    Raises:
        ParityError: a difference past the limit; names the size.
        CardError, ExportError, SessionError: as :func:`compare`.
    """
    checks = compare(artifact, checkpoint)
    require_parity(artifact, checks)
    return checks


def compare(artifact: Path, checkpoint: Checkpoint) -> list[Check]:
    """Run artifact and network on generated pictures of several sizes, and report differences.

    Raises:
        CardError: the card is missing, malformed, or not that of this file.
        ExportError: the embedded card differs from the one beside the artifact, or describes
            another network than ``checkpoint``, or int8 where that has no scales.
        SessionError: the engine cannot run it.
    """
    card = load_card(artifact)
    _require_same_network(artifact, card, checkpoint)
    limits = LIMITS[card.precision]
    derainer = Derainer(open_session(artifact, card), card, artifact, scale=1)
    exact: Precision = "int8" if card.precision == "int8" else "fp32"
    graph = ExportGraph(at_precision(checkpoint, exact).build())
    checks = []
    for picture, batch in _cases(_sizes(derainer)):
        if card.io != "float32":
            batch = np.round(batch * 255) / np.float32(255)
        found = _run(derainer, batch)
        with torch.no_grad():
            wanted = graph(torch.from_numpy(batch)).numpy()
        difference = float(np.abs(found - wanted).max())
        fidelity = min(map(psnr, _pictures(found), _pictures(wanted)))
        height, width = batch.shape[2:]
        least = limits.psnr if picture == "streaks" else limits.noise_psnr
        checks.append(Check(picture, height, width, difference, fidelity, limits.difference, least))
    if card.golden is not None:
        result = check_golden(derainer)
        checks.append(golden_check("golden", card.golden, result))
        derained = derainer_of(at_precision(checkpoint, exact))(golden_input(card.golden))
        result = compare_with_golden(card.golden, derained, result.limits)
        checks.append(golden_check("golden/torch", card.golden, result))
    return checks


def require_parity(artifact: Path, checks: Sequence[Check]) -> None:
    """Raise ParityError if any check is past its limit, naming the worst."""
    failed = [check for check in checks if not check.passed]
    if failed:
        worst = max(failed, key=lambda check: check.excess)
        limit = f"{worst.limit:.2g}"
        if worst.psnr < worst.psnr_limit:
            limit = f"{worst.psnr_limit:g} dB and it has {worst.psnr:.1f} dB"
        raise ParityError(
            f"{artifact}: differs from torch by {worst.max_difference:.2g} at "
            f"{worst.height}x{worst.width} ({worst.picture}), the limit is {limit}; "
            "export it again from this checkpoint"
        )


def require_quality(
    artifact: Path, found: Sequence[QualityRow], wanted: Sequence[QualityRow]
) -> None:
    """Raise ParityError if an artifact scores less than its network does in torch.

    Args:
        artifact: named in the error.
        found: what the artifact scored.
        wanted: what torch scored on the same data sets, in the same order.
    """
    for row, exact in zip(found, wanted, strict=True):
        loss = min(exact.psnr, QUALITY_CAP_DB) - min(row.psnr, QUALITY_CAP_DB)
        if loss > QUALITY_LIMIT_DB:
            raise ParityError(
                f"{artifact}: scores {row.psnr:.2f} dB {row.protocol} on {row.dataset}, torch "
                f"{exact.psnr:.2f} dB, the limit is {QUALITY_LIMIT_DB} dB less; "
                "quantize the checkpoint again"
            )


def _require_same_network(artifact: Path, card: ModelCard, checkpoint: Checkpoint) -> None:
    # Artifacts made before the scores stood beside them alone carry these too.
    if read_embedded_card(artifact).embedded() != card.embedded():
        raise ExportError(
            f"{artifact}: the card inside differs from the one beside it; export it again"
        )
    # A card may be older than a field of the config, which then has its default.
    same = card.architecture == checkpoint.architecture and (
        network_config(card.architecture, card.config) == checkpoint.config
    )
    if not same:
        raise ExportError(
            f"{artifact}: was made from {card.architecture} {card.config}, not from "
            f"{checkpoint.architecture} {to_plain(checkpoint.config)}; name its own checkpoint"
        )


def golden_check(picture: str, golden: Golden, result: GoldenResult) -> Check:
    """Return a result in levels of 8 bits as a check of values in [0, 1]."""
    differences = (result.largest / 255, _psnr_of(result.rms))
    limits = (result.limits.largest / 255, _psnr_of(result.limits.rms))
    return Check(picture, golden.height, golden.width, *differences, *limits)


def _psnr_of(rms: float) -> float:
    return 20 * math.log10(255 / rms) if rms else math.inf


def _run(derainer: Derainer, batch: Batch) -> Batch:
    """Return what the engine makes of a batch, in windows where it takes one size only."""
    if derainer.fixed_size is None:
        return derainer.session.run(batch)
    derained = [derainer(picture.transpose(1, 2, 0)).transpose(2, 0, 1) for picture in batch]
    return np.stack(derained)


def _sizes(derainer: Derainer) -> list[tuple[int, int]]:
    """Return the smallest legal size, odd multiples, long and large ones.

    Of an artifact for one size: that, and one that takes four windows, where these are exact.
    """
    multiple = derainer.card.size_multiple
    if derainer.fixed_size is not None:
        height, width = derainer.fixed_size
        exact = derainer.card.tiling_exact
        larger = [(height + 3 * multiple, width + multiple)] if exact else []
        return [derainer.fixed_size, *larger]
    long, large = (-(-least // multiple) for least in (160, 256))
    sizes = ((1, 1), (1, 3), (5, 3), (3, long), (large, long))
    return [(rows * multiple, columns * multiple) for rows, columns in sizes]


def _cases(sizes: Sequence[tuple[int, int]]) -> Iterator[tuple[str, Batch]]:
    """Yield pictures of these sizes, and a batch of two of the one in the middle."""
    for number, (height, width) in enumerate(sizes):
        streaks, noise = _streaks(height, width), _noise(height, width)
        yield "streaks", streaks
        yield "noise", noise
        if number == len(sizes) // 2:
            yield "both", np.concatenate([streaks, noise])


def _streaks(height: int, width: int) -> Batch:
    """Draw a smooth coloured picture with rain on it: float32 (1, 3, H, W) in [0, 1]."""
    y, x = np.mgrid[0:height, 0:width] / 64
    waves = [np.sin(x + 2 * y), np.sin(2 * x - y + 1), np.cos(x - y)]
    clean = (np.stack(waves, axis=-1) * 90 + 128).astype(np.uint8)
    rainy = FixedRain(layers=2).apply(clean, 0)
    return np.ascontiguousarray(rainy.transpose(2, 0, 1)[None].astype(np.float32) / 255)


def _noise(height: int, width: int) -> Batch:
    return np.random.default_rng(0).random((1, 3, height, width), dtype=np.float32)


def _pictures(batch: Batch) -> list[NDArray[np.uint8]]:
    eight_bit = np.round(np.nan_to_num(batch) * 255).astype(np.uint8)
    return list(eight_bit.transpose(0, 2, 3, 1))
