"""The share of covered predictions is a share, whatever the weights."""

from __future__ import annotations

import numpy as np

from radiomics_crlm.modelling.conformal import Threshold


def test_a_share_of_all_is_one_and_never_more() -> None:
    generator = np.random.default_rng(0)
    above = 0
    for patients in range(1, 200):
        weight = generator.exponential(size=patients)
        found = Threshold(0.5, patients, np.ones((patients, 3), dtype=bool), weight)
        above += weight @ np.ones(patients) / weight.sum() > 1
        assert found.coverage() <= 1
        np.testing.assert_allclose(found.coverage(), 1)
    assert above, "the case that rounding makes was among them"
