"""One small study of simulated patients, run once and shared by the pipeline tests."""

from __future__ import annotations

from pathlib import Path

import pytest
from small_experiment import SMALL, write_experiment

from radiomics_crlm.cli.app import run


@pytest.fixture(scope="session")
def small_study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a finished small study. Its tests are of one xdist group, so that one process makes it once."""
    root = tmp_path_factory.mktemp("small")
    file = write_experiment(root / "small.yaml", **SMALL)
    assert run(["run", str(file), "--out", str(root / "study"), "--jobs", "2"]) in (0, 4)
    return root / "study"
