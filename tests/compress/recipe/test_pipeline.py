"""Recipes from beginning to end, interrupted, changed and wrong."""

import copy
import json
import shutil
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from compress.cli import main
from compress.distillation import KEPT
from compress.recipe.pipeline import Outcome, Pipeline
from compress.recipe.plan import make_plan
from compress.recipe.recipe import build_recipe, read_recipe
from core.checkpoint import load_checkpoint
from core.errors import DataError
from core.training.learner import Learner
from edge_runtime.models.card import load_card
from edge_runtime.models.catalog import WEIGHTS
from tests.compress.conftest import stopping_at, write_teacher
from tests.conftest import Refused
from tests.core.conftest import on_pairs_alone, short_run, write_data

ROOT = Path(__file__).parents[3]
KILL_AFTER_STEP = """
import os, signal, sys
from compress.cli import main
from core.training import train
save = train.save_state
def save_and_die(path, state, progress):
    save(path, state, progress)
    if progress["step"] == 2:
        os.kill(os.getpid(), signal.SIGKILL)
train.save_state = save_and_die
main(sys.argv[1:])
"""


def _values(folder: Path) -> dict[str, Any]:
    """Distill, prune and quantize a network of two levels in a few steps."""
    prune = {"target_macs": 0.9, "rounds": 1, "batches": 1, "steps": 2}
    return {
        **on_pairs_alone(short_run(write_data(folder / "data"), folder / "runs")),
        "network": {"widths": [16, 8], "encoder_blocks": [1, 0], "decoder_blocks": [0]},
        "teacher": str(write_teacher(folder, "gan_lstm")),
        "recipe": [
            {"distill": {}},
            {"prune": prune},
            {"quantize": {"method": "minmax", "crops": 256}},
        ],
    }


@pytest.fixture
def values(tmp_path: Path) -> dict[str, Any]:
    return _values(tmp_path)


@pytest.fixture
def work(tmp_path: Path) -> Path:
    return tmp_path / "work"


def _run(values: dict[str, Any], work: Path) -> tuple[Outcome, list[str]]:
    said: list[str] = []
    return Pipeline(build_recipe(values), work, progress=False).run(said.append), said


