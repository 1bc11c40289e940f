"""Bundles of every protocol, written once and never again: they load, and say what they said then."""

from __future__ import annotations

import json
import time
from pathlib import Path

import numpy as np
import pytest
from golden_bundles import GOLDEN, JUDGED, NAMES, judged, table_of

from radiomics_crlm.cli.app import run
from radiomics_crlm.scoring.bundle import load_bundle, write_bundle

CASES = sorted(folder.relative_to(GOLDEN) for folder in GOLDEN.glob("protocol_*/*"))


@pytest.mark.parametrize("case", CASES, ids=str)
def test_a_golden_bundle_says_what_it_said(case: Path, tmp_path: Path) -> None:
    start = time.process_time()
    bundle = load_bundle(GOLDEN / case / "bundle")
    assert time.process_time() - start < 0.5
    expected = json.loads((GOLDEN / case / "expected.json").read_text(encoding="utf-8"))
    table = table_of(expected["inputs"], bundle.content.inputs)
    assert f"protocol_{bundle.content.protocol}" == case.parent.name
    np.testing.assert_allclose(bundle.model.risk(table), expected["risk"], rtol=1e-12, atol=1e-12)
    found = bundle.model.probability(table, expected["months"])
    np.testing.assert_allclose(found, expected["probability"], rtol=0, atol=1e-12)
    for name, cells in expected.get("judged", {}).items():
        told = judged(bundle.content, bundle.model, table)[name]
        if name == "out_of_distribution" or name.startswith("outcome_"):
            assert told == cells
        else:
            np.testing.assert_allclose(np.array(told, float), np.array(cells, float), rtol=0, atol=1e-12)
    # Written again it is the same bundle: nothing was lost or reinterpreted in reading it.
    assert write_bundle(tmp_path / "again", bundle.content, bundle.model) == bundle.sha256


def test_every_deliverable_model_has_one_and_all_are_small() -> None:
    found = {(case.parent.name, case.name) for case in CASES}
    assert found == {("protocol_1", name) for name in NAMES} | {("protocol_2", name) for name in JUDGED}
    sizes = {case: sum(p.stat().st_size for p in (GOLDEN / case).rglob("*.json")) for case in CASES}
    assert max(sizes.values()) < 100_000
    assert sum(sizes.values()) < 1_000_000


def test_the_numbers_are_worth_guarding() -> None:
    """Patients differ, one of them is unknown altogether, and probabilities are some way from 0 and 1."""
    for case in CASES:
        expected = json.loads((GOLDEN / case / "expected.json").read_text(encoding="utf-8"))
        assert len(set(expected["risk"])) > 4
        assert all(cells[1] is None for cells in expected["inputs"].values())
        assert 0.05 < np.median(expected["probability"]) < 0.95
        if case.parent.name == "protocol_2":
            assert {True, False} == set(expected["judged"]["out_of_distribution"])
            sets = [cells for name, cells in expected["judged"].items() if name.startswith("outcome_")]
            assert all(len(set(cells)) > 1 for cells in sets)


def test_images_are_not_extracted_with_settings_that_are_none(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The golden bundles were trained on simulated features, so their settings extract nothing."""
    (tmp_path / "clinical.csv").write_text("patient_id,cea_ng_ml\nP1,4\n")
    scan = "P1,preoperative,CT,portal_venous,a.nii.gz,b.nii.gz,lesion=*"
    (tmp_path / "imaging.csv").write_text(f"patient_id,timepoint,modality,sequence,image,mask,mask_roles\n{scan}\n")
    bundle = GOLDEN / "protocol_1" / "ridge_time_to_event" / "bundle"
    command = ["score", "--bundle", str(bundle), "--cohort", str(tmp_path), "--out", str(tmp_path / "out")]
    assert run(command) == 3
    assert "bundle.json: the extraction settings of the bundle are not valid; got modality" in capsys.readouterr().err
