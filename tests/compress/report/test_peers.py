from pathlib import Path

import pytest
import torch
from torch import Tensor

from compress.cost import measure_cost
from compress.report.peers import peer_rows, read_peers, sources_named
from compress.report.results import gather
from core.prenet import Family, import_prenet
from edge_runtime.errors import RecordError
from edge_runtime.models.card import QualityRow
from tests.compress.report_results import card, write

FAMILIES: dict[str, Family] = {
    "PReNet": "prenet", "PReNet_r": "prenet_r", "PRN": "prn", "PRN_r": "prn_r"
}  # fmt: skip


def state_dict(family: Family, width: int = 32) -> dict[str, Tensor]:
    """Return zeros under the keys of the public weights."""
    shapes = {"conv0.0": (width, 6), "conv.0": (3, width)}
    for number in range(1, 2 if family.endswith("_r") else 6):
        shapes |= {f"res_conv{number}.{part}": (width, width) for part in (0, 2)}
    if family.startswith("prenet"):
        shapes |= {f"conv_{gate}.0": (width, 2 * width) for gate in "ifgo"}
    weights = {f"{name}.weight": torch.zeros(o, i, 3, 3) for name, (o, i) in shapes.items()}
    return weights | {f"{name}.bias": torch.zeros(o) for name, (o, _) in shapes.items()}


@pytest.mark.parametrize("name", FAMILIES)
def test_counted_costs_are_those_of_imported_weights(name: str, tmp_path: Path) -> None:
    torch.save(state_dict(FAMILIES[name]), tmp_path / "public.pth")
    imported = import_prenet(tmp_path / "public.pth", FAMILIES[name])
    cost = measure_cost(imported.build(), imported.config.size_multiple)
    (peer,) = (peer for peer in read_peers().networks if peer.name == name)
    assert peer.cost == "counted"
    assert (peer.parameters, peer.macs_per_pixel) == (cost.parameters, cost.macs_per_pixel)


def test_the_file_is_whole() -> None:
    peers = read_peers()
    assert peers.columns == (
        "rain100l/y", "rain100h/y", "rain12/y", "rain1400/y", "rain800/rgb"
    )  # fmt: skip
    for peer in peers.networks:
        assert peer.cost in ("counted", *peers.sources)
        assert {score.source for score in peer.scores} <= set(peers.sources)
        assert all(20 < score.psnr < 40 and 0.7 < score.ssim < 1 for score in peer.scores)
    best = {peer.name: {s.column: s.psnr for s in peer.scores} for peer in peers.networks}
    # Intra-stage recursion and no recurrence cost quality, says the paper.
    for column in ("rain100l/y", "rain100h/y", "rain1400/y", "rain800/rgb"):
        assert best["PReNet"][column] > best["PReNet_r"][column] > best["PRN"][column]
        assert best["PRN"][column] > best["PRN_r"][column]


def test_ours_stand_among_them_by_cost(tmp_path: Path) -> None:
    row = QualityRow(
        dataset="rain100l", images=100, protocol="y", input_psnr=26.9, input_ssim=0.8,
        psnr=32.26, ssim=0.9496,
    )  # fmt: skip
    for file, kilobytes in (("a_fp32.onnx", 676), ("a_fp16.tflite", 350), ("a_int8.onnx", 196)):
        write(tmp_path / f"{file}.json", card(file, kilobytes, 20, quality=(row,)))
    write(tmp_path / "b_fp32.onnx.json", card("b_fp32.onnx", 900, 27))  # scored elsewhere
    entries = gather([tmp_path]).entries
    head, rows = peer_rows(read_peers(), entries)
    assert head[:5] == ["network", "figures", "parameters", "kMAC/pixel", "rain100l y"]
    assert rows[0][:6] == ["a_fp32.onnx", "measured", "1,000", "2.5", "32.26 / 0.950", "–"]
    assert {row[1] for row in rows[1:]} == {"published"}
    assert rows[1][0] == "LPNet"
    (prenet,) = (row for row in rows if row[0] == "PReNet")
    assert prenet[2:6] == ["168,963", "974.0", "37.48 / 0.979", "29.46 / 0.899"]
    assert len({len(row) for row in [head, *rows]}) == 1
    assert peer_rows(read_peers(), [e for e in entries if e.card.name == "b"])[1] == []


def test_sources_say_what_they_are_of() -> None:
    about, ren, toolbox = sources_named(read_peers())
    assert "one network for all" in about
    assert ren.startswith("Published on rain100l y, rain100h y, rain12 y, rain1400 y: Ren et al.")
    assert toolbox.startswith("Published on rain800 rgb: github.com/biubiubiiu/derain-toolbox")


def test_a_newer_file_is_refused(tmp_path: Path) -> None:
    newer = tmp_path / "peers.json"
    newer.write_text('{"schema": 2, "sources": {}, "networks": []}', encoding="utf-8")
    with pytest.raises(RecordError, match="schema 2 is newer than 1"):
        read_peers(newer)
