"""The unit that ``edge-derain --print-systemd-unit`` prints, read back as systemd reads it."""

from __future__ import annotations

import configparser
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_runtime import cli
from edge_runtime.errors import UsageError
from edge_runtime.video import unit

CAMERA = ["--camera", "0", "-o", "rain.mkv"]


def _parsed(text: str) -> configparser.ConfigParser:
    parser = configparser.ConfigParser(
        interpolation=None, delimiters=("=",), comment_prefixes=("#", ";"), strict=True
    )
    parser.optionxform = str  # type: ignore[assignment, method-assign]
    parser.read_string(text)
    return parser


def _words(line: str) -> list[str]:
    """Split and resolve a command line as systemd.service(5) and systemd.syntax(7) say."""
    words = []
    for quoted, plain in re.findall(r'"((?:\\.|[^"\\])*)"|(\S+)', line):
        word = re.sub(r"\\x(..)", lambda found: chr(int(found[1], 16)), quoted) if quoted else plain
        assert not re.search(r"(?<!%)(%%)*%(?!%)", word), f"{word}: a specifier"
        assert not re.search(r"(?<!\$)(\$\$)*\$(?!\$)", word), f"{word}: a variable"
        words.append(word.replace("%%", "%").replace("$$", "$"))
    return words


def _unit(argv: list[str] | None = None, **changes: object) -> configparser.ConfigParser:
    arguments = {"source": "0", "target": Path("rain.mkv"), "command": ["/opt/edge-derain"]}
    return _parsed(unit.systemd_unit(argv or CAMERA, **{**arguments, **changes}))  # type: ignore[arg-type]


def test_the_service_is_watched_limited_and_shut_in() -> None:
    service = _unit()["Service"]
    assert service["ExecStart"] == "/opt/edge-derain --camera 0 -o rain.mkv"
    assert (service["Type"], service["Restart"]) == ("notify", "on-failure")
    assert service["RestartPreventExitStatus"] == str(UsageError.exit_code)
    assert int(service["WatchdogSec"]) == unit.WATCHDOG_SECONDS
    assert service["MemoryMax"] == unit.MEMORY_MAX
    assert service["NoNewPrivileges"] == "yes"
    assert service["ProtectSystem"] == "strict"
    assert service["WorkingDirectory"] == "%S/edge-derain"
    assert service["SupplementaryGroups"] == "video"
    assert service["RestrictAddressFamilies"] == "AF_UNIX"
    assert "ReadWritePaths" not in service
    assert _unit()["Install"]["WantedBy"] == "multi-user.target"


def test_a_stream_needs_the_network_and_no_camera() -> None:
    found = _unit(source="rtsp://host/a%20b")
    assert found["Unit"]["After"] == "network-online.target"
    assert found["Unit"]["Description"].endswith("rtsp://host/a%%20b")
    assert found["Service"]["RestrictAddressFamilies"] == "AF_UNIX AF_INET AF_INET6"
    assert "SupplementaryGroups" not in found["Service"]


def test_a_recording_with_an_end_is_followed_by_the_next() -> None:
    assert _unit(endless=False)["Service"]["Restart"] == "always"


@pytest.mark.parametrize(
    ("user", "key", "value"), [("root", "DynamicUser", "yes"), ("pi", "User", "pi")]
)
def test_it_never_runs_as_root(user: str, key: str, value: str) -> None:
    service = _unit(user=user)["Service"]
    assert service[key] == value
    assert ("User" in service) != ("DynamicUser" in service)


def test_the_folder_of_an_absolute_name_can_be_written() -> None:
    service = _unit(target=Path("/srv/100% rain/a.mkv"))["Service"]
    assert service["ReadWritePaths"] == '"/srv/100%% rain"'


@pytest.mark.parametrize("target", [None, Path("-")])
def test_a_service_needs_a_file(target: Path | None) -> None:
    with pytest.raises(UsageError, match="--print-systemd-unit needs -o FILE"):
        _unit(target=target)


def test_nul_is_refused() -> None:
    with pytest.raises(UsageError, match="holds a NUL"):
        _unit(["--camera", "0", "-o", "a\0.mkv"])


@given(st.lists(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]))))
def test_any_argument_arrives_as_it_was(words: list[str]) -> None:
    line = " ".join(unit.quoted(word) for word in words)
    assert "\n" not in line
    assert _words(line) == words


@pytest.mark.parametrize(
    ("word", "text"),
    [
        ("a-b_c.mkv", "a-b_c.mkv"),
        ("two words", '"two words"'),
        ("%F.mkv", '"%%F.mkv"'),
        ("$HOME", '"$$HOME"'),
        (";", '";"'),
        ("", '""'),
        ('a"b\\c\n', '"a\\x22b\\x5cc\\x0a"'),
        ("'", '"\'"'),
    ],
)
def test_quoting(word: str, text: str) -> None:
    assert unit.quoted(word) == text


@pytest.mark.parametrize("option", ["--print-systemd-unit", "--print"])
def test_the_command_prints_it(
    here: Path, option: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    argv = ["--camera", "0", option, "-o", "%Y rain.mkv", "--steady", "--seconds", "3600"]
    assert cli.main(argv) == 0
    out, err = capsys.readouterr()
    assert err == ""
    service = _parsed(out)["Service"]
    command, *rest = _words(service["ExecStart"])
    assert Path(command).is_absolute()
    assert rest == ["--camera", "0", "-o", "%Y rain.mkv", "--steady", "--seconds", "3600"]
    assert service["Restart"] == "always"
    monkeypatch.setattr(sys, "argv", ["edge-derain", *argv])
    assert cli.main() == 0
    assert capsys.readouterr().out == out
    assert list(here.iterdir()) == []


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["a.jpg"], "--print-systemd-unit: is for cameras"),
        (["a.mp4"], "--print-systemd-unit: is for cameras"),
        (["--camera", "0", "-o", "-"], "--print-systemd-unit needs -o FILE"),
        (["--camera", "0", "--show"], "--print-systemd-unit needs -o FILE"),
        (["--camera", "0"], "a camera needs -o FILE"),
        (["--camera", "0", "-o", "a.gif"], "a.gif: cannot write .gif as video"),
    ],
)
def test_what_is_no_service(
    here: Path, argv: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main([*argv, "--print-systemd-unit"]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(f"edge-derain: error: {message}")


def test_a_recording_is_named_by_its_time(monkeypatch: pytest.MonkeyPatch) -> None:
    from edge_runtime.video.plan import plan_moving

    monkeypatch.setattr(time, "strftime", lambda text: text.replace("%F", "2026-11-23"))
    (job,) = plan_moving([], "0", "%F.mkv")
    assert job.target == Path("2026-11-23.mkv")


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="there is no systemd-analyze")
@pytest.mark.parametrize("source", ["0", "rtsp://host/a%20b"])
def test_systemd_has_nothing_to_say_against_it(tmp_path: Path, source: str) -> None:
    argv = ["--camera", source, "-o", '/tmp/%F $HOME "a\\b" ;.mkv', ";"]
    text = unit.systemd_unit(argv, source, Path(argv[3]), user="root")
    path = tmp_path / "edge-derain.service"
    path.write_text(text, encoding="utf-8")
    command = ["systemd-analyze", "verify", "--man=no", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    # It may speak of other units of this machine, which are none of ours.
    said = [line for line in done.stderr.splitlines() if "edge-derain" in line]
    assert said == []
