"""Progress: seldom and with a guess of what is left where there is no terminal; a sign of life on one."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from radiomics_crlm.cli import screen

ERASED = "\x1b[1A\x1b[2K"
"""What goes back over the last line."""


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [100.0]
    monkeypatch.setattr(screen, "time", SimpleNamespace(monotonic=lambda: now[0]))
    return now


def told(clock: list[float], capsys: pytest.CaptureFixture[str], steps: list[tuple[float, int, int]]) -> list[str]:
    shown = screen.Screen()
    for at, done, total in steps:
        clock[0] = at
        shown.progress("train", done, total)
    return capsys.readouterr().err.splitlines()


def test_progress_is_told_every_few_seconds(clock: list[float], capsys: pytest.CaptureFixture[str]) -> None:
    lines = told(clock, capsys, [(100, 0, 8), (101, 1, 8), (106, 2, 8), (107, 3, 8), (112, 4, 8), (130, 8, 8)])
    assert lines == [
        "train: 2 of 8 (6 s, about 18 s left)",
        "train: 4 of 8 (12 s, about 12 s left)",
        "train: 8 of 8 (30 s)",
    ]


def test_what_a_stopped_run_did_is_not_counted_as_speed(clock: list[float], capsys: pytest.CaptureFixture[str]) -> None:
    assert told(clock, capsys, [(100, 90, 100), (110, 92, 100)]) == ["train: 92 of 100 (10 s, about 40 s left)"]
    assert told(clock, capsys, [(100, 100, 100)]) == ["train: 100 of 100 (0 s)"]


def test_what_has_no_steps_is_shown_on_a_terminal_alone(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with screen.Screen().doing("drawing the card"):
        pass
    assert capsys.readouterr() == ("", "")
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    with pytest.raises(KeyboardInterrupt), screen.Screen().doing("drawing the card"):
        raise KeyboardInterrupt
    said = capsys.readouterr()
    assert said.out == ""
    assert "drawing the card" in said.err
    assert "0:00:00" in said.err
    assert said.err.isascii()  # for terminals that know nothing else
    assert said.err.endswith(ERASED)
