"""A served bundle: 'mlflow models serve' answers requests with the numbers of the bundle, and betrays no patient."""

from __future__ import annotations

import json
import math
import os
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from golden_bundles import GOLDEN, table_of
from servers import free_port, serving

from radiomics_crlm.cli.app import run
from radiomics_crlm.scoring.bundle import load_bundle

CASE = GOLDEN / "protocol_1" / "xgboost_time_to_event"
# A value that no model, table or program has.
SECRET = 47.118152342


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    """Address of a server of the exported bundle, which must not execute anything, and its log."""
    folder = tmp_path_factory.mktemp("served")
    assert run(["bundle", "export-mlflow", str(CASE / "bundle"), "--out", str(folder / "model")]) == 0
    port = free_port()
    command = [
        sys.executable, "-m", "mlflow", "models", "serve", "-m", str(folder / "model"), "--env-manager", "local",
        "--host", "127.0.0.1", "--port", str(port), "--workers", "1",
    ]  # fmt: skip
    # The server is started by its name.
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
    environment = {**os.environ, "PATH": path, "MLFLOW_ALLOW_MODEL_CODE_EXECUTION": "false"}
    environment |= {
        "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "HOME": str(folder),
    }
    health, log = f"http://127.0.0.1:{port}/ping", folder / "server.log"
    with serving(command, health, log, env=environment, cwd=folder):
        yield f"http://127.0.0.1:{port}/invocations", log


def post(address: str, body: bytes, *, kind: str = "application/json") -> tuple[int, str]:
    request = urllib.request.Request(address, data=body, headers={"Content-Type": kind})  # noqa: S310
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:  # noqa: S310
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as refusal:
        return refusal.code, refusal.read().decode()


def patients() -> tuple[dict[str, list[Any]], dict[str, Any]]:
    """Request by column, and what is expected."""
    expected = json.loads((CASE / "expected.json").read_text(encoding="utf-8"))
    made = load_bundle(CASE / "bundle").content.extraction
    assert made is not None
    rows = len(expected["risk"])
    return expected["inputs"] | {"settings_hash": [made.settings_hash] * rows, "engine": [made.engine] * rows}, expected


def split(cells: dict[str, list[Any]]) -> bytes:
    data = [list(row) for row in zip(*cells.values(), strict=True)]
    return json.dumps({"dataframe_split": {"columns": list(cells), "data": data}}).encode()


def test_answers_are_the_numbers_of_the_bundle(served: tuple[str, Path]) -> None:
    cells, expected = patients()
    status, text = post(served[0], split(cells))
    assert status == 200
    answers = json.loads(text, parse_constant=pytest.fail)["predictions"]
    bundle = load_bundle(CASE / "bundle")
    table = table_of(expected["inputs"], bundle.content.inputs)
    risk, probability = bundle.model.risk(table), bundle.model.probability(table, bundle.content.horizons)
    scored = [row for row, answer in enumerate(answers) if answer["status"] == "scored"]
    assert len(answers) == len(table)
    assert len(scored) >= 8
    for row in scored:
        assert math.isclose(answers[row]["risk"], risk[row], rel_tol=0, abs_tol=1e-12)
        found = [answers[row][f"probability_{month}m"] for month in bundle.content.horizons]
        np.testing.assert_allclose(found, probability[row], rtol=0, atol=1e-12)
        assert answers[row]["bundle_sha256"] == bundle.sha256
    assert answers[1]["code"] == "no_input"
    records = [dict(zip(cells, row, strict=True)) for row in zip(*cells.values(), strict=True)]
    assert post(served[0], json.dumps({"dataframe_records": records}).encode()) == (200, text)


def test_a_bad_cell_costs_its_row_and_its_value_is_not_repeated(served: tuple[str, Path]) -> None:
    cells, _ = patients()
    cells["cea_ng_ml"] = [f"{SECRET} ng", *cells["cea_ng_ml"][1:]]
    status, text = post(served[0], split(cells))
    answers = json.loads(text)["predictions"]
    assert (status, answers[0]["status"], answers[0]["code"]) == (200, "abstained", "wrong_type")
    assert sum(answer["status"] == "scored" for answer in answers) >= 8
    assert str(SECRET) not in text + served[1].read_text()


@pytest.mark.parametrize(
    ("body", "kind", "status"),
    [
        ({"dataframe_records": [{"cea_ng_ml": SECRET}]}, "application/json", 400),
        ({"dataframe_split": {"columns": ["cea_ng_ml"], "data": []}}, "application/json", 400),
        ({"dataframe_split": {"columns": ["cea_ng_ml", "cea_ng_ml"], "data": [[SECRET, 1]]}}, "application/json", 400),
        ({"dataframe_split": {"columns": ["cea_ng_ml"], "data": [[SECRET, SECRET]]}}, "application/json", 400),
        ({"inputs": [[SECRET]]}, "application/json", 400),
        ({"instances": [{"cea_ng_ml": SECRET, "name": "Doe"}]}, "application/json", 400),
        ({"patients": [SECRET]}, "application/json", 400),
        ({"cea_ng_ml": SECRET}, "text/html", 415),
    ],
)
def test_a_bad_request_is_refused_without_a_value(
    served: tuple[str, Path], body: dict[str, Any], kind: str, status: int
) -> None:
    found, text = post(served[0], json.dumps(body).encode(), kind=kind)
    assert found == status
    assert str(SECRET) not in text + served[1].read_text()
    # The server goes on.
    assert post(served[0], split(patients()[0]))[0] == 200
