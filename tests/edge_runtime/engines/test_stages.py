"""Stages: counted, handed their states, and ended when the picture is still."""

import json
import threading
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from edge_runtime.cli import main
from edge_runtime.derainer import Derainer
from edge_runtime.engines.stages import counted_stages
from edge_runtime.errors import SessionError, UsageError
from edge_runtime.models.card import METADATA_KEY, ModelCard, StageStep, write_card

STEP = StageStep(stages=12, state_width=1, state_scale=1)
HALVING = [("Mul", ["x", "half"], ["x_next"])]
"""The picture halves with every stage."""
COUNTING = [
    ("Mul", ["rainy", "tenth"], ["small"]),
    ("Mul", ["small", "h_next"], ["x_next"]),
]
"""After n stages it is n tenths of the rainy one, if the state is handed on."""


@pytest.fixture
def save_step(tmp_path: Path, card: ModelCard) -> Callable[..., Path]:
    def save(nodes: list[tuple[str, list[str], list[str]]], **changes: object) -> Path:
        values = {**vars(card), "name": "loop_step", "size_multiple": 1, "step": STEP, **changes}
        final = ModelCard(**values)
        picture, state = ["n", 3, "h", "w"], ["n", 1, "sh", "sw"]
        tensors = {
            name: helper.make_tensor_value_info(
                name, TensorProto.FLOAT, state if name[0] in "hc" else picture
            )
            for name in ("rainy", "x", "h", "c", "x_next", "h_next", "c_next")
        }
        constants = {"half": 0.5, "tenth": 0.1, "one": 1.0}
        graph = helper.make_graph(
            [
                *(
                    helper.make_node("Constant", [], [name], value_float=value)
                    for name, value in constants.items()
                ),
                helper.make_node("Add", ["h", "one"], ["h_next"]),
                helper.make_node("Identity", ["c"], ["c_next"]),
                *(helper.make_node(*node) for node in nodes),
            ],
            "loop",
            [tensors[name] for name in ("rainy", "x", "h", "c")],
            [tensors[name] for name in ("x_next", "h_next", "c_next")],
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
        helper.set_model_props(model, {METADATA_KEY: final.to_metadata()})
        path = tmp_path / "loop_step_fp32.onnx"
        path.write_bytes(onnx.ModelProto.SerializeToString(model))
        write_card(path, final)
        return path

    return save


def flat(level: int) -> np.ndarray:
    return np.full((20, 30, 3), level, np.uint8)


@pytest.mark.parametrize("stages", [1, 2, 7])
def test_the_state_is_handed_from_stage_to_stage(
    save_step: Callable[..., Path], stages: int
) -> None:
    derainer = Derainer.load(save_step(COUNTING), stages=stages)
    with counted_stages() as counts:
        assert np.all(derainer(flat(200)) == 20 * stages)
    assert counts == [stages]


def test_all_stages_by_default_and_the_result_is_clamped(save_step: Callable[..., Path]) -> None:
    with counted_stages() as counts:
        derained = Derainer.load(save_step(COUNTING)).session.run(np.ones((1, 3, 4, 4), np.float32))
    assert counts == [12]
    assert np.all(derained == 1)  # 1.2 without


@pytest.mark.parametrize(("level", "stages"), [(0, 1), (1, 1), (3, 2), (63, 6), (65, 7), (255, 8)])
def test_auto_ends_with_the_first_change_below_a_level(
    save_step: Callable[..., Path], level: int, stages: int
) -> None:
    # Stage n changes level / 2**n.
    with counted_stages() as counts:
        Derainer.load(save_step(HALVING), stages="auto")(flat(level))
    assert counts == [stages]


def test_auto_overlooks_one_value_in_a_thousand(save_step: Callable[..., Path]) -> None:
    derainer = Derainer.load(save_step(HALVING), stages="auto", tile=0)
    for changed, stages in ((1, 1), (2, 8)):  # of 600 pixels with three values each
        rainy = flat(0)
        rainy[0, :changed, 0] = 255
        with counted_stages() as counts:
            derainer(rainy)
        assert counts == [stages]


def test_every_tile_begins_anew_and_has_its_own_count(save_step: Callable[..., Path]) -> None:
    rainy = flat(0)
    rainy[:, 15:] = 255
    derainer = Derainer.load(save_step(HALVING), stages="auto", tile=15)
    with counted_stages() as counts:
        derained = derainer(rainy)
    assert sorted(counts) == [1, 1, 8, 8]
    assert np.array_equal(np.unique(derained), [0, 1])  # 255 / 2**8, half up


def test_counts_belong_to_their_thread(save_step: Callable[..., Path]) -> None:
    derainer = Derainer.load(save_step(COUNTING), stages=2)
    with counted_stages() as counts:
        thread = threading.Thread(target=derainer, args=(flat(1),))
        thread.start()
        thread.join()
    assert counts == []


def test_the_command_counts_stages(
    save_step: Callable[..., Path], here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cv2.imwrite("flat.png", flat(63))
    loop = str(save_step(HALVING))
    for given, wanted in ((["--stages", "auto"], 6), (["--stages", "3"], 3), ([], 12)):
        assert main(["flat.png", "--model", loop, "--json", *given]) == 0
        assert json.loads(capsys.readouterr().out)["stages"] == wanted


def test_models_without_stages_refuse_them(
    model: str, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cv2.imwrite("flat.png", flat(63))
    assert main(["flat.png", "--model", model, "--stages", "2"]) == 2
    error = capsys.readouterr().err
    assert error.startswith("edge-derain: error: stages 2: echo_fp32.onnx is a whole network; ")
    assert error.count("\n") == 1
    assert main(["flat.png", "--model", model, "--json"]) == 0
    assert "stages" not in json.loads(capsys.readouterr().out)


@pytest.mark.parametrize("stages", [0, 13, -1])
def test_stages_beyond_training_are_refused(save_step: Callable[..., Path], stages: int) -> None:
    with pytest.raises(UsageError, match="take 1 to 12, or auto"):
        Derainer.load(save_step(HALVING), stages=stages)


@pytest.mark.parametrize("text", ["0", "-1", "2.5", "all", ""])
def test_the_option_is_checked(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["a.png", f"--stages={text}"])
    assert "of at least 1, or auto, got" in capsys.readouterr().err


def test_a_card_without_its_step_is_noticed(save_step: Callable[..., Path]) -> None:
    with pytest.raises(SessionError, match="has 4 inputs and 3 outputs, needed are 1 and 1"):
        Derainer.load(save_step(HALVING, step=None))
