"""What the pipeline tests share: one small study of simulated patients, run once, quick tracking stores, a browser."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import mlflow.store.db.utils
import pytest
from small_experiment import SMALL, write_experiment

from radiomics_crlm.cli.app import run


@pytest.fixture(scope="session", autouse=True)
def fresh_stores(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """MLflow makes a new sqlite store by dozens of migrations, which takes seconds. In this process it does so once;
    later stores begin as a copy of that one. Commands that tests start have stores of their own making.
    """
    made = mlflow.store.db.utils._initialize_tables
    first = tmp_path_factory.mktemp("store") / "mlflow.db"

    def initialize(engine: Any) -> None:
        if engine.dialect.name != "sqlite":
            made(engine)
            return
        known = first.is_file()
        if not known:
            made(engine)
        with closing(engine.raw_connection()) as own, closing(sqlite3.connect(first)) as other:
            source, target = (other, own.driver_connection) if known else (own.driver_connection, other)
            source.backup(target)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(mlflow.store.db.utils, "_initialize_tables", initialize)
        yield


@pytest.fixture(scope="session")
def small_study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a finished small study. Its tests are of one xdist group, so that one process makes it once."""
    root = tmp_path_factory.mktemp("small")
    file = write_experiment(root / "small.yaml", **SMALL)
    assert run(["run", str(file), "--out", str(root / "study"), "--jobs", "1"]) == 4
    return root / "study"


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Chromium, without a window; the test is skipped where it or its driver is absent."""
    sync_api = pytest.importorskip("playwright.sync_api", reason="the Python package playwright is absent")
    chromium = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if chromium is None:
        pytest.skip("chromium is not installed")
    with sync_api.sync_playwright() as playwright:
        running = playwright.chromium.launch(
            executable_path=chromium, args=["--no-sandbox", "--headless", "--disable-gpu", "--disable-dev-shm-usage"]
        )
        yield running
        running.close()
