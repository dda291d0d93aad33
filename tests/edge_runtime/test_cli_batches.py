"""Ways in and out of the command, in a process of its own where streams and signals matter."""

import io
import json
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from edge_runtime import cli
from edge_runtime.pictures.picture import Picture, read_picture, write_picture

Noise = Callable[..., NDArray[np.uint8]]
COMMAND = [sys.executable, "-m", "edge_runtime.cli"]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "work"
    folder.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))
    return folder


@pytest.fixture
def model(tmp_path: Path, save_model: Callable[..., Path]) -> str:
    return str(save_model(gain=0.5))


def _grey(path: str, value: int = 100, **options: object) -> None:
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (6, 4), (value, value, value)).save(path, **options)


def test_standard_streams_follow_the_input(here: Path, model: str) -> None:
    _grey("a.jpg", quality=61, dpi=(300, 300))
    command = [*COMMAND, "-", "--model", model, "--json"]
    done = subprocess.run(command, input=Path("a.jpg").read_bytes(), capture_output=True)
    assert done.returncode == 0
    with Image.open(io.BytesIO(done.stdout)) as picture:
        assert (picture.format, picture.info["dpi"]) == ("JPEG", (300, 300))
        assert picture.getpixel((0, 0)) == (50, 50, 50)
    assert json.loads(done.stderr)["output"] == "-"
    done = subprocess.run([*command, "--format", "png"], input=b"junk", capture_output=True)
    assert (done.returncode, done.stdout) == (1, b"")
    assert b"standard input: not a picture that can be read" in done.stderr


@pytest.mark.parametrize(
    ("streams", "code", "said"),
    [
        ("> /dev/full", 1, "the output cannot be written (No space left on device)"),
        ("-o - > /dev/full", 1, "the output cannot be written (No space left on device)"),
        (">&-", 0, ""),
        ("-o - >&-", 2, "standard output is closed; name a file with -o"),
        ("2>&-", 0, ""),
        ("<&- >&- 2>&-", 0, ""),
        ("--list-models", 2, "--list-models takes no IMAGE"),
    ],
)
def test_streams_that_are_full_or_closed(
    here: Path, model: str, streams: str, code: int, said: str
) -> None:
    _grey("a.png")
    command = f"{shlex.join([*COMMAND, 'a.png', '--model', model])} {streams}"
    done = subprocess.run(command, shell=True, stderr=subprocess.PIPE, text=True)
    assert done.returncode == code, done.stderr
    assert len(done.stderr.splitlines()) == bool(said)
    assert said in done.stderr
    if not code:
        assert read_picture("a_derained.png").rgb.max() == 50


def test_a_working_folder_that_is_gone(here: Path, model: str) -> None:
    _grey("a.png")
    command = shlex.join([*COMMAND, str(here / "a.png"), "--model", model])
    gone = f"mkdir gone && cd gone && rmdir ../gone && {command}"
    assert subprocess.run(gone, shell=True).returncode == 0
    done = subprocess.run(f"{gone} ../a.png", shell=True, stderr=subprocess.PIPE, text=True)
    assert done.stderr == "edge-derain: error: the working folder is gone; change to another\n"
    assert done.returncode == 1


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        ([f"{'x' * 300}.jpg"], 1, "cannot be read (File name too long)"),
        (["a.png", "-o", f"{'x' * 300}/"], 1, "cannot be made (File name too long)"),
        (["shut/a.png"], 1, "shut/a.png: cannot be read (Permission denied)"),
        (["a.png", "-o", "shut/out"], 2, "-o shut/out: must end in"),
        (["a.png", "-o", "shut/out/"], 1, "cannot be made (Permission denied)"),
        (["x\x1b31m\n.png"], 1, r"x\x1b31m\n.png: no such file"),
        (["https://example.com/a.jpg?w=9"], 2, "is a web address; download it"),
        (["www.example.com/a.jpg"], 2, "is a web address; download it"),
        (["a.png", "--threads", "20000"], 2, "--threads 20000: this machine has"),
        (["--watch", ".", "-o", "x.jpg"], 2, "-o x.jpg: names one file for several pictures"),
        (["--watch", ".", "--suffix", ""], 2, "--suffix '': would replace what is watched"),
    ],
)
def test_names_and_wishes_that_cannot_be(
    here: Path,
    model: str,
    closed: Callable[[Path], None],
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    code: int,
    said: str,
) -> None:
    _grey("a.png")
    _grey("shut/a.png")
    closed(here / "shut")
    assert cli.main([*arguments, "--model", model]) == code
    (line,) = capsys.readouterr().err.splitlines()
    assert said in line


def test_a_tree_with_formats_suffixes_and_patterns(here: Path, model: str) -> None:
    _grey("in/a.jpg", quality=61)
    _grey("in/deep/b.png")
    options = ["--suffix", "", "--format", "webp", "--quality", "100", "--model", model]
    assert cli.main(["in", "-r", "-o", "out", *options]) == 0
    assert read_picture("out/deep/b.webp").rgb[0, 0].tolist() == [50, 50, 50]
    assert read_picture("out/a.webp").quality == 100
    assert cli.main(["in/*.jpg", "-o", "new/", "--model", model]) == 0
    assert read_picture("new/a_derained.jpg").quality == 61


