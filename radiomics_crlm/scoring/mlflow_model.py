"""A bundle as a folder that MLflow serves: the sealed bundle, and beside it which module reads it.

There is neither a pickle nor code in the folder. MLflow itself is not needed to write it, and the same bundle gives the
same bytes.
"""

from __future__ import annotations

import json
import platform
import shutil
from importlib import metadata
from pathlib import Path
from typing import Any

import yaml

import radiomics_crlm
from radiomics_crlm.errors import InputError
from radiomics_crlm.provenance.files import write_text
from radiomics_crlm.provenance.unfinished import unfinished
from radiomics_crlm.scoring.bundle import BundleContent, load_bundle, read_sealed
from radiomics_crlm.scoring.pyfunc import input_columns, output_columns
from radiomics_crlm.scoring.sealed import seal

LOADER = "radiomics_crlm.scoring.pyfunc"
DATA = "bundle"
"""Where the bundle lies in the folder."""


def write_mlflow_model(bundle_folder: Path, out: Path) -> str:
    """Write an MLflow model with the flavour ``python_function`` around a bundle, whole or not at all.

    Parameters
    ----------
    bundle_folder
        The bundle, which is checked as before scoring and copied as it is.
    out
        New or empty folder.

    Returns
    -------
    SHA-256 of the bundle.

    Raises
    ------
    InputError, LeakError
        If the bundle is refused, or there is something at ``out``.
    """
    content = load_bundle(bundle_folder).content
    if out.is_symlink() or out.is_file() or (out.is_dir() and any(out.iterdir())):
        raise InputError("the output folder is not empty", where=out.name, remedy="choose a new folder")
    out.parent.mkdir(parents=True, exist_ok=True)
    temporary = unfinished(out)
    try:
        found = read_sealed(bundle_folder)
        digest = seal(temporary / DATA, found.files, protocol=found.protocol)
        requirements = [f"{name}=={metadata.version(name)}" for name in ("mlflow", "radiomics-crlm")]
        write_text(temporary / "requirements.txt", "\n".join(requirements) + "\n")
        write_text(temporary / "python_env.yaml", _yaml(_environment()))
        write_text(temporary / "MLmodel", _yaml(_model(content, digest)))
        temporary.replace(out)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return digest


def _yaml(content: dict[str, Any]) -> str:
    return str(yaml.safe_dump(content, sort_keys=True, allow_unicode=True))


def _environment() -> dict[str, Any]:
    return {
        "python": platform.python_version(),
        "build_dependencies": ["pip"],
        "dependencies": ["-r requirements.txt"],
    }


def _model(content: BundleContent, digest: str) -> dict[str, Any]:
    """``MLmodel``. Its signature leaves the checks of the cells to the bundle: where MLflow checks them, one bad cell
    costs all rows, and the refusal repeats what was sent."""
    inputs = [{"type": "any", "name": name, "required": False} for name in input_columns(content)]
    outputs = [{"type": "any", "name": name, "required": False} for name in output_columns(content)]
    return {
        "flavors": {
            "python_function": {
                "loader_module": LOADER,
                "data": DATA,
                "python_version": platform.python_version(),
                "env": {"virtualenv": "python_env.yaml"},
            }
        },
        "metadata": {
            "bundle_sha256": digest,
            "endpoint": content.endpoint,
            "inputs": dict(input_columns(content)),
            "model": content.model,
            "radiomics_crlm": radiomics_crlm.__version__,
            "title": content.title,
        },
        "mlflow_version": metadata.version("mlflow"),
        "signature": {"inputs": json.dumps(inputs), "outputs": json.dumps(outputs), "params": None},
    }
