import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from edge_runtime import cli, derainer
from edge_runtime.derainer import Derainer
from edge_runtime.models import catalog as models
from edge_runtime.pictures.picture import Picture, read_picture, write_picture
from edge_runtime.tiles import Tile, plan_tiles
from tests.conftest import Refused

Noise = Callable[..., NDArray[np.uint8]]
SaveModel = Callable[..., Path]
ROOT = Path(__file__).parents[2]


def _python(code: str, *arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
    )


def test_one_picture_one_line(
    here: Path, model: str, noise: Noise, capsys: pytest.CaptureFixture[str]
) -> None:
    rgb = noise(5, 7, 3)
    write_picture(here / "a.png", Picture(rgb))
    for _ in range(2):  # the README's line works again on its own result
        assert cli.main(["a.png", "--model", model, "--threads", "1"]) == 0
    out, err = capsys.readouterr()
    line = out.splitlines()[0]
    assert line.startswith("echo fp32 · 7x5 · ")
    assert line.endswith(" ms · CPUExecutionProvider · a_derained.png")
    assert err == ""
    np.testing.assert_array_equal(read_picture("a_derained.png").rgb, (rgb.astype(int) + 1) // 2)
    np.testing.assert_array_equal(read_picture("a.png").rgb, rgb)
    assert sorted(os.listdir()) == ["a.png", "a_derained.png"]


def test_orientation_alpha_and_grey_survive(here: Path, model: str, noise: Noise) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(noise(8, 20, 3)).save("turned.jpg", exif=exif)
    Image.fromarray(noise(8, 20, 4)).save("alpha.png")
    Image.fromarray(noise(8, 20)).save("grey.png")
    assert cli.main(["turned.jpg", "alpha.png", "grey.png", "-o", "out", "--model", model]) == 0
    with Image.open("out/turned_derained.jpg") as turned:
        assert turned.size == (8, 20)
        assert turned.getexif().get(0x0112, 1) == 1
    np.testing.assert_array_equal(
        read_picture("out/alpha_derained.png").alpha, read_picture("alpha.png").alpha
    )
    assert read_picture("out/grey_derained.png").grey


def test_tiles_of_the_size_asked_for(
    here: Path, model: str, noise: Noise, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_picture("a.png", Picture(noise(40, 20, 3)))
    sides = []

    def plan(height: int, width: int, side: int, *more: Any) -> list[Tile]:
        sides.append(side)
        return plan_tiles(height, width, side, *more)

    monkeypatch.setattr(derainer, "plan_tiles", plan)
    results = []
    for chosen in (["--tile", "16"], ["--tile", "0"], []):
        assert cli.main(["a.png", "--model", model, *chosen]) == 0
        results.append(read_picture("a_derained.png").rgb)
    np.testing.assert_array_equal(results[0], results[1])
    np.testing.assert_array_equal(results[1], results[2])
    assert sides == [16, 0, 0]


def test_json(here: Path, model: str, noise: Noise, capsys: pytest.CaptureFixture[str]) -> None:
    write_picture("a.png", Picture(noise(1, 1, 3)))
    (here / "b.png").write_bytes(b"junk")
    assert cli.main(["a.png", "b.png", "--model", model, "--json"]) == 1
    first, second = map(json.loads, capsys.readouterr().out.splitlines())
    assert first.pop("milliseconds") > 0
    assert first == {
        "input": "a.png",
        "output": "a_derained.png",
        "rain": 1.0,
        "strength": 1.0,
        "model": "echo",
        "precision": "fp32",
        "width": 1,
        "height": 1,
        "provider": "CPUExecutionProvider",
    }
    assert second.keys() == {"input", "error"}
    assert "b.png: not a picture" in second["error"]


def test_what_is_left_out_is_noted(
    here: Path, model: str, noise: Noise, capfd: pytest.CaptureFixture[str]
) -> None:
    first, second = (Image.fromarray(noise(9, 8, 3, seed=n)) for n in range(2))
    first.save("a.tif", save_all=True, append_images=[second])
    assert cli.main(["a.tif", "--model", model]) == 0
    out, err = capfd.readouterr()
    assert " 8x9 x 2 " in out
    assert err == ""
    assert cli.main(["a.tif", "--model", model, "--format", "png"]) == 0
    note = "left out: 1 of 2 pages, since .png holds one; use --format tif"
    assert capfd.readouterr().err == f"edge-derain: a.tif: {note}\n"
    assert cli.main(["a.tif", "--model", model, "--format", "png", "--json"]) == 0
    out, err = capfd.readouterr()
    assert (json.loads(out)["notes"], err) == ([note], "")


def test_a_folder_goes_on_past_bad_pictures(
    here: Path, model: str, noise: Noise, capfd: pytest.CaptureFixture[str]
) -> None:
    os.mkdir("in")
    for name in "abc":
        write_picture(f"in/{name}.png", Picture(noise(40, 40, 3)))
    damaged = bytearray(Path("in/b.png").read_bytes())
    damaged[len(damaged) // 2] ^= 0xFF
    Path("in/b.png").write_bytes(damaged)
    assert cli.main(["in", "-o", "out", "--model", model]) == 1
    out, err = capfd.readouterr()
    assert len(out.splitlines()) == 2
    # Nothing of what libpng prints by itself reaches the terminal.
    lines = err.splitlines()
    assert lines[0] == "edge-derain: error: 1 of 3 failed:"
    assert lines[1].startswith("  in/b.png: not a picture that can be read")
    assert len(lines) == 2
    assert sorted(os.listdir("out")) == ["a_derained.png", "c_derained.png"]


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["missing.png"], 1, "missing.png: no such file; check the name"),
        (["bad.png"], 1, "bad.png: not a picture that can be read; it is damaged, copy it again"),
        (["a.gif"], 1, "a.gif: is GIF, which is not read; convert it to JPEG or PNG"),
        (["a.png", "-o", "a.png"], 2, "-o a.png: exists already; add --force to replace it"),
        (["a.png", "-o", "bad.png/x.png"], 1, "bad.png: cannot be made"),
        (["a.png", "--model", "smal.onnx"], 2, "model smal.onnx: no such file"),
    ],
)
def test_errors_are_one_clear_line(
    here: Path,
    model: str,
    noise: Noise,
    refused: Refused,
    arguments: list[str],
    code: int,
    message: str,
) -> None:
    write_picture("a.png", Picture(noise(4, 4, 3)))
    Path("bad.png").write_bytes(b"\x89PNG\r\n\x1a\njunk")
    Path("a.gif").write_bytes(b"GIF89a")
    chosen = [] if "--model" in arguments else ["--model", model]
    assert refused(cli.main, [*arguments, *chosen], f"edge-derain: error: {message}") == code


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["a.png", "--threads", "0"],
        ["a.png", "--threads", "x"],
        ["a.png", "--tile", "-8"],
        ["a.png", "--tile", "x"],
        ["--nonsense"],
    ],
)
def test_usage_errors_exit_with_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        cli.main(arguments)
    assert caught.value.code == 2
    assert "edge-derain: error:" in capsys.readouterr().err


