"""Halving by hand, times in both engines, and a search whose recipe runs."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from compress.cli import main
from compress.recipe.recipe import read_recipe
from compress.recipe.records import Record, StepFiles
from compress.search.config import SearchConfig, read_search
from compress.search.search import Rung, Search, Tried, choose, pareto, rungs, survivors
from compress.search.times import Times, measure_times
from core.config import network_config
from core.errors import ConfigError
from tests.conftest import Refused
from tests.core.conftest import on_pairs_alone

NETWORKS: dict[str, dict[str, Any]] = {
    "thin": {"widths": [8, 8], "encoder_blocks": [1, 1], "decoder_blocks": [1]},
    "wide": {"widths": [24, 32], "encoder_blocks": [1, 1], "decoder_blocks": [1]},
}
CONFIGS = Path(__file__).parents[3] / "configs"


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ((27, 10, 3, 3, 1), [(27, 10), (9, 30), (3, 90)]),
        ((10, 10, 3, 4, 1), [(10, 10), (3, 30), (1, 90), (1, 270)]),
        ((10, 5, 2, 3, 4), [(10, 5), (5, 10), (4, 20)]),
        ((2, 5, 2, 2, 3), [(2, 5), (2, 10)]),
    ],
)
def test_halving_by_hand(given: tuple[int, ...], wanted: list[tuple[int, int]]) -> None:
    assert rungs(*given) == tuple(Rung(*each) for each in wanted)


def test_the_best_survive_and_of_equals_the_first() -> None:
    assert survivors({"a": 1.0, "b": 3.0, "c": 3.0, "d": 2.0}, 3) == ("b", "c", "d")


def _tried(name: str, last: int, score: float, onnx: float, tflite: float) -> Tried:
    return Tried(name, last, score, 1, 1.0, 1, Times(9.0, onnx, 9.0, tflite))


def test_the_choice_and_the_front() -> None:
    tried = [
        _tried("best", 2, 30.0, 9.0, 5.0),
        _tried("near", 2, 29.6, 5.0, 6.0),
        _tried("worse", 2, 29.5, 9.5, 6.5),
        _tried("early", 1, 31.0, 1.0, 1.0),
    ]
    assert choose(tried, 0).name == "best"
    assert choose(tried, 0.39).name == "best"
    assert choose(tried, 0.41).name == "near"
    assert pareto(tried) == {"best", "near"}


def test_times_are_measured_in_each_engine() -> None:
    fields = {"widths": [8], "encoder_blocks": [0], "decoder_blocks": [], "stride": 4}
    config = network_config("student", {**fields, "kernel": 4, "up": "shuffle"})
    times = measure_times("student", {"thin": config})["thin"]
    assert 0 < times.onnx_int8 <= times.slowest_int8
    assert 0 < times.tflite_int8 <= times.slowest_int8
    assert len({times.onnx_fp32, times.onnx_int8, times.tflite_fp32, times.tflite_int8}) > 1


@pytest.fixture(autouse=True)
def asked(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """Give out times without measuring; a list of the names that were asked for."""
    asked: list[list[str]] = []

    def measured(architecture: str, networks: dict[str, Any]) -> dict[str, Times]:
        asked.append(list(networks))
        return {
            name: Times(9.0, float(config.widths[0]), 9.0, 4.0) for name, config in networks.items()
        }

    monkeypatch.setattr("compress.search.search.measure_times", measured)
    return asked


@pytest.fixture
def values(train_values: dict[str, Any]) -> dict[str, Any]:
    shared = {k: v for k, v in on_pairs_alone(train_values).items() if k != "network"}
    search = {
        "networks": NETWORKS,
        "first": 1,
        "factor": 2,
        "rounds": 2,
        "finalists": 1,
    }
    return {**shared, "search": search}


def test_a_search_goes_on_and_its_recipe_runs(
    values: dict[str, Any],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    asked: list[list[str]],
) -> None:
    file = tmp_path / "search.yaml"
    file.write_text(yaml.safe_dump(values), encoding="utf-8")
    command = ["search", "--config", str(file), "--max-ms", "24"]
    assert main([*command, "--dry-run"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "round 1: 2 candidates, 1 steps" in lines
    assert "round 2: 1 candidates, 2 steps" in lines
    assert not (tmp_path / "runs").exists()

    started: list[str] = []

    class Counted(StepFiles):
        def write(self, record: Record) -> None:
            if not record.sha256:  # that of a step that begins
                work = self.checkpoint.parent
                started.append(str(work.relative_to(tmp_path / "runs" / "search_tiny")))
                if len(started) == 3 and not interrupted:
                    interrupted.append(True)
                    raise KeyboardInterrupt
            super().write(record)

    interrupted: list[bool] = []
    recipe = tmp_path / "runs/search_tiny/recipe.yaml"
    with monkeypatch.context() as patch:
        patch.setattr("compress.recipe.pipeline.StepFiles", Counted)
        assert main(command) == 130
        assert "compress: interrupted; the same command goes on" in capsys.readouterr().err
        third = started[-1]
        assert started == ["round1/thin", "round1/thin", "round1/wide"]
        started.clear()
        assert main(command) == 0
        assert started[0] == third  # and nothing of what was done
        assert len(started) == 4
        assert {place.split("/")[0] for place in started} == {"round1", "round2"}
        printed = capsys.readouterr().out
        assert printed.count("chosen  ") == 1
        assert asked == [["thin", "wide"]]
        first_choice = recipe.read_text(encoding="utf-8")

        started.clear()
        assert main(command) == 0
        assert started == []
        assert recipe.read_text(encoding="utf-8") == first_choice
    assert read_recipe(recipe).steps[0].training.steps == values["steps"]
    assert main(["run", str(recipe), "--work", str(tmp_path / "made")]) == 0


def test_a_search_under_another_seed_begins_anew(values: dict[str, Any], tmp_path: Path) -> None:
    search = values.pop("search")
    changes = {
        "networks": {"wide": NETWORKS["wide"]},
        "rounds": 1,
        "first": 2,
    }
    config = SearchConfig(**{**search, **changes})
    scores = []
    for seed, work in ((0, "a"), (0, "b"), (1, "a")):
        found = Search({**values, "seed": seed}, config, tmp_path / work, progress=False).run(
            tmp_path / "recipe.yaml"
        )
        scores.append([(each.name, each.score) for each in found.tried])
    assert scores[0] == scores[1]
    assert scores[0] != scores[2]


@pytest.mark.parametrize(
    ("changes", "options", "code", "message"),
    [
        ({}, ["--max-ms", "-1"], 2, "search.max_ms -1.0 must be at least 0"),
        ({}, ["--rounds", "0"], 2, "search.rounds 0 must be at least 1"),
        ({}, ["--max-drop", "-1"], 2, "search.max_drop -1.0 must be at least 0"),
        ({}, ["--teacher", "unknown"], 1, "checkpoint 'unknown': unknown"),
        ({}, ["--data-root", "no"], 1, "no/pairs"),
        ({}, ["--data-root", "no", "--dry-run"], 1, "no/pairs"),
        ({}, ["--teacher", "unknown", "--dry-run"], 1, "checkpoint 'unknown': unknown"),
        ({"crops": 3}, [], 2, "crops 3 of 16x16 are"),
        ({"netwroks": {}}, [], 2, "search.netwroks: unknown key; did you mean 'networks'"),
        ({"networks": {}}, [], 2, "search.networks is empty"),
        ({"networks": {"odd": {"widths": [8]}}}, [], 2, "networks.odd: encoder_blocks has 3"),
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
    values["search"].update(changes)
    file = tmp_path / "search.yaml"
    file.write_text(yaml.safe_dump(values), encoding="utf-8")
    assert refused(main, ["search", "--config", str(file), *options], message, begun=True) == code


def test_none_is_fast_enough(values: dict[str, Any], tmp_path: Path) -> None:
    config = SearchConfig(**{**values.pop("search"), "max_ms": 7.0})
    with pytest.raises(ConfigError, match=r"max_ms 7: no candidate .* fastest is thin with 8 ms"):
        Search(values, config, tmp_path / "a", progress=False).run(tmp_path / "recipe.yaml")


def test_the_shipped_search_is_of_networks_that_exist(tmp_path: Path) -> None:
    values, config = read_search(CONFIGS / "search.yaml", {}, {})
    found = Search(values, config, tmp_path).networks
    assert found["nano_overlap"].kernel == 12
    assert all(network.up == "shuffle" for network in found.values())
