"""Processes that share a sqlite store write to it one after the other."""

from __future__ import annotations

from pathlib import Path

import pytest
from filelock import FileLock, Timeout

from radiomics_crlm.errors import CrlmError
from radiomics_crlm.provenance import tracking


class Client:
    """Stands for MLflow's; every write is to find the store locked for others."""

    def __init__(self, lock: Path) -> None:
        self._lock, self.calls = lock, []

    def __getattr__(self, name: str):
        def write(*_: object, **__: object) -> None:
            self.calls.append(name)
            with pytest.raises(Timeout):
                FileLock(self._lock).acquire(timeout=0)

        return write


@pytest.fixture
def tracker(tmp_path: Path) -> tracking.Tracker:
    made = object.__new__(tracking.Tracker)
    made._client = Client(tmp_path / "mlflow.db.lock")
    made._lock = tracking._lock_of(f"sqlite:///{tmp_path / 'mlflow.db'}")
    return made


def test_each_write_is_done_alone(tracker: tracking.Tracker) -> None:
    tracker.alias("model", 1, "accepted")
    tracker.log("run", metrics={"auc": 0.5})
    tracker.finish("run")
    assert tracker._client.calls == ["set_registered_model_alias", "log_batch", "set_terminated"]


def test_a_store_that_others_keep_is_told(
    tracker: tracking.Tracker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tracking, "_LOCK_SECONDS", 0)
    tracker._lock = tracking._lock_of(f"sqlite:///{tmp_path / 'mlflow.db'}")
    with (
        FileLock(tmp_path / "mlflow.db.lock"),
        pytest.raises(CrlmError, match="store is in use by other processes; expected a turn within 0 s"),
    ):
        tracker.finish("run")
    assert tracker._client.calls == []


def test_servers_look_after_themselves() -> None:
    with tracking._lock_of("http://127.0.0.1:1"):
        pass