def test_views_have_names_of_their_own(here: Path, model: str) -> None:
    _grey("a.png")
    for view in ("compare", "diff"):
        assert cli.main(["a.png", "--view", view, "--model", model]) == 0
    assert read_picture("a_compare.png").rgb.shape == (4, 14, 3)
    assert read_picture("a_diff.png").rgb[0, 0].tolist() == [50, 50, 50]
    assert cli.main([".", "-o", "out", "--model", model]) == 0
    assert os.listdir("out") == ["a_derained.png"]


def test_a_batch_is_resumed(here: Path, model: str, capsys: pytest.CaptureFixture[str]) -> None:
    for name in "abc":
        _grey(f"in/{name}.png")
    assert cli.main(["in/a.png", "-o", "out/", "--model", model]) == 0
    before = os.stat("out/a_derained.png")
    resume = ["in", "-o", "out", "--skip-existing", "--model", model]
    assert cli.main(resume) == 0
    assert os.stat("out/a_derained.png") == before
    assert len(os.listdir("out")) == 3
    capsys.readouterr()
    assert cli.main(resume) == 0
    assert capsys.readouterr() == ("", "edge-derain: nothing to do\n")


def test_shards(here: Path, model: str) -> None:
    for number in range(12):
        _grey(f"in/{number}.png")
    for index in (1, 2, 3):
        options = ["--shard", f"{index}/3", "--model", model]
        assert cli.main(["in", "-o", "out", *options]) == 0
    assert len(os.listdir("out")) == 12


def test_limits(here: Path, model: str, capsys: pytest.CaptureFixture[str]) -> None:
    _grey("a.png")
    assert cli.main(["a.png", "--max-pixels", "23", "--model", model]) == 1
    assert "6 x 4 is more than" in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments",
    [
        ["a.png", "--quality", "0"],
        ["a.png", "--format", "gif"],
        ["a.png", "--shard", "3/2"],
        ["a.png", "--view", "both"],
        ["a.png", "--max-pixels", "much"],
    ],
)
def test_wrong_arguments(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        cli.main(arguments)
    assert caught.value.code == 2
    assert "edge-derain: error:" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["a.png", "--suffix", "/x"], "--suffix /x: must not lead into a folder"),
        (["--watch", ".", "a.png"], "--watch takes neither IMAGE nor --shard"),
        (["--watch", ".", "-o", "-"], "--watch writes many pictures"),
        (["a.png", "--suffix", ""], "is itself an input"),
    ],
)
def test_requests_that_make_no_sense(
    here: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    _grey("a.png")
    assert cli.main(arguments) == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(("sent", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_signals_leave_whole_pictures(
    here: Path, model: str, noise: Noise, sent: signal.Signals, code: int
) -> None:
    for number in range(300):
        write_picture(f"{number}.png", Picture(noise(64, 64, 3)))
    process = subprocess.Popen(
        [*COMMAND, ".", "-o", "out", "--model", model, "--threads", "1"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    process.stdout.readline()
    process.send_signal(sent)
    _, err = process.communicate(timeout=30)
    assert process.returncode == code
    assert err in ("edge-derain: interrupted\n", "edge-derain: terminated\n")
    done = sorted(Path("out").iterdir())
    assert 1 <= len(done) < 300
    for path in done:
        assert read_picture(path).rgb.shape == (64, 64, 3)


def test_watch_derains_what_appears_until_it_is_stopped(here: Path, model: str) -> None:
    os.mkdir("in")
    process = subprocess.Popen(
        [*COMMAND, "--watch", "in", "-o", "out", "--model", model, "--json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    with Path("in/b.png").open("wb") as file:  # never complete
        file.write(b"\x89PNG\r\n\x1a\n")
    _grey("in/.a.png")
    os.rename("in/.a.png", "in/a.png")
    found = {}
    for _ in range(2):
        record = json.loads(process.stdout.readline())
        found[record["input"]] = record.get("output") or record["error"]
    assert found["in/a.png"] == "out/a_derained.png"
    assert "in/b.png: not a picture" in found["in/b.png"]
    _grey("in/b.png", 60)
    assert json.loads(process.stdout.readline())["output"] == "out/b_derained.png"
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=30)
    assert process.returncode == 143
    assert err.splitlines()[-1] == "edge-derain: terminated"
    assert sorted(os.listdir("out")) == ["a_derained.png", "b_derained.png"]


def test_watch_starts_where_it_stopped(here: Path, model: str) -> None:
    _grey("in/a.png")
    assert cli.main(["in", "-o", "out", "--model", model]) == 0
    time.sleep(0.01)
    _grey("in/b.png")
    before = os.stat("out/a_derained.png")
    command = [*COMMAND, "--watch", "in", "-o", "out", "--skip-existing", "--model", model]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline().strip().endswith(b"out/b_derained.png")
        process.terminate()
    assert os.stat("out/a_derained.png") == before
