"""The code that a fitted model depends on, as a hash."""

from __future__ import annotations

import functools
from importlib import metadata, resources

from radiomics_crlm.provenance.files import canonical_json, sha256_bytes

_PACKAGES = ("modelling", "evaluation", "explanation")
_LIBRARIES = ("numpy", "scipy", "pandas", "scikit-learn", "xgboost-cpu", "optuna", "interpret-core", "shap")


@functools.cache
def learner_code() -> str:
    """Hash of the sources of learners, metrics and explanations, and of the versions of the libraries they use.

    It is made from the sources themselves, so that no change can be forgotten.
    """
    root = resources.files("radiomics_crlm")
    files = [
        (package, file)
        for package in _PACKAGES
        for file in root.joinpath(package).iterdir()
        if file.name.endswith(".py")
    ]
    sources = sorted((package, file.name, sha256_bytes(file.read_bytes())) for package, file in files)
    return sha256_bytes(canonical_json([sources, [_version(name) for name in _LIBRARIES]]).encode("utf-8"))


def _version(library: str) -> str:
    try:
        return metadata.version(library)
    except metadata.PackageNotFoundError:
        return "not installed"
