import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from core.checkpoint import load_checkpoint
from core.config import (
    build_config,
    config_parser,
    load_config,
    network_config,
    parse_config,
    read_config,
)
from core.errors import ConfigError
from core.training.config import TrainConfig
from edge_runtime.models.records import to_plain

Values = dict[str, Any]
CONFIGS = Path(__file__).parents[2] / "configs"
TRAINED = ("papers/deconv", "papers/gan_lstm", "papers/jorder", "papers/rescan", "own_folder")
"""Configs of training runs; those of other commands are tested with them."""


@pytest.fixture
def write(tmp_path: Path) -> Callable[[Values], Path]:
    def write(values: Values) -> Path:
        path = tmp_path / "c.yaml"
        path.write_text(yaml.safe_dump(values), encoding="utf-8")
        return path

    return write


def _set(values: Values, place: str, value: Any) -> Values:
    """Set ``a.b.c`` in nested values."""
    changed = node = copy.deepcopy(values)
    *path, last = place.split(".")
    for key in path:
        node = node.setdefault(key, {})
    node[last] = value
    return changed


def test_a_file_becomes_dataclasses(write, train_values: Values) -> None:
    config = load_config(TrainConfig, write(train_values))
    assert config.mixture.parts["drawn"].rain == "generated"
    assert config.mixture.parts["as_is"].source.split == "train"
    assert config.mixture.generated.pool == 3
    assert config.validation["light"].rain is not None
    assert config.validation["light"].rain.seed == 1
    assert config.validation["pairs"].rain is None


def test_what_is_written_is_read_again(write, train_values: Values) -> None:
    config = load_config(TrainConfig, write(train_values))
    assert load_config(TrainConfig, write(to_plain(config))) == config
    assert build_config(TrainConfig, to_plain(config), "config") == config


def test_options_win_over_the_file(write, train_values: Values) -> None:
    arguments = ["--config", str(write(train_values)), "--mixture.crop=32", "--steps", "9"]
    config = parse_config(TrainConfig, config_parser(TrainConfig), arguments)
    assert config.mixture.crop == 32
    assert config.steps == 9
    assert config.mixture.generated.pool == 3


def test_numbers_in_powers_of_ten_and_whole_ones(tmp_path: Path, write, train_values) -> None:
    path = write({**train_values, "weight_decay": 0})
    path.write_text(path.read_text() + "learning_rate: 3e-4\n")
    config = load_config(TrainConfig, path)
    assert config.learning_rate == 3e-4
    assert config.weight_decay == 0


@pytest.mark.parametrize(
    ("place", "near"),
    [
        ("stpes", "steps"),
        ("mixture.cropp", "crop"),
        ("mixture.parts.drawn.wieght", "weight"),
        ("mixture.parts.as_is.source.layuot", "layout"),
        ("mixture.generated.rain.angel", "angle"),
        ("validation.light.rian", "rain"),
        ("validation.light.rain.rain.desnity", "density"),
        ("loss.sssim", "ssim"),
        ("network.width", "widths"),
    ],
)
def test_misspelt_keys_are_placed_and_the_nearest_is_named(
    write, train_values: Values, place: str, near: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        load_config(TrainConfig, write(_set(train_values, place, 1)))
    line = str(caught.value)
    assert f"{place}: unknown key; did you mean {near!r}?" in line
    assert "\n" not in line
    assert caught.value.exit_code == 2


@pytest.mark.parametrize(
    ("place", "value", "message"),
    [
        ("steps", "many", r"steps: must be a whole number, got many"),
        ("name", 5, r"name: must be text, got 5"),
        ("validation", [1], r"validation: must be a mapping, got \[1\]"),
        (
            "precision",
            "bf16",
            r"precision: must be one of '32-true', 'bf16-mixed', 'auto', got bf16",
        ),
        (
            "mixture.parts.as_is.source.layout",
            "x",
            r"layout: must be one of 'side_by_side', .*got x",
        ),
        ("mixture.parts.as_is.weight", -1, r"weight -1\.0 of 'pairs' must be above 0"),
        ("network.widths", "x", r"network: widths: must be a list, got x"),
        ("network.widths", [8], r"encoder_blocks has 2 entries, \[1, 1\], but 1 widths need 1"),
        ("architecture", "studnet", r"architecture 'studnet': unknown; did you mean 'student'"),
        ("validation.light.rain", {"rain": {"density": [3, 1]}}, r"rain\.density \[3\.0, 1\.0\]"),
        ("validation.light.rain", {"layers": "x"}, r"layers: must be a whole number, got x"),
    ],
)
def test_wrong_values_are_one_line(
    write, train_values: Values, place: str, value: Any, message: str
) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        load_config(TrainConfig, write(_set(train_values, place, value)))
    assert "\n" not in str(caught.value)
    assert "class_path" not in str(caught.value)


def test_missing_keys_are_named(write, train_values: Values) -> None:
    del train_values["name"], train_values["mixture"]
    with pytest.raises(ConfigError, match=r"missing name, mixture\.parts; give it in the --config"):
        load_config(TrainConfig, write(train_values))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, r"--config .*c\.yaml: cannot be read \(No such file or directory\)"),
        (b"a: [1\nb: }", r"--config .*c\.yaml: is not YAML \(.*line 2"),
        (b"\xff\xfe\x00", r"--config .*c\.yaml: is not YAML"),
        (b"5", r"--config .*c\.yaml: holds no options"),
        (b"", r"--config .*c\.yaml: holds no options"),
    ],
)
def test_files_that_are_no_configs(tmp_path: Path, content: bytes | None, message: str) -> None:
    path = tmp_path / "c.yaml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ConfigError, match=message) as caught:
        load_config(TrainConfig, path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--config"], "--config: needs a file"),
        (["--config", "{}", "--steps"], "--steps: needs a value"),
        (["--config", "{}", "--stpes", "3"], "stpes: unknown option; did you mean 'steps'"),
        (["--config", "{}", "--mixture.cropp=3"], r"mixture\.cropp: .*did you mean 'crop'"),
        (["--config", "{}", "zzz"], "zzz: unknown option; --help lists them"),
        ([], "missing name, architecture, .*give it in the --config file"),
    ],
)
def test_wrong_command_lines(write, train_values: Values, arguments: list[str], message: str):
    path = str(write(train_values))
    with pytest.raises(ConfigError, match=message):
        parse_config(
            TrainConfig, config_parser(TrainConfig), [path if a == "{}" else a for a in arguments]
        )


