"""Round trip: what is trained here and sealed is computed by another process, in other surroundings, to 1e-12."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from golden_bundles import NAMES, cells_of, made

import radiomics_crlm
from radiomics_crlm.modelling.frozen import freeze
from radiomics_crlm.modelling.train import pipeline_probability, pipeline_risk
from radiomics_crlm.scoring.bundle import write_bundle

PREDICT = """
import json, locale, sys
from pathlib import Path

package, tables = sys.argv[1:]
sys.path.insert(0, package)
locale.setlocale(locale.LC_ALL, "")
import pandas as pd
from radiomics_crlm.scoring.bundle import load_bundle

KINDS = {"number": "float64", "boolean": "boolean", "category": "str"}
FITTING = {"sklearn", "mlflow", "shap", "radiomics", "xgboost"}
found = {}
# Boosted trees last: their library brings others with it.
request = json.loads(Path(tables).read_text(encoding="utf-8"))
for folder, cells in sorted(request.items(), key=lambda item: (Path(item[0]) / "booster.json").exists()):
    bundle = load_bundle(Path(folder))
    specs = bundle.content.inputs
    table = pd.DataFrame({s.name: pd.array(cells[s.name], dtype=KINDS[s.kind]) for s in specs})
    months = bundle.content.horizons
    found[folder] = {"risk": bundle.model.risk(table).tolist(), "sha256": bundle.sha256}
    found[folder]["probability"] = bundle.model.probability(table, months).tolist()
    if bundle.model.booster is None:
        found["fitting"] = sorted(FITTING & set(sys.modules))
json.dump(found, sys.stdout)
"""
SURROUNDINGS = {
    "threads": {"OMP_NUM_THREADS": "3", "OPENBLAS_NUM_THREADS": "3", "LC_ALL": "C"},
    "other text": {"OMP_NUM_THREADS": "1", "LC_ALL": "C.UTF-8", "TZ": "Pacific/Chatham", "PYTHONHASHSEED": "7"},
}


@pytest.fixture(scope="module")
def sealed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, str]]:
    """Every deliverable model trained and sealed; SHA-256 by folder."""
    folder = tmp_path_factory.mktemp("sealed")
    digests = {name: write_bundle(folder / name, made(name).content, freeze(made(name).pipeline)) for name in NAMES}
    tables = {str(folder / name): cells_of(made(name).table) for name in NAMES}
    (folder / "tables.json").write_text(json.dumps(tables), encoding="utf-8")
    return folder, digests


@pytest.mark.parametrize("where", SURROUNDINGS)
def test_another_process_computes_what_was_trained(
    sealed: tuple[Path, dict[str, str]], tmp_path: Path, where: str
) -> None:
    folder, digests = sealed
    (tmp_path / "home").mkdir()
    package = Path(radiomics_crlm.__file__).parents[1]
    done = subprocess.run(
        [sys.executable, "-I", "-c", PREDICT, str(package), str(folder / "tables.json")],
        cwd=tmp_path / "home", env={**SURROUNDINGS[where], "HOME": str(tmp_path / "home"), "PATH": ""},
        capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    found = json.loads(done.stdout)
    for name in NAMES:
        one, there = made(name), found[str(folder / name)]
        assert there["sha256"] == digests[name]
        risk, probability = pipeline_risk(one.pipeline, one.table), pipeline_probability
        np.testing.assert_allclose(there["risk"], risk, rtol=1e-12, atol=1e-12, err_msg=name)
        expected = probability(one.pipeline, one.table, one.months)
        np.testing.assert_allclose(there["probability"], expected, rtol=0, atol=1e-12, err_msg=name)
    assert found["fitting"] == []
    assert list((tmp_path / "home").iterdir()) == []
