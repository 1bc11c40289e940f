"""Outer folds: made once per cohort by patient, shared by all endpoints, models and rules."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date

import numpy as np
import numpy.typing as npt
import pandas as pd

from radiomics_crlm.config import DesignConfig
from radiomics_crlm.errors import ConfigError, InputError

NOT_IN_ENDPOINT = "-"


def outcome_status(patient_ids: Sequence[str], outcomes: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Event status per patient (index) and endpoint, to balance folds; ``-`` where the endpoint has no row."""
    status = pd.DataFrame(index=pd.Index(patient_ids, name="patient_id"))
    for name, table in outcomes.items():
        known = table.set_index("patient_id")["event"].astype(str)
        status[name] = known.reindex(status.index).fillna(NOT_IN_ENDPOINT)
    return status


def draw_folds(status: pd.DataFrame, *, folds: int, repeats: int, seed: int) -> pd.DataFrame:
    """Outer fold of each patient in each repeat (schema ``folds``).

    Systematic sampling: patients are sorted by status (the endpoint with the fewest events first, ties at random) and
    dealt to the folds in turn. Fold sizes differ by at most one, and so does the number of patients of each status of
    that endpoint; the other endpoints are balanced within its classes.

    Parameters
    ----------
    status
        Event status per patient (index) and endpoint (columns). The order of the rows does not matter.
    folds, repeats, seed
        Number of folds, of repeats, and the seed.

    Raises
    ------
    InputError
        If there are fewer patients than folds, or a key stands there twice.
    """
    if status.index.has_duplicates:
        raise InputError("a patient stands twice in the list to be split", expected="unique patient keys")
    if len(status) < folds:
        raise InputError("too few patients for the design", expected=f"at least {folds}", got=f"{len(status)} patients")
    ordered = status.sort_index()
    scarcest = sorted(ordered.columns, key=lambda name: (_rarest(ordered.loc[:, name]), name))
    codes = [pd.factorize(ordered[name], sort=True)[0] for name in scarcest]
    parts = []
    for repeat in range(repeats):
        generator = np.random.default_rng([seed, repeat])
        # lexsort takes its last key first.
        order = np.lexsort([generator.random(len(ordered)), *reversed(codes)])
        fold = np.empty(len(ordered), dtype=np.int64)
        fold[order] = generator.permutation(folds)[np.arange(len(ordered)) % folds]
        parts.append(pd.DataFrame({"patient_id": ordered.index, "repeat": repeat, "fold": fold}))
    return pd.concat(parts, ignore_index=True)


def _rarest(column: pd.Series) -> int:
    """Patients with the event, or without it, whichever are fewer."""
    return min(int((column == "1").sum()), int((~column.isin(("1", NOT_IN_ENDPOINT))).sum()))


def design_folds(clinical: pd.DataFrame, status: pd.DataFrame, design: DesignConfig) -> pd.DataFrame:
    """The one fold table of a study (schema ``folds``), whatever its design.

    Parameters
    ----------
    clinical
        Clinical table with ``patient_id`` and the column that the design names.
    status
        Event status per patient (:func:`outcome_status`).
    design
        Kind of the design.

    Raises
    ------
    ConfigError
        If the cohort lacks the column of the design, or it cannot be ordered.
    InputError
        If patients lack a value there, there is one centre or block only, or there are too few patients.
    """
    if design.kind == "repeated_cv":
        return draw_folds(status, folds=design.outer_folds, repeats=design.repeats, seed=design.seed)
    values = _design_column(clinical, str(design.column), design.kind)
    if design.kind == "leave_one_centre_out":
        return centre_folds(values)
    return temporal_folds(values, blocks=design.outer_folds, cuts=design.cuts)


def centre_folds(centres: pd.Series) -> pd.DataFrame:
    """One fold per centre, in the order of their names (numbers in their own order).

    Parameters
    ----------
    centres
        Centre of each patient (index), none missing.

    Raises
    ------
    InputError
        If there is one centre only.
    """
    codes, names = pd.factorize(centres, sort=True)
    if len(names) < 2:
        raise InputError(
            "all patients are of one centre", where=str(centres.name), expected="at least 2 centres",
            got=str(len(names)), remedy="use the design repeated_cv, or add cohorts of other centres",
        )  # fmt: skip
    return _one_repeat(centres.index, codes)