@pytest.mark.parametrize("name", TRAINED)
def test_shipped_training_configs_are_valid(name: str) -> None:
    load_config(TrainConfig, CONFIGS / f"{name}.yaml")


def test_the_deconvolution_network_as_printed_is_a_line_of_options() -> None:
    path = CONFIGS / "papers/deconv.yaml"
    (line,) = [each for each in path.read_text().splitlines() if "--name deconv_paper" in each]
    parser = config_parser(TrainConfig)
    config = parse_config(TrainConfig, parser, ["--config", str(path), *line.strip("# ").split()])
    shipped = load_checkpoint("deconv_paper").config
    assert network_config(config.architecture, config.network) == shipped
    assert (config.loss.l1, config.loss.mse) == (0.0, 1.0)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "parts").mkdir()
    (tmp_path / "parts/base.yaml").write_text(
        "steps: 5\nseed: 1\nmixture: {crop: 64, parts: [1, 2]}\nnetwork: {width: 8}\n"
    )
    return tmp_path


def _write(folder: Path, text: str, name: str = "top.yaml") -> Path:
    (folder / name).write_text(text)
    return folder / name


def test_mappings_are_merged_and_the_nearer_file_wins(folder: Path) -> None:
    middle = "extends: base.yaml\nseed: 2\nmixture: {crop: 32}\n"
    _write(folder, middle, "parts/middle.yaml")
    text = "extends: parts/middle.yaml\nmixture: {parts: [3]}\nnetwork: {blocks: 2}\nname: a\n"
    assert read_config(_write(folder, text)) == {
        "steps": 5,
        "seed": 2,
        "mixture": {"crop": 32, "parts": [3]},
        "network": {"width": 8, "blocks": 2},
        "name": "a",
    }


def test_of_several_files_the_later_wins(folder: Path) -> None:
    _write(folder, "seed: 9\nnetwork: {width: 4}\n", "other.yaml")
    text = "extends: [parts/base.yaml, other.yaml]\nsteps: 6\n"
    found = read_config(_write(folder, text))
    assert (found["seed"], found["network"]["width"], found["steps"]) == (9, 4, 6)


def test_a_value_replaces_a_mapping_and_a_mapping_a_value(folder: Path) -> None:
    text = "extends: parts/base.yaml\nnetwork: 3\nsteps: {a: 1}\n"
    found = read_config(_write(folder, text))
    assert (found["network"], found["steps"]) == (3, {"a": 1})


def test_null_takes_out_a_mapping(folder: Path) -> None:
    text = "extends: parts/base.yaml\nnetwork: null\nseed: null\n"
    found = read_config(_write(folder, text))
    assert list(found) == ["steps", "seed", "mixture"]
    assert found["seed"] is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("extends: top.yaml\n", r"top\.yaml: extends itself; remove one 'extends'"),
        ("extends: parts/none.yaml\n", r"parts/none\.yaml: cannot be read"),
        ("extends: [parts/base.yaml, 3]\n", r"extends 3 is not the name of a file"),
        ("extends: parts\n", r"parts: cannot be read"),
    ],
)
def test_files_that_cannot_be_extended(folder: Path, text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        read_config(_write(folder, text))


def test_a_ring_of_files(folder: Path) -> None:
    _write(folder, "extends: ../top.yaml\n", "parts/base.yaml")
    with pytest.raises(ConfigError, match="extends itself"):
        read_config(_write(folder, "extends: parts/base.yaml\n"))


def test_the_configs_that_ship_are_found_where_no_clone_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    there = Path(__file__).parents[2]
    for path in sorted(there.glob("configs/**/*.yaml")):
        monkeypatch.chdir(there)
        wanted = read_config(path)
        monkeypatch.chdir(tmp_path)
        assert read_config(path.relative_to(there)) == wanted
    (tmp_path / "configs").mkdir()
    (tmp_path / "configs/quality.yaml").write_text("mine: 1")
    assert read_config("configs/quality.yaml") == {"mine": 1}
    with pytest.raises(ConfigError, match=r"configs/none\.yaml: cannot be read"):
        read_config("configs/none.yaml")
