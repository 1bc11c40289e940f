"""Nested values that are spoilt: JSON and YAML documents with one or a few places that should not be so."""

from __future__ import annotations

import copy
import datetime
from typing import Any

import numpy as np

Rng = np.random.Generator
Path = tuple[Any, ...]


def _nested(levels: int) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = [value]
    return value


# Plain numbers and texts that a document may hold at any place where they do not belong.
TRAPS: tuple[Any, ...] = (
    None, True, False, 0, -1, 1, 2, 10**6, 2**31, 2**63, 2**64, 10**30, -(10**30), 0.5, -0.0, 1e-320, 1e308, -1e308,
    "", " ", "x", "1", "0.5", "nan", "inf", "-inf", "1e999", "true", "null", "none", "*", "[", "..", "../../etc/passwd",
    "/etc/passwd", "C:\\x", "a\nb", "a\x00b", "\x1b[31mred", "\u202etxt", "\ufeff", "１２", "ﬁ", "İ", "é", "\U0001f600",
    "a" * 300, "a" * 20000, "__proto__", "constructor", "patient_id", "baseline", "CT", "2020-02-30", "%Y%Y%", "%",
    [], {}, [None], [[]], {"": None}, {"a": {"b": {"c": []}}}, [1, "a", None, {}], ["a"] * 200, list(range(300)),
    _nested(30), _nested(70), {"x" * 500: 1}, {"é": 1},
)  # fmt: skip
BEYOND_JSON: tuple[Any, ...] = (
    float("nan"), float("inf"), -float("inf"), 10**400, datetime.date(2020, 1, 31), datetime.datetime(1, 1, 1),
    b"\x00\xff", {1: 2}, {None: None}, {1.5: "x", True: 0}, {(1, 2): 3},
)  # fmt: skip


def places(node: Any, at: Path = ()) -> list[Path]:
    """Paths of all values below a node."""
    found: list[Path] = []
    pairs = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    for key, value in pairs:
        found.append((*at, key))
        found += places(value, (*at, key))
    return found


def spoilt(body: Any, rng: Rng, *, traps: tuple[Any, ...] = TRAPS, most: int = 3, others: Path = ()) -> Any:
    """A copy with a few places changed: replaced, removed, added, renamed, exchanged, doubled or scaled.

    ``others`` are further values to put in, such as names that occur in sound documents.
    """
    body = copy.deepcopy(body)
    for _ in range(int(rng.integers(1, most + 1))):
        paths = places(body)
        if not paths:
            return _trap(rng, traps)
        body = _changed(body, paths[int(rng.integers(len(paths)))], paths, rng, (*traps, *others))
    return body


def _trap(rng: Rng, traps: tuple[Any, ...]) -> Any:
    return copy.deepcopy(traps[int(rng.integers(len(traps)))])


def _at(body: Any, path: Path) -> Any:
    for key in path:
        body = body[key]
    return body


def _changed(body: Any, path: Path, paths: list[Path], rng: Rng, traps: tuple[Any, ...]) -> Any:
    holder, key = _at(body, path[:-1]), path[-1]
    how = int(rng.integers(10))
    if how == 0:
        del holder[key]
    elif how == 1:
        _added(holder, rng, traps)
    elif how == 2 and isinstance(holder, dict):
        holder[_trap(rng, ("x", "", f"{key}_", f"{key} ", "é", "a\x00b", "name"))] = holder.pop(key)
    elif how == 3:
        holder[key] = copy.deepcopy(_at(body, paths[int(rng.integers(len(paths)))]))
    elif how == 4 and isinstance(holder[key], list):
        holder[key] = holder[key] * int(rng.integers(2, 40))
    elif how == 5 and isinstance(holder[key], (int, float)) and not isinstance(holder[key], bool):
        holder[key] = holder[key] * (-1, 1e3, 1e-9, 1e200, 0)[int(rng.integers(5))]
    elif how == 6 and isinstance(holder[key], list):
        rng.shuffle(holder[key])
    elif how == 7 and isinstance(holder[key], str):
        holder[key] = _text(holder[key], rng)
    else:
        holder[key] = _trap(rng, traps)
    return body


def _added(holder: Any, rng: Rng, traps: tuple[Any, ...]) -> None:
    if isinstance(holder, dict):
        holder[_trap(rng, ("x", "", "kind", "name", "__class__", "a" * 200, "é"))] = _trap(rng, traps)
    else:
        holder.insert(int(rng.integers(len(holder) + 1)), _trap(rng, traps))


def _text(text: str, rng: Rng) -> str:
    ways = (text.upper(), text[:-1], f"{text}{text}", f" {text}", f"{text}\n", text.replace("_", "-"), text[::-1])
    return ways[int(rng.integers(len(ways)))]
