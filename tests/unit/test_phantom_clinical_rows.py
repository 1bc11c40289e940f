"""Charts: the response category against the published rule, and what may be unknown."""

from __future__ import annotations

import numpy as np
import pytest

from radiomics_crlm.phantom.anatomy import anatomy_labels, draw_anatomy
from radiomics_crlm.phantom.clinical_rows import OPTIONAL_CELLS, clinical_row, measure, response_category
from radiomics_crlm.phantom.outcomes import draw_outcome, true_risks
from radiomics_crlm.phantom.patients import draw_plan
from radiomics_crlm.phantom.settings import SimulationConfig


def row(config: SimulationConfig, number: int = 0) -> dict[str, object]:
    """A chart with measurements of a single invented lesion, so that no scan needs to be made."""
    plan = draw_plan(config, number)
    truth = true_risks(config, plan)
    anatomy = draw_anatomy(np.random.default_rng(0), remnant_pct=40, remnant_left=True)
    labels = np.zeros(anatomy.grid.shape, dtype=np.uint8)
    z, y, x = np.argwhere(anatomy.liver).mean(axis=0).astype(int)
    labels[z, y - 3 : y + 4, x - 3 : x + 4] = 1
    measured = measure(anatomy, labels, anatomy_labels(anatomy, labels, sflr_pct=40))
    return clinical_row(config, plan, truth, draw_outcome(config, plan, truth), measured, None)


@pytest.mark.parametrize(
    ("before", "after", "category"),
    [
        (100, 0, "CR"),
        (100, 70, "PR"),
        (100, 70.1, "SD"),
        (100, 119.9, "SD"),
        (100, 120, "PD"),
        (20, 24.5, "SD"),  # 20 % more, but less than 5 mm
        (20, 25, "PD"),
    ],
)
def test_response_follows_recist(before: float, after: float, category: str) -> None:
    assert response_category(before, after) == category


def test_measurements_of_a_known_shape() -> None:
    anatomy = draw_anatomy(np.random.default_rng(0), remnant_pct=40, remnant_left=True)
    labels = np.zeros(anatomy.grid.shape, dtype=np.uint8)
    where = np.argwhere(anatomy.liver & (anatomy.cut < -20))
    z, y, x = where[len(where) // 2]
    labels[z, y, x - 2 : x + 3] = 1
    organs = anatomy_labels(anatomy, labels, sflr_pct=30)
    measured = measure(anatomy, labels, organs)
    step, _, thickness = anatomy.grid.spacing
    assert measured.diameters_mm == {1: pytest.approx(5 * step)}
    assert measured.tumour_ml == pytest.approx(5 * step * step * thickness / 1000)
    assert measured.sflr_pct == pytest.approx(30, abs=0.05)
    assert not measured.bilobar


@pytest.mark.parametrize(("fraction", "unknown"), [(0.0, 0), (0.9, 10)])
def test_unknown_cells_are_optional_baseline_cells_only(fraction: float, unknown: int) -> None:
    full = row(SimulationConfig(patients=1, missing_fraction=0.0))
    blanked = row(SimulationConfig(patients=1, missing_fraction=fraction))
    changed = {name for name in full if full[name] != blanked[name]}
    assert changed <= {name for columns in OPTIONAL_CELLS for name in columns}
    assert len(changed) >= unknown
    assert all(blanked[name] is None for name in changed)


def test_columns_that_say_the_same_are_unknown_together() -> None:
    config = SimulationConfig(patients=40, missing_fraction=0.5)
    for number in range(5):
        cells = row(config, number)
        for columns in OPTIONAL_CELLS:
            assert len({cells[name] is None for name in columns}) == 1
