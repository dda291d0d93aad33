"""What others publish of their networks, to be read beside what is measured of ours."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from compress.report.results import Entry
from edge_runtime.records import from_json

_FILE = Path(__file__).with_name("peers.json")
_SCHEMA = 1
_ABSENT = "–"


@dataclass(frozen=True, kw_only=True)
class PublishedScore:
    """Mean quality on a test set, as printed.

    Attributes:
        dataset: Our name of the set. ``protocol``: what was scored.
        psnr: In dB, peak 255. ``ssim``: from -1 to 1.
        source: Key of :attr:`Peers.sources`.
    """

    dataset: str
    protocol: Literal["rgb", "y"]
    psnr: float
    ssim: float
    source: str

    @property
    def column(self) -> str:
        """``DATASET/PROTOCOL``."""
        return f"{self.dataset}/{self.protocol}"


@dataclass(frozen=True, kw_only=True)
class Peer:
    """A network that somebody else made.

    Attributes:
        name: As its authors call it.
        parameters: How many weights it has.
        macs_per_pixel: Multiply-accumulates.
        cost: ``counted`` where ``compress cost`` said so of imported weights; otherwise the key of
            the source that did.
        scores: As printed.
    """

    name: str
    parameters: int
    macs_per_pixel: int
    cost: str
    scores: tuple[PublishedScore, ...]


@dataclass(frozen=True, kw_only=True)
class Peers:
    """What ``peers.json`` holds.

    Attributes:
        schema: Of the file.
        sources: References for people, by the key that scores name.
        networks: The peers.
    """

    schema: int
    sources: dict[str, str]
    networks: tuple[Peer, ...]

    @property
    def columns(self) -> tuple[str, ...]:
        """All ``DATASET/PROTOCOL`` that any of them is scored on, in order."""
        found = (score.column for peer in self.networks for score in peer.scores)
        return tuple(dict.fromkeys(found))


def read_peers(path: Path = _FILE) -> Peers:
    """Read published figures.

    Raises:
        RecordError: Malformed, or of a newer schema.
    """
    return from_json(Peers, path.read_text(encoding="utf-8"), _SCHEMA, str(path))


def peer_rows(peers: Peers, entries: Sequence[Entry]) -> tuple[list[str], list[list[str]]]:
    """Return head and rows of peers and of one float artifact for each network of ours.

    The cheapest comes first. There are no rows where none of ours was scored on any set of theirs.
    """
    head = ["network", "figures", "parameters", "kMAC/pixel"]
    head += [column.replace("/", " ") for column in peers.columns]
    floats = [e for e in entries if e.card.precision in ("fp32", "fp16")]
    scored = [e for e in floats if e.columns.keys() & set(peers.columns)]
    ours = {e.card.name: e for e in reversed(scored)}  # the largest, which is the most precise
    if not ours:
        return head, []
    lines: list[tuple[float, list[str]]] = []
    for peer in peers.networks:
        said = {score.column: f"{score.psnr:.2f} / {score.ssim:.3f}" for score in peer.scores}
        cells = [said.get(column, _ABSENT) for column in peers.columns]
        costs = [f"{peer.parameters:,}", f"{peer.macs_per_pixel / 1000:,.1f}"]
        lines.append((peer.macs_per_pixel, [peer.name, "published", *costs, *cells]))
    for entry in ours.values():
        said = {name: f"{at.psnr:.2f} / {at.ssim:.3f}" for name, at in entry.columns.items()}
        cells = [said.get(column, _ABSENT) for column in peers.columns]
        macs = entry.card.macs_per_pixel
        costs = [f"{entry.card.parameters:,}", f"{macs / 1000:,.1f}"]
        lines.append((macs, [entry.file, "measured", *costs, *cells]))
    return head, [row for _, row in sorted(lines, key=lambda line: line[0])]


def sources_named(peers: Peers) -> list[str]:
    """Say where published figures come from, and how far they can be compared."""
    lines = []
    for key, text in peers.sources.items():
        scores = [score for peer in peers.networks for score in peer.scores if score.source == key]
        columns = dict.fromkeys(score.column.replace("/", " ") for score in scores)
        lines.append(f"Published on {', '.join(columns)}: {text}.")
    return [
        "Published figures are of networks trained for the data set in question; measured ones are "
        "of one network for all.",
        *lines,
    ]
