"""The self-test passes on a sound engine and notices a wrong one."""

from __future__ import annotations

import numpy as np
import pytest

from radiomics_crlm.features import selftest
from radiomics_crlm.features.selftest import Check, engine_info, phantom_selftest


def test_phantom_agrees_with_hand_derived_values() -> None:
    checks = phantom_selftest()
    assert len(checks) > 20
    assert [c for c in checks if not c.ok] == []


def test_a_wrong_engine_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    sound = selftest.extract_scan

    def wrong(*args: object, **options: object) -> object:
        table = sound(*args, **options)
        return table.assign(lesion__original_glcm_Contrast=table["lesion__original_glcm_Contrast"] * (1 + 1e-9))

    monkeypatch.setattr(selftest, "extract_scan", wrong)
    assert [c.name for c in phantom_selftest() if not c.ok] == ["two levels: glcm_Contrast"]


def test_nan_never_passes() -> None:
    assert not Check("x", 1.0, np.nan, 10.0).ok
    assert Check("x", 1.0, 1.1, 0.2).ok


def test_engine_info_names_versions_and_build() -> None:
    info = engine_info()
    assert info["engine"].startswith("pyradiomics")
    assert info["c_extensions"] == "compiled"
    assert info["numpy"] == np.__version__
    assert {"cflags", "scipy", "SimpleITK", "PyWavelets"} <= set(info)
