"""Writing and loading bundles: exact, deterministic, atomic, and free of patients."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from altered_bundles import tree, trees
from hostile_bundles import edit
from pydantic import ValidationError
from scoring_examples import CLINICAL, RADIOMICS, content, model, training_table

from radiomics_crlm.config import load_endpoints
from radiomics_crlm.errors import InputError, LeakError
from radiomics_crlm.modelling.design import InputSpec
from radiomics_crlm.scoring import bundle, sealed
from radiomics_crlm.scoring.bundle import BundleContent, InputSummary, describe_training, load_bundle, write_bundle

Change = Callable[[dict[str, Any]], object]
KINDS = [("ridge", None), ("ridge", 24.0), ("xgboost", None), ("xgboost", 24.0)]


def bytes_of(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.parametrize(("learner", "horizon"), KINDS)
def test_a_loaded_bundle_computes_the_same_bits(tmp_path: Path, learner: str, horizon: float | None) -> None:
    made = model(learner=learner, horizon=horizon)
    described = content(horizon=horizon)
    digest = write_bundle(tmp_path / "b", described, made)
    loaded = load_bundle(tmp_path / "b")
    table = training_table(CLINICAL, rows=300, seed=9)
    assert loaded.sha256 == digest
    assert loaded.content == described
    assert loaded.model.risk(table).tobytes() == made.risk(table).tobytes()
    months = described.horizons
    assert loaded.model.probability(table, months).tobytes() == made.probability(table, months).tobytes()


def test_radiomics_bundle_round_trip(tmp_path: Path) -> None:
    described = content(CLINICAL + RADIOMICS)
    write_bundle(tmp_path / "b", described, model(CLINICAL + RADIOMICS))
    assert load_bundle(tmp_path / "b").content == described


def test_same_model_same_bytes_and_rewriting_is_harmless(tmp_path: Path) -> None:
    first = write_bundle(tmp_path / "one", content(), model(learner="xgboost"))
    assert write_bundle(tmp_path / "two", content(), model(learner="xgboost")) == first
    assert bytes_of(tmp_path / "one") == bytes_of(tmp_path / "two")
    assert set(bytes_of(tmp_path / "one")) == {"bundle.json", "model.json", "booster.json", "manifest.json"}
    assert write_bundle(tmp_path / "one", content(), model(learner="xgboost")) == first
    assert sorted(p.name for p in tmp_path.iterdir()) == ["one", "two"]


def test_the_hash_covers_description_and_model(tmp_path: Path) -> None:
    digests = {
        write_bundle(tmp_path / "a", content(), model()),
        write_bundle(tmp_path / "b", content(title="Another"), model()),
        write_bundle(tmp_path / "c", content(), model(learner="xgboost")),
    }
    assert len(digests) == 3


def test_another_bundle_is_not_overwritten(tmp_path: Path) -> None:
    write_bundle(tmp_path / "b", content(), model())
    before = bytes_of(tmp_path / "b")
    with pytest.raises(InputError, match="already holds something else"):
        write_bundle(tmp_path / "b", content(title="Another"), model())
    assert bytes_of(tmp_path / "b") == before
    (tmp_path / "b" / "notes.txt").write_text("mine")
    with pytest.raises(InputError, match="already holds something else"):
        write_bundle(tmp_path / "b", content(), model())
    (tmp_path / "file").write_text("mine")
    with pytest.raises(InputError, match="already holds something else"):
        write_bundle(tmp_path / "file", content(), model())
    (tmp_path / "link").symlink_to(tmp_path / "b")
    with pytest.raises(InputError, match="already holds something else"):
        write_bundle(tmp_path / "link", content(), model())


def test_an_empty_folder_may_be_filled(tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    assert load_bundle_after_write(tmp_path / "b")


def load_bundle_after_write(folder: Path) -> bool:
    return write_bundle(folder, content(), model()) == load_bundle(folder).sha256


def test_a_failed_write_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = sealed.write_bytes

    def full_disk(path: Path, data: bytes) -> None:
        if path.name == "model.json":
            raise OSError(28, "No space left on device")
        real(path, data)

    monkeypatch.setattr(sealed, "write_bytes", full_disk)
    with pytest.raises(OSError, match="No space left"):
        write_bundle(tmp_path / "b", content(), model())
    assert list(tmp_path.iterdir()) == []


def test_losing_a_race_for_the_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = Path.rename

    def too_late(self: Path, target: Path) -> Path:
        monkeypatch.setattr(Path, "rename", real)
        write_bundle(tmp_path / "b", content(), model())
        return real(self, target)

    monkeypatch.setattr(Path, "rename", too_late)
    assert write_bundle(tmp_path / "b", content(), model()) == load_bundle(tmp_path / "b").sha256
    assert [p.name for p in tmp_path.iterdir()] == ["b"]


def test_no_patient_is_in_a_bundle(tmp_path: Path) -> None:
    table = training_table(CLINICAL)
    write_bundle(tmp_path / "b", content(), model())
    text = b"".join(bytes_of(tmp_path / "b").values()).decode()
    assert not [key for key in table.index if key in text]
    described = json.loads((tmp_path / "b" / "bundle.json").read_text())["training"]
    assert set(described) == {"patients", "events", "inputs"}
    for name in ("cea_ng_ml", "largest_met_mm", "n_liver_mets"):
        known = table[name].dropna().sort_values().to_numpy()
        summary = described["inputs"][name]
        # At least five patients lie at or beyond each end, so neither end is the extreme of one.
        assert (known <= summary["low"]).sum() >= 5
        assert (known >= summary["high"]).sum() >= 5


def test_training_summaries() -> None:
    rows = 1001
    table = pd.DataFrame(
        {
            "cea_ng_ml": np.arange(rows, dtype=float),
            "largest_met_mm": [1.0] * 19 + [np.nan] * (rows - 19),
            "n_liver_mets": [np.nan] * rows,
            "bilobar": pd.array([True] * 250 + [False] * 750 + [None], dtype="boolean"),
            "primary_site": pd.array(["rectum"] * 5 + [np.nan] * (rows - 5), dtype="str"),
        }
    )
    found = describe_training(table, CLINICAL, events=7)
    assert (found.patients, found.events) == (rows, 7)
    assert found.inputs["cea_ng_ml"] == InputSummary(missing=0.0, low=10.0, high=990.0, tail=0.01)
    assert found.inputs["largest_met_mm"].low is None  # too few patients for a range that betrays none of them
    assert found.inputs["n_liver_mets"] == InputSummary(missing=1.0)
    assert found.inputs["bilobar"].share_true == 0.25
    assert found.inputs["primary_site"].seen == ("rectum",)


def late() -> tuple[InputSpec, ...]:
    return (*CLINICAL, InputSpec("viable_tumour_pct", "clinical", "number", (), False, "postoperative"))


def test_a_leaking_model_is_never_bundled(tmp_path: Path) -> None:
    inputs = late()
    described = content(training=describe_training(training_table(inputs), inputs, events=60), inputs=inputs)
    with pytest.raises(LeakError, match="viable_tumour_pct is known only at postoperative"):
        write_bundle(tmp_path / "b", described, model())
    assert list(tmp_path.iterdir()) == []


def test_model_and_description_must_fit(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="reads other inputs than it declares"):
        write_bundle(tmp_path / "b", content(), model(CLINICAL[:3]))
    with pytest.raises(InputError, match="another horizon than its endpoint"):
        write_bundle(tmp_path / "b", content(), model(horizon=24.0))
    with pytest.raises(InputError, match="does not compute a risk and probabilities"):
        write_bundle(tmp_path / "b", content(horizon=24.0, horizons=(12, 24)), model(horizon=24.0))
    with pytest.raises(InputError, match="control characters"):
        write_bundle(tmp_path / "b", content(title="red \x1b[31m"), model())


def test_a_model_too_large_to_be_read_again_is_not_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(bundle._CAPS, bundle.MODEL, 200)
    with pytest.raises(InputError, match="model.json: a part of the bundle is too large; expected 200 bytes"):
        write_bundle(tmp_path / "b", content(), model())
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda b: trees(b).update(trees={}), "trees is missing"),
        (lambda b: tree(b)["tree_param"].update(num_feature="99"), "tree 0: .*other inputs or outputs"),
        (lambda b: tree(b)["tree_param"].update(num_deleted="1"), "tree 0: .*nodes hang outside of the tree"),
        (lambda b: b["learner"]["objective"].update(name="survival:aft"), "aft_loss_param is missing"),
        # Known to the format, but refused by the library of the trees: a probability of 2.
        (lambda b: b["learner"]["learner_model_param"].update(base_score="[2E0]"), "its model does not compute a risk"),
    ],
)
def test_trees_that_the_program_does_not_write_are_refused(tmp_path: Path, change: Change, message: str) -> None:
    write_bundle(tmp_path / "b", content(horizon=24.0), model(learner="xgboost", horizon=24.0))
    load_bundle(tmp_path / "b")
    edit(tmp_path / "b", "booster.json", change)
    with pytest.raises(InputError, match=message):
        load_bundle(tmp_path / "b")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"horizons": (24, 12)}, "horizons must ascend"),
        ({"horizons": (0,)}, "greater than or equal to 1"),
        ({"speaks_at": "baseline"}, "another time than its endpoint"),
        ({"inputs": CLINICAL[:2]}, "training summary"),
        ({"inputs": (*CLINICAL, CLINICAL[0])}, "unique"),
        ({"model": "clinical"}, "should match pattern"),
        ({"name": "../up"}, "should match pattern"),
        ({"surprise": 1}, "not permitted"),
    ],
)
def test_descriptions_that_contradict_themselves(changes: dict[str, object], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        BundleContent.model_validate(content().model_dump() | changes)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        (InputSpec("os_months2", "clinical", "number", (), False, "baseline"), "no predictor of the vocabulary"),
        (InputSpec("patient_id", "clinical", "category", (), False, "baseline"), "no predictor of the vocabulary"),
        (InputSpec("cea_ng_ml", "clinical", "boolean", (), False, "baseline"), "another kind"),
        (InputSpec("sex", "clinical", "category", ("male", "other"), False, "baseline"), "other categories"),
        (InputSpec("../x__y", "radiomics", "number", (), False, "baseline"), "not a numeric feature"),
        (InputSpec("largest__x", "radiomics", "boolean", (), False, "baseline"), "not a numeric feature"),
    ],
)
def test_inputs_that_the_program_could_not_have_planned(spec: InputSpec, message: str) -> None:
    described = content(CLINICAL + RADIOMICS).model_dump()
    described["training"]["inputs"] = {spec.name: {"missing": 0}}
    with pytest.raises(ValidationError, match=message):
        BundleContent.model_validate(described | {"inputs": (spec,)})


def test_radiomics_needs_its_extraction() -> None:
    with pytest.raises(ValidationError, match="need scans and extraction settings"):
        content(CLINICAL + RADIOMICS, extraction=None)


def test_every_shipped_endpoint_can_be_described() -> None:
    for name, definition in load_endpoints().items():
        described = content(endpoint=name, definition=definition, speaks_at=definition.prediction_time)
        assert BundleContent.model_validate_json(described.model_dump_json(), strict=True) == described
