"""MLflow tracking from finished artefacts: one parent run per experiment, runs below it per model and outer fold,
registered bundles.

The store is a catalogue. It is never the trust anchor: scoring reads the bundle and its own hashes.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from filelock import FileLock, Timeout

from radiomics_crlm.errors import CrlmError, InputError

MODEL_PATH = "model"
"""Where the delivered model lies among the artefacts of a run."""
_DIGEST_LENGTH = 36
_MAX_PARAM = 500
_MAX_TAG = 5000
_SQLITE = "sqlite:///"
# The first use creates all tables of a store, which takes long on a busy machine; a lock ends with its process.
_LOCK_SECONDS = 900


@dataclass(frozen=True)
class DatasetDigest:
    """The data that a run used: a name without a path, and a digest of the rows."""

    name: str
    digest: str
    rows: int
    columns: int


@dataclass(frozen=True)
class Step:
    """One value of a metric that has several, such as one per repeat."""

    metric: str
    value: float
    number: int


class Tracker:
    """Writes runs to one MLflow experiment. Processes that share a sqlite store write to it one after the other.

    Parameters
    ----------
    out
        Folder of the study; holds the sqlite store and the artefacts unless ``uri`` names another store.
    experiment
        Name of the MLflow experiment.
    uri
        Tracking URI, or None for ``sqlite`` in ``out``.

    Raises
    ------
    InputError
        If the store cannot be opened.
    """

    def __init__(self, out: Path, experiment: str, *, uri: str | None = None) -> None:
        # Imported here because it takes seconds, which commands that do not track should not wait for.
        from mlflow import MlflowClient
        from mlflow.exceptions import MlflowException

        out = out.resolve()
        self.uri = uri or f"sqlite:///{out / 'mlflow.db'}"
        location = None if uri else (out / "mlflow-artifacts").as_uri()
        self._error = MlflowException
        try:
            self._lock = _lock_of(self.uri)
            with self._lock:
                self._client = MlflowClient(tracking_uri=self.uri, registry_uri=self.uri)
                found = self._client.get_experiment_by_name(experiment)
                if found is not None and found.lifecycle_stage != "active":
                    raise InputError(
                        "the MLflow experiment was deleted", where=experiment, remedy="restore it, or use another store"
                    )
                self._experiment = (
                    found.experiment_id
                    if found
                    else self._client.create_experiment(experiment, artifact_location=location)
                )
        except (MlflowException, OSError, Timeout) as error:
            raise InputError(
                "the MLflow store cannot be opened", got=type(error).__name__, remedy="check --mlflow-uri"
            ) from None

    def start(self, name: str, *, parent: str | None = None, tags: Mapping[str, str] | None = None) -> str:
        """Open a run and return its id; ``parent`` makes it a child."""
        all_tags = {key: str(text)[:_MAX_TAG] for key, text in (tags or {}).items()}
        if parent is not None:
            all_tags["mlflow.parentRunId"] = parent
        with self._alone():
            return str(self._client.create_run(self._experiment, run_name=name, tags=all_tags).info.run_id)

    def log(
        self,
        run: str,
        *,
        params: Mapping[str, object] | None = None,
        metrics: Mapping[str, float] | None = None,
        steps: Iterable[Step] = (),
        datasets: Iterable[DatasetDigest] = (),
        files: Iterable[Path] = (),
    ) -> None:
        """Add parameters, metrics (non-finite ones are left out), digests of data sets and files to a run."""
        from mlflow.entities import Dataset, DatasetInput, InputTag, Metric, Param

        values = [Step(name, float(value), 0) for name, value in (metrics or {}).items()] + list(steps)
        with self._alone():
            self._client.log_batch(
                run,
                metrics=[Metric(v.metric, v.value, 0, v.number) for v in values if math.isfinite(v.value)],
                params=[Param(k, str(v)[:_MAX_PARAM]) for k, v in (params or {}).items()],
            )
        entities = [
            Dataset(
                name=dataset.name,
                digest=dataset.digest[:_DIGEST_LENGTH],
                source_type="local",
                source="{}",
                profile=f'{{"num_rows": {dataset.rows}, "num_columns": {dataset.columns}}}',
            )
            for dataset in datasets
        ]
        if entities:
            context = [InputTag("mlflow.data.context", "training")]
            with self._alone():
                self._client.log_inputs(run, [DatasetInput(entity, tags=context) for entity in entities])
        for path in files:
            self._client.log_artifact(run, str(path))

    def log_text(self, run: str, name: str, text: str) -> None:
        """Store a text as an artefact of a run."""
        self._client.log_text(run, text, name)

    def log_tables(self, run: str, tables: Mapping[str, pd.DataFrame]) -> None:
        """Store tables as MLflow shows them: ``tables/NAME.json``, and the tag by which the server finds them."""
        for name, table in tables.items():
            text = table.to_json(orient="split", index=False, double_precision=15)
            self._client.log_text(run, text, f"tables/{name}.json")
        listed = [{"path": f"tables/{name}.json", "type": "table"} for name in tables]
        with self._alone():
            self._client.set_tag(run, "mlflow.loggedArtifacts", json.dumps(listed))

    def register(self, run: str, folder: Path, *, model: str, tags: Mapping[str, str]) -> int:
        """Store the folder of an MLflow model under a run (``model``) and register it as the next version of ``model``;
        returns the version.
        """
        self._client.log_artifacts(run, str(folder), artifact_path=MODEL_PATH)
        shown = {key: str(text)[:_MAX_TAG] for key, text in tags.items()}
        with self._alone():
            try:
                self._client.create_registered_model(model)
            except self._error as error:
                if getattr(error, "error_code", "") != "RESOURCE_ALREADY_EXISTS":
                    raise CrlmError("the model cannot be registered", where=model, got=str(error.error_code)) from None
            source = f"{self._client.get_run(run).info.artifact_uri}/{MODEL_PATH}"
            version = self._client.create_model_version(model, source=source, run_id=run, tags=shown)
            return int(version.version)

    def alias(self, model: str, version: int, alias: str) -> None:
        """Point an alias of a registered model at a version; scoring never follows aliases, people do."""
        with self._alone():
            self._client.set_registered_model_alias(model, alias, str(version))

    def finish(self, run: str, *, ok: bool = True) -> None:
        """Close a run."""
        with self._alone():
            self._client.set_terminated(run, status="FINISHED" if ok else "FAILED")

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """While no other process writes to a sqlite store: two that give out one alias at once would trip over it."""
        try:
            self._lock.__enter__()
        except Timeout:
            raise CrlmError(
                "the MLflow store is in use by other processes",
                expected=f"a turn within {_LOCK_SECONDS} s",
                remedy="give the same command again when they are done",
            ) from None
        try:
            yield
        finally:
            self._lock.__exit__(None, None, None)


def _lock_of(uri: str) -> AbstractContextManager[object]:
    """A lock beside a sqlite store; servers and other databases look after themselves."""
    if not uri.startswith(_SQLITE):
        return nullcontext()
    path = Path(uri.removeprefix(_SQLITE))
    path.parent.mkdir(parents=True, exist_ok=True)
    return FileLock(path.with_name(path.name + ".lock"), timeout=_LOCK_SECONDS)
