"""The card says what the checkpoint and the cost say."""

from __future__ import annotations

import dataclasses

import pytest

from compress.cost import measure_cost
from core.checkpoint import Checkpoint
from core.networks import ARCHITECTURES
from core.networks.gan_lstm import GanLstmConfig
from edge_runtime.card import QualityRow
from edge_runtime.errors import CardError
from export.cards import GLOBAL_HALO, make_card


def test_card_of_a_checkpoint(checkpoint: Checkpoint) -> None:
    row = QualityRow(
        dataset="val", images=1, protocol="y", input_psnr=20, input_ssim=0.5, psnr=25, ssim=0.9
    )
    card = make_card(checkpoint, "onnx", "fp32", [row])
    cost = measure_cost(checkpoint.build(), 4)
    assert (card.name, card.role, card.architecture) == ("tiny", "student", "student")
    assert card.config == {"widths": [8, 16], "encoder_blocks": [1, 1], "decoder_blocks": [1]}
    assert (card.format, card.precision, card.layout) == ("onnx", "fp32", "NCHW")
    assert (card.size_multiple, card.halo, card.tiling_exact) == (4, cost.halo, True)
    assert (card.parameters, card.macs_per_pixel) == (cost.parameters, cost.macs_per_pixel)
    assert card.quality == (row,)
    assert card.recipe == ("train: two steps", "export: onnx fp32")
    assert card.data == ("rain800",)
    assert card.versions.keys() == {"lightning", "torch", "onnx", "edge-derain"}
    assert card.licence == (
        "Code Apache-2.0. Weights trained on research data (rain800): non-commercial research use."
    )
    assert (card.bytes, card.sha256) == (None, None)


def test_a_name_that_is_a_path_is_refused(checkpoint: Checkpoint) -> None:
    with pytest.raises(CardError, match=r"name must be .*'\.\./tiny'"):
        make_card(dataclasses.replace(checkpoint, name="../tiny"), "onnx", "fp32")


def test_a_network_that_pools_globally_is_tiled_with_a_stated_overlap() -> None:
    config = GanLstmConfig(width=4, stages=1, blocks=1, attention="channel", radius=2)
    weights = ARCHITECTURES["gan_lstm"].module(config).state_dict()
    card = make_card(Checkpoint("global", "teacher", "gan_lstm", config, weights), "onnx", "fp32")
    assert (card.halo, card.tiling_exact) == (GLOBAL_HALO, False)