def _files(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@dataclass
class Done:
    """A recipe that ran, in a work folder that a test may spoil."""

    values: dict[str, Any]
    work: Path
    outcome: Outcome
    said: list[str]


@pytest.fixture(scope="module")
def once(tmp_path_factory: pytest.TempPathFactory) -> Done:
    folder = tmp_path_factory.mktemp("once")
    values = _values(folder)
    return Done(values, folder / "work", *_run(values, folder / "work"))


@pytest.fixture
def done(once: Done, work: Path) -> Done:
    values = copy.deepcopy(once.values)
    return replace(once, values=values, work=Path(shutil.copytree(once.work, work)))


def test_each_step_leaves_a_checkpoint_and_a_card(once: Done) -> None:
    outcome, said = once.outcome, once.said
    assert [line.split(":")[0] for line in said[:2]] == ["1_distill", "2_prune"]
    lengths = []
    for done in outcome.finished:
        card, checkpoint = load_card(done.checkpoint), load_checkpoint(done.checkpoint)
        assert card.recipe == checkpoint.recipe
        assert card == done.card
        assert card.teacher is not None
        assert outcome.teacher is not None
        by_set = {(r.dataset, r.protocol): r.psnr for r in card.quality}
        theirs = {(r.dataset, r.protocol): r.psnr for r in outcome.teacher.quality}
        assert (card.teacher.name, card.teacher.taught) == ("wise", True)
        losses = {(r.dataset, r.protocol): r.psnr_loss_db for r in card.teacher.rows}
        wanted = {key: theirs[key] - psnr for key, psnr in by_set.items()}
        assert losses == pytest.approx(wanted, abs=2e-4)  # cards keep four digits
        lengths.append(len(card.recipe))
    assert lengths == sorted(set(lengths))  # every step appends
    precisions = [done.card.precision for done in outcome.finished]
    assert precisions == ["fp32", "fp32", "int8"]
    assert outcome.finished[1].card.macs_per_pixel <= 0.9 * outcome.finished[0].card.macs_per_pixel
    assert [done.steps for done in outcome.finished] == [4, 2, 0]

    before = _files(once.work)
    again, said = _run(once.values, once.work)
    assert said == []
    assert again == outcome
    assert _files(once.work) == before


def test_a_killed_run_goes_on_and_ends_as_if_it_had_not_been(
    values: dict[str, Any], work: Path, tmp_path: Path
) -> None:
    values["recipe"] = values["recipe"][:1]
    file = tmp_path / "recipe.yaml"
    file.write_text(yaml.safe_dump(values), encoding="utf-8")
    command = [sys.executable, "-c", KILL_AFTER_STEP, "run", str(file), "--work", str(work)]
    died = subprocess.run(command, capture_output=True, check=False)
    assert died.returncode == -9, died.stderr.decode()
    assert not (work / "1_distill.safetensors").exists()
    plan = make_plan(Pipeline(build_recipe(values), work))
    assert [planned.state for planned in plan] == ["goes on"]
    trained: list[int] = []
    update = Learner.update

    def noting(self: Learner, batch: Any, at: int) -> Any:
        trained.append(at)
        return update(self, batch, at)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Learner, "update", noting)
        resumed, _ = _run(values, work)
    assert trained == [2, 3]  # of four
    whole, _ = _run(values, tmp_path / "whole")
    one, other = (load_checkpoint(each.finished[0].checkpoint) for each in (resumed, whole))
    assert one.recipe == other.recipe
    assert all(torch.equal(one.weights[name], other.weights[name]) for name in one.weights)


def test_an_error_between_steps_keeps_what_is_done(
    values: dict[str, Any], work: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*given: Any) -> None:
        raise DataError("the disk is gone")

    with monkeypatch.context() as patch:
        patch.setattr("compress.recipe.pipeline.prune", fail)
        with pytest.raises(DataError):
            _run(values, work)
    names = {path.name for path in work.iterdir() if "2_" in path.name}
    assert names == set()
    first = (work / "1_distill.safetensors").read_bytes()
    _, said = _run(values, work)
    assert [line.split(":")[0] for line in said if "dead" not in line] == ["2_prune", "3_quantize"]
    assert (work / "1_distill.safetensors").read_bytes() == first


def test_a_changed_step_and_what_follows_are_done_again(done: Done) -> None:
    values, work = done.values, done.work
    first = (work / "1_distill.safetensors").read_bytes()
    pruned = (work / "2_prune.safetensors").read_bytes()
    values["recipe"][1]["prune"]["target_macs"] = 0.8
    values["log_every"] = 2  # says nothing about the result
    states = [each.state for each in make_plan(Pipeline(build_recipe(values), work))]
    assert states == [
        "finished",
        "again: options.target_macs 0.9 -> 0.8",
        "again: its input changes",
    ]
    _, said = _run(values, work)
    assert said[0] == "2_prune: again, because options.target_macs 0.9 -> 0.8"
    assert "3_quantize: again, because its input changed" in said
    assert (work / "1_distill.safetensors").read_bytes() == first
    assert (work / "before" / "2_prune.safetensors").read_bytes() == pruned


def test_options_that_a_record_does_not_know_have_their_defaults(done: Done) -> None:
    values, work = done.values, done.work
    for name in ("1_distill", "2_prune", "3_quantize"):
        path = work / f"{name}.record.json"
        record = json.loads(path.read_text())
        plain = record["plain"]
        del plain["mixture"]["shrink"]
        for options in (plain, plain["options"] or {}):
            for option in ("optimizer", "importance", "symmetric"):
                options.pop(option, None)
        path.write_text(json.dumps(record))
    plan = make_plan(Pipeline(build_recipe(values), work))
    assert [planned.state for planned in plan] == ["finished"] * 3
    values["optimizer"] = "muon"
    first, *_ = make_plan(Pipeline(build_recipe(values), work))
    assert first.state == "again: optimizer adamw -> muon"


