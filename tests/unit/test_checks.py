"""Refusals before the first fit, and the inner folds."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from simulated_tables import deal_folds, noise_table, number_columns

from radiomics_crlm.errors import InputError, LeakError
from radiomics_crlm.evaluation.outcome import make_outcome
from radiomics_crlm.modelling.audit import FitAudit
from radiomics_crlm.modelling.checks import (
    align_outcome,
    check_events,
    check_scans,
    check_sites,
    check_table,
    draw_inner_folds,
    fold_matrix,
    outer_test_folds,
    stratum,
    training_flags,
)
from radiomics_crlm.modelling.columns import ColumnSpec
from radiomics_crlm.modelling.harmonisation import Harmonisation, SiteTable
from radiomics_crlm.modelling.recipe import Recipe

X = noise_table(12, 3, 0)
RECIPE = Recipe("s", number_columns(3), "ridge", "time_to_event")
FOLDS = deal_folds(X.index, folds=3, repeats=2, seed=0)


@pytest.mark.parametrize(
    ("table", "match"),
    [
        (X.iloc[:0], "no patients"),
        (pd.concat([X, X.iloc[:2]]), "2 patients are repeated"),
        (X.set_axis([None, *X.index[1:]]), "1 have no key"),
        (X * np.nan, "all predictors are missing"),
        (X.replace(X.iloc[0, 0], np.inf), "infinite in 1 cells"),
        (X[["x0", "x1"]], "x2: 1 columns"),
        (X.replace(X.iloc[0, 0], 1e200), "1 inputs are too large.*missing after imputation"),
    ],
)
def test_table(table: pd.DataFrame, match: str) -> None:
    with pytest.raises(InputError, match=match):
        check_table(table, RECIPE)


def test_outcome_is_joined_by_key_whatever_its_order() -> None:
    table = pd.DataFrame({"event": 1, "months": np.arange(12.0)}, index=X.index)
    shuffled = table.sample(frac=1, random_state=1)
    assert align_outcome(shuffled, X.index)["months"].tolist() == list(range(12))
    for bad in (table.iloc[:11], pd.concat([table, table.iloc[:1]]), table.set_axis(range(12))):
        with pytest.raises(InputError, match="different patients"):
            align_outcome(bad, X.index)
    with pytest.raises(InputError, match="different lengths; expected 12; got 2"):
        align_outcome(make_outcome([1, 0], [1, 2]), X.index)


def test_folds_come_in_the_order_of_the_table() -> None:
    wide = fold_matrix(FOLDS.sample(frac=1, random_state=0), X.index)
    first = FOLDS[FOLDS["repeat"] == 0].set_index("patient_id")["fold"]
    assert wide[0].tolist() == first.loc[X.index].tolist()


@pytest.mark.parametrize(
    ("folds", "match"),
    [
        (pd.concat([FOLDS, FOLDS.iloc[:1]]), "more than one fold"),
        (FOLDS.iloc[1:], "lack a fold in some repeats"),
        (FOLDS[FOLDS["patient_id"] != X.index[0]], "1 patients have no fold, 0 patients"),
        (FOLDS.replace({"patient_id": {X.index[0]: "Z"}}), "1 patients have no fold, 1 patients"),
        (FOLDS.assign(fold=0), "fewer than two folds"),
    ],
)
def test_folds(folds: pd.DataFrame, match: str) -> None:
    with pytest.raises(InputError, match=match):
        fold_matrix(folds, X.index)


def test_events_are_counted_per_fold() -> None:
    wide = pd.DataFrame({0: np.arange(12) % 3}, index=X.index)
    everywhere = make_outcome([1] * 6 + [0] * 6, np.arange(1, 13))
    check_events(everywhere, wide, kind="time_to_event", horizon=None, min_events=4, where="dfs")
    with pytest.raises(
        InputError, match="repeat 0, fold 0: the training fold has too few events; expected at least 5; got 4"
    ):
        check_events(everywhere, wide, kind="time_to_event", horizon=None, min_events=5, where="dfs")
    lopsided = make_outcome(np.arange(12) % 3 == 1, np.arange(1, 13))
    with pytest.raises(InputError, match="dfs, repeat 0, fold 0: the test fold has no event"):
        check_events(lopsided, wide, kind="time_to_event", horizon=None, min_events=1, where="dfs")
    with pytest.raises(InputError, match="target is constant"):
        check_events(everywhere, wide, kind="binary", horizon=0.5, min_events=1, where="dfs")


@pytest.mark.parametrize("unseen", ["refuse", "reference"])
def test_sites_are_asked_for_in_every_training_fold(unseen: str) -> None:
    """Repeat 0 mixes the sites; fold 1 of repeat 1 holds one of them whole."""
    labels = np.tile(["east", "west"], 6)
    asked = Harmonisation(
        SiteTable(X.index, labels, np.empty((12, 0))), min_patients=2, unseen=unseen,
        reference="east" if unseen == "reference" else None,
    )  # fmt: skip
    recipe = Recipe("s", number_columns(3), "ridge", "time_to_event", harmonisation=asked)
    mixed = pd.DataFrame({0: np.repeat([0, 1], 6)}, index=X.index)
    check_sites(mixed, recipe, where="dfs")
    apart = pd.DataFrame({0: mixed[0], 1: np.where(labels == "east", 1, 0)}, index=X.index)
    match = {"refuse": "dfs, repeat 1, fold 0: 6 test patients", "reference": "dfs, repeat 1, fold 1: the reference"}
    with pytest.raises(InputError, match=match[unseen]):
        check_sites(apart, recipe, where="dfs")


def test_scans_are_asked_for_in_every_training_fold() -> None:
    columns = (ColumnSpec("x0"), ColumnSpec("x1", scan="MR/hbp"), ColumnSpec("x2", scan="MR/hbp"))
    recipe = Recipe("s", columns, "ridge", "time_to_event")
    wide = pd.DataFrame({0: np.arange(12) % 3}, index=X.index)
    scanned = X.assign(x1=np.nan, x2=X["x2"].where(wide[0] > 0))
    check_scans(scanned, wide, recipe, where="dfs")
    scarce = X.assign(x1=np.nan, x2=X["x2"].where(wide[0] == 1))
    with pytest.raises(InputError, match=r"fold 1: nobody in the training fold has MR/hbp.*0; 4 of all 12"):
        check_scans(scarce, wide, recipe, where="dfs")


def test_strata() -> None:
    y = make_outcome([0, 1, 2, 0], [5, 6, 7, 30])
    assert stratum(y, None).tolist() == [0, 1, 2, 0]
    assert stratum(y, 12.0).tolist() == [2, 1, 0, 0]


@pytest.mark.parametrize("folds", [2, 3, 5])
def test_inner_folds_are_balanced_and_seeded(folds: int) -> None:
    codes = np.random.default_rng(0).integers(0, 3, 47)
    drawn = draw_inner_folds(codes, folds, np.random.default_rng(1))
    assert (drawn == draw_inner_folds(codes, folds, np.random.default_rng(1))).all()
    assert (drawn != draw_inner_folds(codes, folds, np.random.default_rng(2))).any()
    assert np.ptp(np.bincount(drawn, minlength=folds)) <= 1
    for code in range(3):
        assert np.ptp(np.bincount(drawn[codes == code], minlength=folds)) <= 1


def test_audit() -> None:
    audit = FitAudit(pd.Index(["a", "b"]))
    audit.check(pd.Index(["c", "d"]), "fit")
    assert audit.fits == 1
    with pytest.raises(LeakError, match="fit: a fit would see 1 patients of the outer test fold"):
        audit.check(pd.Index(["a", "c"]), "fit")
    with pytest.raises(LeakError, match="a patient twice"):
        audit.check(pd.Index(["c", "c"]), "fit")
    assert audit.fits == 1


def test_going_forward_in_time_the_first_block_is_not_tested() -> None:
    wide = pd.DataFrame({0: np.repeat([0, 1, 2], 4)}, index=X.index)
    y = make_outcome([1, 1, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0], np.arange(1, 13))
    request = {"kind": "time_to_event", "horizon": None, "where": "dfs", "forward": True}
    check_events(y, wide, min_events=2, **request)
    with pytest.raises(InputError, match="fold 1: the training fold has too few events; expected at least 3; got 2"):
        check_events(y, wide, min_events=3, **request)
    early = make_outcome([1] * 4 + [0] * 4 + [1] + [0] * 3, np.arange(1, 13))
    with pytest.raises(InputError, match="fold 1: the test fold has no event; expected at least 1; got 0 in 4"):
        check_events(early, wide, min_events=1, **request)
    assert outer_test_folds(wide[0].to_numpy(), forward=True).tolist() == [1, 2]
    assert training_flags(wide[0].to_numpy(), 1, forward=True).sum() == 4
