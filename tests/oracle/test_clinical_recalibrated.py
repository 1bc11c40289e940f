"""Recalibrated probabilities against the figures printed for worked patients, and against simple properties."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest

from radiomics_crlm import clinical
from radiomics_crlm.clinical.recalibrated import models, spline

HORIZONS = ("0.5", "1", "2", "3")

# Probability of recurrence within 0.5, 1, 2 and 3 years, worked out apart from this code from the
# published workbook and hand-written design vectors.
PRINTED = [
    ("fong", "all_absent", (0.078175, 0.203964, 0.360522, 0.403790)),
    ("fong", "synchronous_multiple_node_positive", (0.381355, 0.629786, 0.726234, 0.776329)),
    ("fong", "all_present", (0.365586, 0.627615, 0.727802, 0.781615)),
    ("fong", "solitary_large", (0.083196, 0.225203, 0.383788, 0.432024)),
    ("game", "all_absent", (0.093655, 0.199759, 0.310090, 0.357599)),
    ("game", "zone_2_kras_nodes", (0.255955, 0.526375, 0.646891, 0.719524)),
    ("game", "zone_3_all_present", (0.786356, 0.894022, 0.958691, 0.965460)),
    ("game", "zone_3_only", (0.303518, 0.509249, 0.665054, 0.732472)),
    ("helsinki", "all_absent", (0.034653, 0.107715, 0.236548, 0.268961)),
    ("helsinki", "typical", (0.258995, 0.522061, 0.651150, 0.724581)),
    ("helsinki", "all_present", (0.569865, 0.759383, 0.822678, 0.856092)),
    ("helsinki", "biliary_only", (0.086574, 0.147606, 0.299601, 0.324603)),
    ("konopke", "all_absent", (0.154139, 0.358611, 0.499700, 0.548844)),
    ("konopke", "synchronous", (0.247182, 0.458521, 0.580883, 0.640699)),
    ("konopke", "all_present", (0.438661, 0.678350, 0.786658, 0.837712)),
    ("konopke", "multiple_only", (0.316999, 0.594837, 0.729108, 0.780760)),
    ("mcs", "all_absent", (0.170696, 0.346989, 0.472578, 0.535814)),
    ("mcs", "ras_and_nodes", (0.318646, 0.547085, 0.679505, 0.727545)),
    ("mcs", "all_present", (0.346831, 0.588774, 0.710970, 0.755303)),
    ("mcs", "size_only", (0.189433, 0.386440, 0.509699, 0.571604)),
    ("nagashima", "score_0", (0.043785, 0.177088, 0.262039, 0.282458)),
    ("nagashima", "score_2_13284", (0.297883, 0.530977, 0.648320, 0.705899)),
    ("nagashima", "score_3_40499", (0.436113, 0.655229, 0.749955, 0.790694)),
    ("nagashima", "score_5_23248", (0.487470, 0.737719, 0.862446, 0.887823)),
    ("nordlinger", "all_absent", (0.021225, 0.109476, 0.228218, 0.288968)),
    ("nordlinger", "typical", (0.180598, 0.452816, 0.587199, 0.643250)),
    ("nordlinger", "all_present", (0.679135, 0.803118, 0.864068, 0.896701)),
    ("nordlinger", "many_metastases", (0.061978, 0.253430, 0.453460, 0.560182)),
]

NO_NODES, NODES = {"node_positive_primary": False}, {"node_positive_primary": True}
ONE_SMALL, MANY_LARGE = {"n_liver_mets": 1, "largest_met_mm": 20}, {"n_liver_mets": 6, "largest_met_mm": 80}
LATE, SYNCHRONOUS = {"dfi_months": 40}, {"dfi_months": 0}
NO_HELSINKI = {"primary_pt": 2, "resection_margin_mm": 10, "viable_tumour_pct": 10, "vascular_invasion": False}
PATIENTS: dict[tuple[str, str], dict[str, object]] = {
    ("fong", "all_absent"): {**NO_NODES, **ONE_SMALL, **LATE, "cea_ng_ml": 5},
    ("fong", "synchronous_multiple_node_positive"): {
        **NODES,
        "synchronous_crlm": True,
        "n_liver_mets": 3,
        "largest_met_mm": 35,
        "cea_ng_ml": 18,
    },
    ("fong", "all_present"): {**NODES, **MANY_LARGE, **SYNCHRONOUS, "cea_ng_ml": 900},
    ("fong", "solitary_large"): {**NO_NODES, **LATE, "n_liver_mets": 1, "largest_met_mm": 62, "cea_ng_ml": 40},
    ("game", "all_absent"): {
        **NO_NODES,
        **ONE_SMALL,
        "ras_status": "wild_type",
        "cea_ng_ml": 5,
        "extrahepatic_present": False,
    },
    ("game", "zone_2_kras_nodes"): {
        **NODES,
        "kras_status": "mutant",
        "cea_ng_ml": 5,
        "n_liver_mets": 4,
        "largest_met_mm": 30,
        "extrahepatic_status": "none",
    },
    ("game", "zone_3_all_present"): {
        **NODES,
        "kras_status": "mutant",
        "cea_ng_ml": 20,
        "n_liver_mets": 9,
        "largest_met_mm": 30,
        "extrahepatic_present": True,
    },
    ("game", "zone_3_only"): {
        **NO_NODES,
        "kras_status": "wild_type",
        "cea_ng_ml": 5,
        "n_liver_mets": 12,
        "largest_met_mm": 30,
        "extrahepatic_present": False,
    },
    ("helsinki", "all_absent"): {**NO_NODES, **ONE_SMALL, **NO_HELSINKI, "biliary_invasion": False},
    ("helsinki", "typical"): {
        **NODES,
        "primary_pt": 3,
        "n_liver_mets": 2,
        "resection_margin_mm": 2,
        "largest_met_mm": 30,
        "viable_tumour_pct": 60,
        "vascular_invasion": False,
        "biliary_invasion": False,
    },
    ("helsinki", "all_present"): {
        **NODES,
        **MANY_LARGE,
        "primary_pt": 4,
        "resection_margin_mm": 0,
        "viable_tumour_pct": 90,
        "vascular_invasion": True,
        "biliary_invasion": True,
    },
    ("helsinki", "biliary_only"): {**NO_NODES, **ONE_SMALL, **NO_HELSINKI, "biliary_invasion": True},
    ("konopke", "all_absent"): {"n_liver_mets": 1, "cea_ng_ml": 5, "dfi_months": 14},
    ("konopke", "synchronous"): {"n_liver_mets": 2, "cea_ng_ml": 20, "synchronous_crlm": True},
    ("konopke", "all_present"): {"n_liver_mets": 4, "cea_ng_ml": 200, "dfi_months": 0},
    ("konopke", "multiple_only"): {"n_liver_mets": 5, "cea_ng_ml": 20, "dfi_months": 14},
    ("mcs", "all_absent"): {**NO_NODES, "ras_status": "wild_type", "largest_met_mm": 20},
    ("mcs", "ras_and_nodes"): {"primary_pn_category": "N1", "nras_status": "mutant", "largest_met_mm": 20},
    ("mcs", "all_present"): {**NODES, "ras_status": "mutant", "largest_met_mm": 70},
    ("mcs", "size_only"): {**NO_NODES, "ras_status": "wild_type", "largest_met_mm": 55},
    ("nagashima", "score_0"): {**NO_NODES, **ONE_SMALL, **LATE, "primary_pt": 3, "extrahepatic_present": False},
    ("nagashima", "score_2_13284"): {
        **NODES,
        "primary_pt": 3,
        "largest_met_mm": 30,
        "extrahepatic_present": False,
        "dfi_months": 2,
        "n_liver_mets": 3,
    },
    ("nagashima", "score_3_40499"): {
        **NO_NODES,
        "primary_pt": 3,
        "largest_met_mm": 60,
        "extrahepatic_present": True,
        "dfi_months": 24,
        "n_liver_mets": 3,
    },
    ("nagashima", "score_5_23248"): {
        **NODES,
        **MANY_LARGE,
        **SYNCHRONOUS,
        "primary_pt": 4,
        "extrahepatic_present": True,
    },
    ("nordlinger", "all_absent"): {
        **NO_NODES,
        **ONE_SMALL,
        **LATE,
        "primary_pt": 3,
        "resection_margin_mm": 12,
        "age_years": 55,
    },
    ("nordlinger", "typical"): {
        **NODES,
        **SYNCHRONOUS,
        "primary_pt": 3,
        "n_liver_mets": 2,
        "largest_met_mm": 30,
        "expected_margin_mm": 3,
        "age_years": 68,
    },
    ("nordlinger", "all_present"): {
        **NODES,
        **MANY_LARGE,
        **SYNCHRONOUS,
        "primary_pt": 4,
        "resection_margin_mm": 0,
        "age_years": 72,
    },
    ("nordlinger", "many_metastases"): {
        **NO_NODES,
        **LATE,
        "primary_pt": 3,
        "n_liver_mets": 5,
        "largest_met_mm": 20,
        "resection_margin_mm": 12,
        "age_years": 55,
    },
}


@pytest.mark.parametrize(("score", "patient", "printed"), PRINTED)
def test_probabilities_of_the_worked_patients(score: str, patient: str, printed: tuple[float, ...]) -> None:
    got = clinical.evaluate(f"plato_{score}", PATIENTS[score, patient])
    assert got.status == "ok"
    assert [got.extra[f"p_{horizon}y"] for horizon in HORIZONS] == pytest.approx(printed, abs=1e-6)
    assert got.value == got.extra["p_1y"]
    assert got.extra["label"] == "recalibrated in KaroLiver"


def test_intervals_of_the_worked_patients(shared_data: Path) -> None:
    path = shared_data.parent / "clinical" / "plato_worked.csv"
    if not path.is_file():
        pytest.skip("worked patients with intervals are absent")
    with path.open(encoding="utf-8", newline="") as handle:
        rows = list(csv.DictReader(handle))
    assert len(rows) == len(PATIENTS) * len(HORIZONS)
    for row in rows:
        got = clinical.evaluate(f"plato_{row['score']}", PATIENTS[row["score"], row["patient"]]).extra
        lower, upper = got[f"ci_{row['horizon_years']}y"]
        assert lower == pytest.approx(float(row["ci95_lower"]), abs=1e-6)
        assert upper == pytest.approx(float(row["ci95_upper"]), abs=1e-6)


@pytest.mark.parametrize("score", sorted({score for score, _ in PATIENTS}))
def test_covariances_are_symmetric_positive_and_match_the_printed_standard_errors(score: str) -> None:
    path = Path(clinical.__file__).parent / "data" / "plato_coefficients.csv"
    with path.open(encoding="utf-8", newline="") as handle:
        printed = [row for row in csv.DictReader(handle) if row["score"] == score]
    for horizon, model in models()[score].items():
        # The workbook prints either half rounded on its own.
        assert model.covariance == pytest.approx(model.covariance.T, rel=1e-6, abs=1e-7)
        assert np.linalg.eigvalsh(model.covariance).min() > 0
        errors = {row["term"]: float(row["se"]) for row in printed if row["horizon_years"] == horizon}
        assert np.sqrt(np.diag(model.covariance)) == pytest.approx([errors[term] for term in model.terms], abs=6e-5)


def test_interval_holds_the_probability_and_the_helsinki_model_is_marked() -> None:
    for (score, _), inputs in PATIENTS.items():
        extra = clinical.evaluate(f"plato_{score}", inputs).extra
        for horizon in HORIZONS:
            lower, upper = extra[f"ci_{horizon}y"]
            assert lower < extra[f"p_{horizon}y"] < upper
        assert extra["confidence"] == ("low" if score == "helsinki" else "as published")


def test_spline_is_linear_beyond_the_last_knot_and_zero_before_the_first() -> None:
    knots = (0.60034, 1.53250, 2.13284, 3.87591)
    assert spline(0.6, knots) == [0.0, 0.0]
    tail = np.array([spline(s, knots) for s in (4.0, 4.5, 5.0)])
    assert tail[1] - tail[0] == pytest.approx(tail[2] - tail[1], abs=1e-12)


@pytest.mark.parametrize(
    ("rule", "inputs", "missing"),
    [
        ("plato_mcs", {"node_positive_primary": True}, ("ras_mutant", "size_gt_50mm")),
        ("plato_game", {**NODES, "cea_ng_ml": 5, "n_liver_mets": 3, "kras_status": "mutant"},
         ("tbs_zone_2", "tbs_zone_3", "extrahepatic")),
        ("plato_nagashima", {**NODES, "primary_pt": 4}, ("score",)),
        ("plato_konopke", {"synchronous_crlm": False}, ("n_gt_3", "cea_ge_200", "synchronous")),
    ],
)  # fmt: skip
def test_a_missing_factor_names_its_terms(rule: str, inputs: dict[str, object], missing: tuple[str, ...]) -> None:
    got = clinical.evaluate(rule, inputs)
    assert (got.status, got.missing) == ("not_assessable", missing)
    assert "p_1y" not in got.as_dict()
