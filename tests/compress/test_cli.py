"""``compress cost``: table, JSON, errors, and a quick --help."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from compress.cli import main
from core.checkpoint import Checkpoint, save_checkpoint
from core.networks.student import StudentConfig, StudentNet


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    config = StudentConfig(widths=(8,), encoder_blocks=(1,), decoder_blocks=())
    path = tmp_path / "tiny.safetensors"
    weights = StudentNet(config).state_dict()
    save_checkpoint(path, Checkpoint("tiny", "student", "student", config, weights))
    return path


def test_table(checkpoint: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["cost", str(checkpoint)]) == 0
    heading, row = capsys.readouterr().out.splitlines()
    assert heading.split()[:3] == ["name", "architecture", "parameters"]
    # 3*8*36 + 2*8*8*9 + 8*3*4 products, and 8 + 2*8 + 3 biases; a quarter of the pixels.
    assert row.split()[:5] == ["tiny", "student", "2,139", "8.6", "0.528"]
    assert row.split()[5:] == ["14", "8"]


def test_json_has_one_object_a_checkpoint(
    checkpoint: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["cost", str(checkpoint), str(checkpoint), "--json"]) == 0
    records = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert len(records) == 2
    assert records[0]["path"] == str(checkpoint)
    assert records[0]["parameters"] == 2139
    assert records[0]["macs_per_pixel"] == 528.0


def test_a_missing_checkpoint_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["cost", str(tmp_path / "none.safetensors")]) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("compress: error: ")
    assert "none.safetensors" in captured.err
    assert captured.err.count("\n") == 1


def test_no_command_is_a_usage_error(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main([])
    assert stopped.value.code == 2
    assert "COMMAND" in capsys.readouterr().err


def test_help_loads_no_torch() -> None:
    code = (
        "import sys\nfrom compress.cli import main\n"
        "try:\n    main(['cost', '--help'])\n"
        "except SystemExit as stopped:\n    assert stopped.code == 0\n"
        "assert 'torch' not in sys.modules and 'numpy' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.DEVNULL)


def test_a_missing_torch_names_the_extra(
    checkpoint: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in [name for name in sys.modules if name.split(".")[0] in ("core", "compress")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "torch", None)
    assert main(["cost", str(checkpoint)]) == 1
    assert capsys.readouterr().err == (
        "compress: error: torch is not installed; run: pip install 'edge-derain[train]'\n"
    )
