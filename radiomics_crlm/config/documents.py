"""YAML documents of a user: read without executing what they name, and bounded before they are understood.

References (``*name``) may be used, but a document counts as large as it is with all of them written out.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from radiomics_crlm.errors import ConfigError

# The largest document that is shipped has 17 kB and 1,400 values; one of these limits is read within a second.
_MAX_BYTES, _MAX_VALUES, _MAX_DEPTH = 128 * 1024, 10_000, 40
# What the parser raises for values that it takes for numbers, times and flags and that are none.
_VALUE_ERRORS = (ValueError, ArithmeticError, LookupError, AttributeError, TypeError, RecursionError)


class _RefusedError(yaml.YAMLError):
    """The document is more than a configuration, or ambiguous; the text is safe to show."""


class _Loader(yaml.SafeLoader):
    """Counts values, with references written out, while the document is put together."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self._values = self._depth = 0
        self._sizes: dict[int, int] = {}

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        """As the parser does it, within the limits."""
        if self.check_event(yaml.AliasEvent):
            referred = super().compose_node(parent, index)
            size = self._sizes.get(id(referred))
            if size is None:
                raise _RefusedError("a value that holds itself")
            self._count(size)
            return referred
        before = self._values
        self._count(1)
        self._depth += 1
        if self._depth > _MAX_DEPTH:
            raise _RefusedError(f"more than {_MAX_DEPTH} levels")
        node = super().compose_node(parent, index)
        self._depth -= 1
        self._sizes[id(node)] = self._values - before
        return node

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        """As the parser does it, but a key stands once; the parser itself would keep the last one silently."""
        node = super().compose_mapping_node(anchor)
        seen: set[str] = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode):
                if key.value in seen:
                    raise _RefusedError(f"the key {key.value[:60]!r} twice (line {key.start_mark.line + 1})")
                seen.add(key.value)
        return node

    def _count(self, more: int) -> None:
        self._values += more
        if self._values > _MAX_VALUES:
            raise _RefusedError(f"more than {_MAX_VALUES} values")


def read_yaml(path: Path) -> Any:
    """Read YAML without executing anything it may name.

    Raises
    ------
    ConfigError
        If the file is absent, malformed or larger than any configuration, if a key stands twice in a mapping, or if a
        value refers to itself.
    """
    try:
        with path.open("rb") as stream:
            content = stream.read(_MAX_BYTES + 1)
    except FileNotFoundError:
        raise ConfigError("the file is missing", where=path.name, remedy="check the path") from None
    except (OSError, ValueError) as error:  # a path with a NUL is a ValueError
        raise ConfigError("the file cannot be read", where=path.name, got=type(error).__name__) from None
    if len(content) > _MAX_BYTES:
        raise ConfigError("the file is too large for a configuration", where=path.name, expected=f"{_MAX_BYTES} bytes")
    try:
        loader = _Loader(content.decode("utf-8-sig"))
        try:
            return loader.get_single_data()
        finally:
            loader.dispose()
    except (yaml.YAMLError, *_VALUE_ERRORS) as error:
        raise ConfigError("the file is not valid YAML", where=path.name, got=_words(error)) from None


def _words(error: Exception) -> str:
    """What is wrong, and the line of it."""
    if isinstance(error, _RefusedError):
        return str(error)
    mark = error.problem_mark if isinstance(error, yaml.MarkedYAMLError) else None
    return type(error).__name__ + ("" if mark is None else f" in line {mark.line + 1}")
