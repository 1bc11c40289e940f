"""From a table to a matrix of floats. Nothing is learned from data: names, categories and scales are declared.

Shared by fitting (``transformers.TableEncoder``) and by frozen models, which must not need scikit-learn.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt
import pandas as pd

from radiomics_crlm.errors import ConfigError, InputError

ColumnKind = Literal["number", "boolean", "category"]
Block = Literal["clinical", "radiomics"]
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class ColumnSpec:
    """One column that a model reads.

    Parameters
    ----------
    name
        Column of the table.
    kind
        ``number``; ``boolean`` (true/false or 1/0); ``category`` (text).
    categories
        All admissible values of a category, at least two. Two categories give one input (1 for the second),
        more give one each.
    log
        Numbers only: log(1 + x), for skewed quantities that are >= 0 such as CEA.
    keep
        Never dropped by filters and selection (e.g. clinical columns beside many radiomic ones).
    block
        Where it comes from, for learners that model the two apart.
    scan
        The scans it comes from, in words, where a feature set has several or patients may lack them: columns of the
        same scans are missing together and share their missingness indicator.

    Raises
    ------
    ConfigError
        If these contradict each other.
    """

    name: str
    kind: ColumnKind = "number"
    categories: tuple[str, ...] = ()
    log: bool = False
    keep: bool = False
    block: Block = "clinical"
    scan: str = ""

    def __post_init__(self) -> None:
        if self.kind not in get_args(ColumnKind):
            raise ConfigError("unknown kind of column", where=self.name, expected=", ".join(get_args(ColumnKind)))
        if self.block not in get_args(Block):
            raise ConfigError("unknown block of columns", where=self.name, expected=", ".join(get_args(Block)))
        if (self.kind == "category") != (len(self.categories) >= 2) or len(set(self.categories)) != len(
            self.categories
        ):
            raise ConfigError(
                "a category needs two or more distinct categories, and nothing else has any", where=self.name
            )
        if self.log and self.kind != "number":
            raise ConfigError("only a number can be logged", where=self.name)

    def inputs(self) -> tuple[str, ...]:
        """Names of the inputs this column becomes.

        >>> ColumnSpec("site", "category", ("colon", "rectum")).inputs()
        ('site=rectum',)
        """
        if self.kind != "category":
            return (self.name,)
        shown = self.categories[1:] if len(self.categories) == 2 else self.categories
        return tuple(f"{self.name}={category}" for category in shown)


def check_columns(columns: Sequence[ColumnSpec]) -> tuple[ColumnSpec, ...]:
    """Refuse an empty list of columns and inputs of the same name.

    Raises
    ------
    ConfigError
        Naming the repeated input.
    """
    names = [name for column in columns for name in column.inputs()]
    if not names:
        raise ConfigError("a model needs at least one column", remedy="name clinical columns, radiomics, or both")
    repeated = sorted({name for name in names if names.count(name) > 1}) if len(set(names)) < len(names) else []
    if repeated:
        raise ConfigError("columns are declared more than once", where=", ".join(repeated[:10]))
    return tuple(columns)


def input_names(columns: Sequence[ColumnSpec]) -> list[str]:
    """Names of the encoded inputs, in order."""
    return [name for column in columns for name in column.inputs()]


def encode(frame: pd.DataFrame, columns: Sequence[ColumnSpec], *, logs: bool = True) -> Floats:
    """Matrix of the declared columns; NaN where a value is missing.

    Parameters
    ----------
    frame
        n rows; other columns are ignored.
    columns
        What to read.
    logs
        False leaves logged columns in their own unit (to show them).

    Returns
    -------
    Array n x inputs, in the order of :func:`input_names`.

    Raises
    ------
    InputError
        For a missing column, text in a number, an infinite number, a negative number to be logged, a boolean
        that is neither true nor false, an unknown category. Messages name the column and the count, never a
        value.
    """
    absent = [column.name for column in columns if column.name not in frame.columns]
    if absent:
        raise InputError(
            f"{len(absent)} columns that the model reads are missing",
            where=", ".join(absent[:10]),
            remedy="add them; unknown values may be left empty",
        )
    out = np.empty((len(frame), len(input_names(columns))))
    position, plain = 0, []
    for column in columns:
        if column.kind == "category":
            block = _category(frame[column.name], column)
            out[:, position : position + block.shape[1]] = block
        else:
            plain.append((position, column))
        position += len(column.inputs())
    if plain:
        out[:, [place for place, _ in plain]] = _plain(frame, [column for _, column in plain], logs)
    return out


def _plain(frame: pd.DataFrame, columns: Sequence[ColumnSpec], logs: bool) -> Floats:
    """Numbers and booleans at once: hundreds of radiomic columns would be slow one by one."""
    part = frame[[column.name for column in columns]]
    try:
        values = part.to_numpy(dtype=float, na_value=np.nan)
    except (TypeError, ValueError):
        values = np.column_stack([_number(part[column.name], column.name) for column in columns])
    _refuse(np.isinf(values), columns, "is infinite", "a finite number")
    boolean = np.array([column.kind == "boolean" for column in columns])
    _refuse(boolean & ~np.isnan(values) & (values != 0) & (values != 1), columns, "is no boolean", "true or false")
    logged = np.array([column.log for column in columns])
    _refuse(logged & (values < 0), columns, "is negative but to be logged", "a number >= 0")
    if logs and logged.any():
        values = np.array(values, copy=True)
        values[:, logged] = np.log1p(values[:, logged])
    return values


def _number(column: pd.Series, name: str) -> Floats:
    try:
        return np.asarray(column.to_numpy(dtype=float, na_value=np.nan))
    except (TypeError, ValueError):
        raise InputError("the column holds text", where=name, expected="numbers or booleans") from None


def _refuse(bad: npt.NDArray[np.bool_], columns: Sequence[ColumnSpec], what: str, expected: str) -> None:
    if bad.any():
        counts = bad.sum(axis=0)
        where = ", ".join(column.name for column, count in zip(columns, counts, strict=True) if count)
        raise InputError(f"a value {what} in {int(counts.sum())} cells", where=where, expected=expected)


def _category(series: pd.Series, column: ColumnSpec) -> Floats:
    missing = series.isna().to_numpy(dtype=bool)
    codes = pd.Index(column.categories).get_indexer(pd.Index(series.astype(object).where(~missing, None), dtype=object))
    unknown = int(((codes < 0) & ~missing).sum())
    if unknown:
        raise InputError(
            f"{unknown} cells hold an unknown category", where=column.name, expected=", ".join(column.categories)
        )
    hot = np.equal.outer(codes, np.arange(len(column.categories))).astype(float)
    hot[missing] = np.nan
    return hot[:, 1:] if len(column.categories) == 2 else hot
