"""Messages: what they never do to a screen, and how they are rebuilt (as in another process)."""

from __future__ import annotations

import copy

import pytest

from radiomics_crlm.errors import CaseError, ConfigError, CrlmError, InputError, LeakError, printable


@pytest.mark.parametrize(
    ("hostile", "shown"),
    [
        ("\x1b[31mred", r"\x1b[31mred"),
        ("a\x00b\r\x7f\x9b", r"a\x00b\r\x7f\x9b"),
        ("evil\u202etxt", r"evil\u202etxt"),
        ("half\ud800", r"half\ud800"),
        ("Größe é \U0001f600\nnext", "Größe é \U0001f600\nnext"),
        ("x" * 20_000 + " end", "x" * 80 + "... end"),
        ("many " * 5000, ("many " * 5000)[:3996] + " ..."),
    ],
)
def test_names_of_a_file_do_not_steer_the_screen(hostile: str, shown: str) -> None:
    assert printable(hostile) == shown
    text = str(InputError("wrong", got=hostile))
    assert printable(text) == text
    assert len(text) <= 4000


def test_a_message_has_its_parts_in_order() -> None:
    error = CrlmError("it is wrong", where="row 3", expected="a number", got="a text", remedy="correct it")
    assert str(error) == "row 3: it is wrong; expected a number; got a text. Correct it."


@pytest.mark.parametrize("kind", [CrlmError, ConfigError, InputError, LeakError])
def test_an_error_is_rebuilt_as_it_was(kind: type[CrlmError]) -> None:
    error = copy.copy(kind("wrong\x1b", where="row 3", remedy="correct it"))
    assert (type(error), str(error), error.remedy) == (kind, r"row 3: wrong\x1b. Correct it.", "correct it")


def test_a_case_error_keeps_its_code() -> None:
    error = copy.copy(CaseError("empty_mask", "nothing there", where="P1"))
    assert (error.code, str(error), error.exit_code) == ("empty_mask", "P1: nothing there.", 3)