def test_another_teacher_and_a_damaged_result_are_noticed(
    values: dict[str, Any], work: Path, tmp_path: Path
) -> None:
    values["recipe"] = values["recipe"][:1]
    _run(values, work)
    write_teacher(tmp_path, "gan_lstm", width=5)  # in the same place
    _, said = _run(values, work)
    assert said[0] == "1_distill: again, because the teacher changed"
    (work / "1_distill.safetensors").write_bytes(b"torn")
    _, said = _run(values, work)
    assert "is missing or was changed" in said[0]
    (work / "1_distill.record.json").write_text("{")
    _, said = _run(values, work)
    assert "is missing or torn" in said[0]


def test_several_teachers_in_a_recipe(values: dict[str, Any], work: Path, tmp_path: Path) -> None:
    one, other = values["teacher"], str(write_teacher(tmp_path, "student"))
    values["teacher"] = f"{one}, {other}"
    distill, prune, _ = values["recipe"]
    prune["prune"]["teacher"] = other
    values["recipe"] = [distill, prune, {"quantize": {"method": "minmax", "keep_float": ["exit"]}}]
    recipe = build_recipe(values)
    assert recipe.teacher == one  # which the results are compared with
    outcome, _ = _run(values, work)
    distilled, pruned, quantized = (load_checkpoint(done.checkpoint) for done in outcome.finished)
    assert distilled.recipe[-1].count("wise sha256") == 2
    assert pruned.recipe[-1].count("wise sha256") == 1
    assert quantized.recipe[-1].endswith("exit in float")

    write_teacher(tmp_path, "student", widths=[8, 8])  # in the same place
    first, *_ = make_plan(Pipeline(recipe, work))
    assert first.state == "again: the teacher changed"


@pytest.mark.parametrize(
    ("size", "most_bytes", "most_macs"),
    [("nano", 60_000, 2_000), ("small", 180_000, 8_000), ("base", 700_000, 32_000)],
)
def test_shipped_recipes_keep_to_their_limits(
    size: str, most_bytes: int, most_macs: int, work: Path
) -> None:
    last = make_plan(Pipeline(read_recipe(ROOT / f"configs/students/{size}.yaml"), work))[-1]
    assert last.step.kind == "quantize"
    assert last.bytes <= most_bytes
    assert last.macs_per_pixel <= most_macs
    shipped = WEIGHTS / f"{size}_int8.onnx"
    assert last.bytes == pytest.approx(shipped.stat().st_size, rel=0.1)


def test_steps_share_what_a_teacher_says(values: dict[str, Any], work: Path) -> None:
    keeping = {"distill": {"distill": {"keep": True}}}
    values["recipe"] = [keeping, keeping]
    _run(values, work)
    assert len(list(work.glob(f"{KEPT}/*_x1/*.png"))) == 2  # the pairs
    assert list(work.rglob(KEPT)) == [work / KEPT]


