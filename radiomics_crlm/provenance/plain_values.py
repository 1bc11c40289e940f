"""Values as JSON can hold them, and back: for records that are kept and read again by the same program."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

_NUMBER = "number"


def encode(content: Any) -> Any:
    """Plain values for JSON: numbers of numpy become Python's, and those that JSON lacks are spelt out.

    >>> encode({"a": np.float64(0.5), "b": float("nan"), "c": (1, None)})
    {'a': 0.5, 'b': {'number': 'nan'}, 'c': [1, None]}
    """
    if isinstance(content, np.generic):
        content = content.item()
    if isinstance(content, Mapping):
        return {str(k): encode(v) for k, v in content.items()}
    if isinstance(content, (list, tuple)):
        return [encode(v) for v in content]
    if isinstance(content, float) and not math.isfinite(content):
        return {_NUMBER: repr(content)}
    return content


def decode(content: Any) -> Any:
    """Undo `encode`.

    >>> decode(encode({"b": float("-inf"), "c": [1, 0.1]}))
    {'b': -inf, 'c': [1, 0.1]}
    """
    if isinstance(content, dict):
        return float(content[_NUMBER]) if content.keys() == {_NUMBER} else {k: decode(v) for k, v in content.items()}
    return [decode(v) for v in content] if isinstance(content, list) else content
