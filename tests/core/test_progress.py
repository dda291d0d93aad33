import io
import sys
import time

import pytest

from core.progress import step_bar, track


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize("title", [None, "pictures"])
def test_track_yields_everything_and_is_silent_in_a_file(title: str | None, monkeypatch) -> None:
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    assert list(track([3, 1, 2], title)) == [3, 1, 2]
    assert sys.stderr.getvalue() == ""


def test_track_writes_a_file_when_it_takes_long(monkeypatch) -> None:
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    monkeypatch.setattr("core.progress.LOG_SECONDS", 0.01)
    for _ in track(range(4), "pictures"):
        time.sleep(0.02)
    assert "pictures: " in sys.stderr.getvalue()
    assert "/4 [" in sys.stderr.getvalue()


def test_track_shows_in_a_terminal(monkeypatch) -> None:
    monkeypatch.setattr(sys, "stderr", _Terminal())
    list(track([3, 1, 2], "pictures"))
    assert "pictures" in sys.stderr.getvalue()


def test_step_bar_writes_a_file_seldom(monkeypatch) -> None:
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    with step_bar("run", 400, 1000, shown=True) as bar:
        for _ in range(600):
            bar.set_postfix({"loss": "0.1"}, refresh=False)
            bar.update()
    text = sys.stderr.getvalue()
    assert 1 <= text.count("\r") <= 4
    assert "400/1000" in text
    assert "1000/1000" in text
    assert "loss=0.1" in text


def test_step_bar_can_be_hidden(monkeypatch) -> None:
    monkeypatch.setattr(sys, "stderr", _Terminal())
    with step_bar("run", 0, 3, shown=False) as bar:
        bar.update(3)
    assert sys.stderr.getvalue() == ""
