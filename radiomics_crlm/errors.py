"""The error types of the package: what is wrong, where, what was expected, what came, what to do.

Messages never hold a patient's value, date, free text or a source path: case key, row number, column and rule only.
``cli`` maps ``exit_code`` to the exit code of the process.
"""

from __future__ import annotations

import re

# Names from a file may be in a message; none may steer a terminal or change the order of its text.
_UNPRINTABLE = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
_LONG_WORD = re.compile(r"(\S{80})\S{120,}")
_MOST_SHOWN = 4000


def printable(text: str) -> str:
    """A text in which control characters are written out, and endless words and texts are cut.

    >>> printable("a\\x1b[31m"), len(printable("x" * 100_000))
    ('a\\\\x1b[31m', 83)
    """
    short = _LONG_WORD.sub(r"\1...", _UNPRINTABLE.sub(lambda found: ascii(found.group())[1:-1], text))
    return short if len(short) <= _MOST_SHOWN else short[: _MOST_SHOWN - 4] + " ..."


class CrlmError(Exception):
    """Base of all deliberate errors.

    Parameters
    ----------
    what
        One sentence: what is wrong.
    where
        Case key, table, column, row number or config field.
    expected, got
        The rule, and what was met instead (for patient data: its kind or a count, never the value).
    remedy
        What the user can do.
    """

    exit_code = 1

    def __init__(self, what: str, *, where: str = "", expected: str = "", got: str = "", remedy: str = "") -> None:
        self.what, self.where, self.expected, self.got, self.remedy = what, where, expected, got, remedy
        text = f"{where}: {what}" if where else what
        if expected:
            text += f"; expected {expected}"
        if got:
            text += f"; got {got}"
        if remedy:
            text += f". {remedy[0].upper()}{remedy[1:]}"
        super().__init__(printable(text if text.endswith(".") else text + "."))

    def __reduce__(self) -> tuple[object, ...]:
        """How an error travels from a worker to the process that waits for it."""
        return _restored, (type(self), self.args, self.__dict__)


def _restored(kind: type[CrlmError], args: tuple[object, ...], fields: dict[str, str]) -> CrlmError:
    error = kind.__new__(kind, *args)
    error.args = args
    error.__dict__.update(fields)
    return error


class ConfigError(CrlmError):
    """Wrong usage or configuration (exit code 2)."""

    exit_code = 2


class InputError(CrlmError):
    """Invalid input data (exit code 3)."""

    exit_code = 3


class CaseError(InputError):
    """Invalid input of one case: it costs that case, never the rest. ``code`` is machine-readable."""

    def __init__(
        self, code: str, what: str, *, where: str = "", expected: str = "", got: str = "", remedy: str = ""
    ) -> None:
        self.code = code
        super().__init__(what, where=where, expected=expected, got=got, remedy=remedy)


class LeakError(ConfigError):
    """A model was given something that becomes known only after the moment at which it speaks."""
