"""The table of stable features comes along where the study used it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from full_run_folder import stability_table
from run_folder import experiment

from radiomics_crlm.config import ExperimentConfig
from radiomics_crlm.errors import InputError
from radiomics_crlm.provenance.tables import read_table, write_table
from radiomics_crlm.study.stability_table import write_stability


def _experiment(*named: str) -> ExperimentConfig:
    content = experiment(answer=None)
    body: dict[str, Any] = content["feature_sets"]["radiomics"]
    content["feature_sets"] = {
        f"set{k}": body | {"radiomics": {"robustness": {"table": name}}} for k, name in enumerate(named)
    } or {"plain": body}
    return ExperimentConfig.model_validate(content | {"deliver": {}, "learners": ["ridge"]})


def test_table_beside_the_perturbed_features_is_taken_once(tmp_path: Path) -> None:
    table = stability_table(np.random.default_rng(0))
    saved = write_table(table, tmp_path / "data" / "robust" / "feature_stability.parquet", "feature_stability")
    wanted = _experiment("robust/perturbed_patients.parquet", "robust/perturbed_patients.parquet")
    assert write_stability(wanted, tmp_path / "data", tmp_path / "tables")
    written = read_table(tmp_path / "tables" / "feature_stability.parquet", "feature_stability")
    assert written.equals(read_table(tmp_path / "data" / "robust" / "feature_stability.parquet", "feature_stability"))
    assert len(written) == len(saved)


@pytest.mark.parametrize("named", [(), ("robust/perturbed_patients.parquet",)])
def test_study_without_one_is_none_the_worse(tmp_path: Path, named: tuple[str, ...]) -> None:
    assert not write_stability(_experiment(*named), tmp_path, tmp_path / "tables")
    assert not (tmp_path / "tables").exists()


def test_damaged_table_is_refused(tmp_path: Path) -> None:
    (tmp_path / "feature_stability.parquet").write_bytes(b"PAR1 nothing")
    with pytest.raises(InputError, match="cannot be read as a table"):
        write_stability(_experiment("perturbed_patients.parquet"), tmp_path, tmp_path / "tables")
