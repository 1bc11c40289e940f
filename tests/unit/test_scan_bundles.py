"""Bundles of models on several scans: written, read, and given new patients, who may lack a scan."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from pydantic import ValidationError
from scan_tables import MR, TEXTURES, charts, features
from scoring_examples import CLINICAL, RADIOMICS, content, model
from simulated_tables import draw_outcome
from sklearn.pipeline import Pipeline

from radiomics_crlm.config import FeatureSetConfig, load_endpoints, parse_config
from radiomics_crlm.errors import InputError, LeakError
from radiomics_crlm.modelling.columns import ColumnSpec
from radiomics_crlm.modelling.design import Predictors, build_predictors
from radiomics_crlm.modelling.frozen import freeze
from radiomics_crlm.modelling.recipe import Recipe
from radiomics_crlm.modelling.train import fit_final, pipeline_risk
from radiomics_crlm.provenance.tables import read_table
from radiomics_crlm.scoring.batch import score_cohort
from radiomics_crlm.scoring.bundle import (
    Bundle,
    BundleContent,
    Extraction,
    describe_training,
    load_bundle,
    write_bundle,
)

N = 60
ENDPOINT = load_endpoints()["conversion_restaging"]
MADE = {"CT/portal_venous": "ct-settings", "MR/hbp": "mr-settings"}
ON_CT: dict[str, Any] = {"columns": ["largest__*", "burden__*"], "timepoints": ["restaging", "delta"]}
ON_MR: dict[str, Any] = {"modality": "MR", "sequence": "hbp", "columns": ["largest__*"]}


def table() -> pd.DataFrame:
    found = features(N, without={MR: 20})
    kind = found["modality"] + "/" + found["sequence"]
    return found.assign(settings_hash=kind.map(MADE), engine="e 1", flags="")


def raw(n: int = N) -> pd.DataFrame:
    return charts(n).round(3).astype(str).assign(initially_resectable="no")


def trained(*selections: dict[str, Any]) -> tuple[Predictors, Pipeline]:
    wanted = {"title": "both", "columns": ["cea_ng_ml"], "radiomics": list(selections)}
    chosen = parse_config(FeatureSetConfig, wanted, where="test")
    clinical = raw().assign(cea_ng_ml=lambda t: t["cea_ng_ml"].astype(float))
    request: dict[str, Any] = {"features_patient": table(), "available_at": {}, "speaks_at": "restaging"}
    found = build_predictors(chosen, clinical=clinical, **request)
    names = found.block_names()
    columns = tuple(
        ColumnSpec(s.name, s.kind, s.categories, s.log, block=s.source, scan=names.get(s.name, ""))
        for s in found.inputs
    )
    outcome = draw_outcome(np.nan_to_num(found.table["MR.hbp:" + TEXTURES[0]].to_numpy()), 1, competing=False)
    outcome["months"] += 12.0 * (outcome["event"] == 0)
    recipe = Recipe("both", columns, "ridge", "binary", select_k=6)
    return found, fit_final(found.table, outcome, recipe, endpoint="e", horizon=12.0, inner_folds=3, seed=0)


def described(found: Predictors) -> BundleContent:
    made = {kind: Extraction(profile="p", settings={}, settings_hash=s, engine="e 1") for kind, s in MADE.items()}
    return BundleContent(
        name="example", title="An example", endpoint="conversion_restaging", definition=ENDPOINT, model="both/ridge",
        speaks_at="restaging", inputs=found.inputs, blocks=found.blocks, extractions=made,
        training=describe_training(found.table, found.inputs, events=30), horizons=(12,), versions={},
    )  # fmt: skip


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> tuple[Bundle, Predictors, Pipeline]:
    """A bundle on CT, which is required, at restaging and its change, and on MR, which is imputed."""
    found, pipeline = trained({**ON_CT, "missing": "exclude"}, ON_MR)
    folder = tmp_path_factory.mktemp("both") / "bundle"
    write_bundle(folder, described(found), freeze(pipeline))
    return load_bundle(folder), found, pipeline


def scored(bundle: Bundle, images: pd.DataFrame, out: Path, n: int = N) -> pd.DataFrame:
    score_cohort(bundle, raw(n), images, out)
    return read_table(out / "scores.parquet", "scores").set_index("patient_id")


def test_patients_get_what_the_pipeline_says(both: tuple[Bundle, Predictors, Pipeline], tmp_path: Path) -> None:
    bundle, found, pipeline = both
    assert bundle.content == described(found)
    scores = scored(bundle, table(), tmp_path)
    assert (scores["status"] == "scored").all()
    np.testing.assert_allclose(scores["risk"], pipeline_risk(pipeline, found.table), atol=1e-9)
    assert scores.loc["P059", "flags"].split(";")[0] == f"missing:{len(TEXTURES)}"
    assert "missing" not in str(scores.loc["P000", "flags"])
    alone = scored(bundle, table()[lambda t: t["patient_id"] == "P000"], tmp_path / "alone", n=1)
    assert alone.loc["P000", "risk"] == scores.loc["P000", "risk"]


@pytest.mark.parametrize(
    ("change", "code", "words"),
    [
        ({"modality": "CT", "timepoint": "baseline", "drop": True}, "no_scan", "features at baseline and restaging"),
        ({"modality": "CT", "timepoint": "restaging", "drop": True}, "no_scan", "with features at restaging"),
        ({"modality": "CT", "timepoint": "baseline", "settings_hash": "mr-settings"}, "other_settings", "settings"),
        ({"modality": "MR", "timepoint": "restaging", "settings_hash": "ct-settings"}, "other_settings", "settings"),
        ({"modality": "MR", "timepoint": "restaging", "engine": "e 2"}, "other_engine", "another engine"),
        ({"modality": "MR", "timepoint": "restaging", "twice": True}, "ambiguous_scan", "several MR/hbp scans"),
        ({"modality": "CT", "timepoint": "restaging", **dict.fromkeys(TEXTURES, np.nan)}, "no_features", "no feature"),
        ({"modality": "MR", "timepoint": "baseline", "settings_hash": "old"}, None, ""),
        ({"modality": "MR", "timepoint": "restaging", **dict.fromkeys(TEXTURES, np.nan)}, None, ""),
    ],
)  # fmt: skip
def test_scans_that_cannot_be_used(
    both: tuple[Bundle, Predictors, Pipeline], tmp_path: Path, change: dict[str, Any], code: str | None, words: str
) -> None:
    images, change = table(), dict(change)
    where = (images["patient_id"] == "P001") & (images["modality"] == change.pop("modality"))
    where &= images["timepoint"] == change.pop("timepoint")
    if change.pop("drop", False):
        images = images[~where]
    if change.pop("twice", False):
        images = pd.concat([images, images[where]], ignore_index=True)
        where = pd.Series(False, index=images.index)
    for name, value in change.items():
        images.loc[where, name] = value
    scores = scored(both[0], images, tmp_path)
    if code is None:
        assert scores.loc["P001", "status"] == "scored"
    else:
        assert scores.loc["P001", "code"] == code
        assert words in scores.loc["P001", "reason"]
    assert (scores.drop(index="P001")["status"] == "scored").all()


def test_nobody_is_scored_without_any_scan(tmp_path: Path) -> None:
    """Both scans may be missing, but not both at once."""
    found, pipeline = trained({"columns": ["largest__*"]}, ON_MR)
    bundle = Bundle(described(found), freeze(pipeline), "0" * 64)
    images = table()
    images = images[~((images["modality"] == "CT") & images["patient_id"].isin(["P001", "P059"]))]
    scores = scored(bundle, images, tmp_path)
    assert scores["code"].dropna().to_dict() == {"P059": "no_scan"}
    assert scores.loc["P059", "reason"] == "none of the scans CT/portal_venous, MR/hbp with features"
    score_cohort(bundle, raw(), None, tmp_path / "none")
    assert (read_table(tmp_path / "none" / "scores.parquet", "scores")["code"] == "no_scan").all()


def test_flags_of_all_scans_are_handed_on(both: tuple[Bundle, Predictors, Pipeline], tmp_path: Path) -> None:
    images = table()
    images.loc[(images["modality"] == "CT") & (images["timepoint"] == "restaging"), "flags"] = "largest_failed"
    images.loc[(images["modality"] == "MR") & (images["timepoint"] == "restaging"), "flags"] = (
        "largest_failed;nan_ignored=2"
    )
    flags = scored(both[0], images, tmp_path)["flags"]
    assert flags["P000"].endswith("scan:largest_failed;scan:nan_ignored=2")
    assert flags["P059"].endswith("scan:largest_failed")


def test_bundles_of_one_scan_are_written_as_they_were(tmp_path: Path) -> None:
    """Not a key more than before there were several scans, hence the same bytes."""
    inside = content(CLINICAL + RADIOMICS)
    write_bundle(tmp_path / "bundle", inside, model(CLINICAL + RADIOMICS))
    written = json.loads((tmp_path / "bundle" / "bundle.json").read_bytes())
    assert set(written) == set(BundleContent.model_fields) - {
        "blocks", "extractions", "uncertainty", "novelty", "shift"
    }  # fmt: skip
    assert written["scans"] == {"modality": "CT", "sequence": "portal_venous"}
    assert [block.plain for block in inside.sources] == [True]
    assert load_bundle(tmp_path / "bundle").content == inside


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"extractions": {}}, "need scans and extraction settings"),
        ({"scans": {"modality": "CT", "sequence": "portal_venous"}}, "the scans are described twice"),
        ({"blocks": ()}, "need scans and extraction settings"),
        ({"prefix": "MR.hbp:"}, "the inputs of the scans cannot be told apart"),
        ({"prefix": "../:"}, "the inputs of the scans cannot be told apart"),
        ({"prefix": "other:"}, "is not a numeric feature column"),
        ({"moment": "tomorrow"}, "'baseline', 'restaging'"),
        ({"moment": "baseline", "change": "absolute"}, "measured at another time point"),
        ({"surprise": 1}, "surprise"),
    ],
)  # fmt: skip
def test_descriptions_that_contradict_themselves(
    both: tuple[Bundle, Predictors, Pipeline], changes: dict[str, Any], message: str
) -> None:
    body = both[0].content.model_dump()
    if set(changes) & {"prefix", "moment", "change", "surprise"}:
        body["blocks"] = [{**body["blocks"][0], **changes}, *body["blocks"][1:]]
    else:
        body |= changes
    with pytest.raises(ValidationError, match=message):
        BundleContent.model_validate(body)


def test_a_bundle_never_asks_for_a_later_scan(both: tuple[Bundle, Predictors, Pipeline], tmp_path: Path) -> None:
    bundle, found, pipeline = both
    early = bundle.content.model_copy(
        update={
            "speaks_at": "baseline",
            "definition": ENDPOINT.model_copy(update={"prediction_time": "baseline"}),
            "inputs": tuple(type(s)(s.name, s.source, s.kind, s.categories, s.log, "baseline") for s in found.inputs),
        }
    )
    with pytest.raises(LeakError, match="CT/portal_venous at restaging is known only at restaging"):
        write_bundle(tmp_path / "b", early, freeze(pipeline))
    with pytest.raises(InputError, match="reads other inputs"):
        write_bundle(tmp_path / "b", bundle.content.model_copy(update={"inputs": CLINICAL}), freeze(pipeline))
