"""The language of bounds in the rule files: ``> 50``, ``[6, 60]``, ``(0, 12]``, ``true``, ``mutant``, ``[CR, PR]``."""

from __future__ import annotations

import functools
import operator
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from radiomics_crlm.errors import ConfigError
from radiomics_crlm.schema import ColumnSpec

# A ratio that meets a bound exactly (350 mL for 70 kg is 0.5 %) counts as on the bound despite binary floating point.
TOLERANCE = 1e-9

_COMPARE: Mapping[str, Callable[[Any, float], Any]] = {
    "<": lambda number, bound: number < bound - TOLERANCE,
    "<=": lambda number, bound: number <= bound + TOLERANCE,
    ">": lambda number, bound: number > bound + TOLERANCE,
    ">=": lambda number, bound: number >= bound - TOLERANCE,
}
_NUMBER = r"(-?\d+(?:\.\d+)?)"
_ONE_SIDED = re.compile(rf"(<=|>=|<|>)\s*{_NUMBER}")
_TWO_SIDED = re.compile(rf"([\[(])\s*{_NUMBER}\s*,\s*{_NUMBER}\s*([\])])")


@dataclass(frozen=True)
class Condition:
    """A test of one input: bounds (all must hold) or a set of codes."""

    name: str
    text: str
    bounds: tuple[tuple[str, float], ...] = ()
    codes: tuple[float, ...] = ()

    def holds(self, number: Any) -> Any:
        """Whether a number or an array of them fulfils the test; meaningless where it is NaN."""
        if self.codes:
            return functools.reduce(operator.or_, (number == code for code in self.codes))
        return functools.reduce(operator.and_, (_COMPARE[sign](number, bound) for sign, bound in self.bounds))

    def state(self, number: np.ndarray) -> np.ndarray:
        """Three-valued truth: 1 true, 0 false, NaN unknown."""
        return np.where(np.isnan(number), np.nan, self.holds(number))


def compare(number: Any, sign: str, bound: Any) -> Any:
    """``number sign bound`` with the tolerance for floating point; numbers or arrays.

    Examples
    --------
    >>> compare(100 * 350 / 70000, ">=", 0.5)
    True
    """
    return _COMPARE[sign](number, bound)


def is_on(number: Any, bound: float) -> Any:
    """Whether a number (or each of an array) lies exactly on a bound, with the tolerance for floating point.

    Examples
    --------
    >>> is_on(50, 50), is_on(50.1, 50)
    (True, False)
    """
    return compare(number, ">=", bound) & compare(number, "<=", bound)


def meets(number: float, test: str) -> bool:
    """Whether a known number passes a test such as ``[6, 8]``."""
    return all(bool(compare(number, sign, bound)) for sign, bound in parse_bounds(test))


def parse_bounds(text: str) -> tuple[tuple[str, float], ...]:
    """Bounds of a numeric test.

    Examples
    --------
    >>> parse_bounds("(0, 12]")
    (('>', 0.0), ('<=', 12.0))

    Raises
    ------
    ConfigError
        If the text is neither a comparison nor an interval.
    """
    if match := _ONE_SIDED.fullmatch(text.strip()):
        return ((match[1], float(match[2])),)
    if match := _TWO_SIDED.fullmatch(text.strip()):
        lower = ">=" if match[1] == "[" else ">"
        upper = "<=" if match[4] == "]" else "<"
        return ((lower, float(match[2])), (upper, float(match[3])))
    raise ConfigError("not a bound", expected="a comparison like '> 50' or an interval like '(0, 12]'", got=text)


def parse(spec: ColumnSpec, raw: Any) -> Condition:
    """Condition on one input from its form in a rule file.

    Raises
    ------
    ConfigError
        If the form does not fit the type of the input.
    """
    if spec.type == "enum":
        names = raw if isinstance(raw, list) else [raw]
        absent = [name for name in names if name not in spec.allowed]
        if absent:
            raise ConfigError("unknown category in a rule", where=spec.name, got=", ".join(map(str, absent)))
        codes = tuple(float(spec.allowed.index(name)) for name in names)
        return Condition(spec.name, f"{spec.name} is {' or '.join(names)}", codes=codes)
    if spec.type == "bool":
        if not isinstance(raw, bool):
            raise ConfigError("a yes/no input is tested with true or false", where=spec.name, got=str(raw))
        return Condition(spec.name, spec.name if raw else f"not {spec.name}", codes=(float(raw),))
    text = str(raw)
    return Condition(spec.name, f"{spec.name} {text}", bounds=parse_bounds(text))
