"""Checks before the first fit: patients, folds, events. A study that cannot work is refused at once, with the
numbers."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pandas as pd

from radiomics_crlm.errors import InputError
from radiomics_crlm.evaluation.outcome import Kind, Outcome, check_outcome, horizon_labels, make_outcome
from radiomics_crlm.modelling.columns import encode
from radiomics_crlm.modelling.harmonisation import learned_sites
from radiomics_crlm.modelling.inner_folds import Ints as Ints
from radiomics_crlm.modelling.inner_folds import draw_inner_folds as draw_inner_folds
from radiomics_crlm.modelling.inner_folds import stratum as stratum
from radiomics_crlm.modelling.recipe import Recipe, candidates

# The square of a larger number, of which a standard deviation is made, is no finite one.
_LARGEST = 1e150


def check_table(X: pd.DataFrame, recipe: Recipe) -> None:
    """Refuse duplicated patients, unreadable cells, and a table without a single value.

    Raises
    ------
    InputError
        Naming the columns or the number of patients.
    """
    if len(X) == 0:
        raise InputError("there are no patients", where="predictors")
    if X.index.has_duplicates or X.index.hasnans:
        raise InputError(
            f"{int(X.index.duplicated().sum())} patients are repeated, {int(np.sum(X.index.isna()))} have no key",
            where="predictors", expected="one row per patient",
        )  # fmt: skip
    values = encode(X, recipe.columns)
    if np.isnan(values).all():
        raise InputError("all predictors are missing in all patients", where=recipe.name)
    if huge := int((np.abs(values) > _LARGEST).any(axis=0).sum()):
        raise InputError(
            f"{huge} inputs are too large to be standardised: they would be missing after imputation and scaling",
            where=recipe.name, expected=f"at most {_LARGEST:g}", remedy="change their unit, or leave them out",
        )  # fmt: skip


def align_outcome(y: Outcome | pd.DataFrame, patients: pd.Index) -> Outcome:
    """Outcomes in the order of ``patients``: an array is taken to be in that order, a table (by patient) is
    joined by key.

    Raises
    ------
    InputError
        If patients differ.
    """
    if isinstance(y, pd.DataFrame):
        if y.index.has_duplicates or not y.index.sort_values().equals(patients.sort_values()):
            raise InputError(
                "outcomes and predictors are of different patients",
                expected=f"{len(patients)} patients",
                got=f"{len(y)}",
            )
        y = y.loc[patients]
        return make_outcome(y["event"], y["months"])
    check_outcome(y)
    if y.size != len(patients):
        raise InputError("outcomes and predictors have different lengths", expected=str(len(patients)), got=str(y.size))
    return y


def fold_matrix(folds: pd.DataFrame, patients: pd.Index) -> pd.DataFrame:
    """Outer folds as patients x repeats, in the order of ``patients``.

    Parameters
    ----------
    folds
        ``patient_id, repeat, fold``.
    patients
        Patients of the predictors.

    Raises
    ------
    InputError
        If a patient is not in exactly one fold of each repeat, folds hold other patients, or a repeat has a
        single fold.
    """
    if folds.duplicated(["patient_id", "repeat"]).any():
        raise InputError(
            "patients are in more than one fold of a repeat", where="folds", expected="one fold per repeat"
        )
    wide = folds.pivot(index="patient_id", columns="repeat", values="fold")
    surplus, absent = wide.index.difference(patients), patients.difference(wide.index)
    if len(surplus) or len(absent):
        raise InputError(
            f"{len(absent)} patients have no fold, {len(surplus)} patients of the folds have no predictors",
            where="folds", expected="the same patients", remedy="restrict both to the patients of the endpoint",
        )  # fmt: skip
    if wide.isna().to_numpy().any():
        raise InputError(
            "patients lack a fold in some repeats", where="folds", expected="one fold per patient and repeat"
        )
    if (wide.nunique() < 2).any():
        raise InputError("a repeat has fewer than two folds", where="folds")
    return wide.loc[patients].astype(int)


def outer_test_folds(assigned: Ints, *, forward: bool) -> Ints:
    """The folds of a repeat that are tested: all; in a design that goes forward in time, all but the first.

    >>> outer_test_folds(np.array([0, 2, 1, 0]), forward=True).tolist()
    [1, 2]
    """
    return np.unique(assigned)[1 if forward else 0 :]


def training_flags(assigned: Ints, fold: int, *, forward: bool) -> npt.NDArray[np.bool_]:
    """Who is fitted when ``fold`` is tested: all others; in a design that goes forward in time, the earlier folds."""
    return np.asarray(assigned < fold if forward else assigned != fold)


def check_events(
    y: Outcome, wide: pd.DataFrame, *, kind: Kind, horizon: float | None, min_events: int, where: str,
    forward: bool = False,
) -> None:  # fmt: skip
    """Refuse a constant target, test folds without an event, and training folds with too few.

    Raises
    ------
    InputError
        With repeat, fold, count and remedy.
    """
    at = horizon if kind == "binary" else None
    check_outcome(y, horizon=at, min_events=min_events, where=where)
    for repeat in wide.columns:
        fold = wide[repeat].to_numpy()
        for number in outer_test_folds(fold, forward=forward):
            place = f"{where}, repeat {repeat}, fold {number}"
            test = fold == number
            tested = event_flags(y[test], at).sum()
            if tested == 0:
                raise InputError(
                    "the test fold has no event", where=place, expected="at least 1",
                    got=f"0 in {int(test.sum())} patients", remedy="use fewer or larger folds",
                )  # fmt: skip
            train = training_flags(fold, number, forward=forward)
            trained = int(event_flags(y[train], at).sum())
            if trained < min_events:
                raise InputError(
                    "the training fold has too few events", where=place, expected=f"at least {min_events}",
                    got=str(trained), remedy="choose another endpoint, more folds, or gather more patients",
                )  # fmt: skip


def check_sites(wide: pd.DataFrame, recipe: Recipe, *, where: str, forward: bool = False) -> None:
    """Refuse test patients of sites that their training fold does not let harmonisation learn, if that is the policy,
    and training folds without the reference site.

    Raises
    ------
    InputError
        With repeat, fold, count and remedy.
    """
    asked = recipe.harmonisation
    if asked is None or asked.unseen == "flag":
        return
    site = asked.sites.of(wide.index)[0]
    for repeat in wide.columns:
        fold = wide[repeat].to_numpy()
        for number in outer_test_folds(fold, forward=forward):
            train = training_flags(fold, number, forward=forward)
            place = f"{where}, repeat {repeat}, fold {number}"
            known = learned_sites(site[train], asked.min_patients)
            strange = int((~np.isin(site[fold == number], known)).sum())
            if asked.unseen == "refuse" and strange:
                raise InputError(
                    f"{strange} test patients are of sites that are not learned from the training fold", where=place,
                    expected=f"sites with at least {asked.min_patients} training patients",
                    remedy="choose the policy reference or flag, another design, or other sites",
                )  # fmt: skip
            if asked.unseen == "reference" and asked.reference not in known:
                count = int((site[train] == asked.reference).sum())
                raise InputError(
                    f"the reference site has {count} training patients", where=place,
                    expected=f"at least {asked.min_patients}", remedy="choose another reference site",
                )  # fmt: skip


def check_scans(X: pd.DataFrame, wide: pd.DataFrame, recipe: Recipe, *, where: str, forward: bool = False) -> None:
    """Refuse training folds in which nobody has the scans of a block of inputs: nothing could be learned of it.

    Raises
    ------
    InputError
        With repeat, fold, count and remedy.
    """
    for label in dict.fromkeys(column.scan for column in recipe.columns if column.scan):
        have = X[[column.name for column in recipe.columns if column.scan == label]].notna().any(axis=1).to_numpy()
        for repeat in wide.columns:
            fold = wide[repeat].to_numpy()
            for number in outer_test_folds(fold, forward=forward):
                train = training_flags(fold, number, forward=forward)
                if not have[train].any():
                    raise InputError(
                        f"nobody in the training fold has {label}", where=f"{where}, repeat {repeat}, fold {number}",
                        expected=f"at least 1 of {int(train.sum())} training patients",
                        got=f"0; {int(have.sum())} of all {have.size} patients",
                        remedy="take these scans out of the feature set, choose another design, or add patients",
                    )  # fmt: skip


def event_flags(y: Outcome, horizon: float | None) -> npt.NDArray[np.bool_]:
    """Who has the event (by the horizon, where there is one)."""
    return np.asarray((y["event"] == 1) if horizon is None else horizon_labels(y, horizon)[0] == 1)


def check_design(
    X: pd.DataFrame,
    y: Outcome | pd.DataFrame,
    folds: pd.DataFrame,
    recipe: Recipe,
    *,
    endpoint: str,
    horizon: float | None,
    min_events: int,
    forward: bool = False,
) -> None:
    """Everything that cross-validation would refuse about a model, without fitting it (parameters as there).

    Raises
    ------
    InputError
        Naming the endpoint, the fold and the numbers.
    """
    at = horizon if recipe.kind == "binary" else None
    check_table(X, recipe)
    wide = fold_matrix(folds, X.index)
    where = f"{endpoint}, {recipe.name}"
    outcome = align_outcome(y, X.index)
    candidates(recipe, at)[0].check(outcome)
    check_events(outcome, wide, kind=recipe.kind, horizon=at, min_events=min_events, where=where, forward=forward)
    check_sites(wide, recipe, where=where, forward=forward)
    check_scans(X, wide, recipe, where=where, forward=forward)
