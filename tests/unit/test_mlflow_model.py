"""The folder that MLflow serves: the bundle as it is, no code, the same bytes each time."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from golden_bundles import GOLDEN

from radiomics_crlm.errors import InputError
from radiomics_crlm.provenance.tracking import Tracker
from radiomics_crlm.scoring.bundle import load_bundle
from radiomics_crlm.scoring.mlflow_model import write_mlflow_model
from radiomics_crlm.scoring.pyfunc import input_columns, output_columns

BUNDLE = GOLDEN / "protocol_1" / "xgboost_aft" / "bundle"


def bytes_of(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def test_a_bundle_and_who_reads_it(tmp_path: Path) -> None:
    digest = write_mlflow_model(BUNDLE, tmp_path / "a" / "model")
    found = bytes_of(tmp_path / "a" / "model")
    inside = {name: data for name, data in found.items() if name.startswith("bundle/")}
    assert {name.removeprefix("bundle/"): data for name, data in inside.items()} == bytes_of(BUNDLE)
    assert set(found) - set(inside) == {"MLmodel", "requirements.txt", "python_env.yaml"}
    assert load_bundle(tmp_path / "a" / "model" / "bundle").sha256 == digest
    written = yaml.safe_load(found["MLmodel"])
    flavour = written["flavors"]["python_function"]
    assert (flavour["loader_module"], flavour["data"]) == ("radiomics_crlm.scoring.pyfunc", "bundle")
    assert "code" not in flavour
    assert written["metadata"]["bundle_sha256"] == digest
    content = load_bundle(BUNDLE).content
    signature = {side: json.loads(written["signature"][side]) for side in ("inputs", "outputs")}
    assert [column["name"] for column in signature["inputs"]] == list(input_columns(content))
    assert [column["name"] for column in signature["outputs"]] == output_columns(content)
    write_mlflow_model(BUNDLE, tmp_path / "b")
    assert bytes_of(tmp_path / "b") == found
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b"]


def test_mlflow_reads_what_was_written(tmp_path: Path) -> None:
    from mlflow.models import Model
    from mlflow.types.schema import AnyType

    write_mlflow_model(BUNDLE, tmp_path / "model")
    read = Model.load(str(tmp_path / "model"))
    inputs = read.get_input_schema()
    assert inputs.input_names() == list(input_columns(load_bundle(BUNDLE).content))
    assert inputs.required_input_names() == []
    assert {type(column.type) for column in inputs.inputs} == {AnyType}
    assert read.metadata["inputs"]["cea_ng_ml"] == "number"


def test_nothing_is_overwritten_and_nothing_is_left_of_a_failure(tmp_path: Path) -> None:
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "notes.txt").write_text("mine")
    (tmp_path / "file").write_text("mine")
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    for name in ("taken", "file", "link"):
        with pytest.raises(InputError, match="the output folder is not empty"):
            write_mlflow_model(BUNDLE, tmp_path / name)
    with pytest.raises(InputError, match="the bundle is missing"):
        write_mlflow_model(tmp_path / "none", tmp_path / "new")
    assert sorted(os.listdir(tmp_path)) == ["file", "link", "taken"]
    (tmp_path / "empty").mkdir()
    write_mlflow_model(BUNDLE, tmp_path / "empty")
    assert (tmp_path / "empty" / "MLmodel").is_file()


def test_an_mlflow_model_is_no_bundle(tmp_path: Path) -> None:
    write_mlflow_model(BUNDLE, tmp_path / "model")
    with pytest.raises(InputError, match="this is an MLflow model, not a bundle.*names as its data"):
        load_bundle(tmp_path / "model")


@pytest.mark.filterwarnings("ignore:.*Any type hint is inferred:UserWarning")  # of MLflow's own, at its import
def test_a_registered_version_is_a_model_that_mlflow_loads(tmp_path: Path) -> None:
    import mlflow.pyfunc
    from mlflow import MlflowClient

    write_mlflow_model(BUNDLE, tmp_path / "model")
    tracker = Tracker(tmp_path, "served")
    run = tracker.start("one")
    version = tracker.register(run, tmp_path / "model", model="golden", tags={})
    source = MlflowClient(tracker.uri, tracker.uri).get_model_version_download_uri("golden", str(version))
    loaded = mlflow.pyfunc.load_model(source)
    expected = json.loads((BUNDLE.parent / "expected.json").read_text(encoding="utf-8"))
    made = load_bundle(BUNDLE).content.extraction
    assert made is not None
    table = pd.DataFrame(expected["inputs"]).assign(settings_hash=made.settings_hash, engine=made.engine)
    answer = loaded.predict(table)
    scored = answer["status"] == "scored"
    assert scored.sum() >= 8
    np.testing.assert_allclose(
        answer["risk"][scored].astype(float), np.array(expected["risk"])[scored], rtol=0, atol=1e-12
    )
