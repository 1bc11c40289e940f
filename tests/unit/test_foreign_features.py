"""Features of another program: joined by key, and refused where they are not what they should be."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from radiomics_crlm.cohort.clinical import read_cohort_folder
from radiomics_crlm.cohort.foreign_features import with_features
from radiomics_crlm.config import ExperimentConfig, parse_config
from radiomics_crlm.errors import ConfigError, InputError
from radiomics_crlm.resources import resource

HEAD = "patient_id,timepoint,modality,sequence,largest__deep_0,weighted__deep_1\n"
SCAN = "preoperative,CT,portal_venous"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "clinical.csv").write_text("patient_id,age_years\nA,60\nB,70\nC,seventy\n", encoding="utf-8")
    return tmp_path


def features(folder: Path, text: str, name: str = "deep.csv") -> str:
    (folder / name).write_text(text, encoding="utf-8")
    return name


def test_rows_join_by_key_and_strangers_are_told(folder: Path) -> None:
    text = HEAD + f"B,{SCAN},-999,\nC,{SCAN},1,2\nZ,{SCAN},1,2\nA,{SCAN},0.5,1e3\n"
    found = with_features(read_cohort_folder(folder), features(folder, text))
    table = found.features_patient
    assert table is not None
    assert table["patient_id"].tolist() == ["B", "A"]
    assert table["largest__deep_0"].tolist() == [-999, 0.5], "-999 may be a true value"
    assert table["weighted__deep_1"].isna().tolist() == [True, False]
    assert [(e.patient_id, e.code) for e in found.exclusions] == [("C", "wrong_type"), ("Z", "unknown_patient")]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (HEAD + f"A,{SCAN},tall,1\n", "wrong cells.*row 2, column largest__deep_0"),
        (HEAD + "A,last week,CT,portal_venous,1,1\n", "wrong cells.*timepoint"),
        (HEAD + f"A,{SCAN},1,1\nA,{SCAN},2,2\n", "two rows of one scan"),
        (HEAD + f"Z,{SCAN},1,1\n", "no row .* is of a patient"),
        ("patient_id,timepoint,modality,sequence\nA,preoperative,CT,portal_venous\n", "has no feature"),
        (HEAD.replace("largest__deep_0", "deep") + f"A,{SCAN},1,1\n", "unknown column"),
        ("patient_id,largest__deep_0\nA,1\n", "lacks required columns"),
    ],
)
def test_a_wrong_table_is_refused(folder: Path, text: str, said: str) -> None:
    name = features(folder, text)
    with pytest.raises(InputError, match=said) as caught:
        with_features(read_cohort_folder(folder), name)
    assert "tall" not in str(caught.value)


def test_the_table_lies_in_the_cohort_folder(folder: Path) -> None:
    (folder / "inner").mkdir()
    (folder / "inner" / "clinical.csv").write_text("patient_id,age_years\nA,60\n", encoding="utf-8")
    features(folder, HEAD + f"A,{SCAN},1,1\n")
    with pytest.raises(InputError, match="must lie in the cohort folder"):
        with_features(read_cohort_folder(folder / "inner"), "../deep.csv")
    with pytest.raises(InputError, match="feature table"):
        with_features(read_cohort_folder(folder), "absent.csv")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"deliver": {"recurrence_24m": "combined/ridge"}}, "combined.*cannot be delivered"),
        ({"deliver": {}, "design": {"seed": 1, "external": {"other": "other"}}}, "external cohorts"),
        ({"deliver": {"recurrence_24m": "clinical/ridge"}}, None),
    ],
)
def test_what_needs_images_is_refused_before_there_are_data(change: dict[str, object], said: str | None) -> None:
    content = yaml.safe_load(resource("experiments/demo.yaml").read_text(encoding="utf-8"))
    content |= {"cohort": {"kind": "folder", "features": "deep.csv"}, **change}
    if said is None:
        parse_config(ExperimentConfig, content, where="here")
        return
    with pytest.raises(ConfigError, match=said):
        parse_config(ExperimentConfig, content, where="here")