def temporal_folds(order: pd.Series, *, blocks: int, cuts: Sequence[float | date] = ()) -> pd.DataFrame:
    """Blocks of time as folds, earliest first; patients of the same time are never parted.

    Parameters
    ----------
    order
        Time of each patient (index): a number (a year) or a date, none missing.
    blocks
        Number of blocks of about equal size, without ``cuts``.
    cuts
        First value of each block but the first.

    Raises
    ------
    ConfigError
        If cuts are dates and the column holds numbers, or the other way round.
    InputError
        If a block would be empty.

    Examples
    --------
    >>> years = pd.Series([2001, 2003, 2002], index=["a", "b", "c"])
    >>> temporal_folds(years, blocks=2, cuts=[2003])["fold"].tolist()
    [0, 1, 0]
    """
    dated = pd.api.types.is_datetime64_any_dtype(order)
    if any(isinstance(cut, date) != dated for cut in cuts):
        raise ConfigError(
            "the cuts of the design do not fit its column", where=str(order.name),
            expected="dates" if dated else "numbers",
        )  # fmt: skip
    if cuts:
        edges = pd.DatetimeIndex(list(cuts)).as_unit("s").asi8 if dated else np.array(cuts, dtype=float)
        times = order.astype("datetime64[s]").astype("int64") if dated else order.astype(float)
        codes = np.searchsorted(np.asarray(edges, dtype=float), times.to_numpy(dtype=float), side="right")
    else:
        # By the share of patients who came earlier, so that one time is one block.
        earlier = (order.rank(method="min").to_numpy() - 1) / len(order)
        codes = np.floor(earlier * blocks + 1e-9).astype(int)
    number = len(cuts) + 1 if cuts else blocks
    if empty := sorted(set(range(number)) - set(codes.tolist())):
        raise InputError(
            f"{len(empty)} of {number} blocks of time hold no patient", where=str(order.name),
            expected="patients in every block", remedy="use fewer blocks or other cuts",
        )  # fmt: skip
    return _one_repeat(order.index, codes)


def of_tested(table: pd.DataFrame, folds: pd.DataFrame, design: DesignConfig) -> pd.DataFrame:
    """Rows of patients whom the design tests: all, but for the first block of time, which is fitted only."""
    if design.kind != "temporal":
        return table
    tested = folds.loc[folds["fold"] > 0, "patient_id"]
    return table[table["patient_id"].isin(tested)].reset_index(drop=True)


def refuse_duplicates(development: Sequence[str], external: Mapping[str, Sequence[str]]) -> None:
    """Make sure that no patient is in two cohorts: the external evaluation would see a training patient.

    Raises
    ------
    InputError
        Naming the cohorts and the number of patients they share.
    """
    cohorts = {"the development cohort": development, **external}
    names = list(cohorts)
    for position, first in enumerate(names):
        for second in names[position + 1 :]:
            if shared := set(cohorts[first]) & set(cohorts[second]):
                raise InputError(
                    f"{len(shared)} patients are in two cohorts", where=f"{first} and {second}",
                    expected="every patient in one cohort only",
                    remedy="remove them from one; if they are different persons, make the keys unique",
                )  # fmt: skip


def _design_column(clinical: pd.DataFrame, column: str, kind: str) -> pd.Series:
    where = f"design {kind}"
    if column not in clinical:
        raise ConfigError(
            "the cohort lacks the column of the design", where=where, expected=column,
            remedy="add the column, or choose another design",
        )  # fmt: skip
    values = clinical.set_index("patient_id")[column]
    if values.index.has_duplicates:
        raise InputError("a patient stands twice in the list to be split", expected="unique patient keys")
    if missing := int(values.isna().sum()):
        raise InputError(
            f"{missing} of {len(values)} patients lack a value", where=f"{where}, column {column}",
            expected="a value for every patient", remedy="fill the column, or leave these patients out of the table",
        )  # fmt: skip
    ordered = pd.api.types.is_numeric_dtype(values) or pd.api.types.is_datetime64_any_dtype(values)
    if kind == "temporal" and (not ordered or pd.api.types.is_bool_dtype(values)):
        raise ConfigError(
            "the column of the design has no order", where=where, expected="a number or a date", got=column
        )
    return values


def _one_repeat(patients: pd.Index, codes: npt.NDArray[np.int64]) -> pd.DataFrame:
    table = pd.DataFrame({"patient_id": patients, "repeat": 0, "fold": np.asarray(codes, dtype=np.int64)})
    return table.sort_values("patient_id", kind="stable", ignore_index=True)
