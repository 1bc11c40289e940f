"""Which scan counts, and what shares an indicator: against plain loops over random tables."""

from __future__ import annotations

import numpy as np
import pandas as pd
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.impute import SimpleImputer

from radiomics_crlm.modelling.lesions import lesion_column, stack_lesions
from radiomics_crlm.modelling.scans import ScanSelection, choose_scans
from radiomics_crlm.modelling.transformers import SharedIndicatorImputer
from radiomics_crlm.schema import AVAILABILITY

KIND = ScanSelection("CT", "portal_venous")
MOMENTS = ("baseline", "restaging", "preoperative")

scan = st.tuples(
    st.sampled_from(["a", "b", "c"]),
    st.sampled_from(MOMENTS),
    st.sampled_from(["portal_venous", "arterial"]),
    st.one_of(st.none(), st.integers(0, 3)),
)


@settings(deadline=None, max_examples=150)
@given(st.lists(scan, max_size=12), st.sampled_from(MOMENTS))
def test_the_latest_known_scan_counts(rows: list[tuple[str, str, str, int | None]], speaks_at: str) -> None:
    table = pd.DataFrame(rows, columns=["patient_id", "timepoint", "sequence", "study_day"]).astype(
        {"patient_id": "str", "timepoint": "str", "sequence": "str", "study_day": "Int64"}
    )
    table = table.assign(modality="CT", value=np.arange(len(rows), dtype=float))
    found = choose_scans(table, KIND, speaks_at=speaks_at)
    limit = AVAILABILITY.index(speaks_at)
    for patient in ("a", "b", "c"):
        own = [(AVAILABILITY.index(m), -1 if d is None else d, i) for i, (p, m, s, d) in enumerate(rows)
               if p == patient and s == "portal_venous"]  # fmt: skip
        known = sorted(entry for entry in own if entry[0] <= limit)
        assert (patient in found.only_later) == (bool(own) and not known)
        latest = [entry for entry in known if entry[:2] == known[-1][:2]]
        assert (patient in found.ambiguous) == (len(latest) > 1)
        assert (patient in found.table.index) == (len(latest) == 1)
        if len(latest) == 1:
            assert found.table.loc[patient, "value"] == latest[0][2]


@settings(deadline=None, max_examples=100)
@given(st.integers(1, 12), st.integers(1, 8), st.integers(0, 2**32 - 1))
def test_indicators_are_those_of_all_inputs_without_repetition(n: int, p: int, seed: int) -> None:
    generator = np.random.default_rng(seed)
    X = generator.normal(size=(n, p))
    patterns = generator.random((n, 3)) < 0.4
    X[patterns[:, generator.integers(0, 3, p)] & (generator.random(p) < 0.7)] = np.nan
    settings_of = {"strategy": "median", "add_indicator": True, "keep_empty_features": True}
    every = SimpleImputer(**settings_of).fit_transform(X)
    shared = SharedIndicatorImputer(**settings_of).fit_transform(X)
    np.testing.assert_array_equal(shared[:, :p], every[:, :p])
    expected = list(dict.fromkeys(map(tuple, every[:, p:].T)))
    assert [tuple(column) for column in shared[:, p:].T] == expected


@settings(deadline=None, max_examples=100)
@given(st.lists(st.tuples(st.sampled_from("ab"), st.sampled_from(MOMENTS), st.integers(1, 9), st.booleans()),
                unique_by=lambda r: r[:3], max_size=12))  # fmt: skip
def test_no_lesion_is_lost_or_invented(rows: list[tuple[str, str, int, bool]]) -> None:
    table = pd.DataFrame(rows, columns=["patient_id", "timepoint", "lesion", "usable"]).astype(
        {"patient_id": "str", "timepoint": "str", "lesion": "Int64", "usable": "bool"}
    )
    values = np.arange(1.0, len(rows) + 1)
    table = table.assign(modality="CT", sequence="portal_venous", lesion__x=values)
    table["status"] = np.where(table["usable"], "ok", "failed")
    wide = stack_lesions(table, ["lesion__*"], []).set_index(["patient_id", "timepoint"])
    assert len(wide) == len({row[:2] for row in rows})
    for scan_key in wide.index:
        mine = sorted((lesion, values[i]) for i, (p, m, lesion, ok) in enumerate(rows) if (p, m) == scan_key and ok)
        found = wide.loc[scan_key].filter(like="lesion__x").dropna()
        assert found.tolist() == [value for _, value in mine]
        assert found.index.tolist() == [lesion_column(k, "lesion__x") for k in range(1, len(mine) + 1)]
