"""Halving by hand, candidates within budgets, and a search whose recipe runs."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from compress.cli import main
from compress.cost import artifact_bytes, macs_per_pixel
from compress.pruning.prune import foresee
from compress.recipe.recipe import read_recipe
from compress.recipe.records import Record, StepFiles
from compress.search.candidates import Budget, Candidate, find_candidates
from compress.search.config import SearchConfig
from compress.search.search import Rung, Search, Tried, choose, pareto, rungs, survivors
from core.checkpoint import Checkpoint
from core.errors import ConfigError
from core.networks.student import StudentConfig, StudentNet
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


def _net(name: str) -> StudentNet:
    return StudentNet(StudentConfig(**{k: tuple(v) for k, v in NETWORKS[name].items()}))


def _count(net: Any) -> int:
    return sum(parameter.numel() for parameter in net.parameters())


def _find(budget: Budget) -> tuple[Candidate, ...]:
    return find_candidates("student", NETWORKS, (1.0, 0.5), ("int8", "fp32"), budget)


def test_without_a_budget_all_are_there() -> None:
    found = {each.name: each for each in _find(Budget())}
    whole = _count(_net("wide"))
    assert found["wide-int8"].prunes == ()
    assert found["wide-int8"].parameters == whole
    assert found["wide-int8"].bytes == artifact_bytes(_net("wide"), "int8")
    half = found[f"wide-b{whole // 2 * 4}-fp32"]
    assert (half.parameters, half.prunes[0].target_bytes) == (whole // 2, whole // 2 * 4)
    assert half.bytes == artifact_bytes(_net("wide"), "fp32") - 4 * (whole - whole // 2)
    # The thin network has nothing to lose.
    assert [name for name in found if name.startswith("thin")] == ["thin-int8", "thin-fp32"]


@pytest.mark.parametrize(
    "budget", [Budget(bytes=24_000), Budget(macs=3000), Budget(bytes=24_000, macs=3000)]
)
def test_what_pruning_makes_of_a_candidate_is_within_the_budget(budget: Budget) -> None:
    candidates = _find(budget)
    assert "wide" in {each.network for each in candidates}
    for each in candidates:
        net = _net(each.network)
        config = net.config
        made = Checkpoint("a", "student", "student", config, net.state_dict())
        for prune in each.prunes:
            made = foresee(made, prune)
        pruned = made.build()
        assert _count(pruned) <= each.parameters
        assert macs_per_pixel(pruned, config.size_multiple) <= each.macs
        assert artifact_bytes(pruned, each.precision) <= each.bytes
        assert each.bytes <= (budget.bytes or each.bytes)
        assert each.macs <= (budget.macs or each.macs)


def test_the_smallest_within_reach_is_said() -> None:
    least = artifact_bytes(_net("thin"), "int8")
    with pytest.raises(ConfigError, match=rf"max_bytes 999: no candidate .* {least} bytes \(thin"):
        _find(Budget(bytes=999))
    macs = round(macs_per_pixel(_net("thin"), 4))
    with pytest.raises(ConfigError, match=rf"max_macs 9: .* {macs} MACs per pixel \(thin"):
        _find(Budget(bytes=999, macs=9))


def _tried(name: str, last: int, score: float, size: int, macs: float) -> Tried:
    return Tried(Candidate(name, (), "int8", 1, macs, size, macs), last, score, 1, macs, size)


def test_the_choice_and_the_front() -> None:
    tried = [
        _tried("best", 2, 30.0, 90, 5.0),
        _tried("near", 2, 29.6, 50, 6.0),
        _tried("worse", 2, 29.5, 95, 5.0),
        _tried("early", 1, 31.0, 10, 1.0),
    ]
    assert choose(tried, 0).candidate.network == "best"
    assert choose(tried, 0.39).candidate.network == "best"
    assert choose(tried, 0.41).candidate.network == "near"
    assert pareto(tried) == {"best-int8", "near-int8"}


@pytest.fixture
def values(train_values: dict[str, Any]) -> dict[str, Any]:
    shared = {k: v for k, v in on_pairs_alone(train_values).items() if k != "network"}
    search = {
        "networks": NETWORKS,
        "keep": [1.0],
        "precisions": ["int8", "fp32"],
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
) -> None:
    file = tmp_path / "search.yaml"
    file.write_text(yaml.safe_dump(values), encoding="utf-8")
    command = ["search", "--config", str(file), "--max-bytes", "40KB"]
    assert main([*command, "--dry-run"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "round 1: 4 candidates, 1 steps" in lines
    assert "round 2: 2 candidates, 2 steps" in lines
    assert not (tmp_path / "runs").exists()

    started: list[str] = []

    class Counted(StepFiles):
        def write(self, record: Record) -> None:
            if not record.sha256:  # that of a step that begins
                work = self.checkpoint.parent
                started.append(str(work.relative_to(tmp_path / "runs" / "search_tiny")))
                if len(started) == 4 and not interrupted:
                    interrupted.append(True)
                    raise KeyboardInterrupt
            super().write(record)

    interrupted: list[bool] = []
    recipe = tmp_path / "runs/search_tiny/recipe.yaml"
    with monkeypatch.context() as patch:
        patch.setattr("compress.recipe.pipeline.StepFiles", Counted)
        assert main(command) == 130
        assert "compress: interrupted; the same command goes on" in capsys.readouterr().err
        fourth = started[-1]
        assert started[:2] == ["round1/thin", "round1/thin-int8"]
        started.clear()
        assert main(command) == 0
        assert started[0] == fourth  # and nothing of what was done
        assert len(started) == len(set(started))
        assert {place.split("/")[0] for place in started} == {"round1", "round2"}
        printed = capsys.readouterr().out
        assert printed.count("chosen  ") == 1
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
        "precisions": ("fp32",),
    }
    config = SearchConfig(**{**search, **changes})
    scores = []
    for seed, work in ((0, "a"), (0, "b"), (1, "a")):
        found = Search({**values, "seed": seed}, config, tmp_path / work, progress=False).run(
            tmp_path / "recipe.yaml"
        )
        scores.append([(each.candidate.name, each.score) for each in found.tried])
    assert scores[0] == scores[1]
    assert scores[0] != scores[2]


@pytest.mark.parametrize(
    ("changes", "options", "code", "message"),
    [
        ({}, ["--max-bytes", "9"], 2, "the smallest within reach"),
        ({}, ["--rounds", "0"], 2, "search.rounds 0 must be at least 1"),
        ({}, ["--max-drop", "-1"], 2, "search.max_drop -1.0 must be at least 0"),
        ({}, ["--teacher", "unknown"], 1, "checkpoint 'unknown': unknown"),
        ({}, ["--data-root", "no"], 1, "no/pairs"),
        ({}, ["--data-root", "no", "--dry-run"], 1, "no/pairs"),
        ({}, ["--teacher", "unknown", "--dry-run"], 1, "checkpoint 'unknown': unknown"),
        ({"crops": 3}, [], 2, "crops 3 of 16x16 are"),
        ({"netwroks": {}}, [], 2, "search.netwroks: unknown key; did you mean 'networks'"),
        ({"keep": [2.0]}, [], 2, "2.0 is not within (0, 1]"),
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


def test_the_shipped_search_makes_recipes() -> None:
    values = yaml.safe_load((CONFIGS / "search.yaml").read_text(encoding="utf-8"))
    found = find_candidates(
        "student", values["search"]["networks"], (1.0, 0.5), ("int8",), Budget(100_000, 5000)
    )
    assert {each.network for each in found} == set(values["search"]["networks"])
