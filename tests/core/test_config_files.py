from pathlib import Path

import pytest

from core.config_files import read_config
from core.errors import ConfigError


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


def test_a_value_replaces_a_mapping_and_a_mapping_a_value(folder: Path) -> None:
    text = "extends: parts/base.yaml\nnetwork: null\nsteps: {a: 1}\n"
    found = read_config(_write(folder, text))
    assert (found["network"], found["steps"]) == (None, {"a": 1})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("extends: top.yaml\n", r"top\.yaml: extends itself; remove one 'extends'"),
        ("extends: parts/none.yaml\n", r"parts/none\.yaml: cannot be read"),
        ("extends: [a, b]\n", r"extends \['a', 'b'\] is not the name of a file"),
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