def test_list_models(
    tmp_path: Path,
    save_model: SaveModel,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    path = save_model("small_fp32", name="small")
    save_model("tiny_int8", name="tiny", precision="int8", quality=())
    monkeypatch.setattr(models.list_models, "__defaults__", (tmp_path,))
    assert cli.main(["--list-models"]) == 0
    header, *rows = capsys.readouterr().out.splitlines()
    assert header.split() == ["name", "precision", "format", "kB", "kMAC/pixel", "dB", "rgb"]
    kilobytes = f"{path.stat().st_size / 1000:.0f}"
    assert rows[0].split() == ["small", "fp32", "onnx", kilobytes, "7.1", "26.10", "(rain800-val)"]
    assert rows[1].split()[-1] == "-"
    assert cli.main(["--list-models", "--json"]) == 0
    listed = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [model["name"] for model in listed] == ["small", "tiny"]
    assert listed[0]["path"] == str(path)


def test_no_models_to_list(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(models.list_models, "__defaults__", (tmp_path,))
    assert cli.main(["--list-models"]) == 0
    assert "there are no models in" in capsys.readouterr().err


def test_interrupts(
    here: Path, model: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    write_picture("a.png", Picture(np.zeros((4, 4, 3), np.uint8)))

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Derainer, "derain", interrupt)
    assert cli.main(["a.png", "--model", model]) == 130
    assert os.listdir() == ["a.png"]


def test_too_little_memory_is_a_clear_line(
    here: Path, model: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    write_picture("a.png", Picture(np.zeros((4, 4, 3), np.uint8)))

    def exhaust(*_: object) -> None:
        raise MemoryError

    monkeypatch.setattr(Derainer, "derain", exhaust)
    assert cli.main(["a.png", "--model", model]) == 1
    assert "a.png: does not fit into memory" in capsys.readouterr().err


def test_a_progress_bar_only_on_a_terminal(
    here: Path, model: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in "ab":
        write_picture(f"{name}.png", Picture(np.zeros((4, 4, 3), np.uint8)))
    assert cli.main(["a.png", "b.png", "--model", model]) == 0
    assert capsys.readouterr().err == ""
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    assert cli.main(["a.png", "b.png", "--model", model]) == 0
    out, err = capsys.readouterr()
    assert "2/2" in err
    assert [line.split(" · ")[-1] for line in out.splitlines()] == [
        "a_derained.png",
        "b_derained.png",
    ]


def test_a_terminal_that_knows_only_ascii(here: Path, model: str) -> None:
    write_picture("ä.png", Picture(np.zeros((4, 4, 3), np.uint8)))
    code = "import sys; from edge_runtime.cli import main; sys.exit(main())"
    done = _python(code, "ä.png", "nö.png", "--model", model, PYTHONIOENCODING="ascii")
    assert done.returncode == 1
    assert done.stdout.startswith("echo fp32 | 4x4 | ")
    assert "\\xe4_derained.png" in done.stdout
    assert "n\\xf6.png: no such file" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_reader_that_leaves(here: Path, model: str) -> None:
    write_picture("a.png", Picture(np.zeros((4, 4, 3), np.uint8)))
    code = "import sys; from edge_runtime.cli import main; sys.exit(main())"
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(
        [sys.executable, "-c", code, "a.png", "--model", model],
        stdout=writer,
        stderr=subprocess.PIPE,
        text=True,
        timeout=60,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    os.close(writer)
    assert (done.returncode, done.stderr) == (141, "")


_FORBIDDEN = "{'torch', 'onnx', 'tensorflow', 'core', 'compress', 'export'}"


def test_working_loads_neither_torch_nor_onnx(here: Path, model: str) -> None:
    write_picture("a.png", Picture(np.zeros((4, 4, 3), np.uint8)))
    code = f"""
import sys
import edge_runtime
from edge_runtime import Derainer
from edge_runtime.cli import main
code = main(sys.argv[1:])
print(code, {_FORBIDDEN} & sys.modules.keys())
"""
    done = _python(code, "a.png", "--model", model)
    assert (done.stdout.splitlines()[-1], done.stderr) == ("0 set()", "")
    assert Path("a_derained.png").exists()


@pytest.mark.parametrize("argument", ["--help", "--version"])
def test_help_and_version_load_nothing_heavy(argument: str) -> None:
    code = """
import sys
from edge_runtime.cli import main
try:
    main()
finally:
    print({'numpy', 'cv2', 'onnxruntime', 'tqdm'} & sys.modules.keys(), file=sys.stderr)
"""
    done = _python(code, argument)
    assert done.returncode == 0
    assert done.stderr.strip() == "set()"
    assert "edge-derain" in done.stdout