def test_a_signal_stops_and_the_same_call_goes_on(
    values: dict[str, Any], work: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    values["recipe"] = values["recipe"][:1]
    with monkeypatch.context() as patch:
        patch.setattr(Learner, "update", stopping_at(0))
        outcome, _ = _run(values, work)
    assert outcome.finished == ()
    assert outcome.stopped is not None
    assert (outcome.stopped.step, outcome.stopped.exit_code) == (1, 130)
    outcome, _ = _run(values, work)
    assert len(outcome.finished) == 1


def test_fine_tuning_with_rounding_resumes(
    values: dict[str, Any], work: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    quantize = {"method": "minmax", "qat": True, "steps": 3, "validate_every": 3}
    values["recipe"] = [values["recipe"][0], {"quantize": quantize}]
    with monkeypatch.context() as patch:
        patch.setattr(Learner, "update", stopping_at(0, of="tiny_int8"))
        outcome, _ = _run(values, work)
    assert outcome.stopped is not None
    assert outcome.stopped.step == 1
    outcome, _ = _run(values, work)
    assert outcome.finished[1].card.precision == "int8"


def test_a_plan_counts_and_touches_nothing(
    once: Done, work: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pipeline = Pipeline(build_recipe(once.values), work)
    plan = make_plan(pipeline)
    assert not work.exists()
    assert [(planned.state, planned.seconds) for planned in plan] == [("to do", None)] * 3
    first, second, third = plan
    assert second.macs_per_pixel <= 0.9 * first.macs_per_pixel
    assert third.bytes < second.bytes - 2 * second.parameters

    monkeypatch.delattr("compress.recipe.plan.foresee")  # there is nothing to guess any more
    plan = make_plan(Pipeline(build_recipe(once.values), once.work))
    assert [planned.state for planned in plan] == ["finished"] * 3
    cards = [done.card for done in once.outcome.finished]
    assert [p.parameters for p in plan] == [card.parameters for card in cards]
    assert [p.macs_per_pixel for p in plan] == [card.macs_per_pixel for card in cards]
    assert all(planned.seconds and planned.seconds > 0 for planned in plan)


def test_the_command(
    values: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    values["recipe"] = [*values["recipe"][:1], {"quantize": {"scheme": "fp16"}}]
    file = tmp_path / "recipe.yaml"
    file.write_text(yaml.safe_dump(values), encoding="utf-8")
    assert main(["run", str(file), "--dry-run"]) == 0
    assert "\n1_distill   to do  " in capsys.readouterr().out
    assert not (tmp_path / "runs").exists()
    assert main(["run", str(file)]) == 0
    lines = capsys.readouterr().out.splitlines()
    heading = next(index for index, line in enumerate(lines) if "to teacher" in line)
    assert "kMAC/pixel  ONNX kB  optimizer steps" in lines[heading]
    assert [line.split()[0] for line in lines[heading + 1 : -1]] == [
        "teacher",
        "1_distill",
        "2_quantize",
    ]
    result = tmp_path / "runs" / "recipe_tiny" / "2_quantize.safetensors"
    assert lines[-1] == f"tiny: {result}"
    assert load_checkpoint(result).precision == "fp16"


@pytest.mark.parametrize(
    ("changes", "options", "code", "message"),
    [
        ({}, ["--teacher", "{broken}"], 1, "torn, or not a safetensors file"),
        ({}, ["--teacher", "unknown"], 1, "checkpoint 'unknown': unknown"),
        ({}, ["--data-root", "no"], 1, "no/pairs"),
        ({}, ["--data-root", "no", "--dry-run"], 1, "no/pairs"),
        ({"architecture": "studint"}, [], 2, "architecture 'studint': unknown; did you mean"),
        (
            {"recipe": ["distill", {"prune": {"target_macs": 0.01}}]},
            [],
            2,
            "the smallest within reach",
        ),
        ({"checkpoint": "./none.safetensors"}, [], 1, "none.safetensors: cannot be read"),
    ],
)
def test_bad_input_is_one_line_and_writes_nothing(
    values: dict[str, Any],
    tmp_path: Path,
    refused: Refused,
    changes: dict[str, Any],
    options: list[str],
    code: int,
    message: str,
) -> None:
    broken = tmp_path / "broken.safetensors"
    broken.write_bytes(b"no checkpoint")
    file = tmp_path / "recipe.yaml"
    file.write_text(yaml.safe_dump({**values, **changes}), encoding="utf-8")
    given = [option.replace("{broken}", str(broken)) for option in options]
    command = ["run", str(file), "--work", str(tmp_path / "work"), *given]
    assert refused(main, command, message, begun=True) == code
