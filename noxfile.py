"""Checks that need environments of their own: other versions of Python, the oldest allowed libraries, the wheel alone.

``nox -s wheel-3.12`` runs one of them, ``nox --list`` names them all. They install from an index; the daily checks are
``make test``. What they said last stands in ``docs/reliability/matrix.md``.
"""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path
from zipfile import ZipFile

import nox

nox.options.default_venv_backend = "venv"
nox.options.error_on_missing_interpreters = True
PYTHONS = ["3.11", "3.12", "3.13"]
REPOSITORY = Path(__file__).resolve().parent
# Old libraries use what newer ones of others deprecate; the question is whether results still hold.
OLD = [f"-Wignore::{name}" for name in ("DeprecationWarning", "PendingDeprecationWarning", "FutureWarning")]


def _lock(session: nox.Session, kind: str = "") -> str:
    return f"requirements/{kind}py{str(session.python).replace('.', '')}.txt"


def _suite(session: nox.Session, *options: str) -> None:
    session.install("--no-deps", "--no-build-isolation", "--editable", ".")
    session.run(
        "python", "-m", "pytest", "-n", "2", "--dist", "loadgroup", "--no-loadscope-reorder", *options, *session.posargs
    )


@nox.session(python=PYTHONS)
def tests(session: nox.Session) -> None:
    """The whole suite on the lock of this Python."""
    session.install("--require-hashes", "-r", _lock(session))
    _suite(session)


@nox.session(python="3.11")
def lowest(session: nox.Session) -> None:
    """The suite on the oldest libraries that pyproject.toml allows (`lock_lowest` names them)."""
    session.install("--require-hashes", "-r", _lock(session, "lowest-"))
    _suite(session, *OLD)


@nox.session(python="3.11")
def lock_lowest(session: nox.Session) -> None:
    """Renew the lock of the oldest allowed libraries, after a change of pyproject.toml."""
    session.install("uv")
    session.run(
        "uv", "pip", "compile", "--quiet", "--python-version", "3.11", "--resolution", "lowest-direct",
        "--generate-hashes", "--no-emit-index-url", "--no-emit-find-links", "--no-header", "--group", "dev",
        "pyproject.toml", "--output-file", _lock(session, "lowest-"),
    )  # fmt: skip


@nox.session(python=PYTHONS)
def wheel(session: nox.Session) -> None:
    """The sdist, the wheel made from it, and that wheel alone, outside of the repository: self-check and demo."""
    out = Path(session.create_tmp()).resolve()
    shutil.rmtree(out / "dist", ignore_errors=True)
    session.install("build", "hatchling")
    # Without further options, the wheel is built from the sdist.
    session.run("python", "-m", "build", "--no-isolation", "--outdir", str(out / "dist"), ".")
    (made,) = (out / "dist").glob("*.whl")
    _holds_what_it_needs(session, made)
    session.run("python", "-m", "venv", "--clear", str(out / "alone"))
    python, crlm = (str(out / "alone" / "bin" / name) for name in ("python", "crlm"))
    pip = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    session.run(*pip, "--require-hashes", "-r", _lock(session, "runtime-"), external=True)
    session.run(*pip, "--no-deps", str(made), external=True)
    session.run(python, "-m", "pip", "check", external=True)
    session.run(python, "tests/installed_licences.py", "check", external=True)
    (out / "elsewhere").mkdir(exist_ok=True)
    session.cd(out / "elsewhere")
    alone = {"PATH": os.defpath, "HOME": str(out / "elsewhere")}
    session.run(crlm, external=True, include_outer_env=False, env=alone | {"_CRLM_COMPLETE": "source_bash"})
    for command in (
        [crlm, "--version"],
        [python, "-m", "radiomics_crlm", "--version"],
        [crlm, "doctor"],
        [crlm, "demo", "--out", str(out / "elsewhere" / "demo")],
    ):
        session.run(*command, external=True, include_outer_env=False, env=alone)


def _holds_what_it_needs(session: nox.Session, made: Path) -> None:
    """End the session unless the wheel holds every file of the package and of its data, and nothing else."""
    held = {name for name in ZipFile(made).namelist() if ".dist-info/" not in name}
    package = {
        f"radiomics_crlm/{path.relative_to(REPOSITORY / 'radiomics_crlm')}" for path in _sources("radiomics_crlm")
    }
    data = {
        f"radiomics_crlm/{path.relative_to(REPOSITORY)}"
        for folder in ("configs", "data_schemas", "experiments")
        for path in _sources(folder)
    }
    if held != package | data:
        session.error(f"not as it should be in {made.name}: {sorted(held ^ (package | data))}")


def _sources(folder: str) -> list[Path]:
    left_out = re.compile(r"__pycache__|/\.|\.pyc$")
    found = [path for path in (REPOSITORY / folder).rglob("*") if path.is_file()]
    return [path for path in found if not left_out.search(str(path.relative_to(REPOSITORY)))]


@nox.session(python="3.11")
def audit(session: nox.Session) -> None:
    """Known vulnerabilities of the default installation (asks the database of PyPI)."""
    session.install("pip-audit")
    session.run("pip-audit", "--strict", "--require-hashes", "--disable-pip", "-r", _lock(session, "runtime-"))


@nox.session(python="3.11")
def sbom(session: nox.Session) -> None:
    """Bill of materials of the default installation (CycloneDX) of each Python, in out/; the same bytes each time."""
    session.install("cyclonedx-bom")
    Path("out").mkdir(exist_ok=True)
    for version in PYTHONS:
        name = f"py{version.replace('.', '')}"
        session.run(
            "cyclonedx-py", "requirements", f"requirements/runtime-{name}.txt", "--pyproject", "pyproject.toml",
            "--mc-type", "application", "--output-reproducible", "--validate", "--output-file", f"out/sbom-{name}.json",
        )  # fmt: skip
