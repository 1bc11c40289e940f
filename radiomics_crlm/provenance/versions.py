"""Versions of what computes, and the fingerprint of the lock."""

from __future__ import annotations

import platform
import sys
from importlib import metadata

import radiomics_crlm
from radiomics_crlm.errors import ConfigError
from radiomics_crlm.provenance.files import sha256_file
from radiomics_crlm.resources import resource

LIBRARIES = (
    "numpy",
    "scipy",
    "pandas",
    "scikit-learn",
    "xgboost-cpu",
    "shap",
    "mlflow",
    "SimpleITK",
    "pydicom",
    "pyradiomics-bhklab",
    "matplotlib",
)


def versions() -> dict[str, str]:
    """Version of the package, of Python and of each library that can change a number."""
    found = {"radiomics_crlm": radiomics_crlm.__version__, "python": platform.python_version()}
    for name in LIBRARIES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = "not installed"
    return found


def lock_fingerprint() -> str:
    """SHA-256 of the lock file for this Python, or a note that the installation has none."""
    try:
        return sha256_file(resource(f"requirements/py3{sys.version_info.minor}.txt"))
    except ConfigError:
        return "installed without a lock"
