"""Masks of any patient of any seed obey the contract of a cohort folder."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from radiomics_crlm.imaging.regions import measure_lesions
from radiomics_crlm.phantom.anatomy import HEPATIC_VEINS, LIVER, PORTAL_VEIN, REMNANT, as_volume
from radiomics_crlm.phantom.clinical_rows import measure
from radiomics_crlm.phantom.cohort import draw_scenes
from radiomics_crlm.phantom.patients import LARGEST_MM, MAX_LESIONS, SMALLEST_MM, draw_plan
from radiomics_crlm.phantom.settings import SimulationConfig

TOUCHING = np.ones((3, 3, 3), dtype=bool)


@settings(max_examples=25, deadline=None, derandomize=True)
@given(seed=st.integers(0, 2**32 - 1), number=st.integers(0, 10_000), unresectable=st.booleans())
def test_scenes(seed: int, number: int, unresectable: bool) -> None:
    config = SimulationConfig(patients=1, seed=seed, unresectable_fraction=float(unresectable))
    plan = draw_plan(config, number)
    first, restaging = draw_scenes(config, plan)
    count = plan.disease.count
    organs, labels = first.organs, first.labels

    assert set(np.unique(organs)) == {0, LIVER, REMNANT, HEPATIC_VEINS, PORTAL_VEIN}
    assert not labels[organs == 0].any(), "a lesion lies outside the liver"
    assert set(np.unique(labels)) == set(range(count + 1))
    assert 1 <= count <= MAX_LESIONS
    sizes = np.bincount(labels.ravel())[1:]
    assert (np.diff(sizes) <= 0).all(), "labels are not sorted by volume"
    assert ndimage.label(labels > 0, TOUCHING)[1] == count, "lesions merge or fall apart"

    table = measure_lesions(as_volume(labels, first.anatomy.grid))
    assert table["longest_axial_mm"].min() > SMALLEST_MM * 0.5
    assert table["longest_axial_mm"].max() < LARGEST_MM * 1.25
    measured = measure(first.anatomy, labels, organs)
    assert abs(measured.sflr_pct - plan.disease.sflr_pct) < 0.1
    assert 700 < measured.liver_ml < 2000

    assert (restaging is None) != unresectable
    if restaging is not None:
        after = set(np.unique(restaging.labels)) - {0}
        assert 1 in after
        assert after <= set(range(1, count + 1))
        assert not restaging.labels[restaging.organs == 0].any()
        assert ndimage.label(restaging.labels > 0, TOUCHING)[1] == len(after)


@settings(max_examples=200, deadline=None, derandomize=True)
@given(seed=st.integers(0, 2**32 - 1), number=st.integers(0, 99_999))
def test_plans_do_not_contradict_themselves(seed: int, number: int) -> None:
    plan = draw_plan(SimulationConfig(seed=seed), number)
    diameters = plan.disease.diameters_mm
    assert list(diameters) == sorted(diameters, reverse=True)
    assert SMALLEST_MM <= diameters[-1] <= diameters[0] <= LARGEST_MM
    assert not (plan.kras_mutant and plan.nras_mutant)
    assert not (plan.ras_mutant and plan.braf_mutant)
    assert plan.chemotherapy or not (plan.targeted_drug or plan.chemo_cycles)
    assert plan.chemotherapy or plan.disease.resectable


@settings(max_examples=20, deadline=None, derandomize=True)
@given(seed=st.integers(0, 2**32 - 1), number=st.integers(0, 50), patients=st.integers(51, 5000))
def test_a_patient_does_not_depend_on_the_size_of_the_cohort(seed: int, number: int, patients: int) -> None:
    small, large = SimulationConfig(seed=seed, patients=51), SimulationConfig(seed=seed, patients=patients)
    assert draw_plan(small, number) == draw_plan(large, number)
