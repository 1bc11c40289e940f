"""Hostile bundles: each is refused with its own reason, quickly, and nothing in it is ever executed."""

from __future__ import annotations

import contextlib
import copy
import json
import os
import pickle
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from altered_bundles import JUDGING
from golden_bundles import GOLDEN
from hostile_bundles import ATTACKS, HOSTILE, Bomb, edit, manifest, reseal
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scoring_examples import CLINICAL, content, model

from radiomics_crlm.cli.app import run
from radiomics_crlm.errors import CrlmError, InputError
from radiomics_crlm.scoring.bundle import load_bundle, write_bundle
from radiomics_crlm.scoring.pyfunc import ServedBundle, input_columns, made_columns
from radiomics_crlm.scoring.sealed import parse_object

SECONDS = 1.0


@pytest.fixture(scope="session")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sound bundle with trees."""
    folder = tmp_path_factory.mktemp("good") / "bundle"
    write_bundle(folder, content(), model(learner="xgboost"))
    load_bundle(folder)  # what is loaded but once is no part of the time of a refusal
    return folder


@pytest.fixture
def victim(good: Path, tmp_path: Path) -> Path:
    """A copy of the sound bundle to spoil."""
    return Path(shutil.copytree(good, tmp_path / "bundle"))


def refusal(folder: Path) -> str:
    """Words with which a bundle is refused: quickly, without a path or a control character."""
    start = time.process_time()
    with pytest.raises(CrlmError) as refused:
        load_bundle(folder)
    assert time.process_time() - start < SECONDS
    assert refused.value.exit_code == 3
    assert str(folder.parent) not in str(refused.value)
    assert str(refused.value).isprintable()
    return str(refused.value)


@pytest.mark.parametrize("case", HOSTILE)
def test_a_hostile_bundle_is_refused_and_nothing_in_it_runs(victim: Path, tmp_path: Path, case: str) -> None:
    spoil, reason = HOSTILE[case]
    canary = tmp_path / "canary"
    spoil(victim, canary)
    assert re.search(reason, refusal(victim))
    assert not canary.exists()


def test_each_attack_is_refused_with_words_of_its_own(good: Path, tmp_path: Path) -> None:
    assert len(ATTACKS) >= 25
    words: dict[str, str] = {}
    for number, (name, (spoil, _)) in enumerate(ATTACKS.items()):
        folder = Path(shutil.copytree(good, tmp_path / f"{number}" / "bundle"))
        spoil(folder, tmp_path / "canary")
        said = refusal(folder)
        assert said not in words, (name, words[said])
        words[said] = name
    assert not (tmp_path / "canary").exists()


def test_the_command_refuses_in_one_line(good: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "cohort").mkdir()
    (tmp_path / "cohort" / "clinical.csv").write_text("patient_id,cea_ng_ml\nP1,4\n")
    for number, (name, (spoil, _)) in enumerate(HOSTILE.items()):
        folder = Path(shutil.copytree(good, tmp_path / f"{number}" / "bundle"))
        spoil(folder, tmp_path / "canary")
        out = tmp_path / f"{number}" / "out"
        code = run(["score", "--bundle", str(folder), "--cohort", str(tmp_path / "cohort"), "--out", str(out)])
        said = capsys.readouterr()
        assert (code, said.out) == (3, ""), name
        assert said.err.startswith("crlm: error: "), name
        assert said.err.count("\n") == 1, name
        assert "Traceback" not in said.err, name
        assert str(tmp_path) not in said.err, name
        assert not out.exists(), name
    assert not (tmp_path / "canary").exists()


def test_a_process_that_forbids_code_refuses_and_loads_alike(good: Path, tmp_path: Path) -> None:
    """Nothing here ever needed the permission."""
    spoilt = Path(shutil.copytree(good, tmp_path / "bundle"))
    ATTACKS["pickle as model"][0](spoilt, tmp_path / "canary")
    environment = {**os.environ, "MLFLOW_ALLOW_MODEL_CODE_EXECUTION": "false"}
    environment["MLFLOW_ALLOW_PICKLE_DESERIALIZATION"] = "false"
    for folder, code, words in ((good, 0, "SHA-256:"), (spoilt, 3, "got a pickle")):
        command = [sys.executable, "-c", "import sys; from radiomics_crlm.cli import main; sys.exit(main())"]
        done = subprocess.run(
            [*command, "bundle", "check", str(folder)], env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == code, done.stderr
        assert words in done.stdout + done.stderr
    assert not (tmp_path / "canary").exists()


def test_resealing_alone_does_no_harm(victim: Path) -> None:
    """The helpers above spoil nothing by themselves: each refusal is due to its own case."""
    reseal(victim)
    for name in ("bundle.json", "model.json", "booster.json"):
        edit(victim, name, lambda body: body)
    manifest(victim, lambda body: body)
    assert load_bundle(victim).content == content()


def test_the_canary_works(tmp_path: Path) -> None:
    pickle.loads(pickle.dumps(Bomb(tmp_path / "canary")))  # noqa: S301 - the bomb is ours
    assert (tmp_path / "canary").exists()


def test_a_folder_that_cannot_be_read(victim: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "the bundle cannot be read; got File name too long" in refusal(victim.parent / ("x" * 5000))
    assert "the bundle is missing" in refusal(victim / "\0")

    def closed(_: Path) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "scandir", closed)
    assert "the bundle cannot be read; got Permission denied" in refusal(victim)


def test_overflowing_coefficients_are_refused(tmp_path: Path) -> None:
    """Each number is finite, their sum is not."""
    write_bundle(tmp_path / "b", content(), model())
    edit(tmp_path / "b", "model.json", lambda b: b.update(coefficients=[1e308] * 8, mean=[-5.0] * 8))
    assert "does not compute a risk" in refusal(tmp_path / "b")


@pytest.mark.parametrize("case", JUDGING)
def test_what_patients_are_judged_by_is_checked(tmp_path: Path, case: str) -> None:
    change, reason = JUDGING[case]
    folder = Path(shutil.copytree(GOLDEN / "protocol_2" / "ridge_time_to_event" / "bundle", tmp_path / "b"))
    edit(folder, "bundle.json", lambda body: body)
    load_bundle(folder)
    edit(folder, "bundle.json", change)
    assert re.search(reason, refusal(folder))


def test_surplus_trees_are_refused(tmp_path: Path) -> None:
    write_bundle(tmp_path / "b", content(), model())
    trees = model(learner="xgboost").booster
    assert trees is not None
    reseal(tmp_path / "b", booster_json=trees)
    assert "trees and learner do not fit" in refusal(tmp_path / "b")


def test_a_leaking_bundle_is_refused(victim: Path) -> None:
    edit(victim, "bundle.json", lambda b: b["inputs"][0].update(available_at="outcome"))
    assert f"{CLINICAL[0].name} is known only at outcome" in refusal(victim)


ODD = st.sampled_from(
    [None, True, -1, 0, 2, 0.5, 10**17, 1e308, -1e-308, "", "x", [], {}, [[]], {"a": 1}, "../x", "9" * 9]
)
KINDS_OF_BUNDLES = [
    "protocol_1/clinical_alone", "protocol_1/xgboost_binary", "protocol_1/random_forest_binary", "protocol_2/blocks",
    "protocol_2/ridge_time_to_event", "protocol_2/random_forest_time_to_event", "protocol_2/xgboost_aft",
]  # fmt: skip
FUZZ = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@FUZZ
@given(data=st.data())
def test_any_changed_byte_is_noticed(good: Path, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    folder = Path(shutil.copytree(good, tmp_path_factory.mktemp("fuzz") / "b"))
    path = folder / data.draw(st.sampled_from(["bundle.json", "model.json", "booster.json"]))
    content_ = bytearray(path.read_bytes())
    position = data.draw(st.integers(0, len(content_) - 1))
    content_[position] = (content_[position] + data.draw(st.integers(1, 255))) % 256
    path.write_bytes(bytes(content_))
    with pytest.raises(InputError, match=r"content differs from the manifest"):
        load_bundle(folder)
    shutil.rmtree(folder)


def _places(node: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    children = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    return [place for key, child in children for place in [(*path, key), *_places(child, (*path, key))]]


@FUZZ
@given(data=st.data())
def test_any_resealed_change_is_refused_or_still_a_model(
    good: Path, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    """Whatever an attacker puts in place of whatever: a typed refusal or a model that computes, never another error."""
    folder = Path(shutil.copytree(good, tmp_path_factory.mktemp("fuzz") / "b"))
    name = data.draw(st.sampled_from(["bundle.json", "model.json", "booster.json"]))
    body = json.loads((folder / name).read_text())
    changed = copy.deepcopy(body)
    *parents, last = data.draw(st.sampled_from(_places(body)))
    place = changed
    for key in parents:
        place = place[key]
    if data.draw(st.booleans()):
        place[last] = data.draw(ODD)
    else:
        del place[last]
    reseal(folder, **{name.replace(".json", "_json"): json.dumps(changed).encode()})
    with contextlib.suppress(CrlmError):
        load_bundle(folder)
    shutil.rmtree(folder)


@settings(FUZZ, max_examples=100)
@given(data=st.data())
def test_whatever_still_loads_answers(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    """A golden bundle, changed at one place: a typed refusal, or a number or a reason for every row."""
    case = GOLDEN / data.draw(st.sampled_from(KINDS_OF_BUNDLES))
    folder = Path(shutil.copytree(case / "bundle", tmp_path_factory.mktemp("fuzz") / "b"))
    name = data.draw(st.sampled_from(sorted(p.name for p in folder.iterdir() if p.name != "manifest.json")))
    changed = json.loads((folder / name).read_text())
    *parents, last = data.draw(st.sampled_from(_places(changed)))
    place = changed
    for key in parents:
        place = place[key]
    place[last] = data.draw(ODD)
    reseal(folder, **{name.replace(".json", "_json"): json.dumps(changed).encode()})
    with contextlib.suppress(CrlmError):
        served = ServedBundle(load_bundle(folder))
        cells = json.loads((case / "expected.json").read_text())["inputs"]
        rows = len(cells["cea_ng_ml"])
        described = served.bundle.content
        asked = {column: cells.get(column, ["no"] * rows) for column in input_columns(described)}
        for block in described.sources:
            made = described.extraction_of(block.scans)
            settings_hash, engine = made_columns(tuple(b.scans for b in described.sources))[str(block.scans)]
            if made is not None:
                asked |= {settings_hash: [made.settings_hash] * rows, engine: [made.engine] * rows}
        answer = served.predict(pd.DataFrame(asked))
        assert (answer["risk"].notna() == (answer["status"] == "scored")).all()
        json.dumps(answer.to_dict("records"), allow_nan=False)
    shutil.rmtree(folder)


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=200))
def test_any_bytes_are_an_object_or_refused(data: bytes) -> None:
    for text in (data, b"{" + data, b'{"a": ' + data + b"}"):
        with contextlib.suppress(InputError):
            assert isinstance(parse_object(text, what="x"), dict)
