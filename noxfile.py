"""Checks that need environments of their own: other versions of Python, the oldest allowed libraries, the wheel alone.

``nox -s wheel-3.12`` runs one of them, ``nox --list`` names them all. They install from an index; the daily checks are
``make test``.
"""

from __future__ import annotations

from pathlib import Path

import nox

nox.options.default_venv_backend = "venv"
nox.options.error_on_missing_interpreters = True
PYTHONS = ["3.11", "3.12", "3.13"]


def _lock(session: nox.Session, kind: str = "") -> str:
    return f"requirements/{kind}py{str(session.python).replace('.', '')}.txt"


@nox.session(python=PYTHONS)
def tests(session: nox.Session) -> None:
    """The whole suite on the lock of this Python."""
    session.install("--require-hashes", "-r", _lock(session))
    session.install("--no-deps", "--no-build-isolation", "--editable", ".")
    session.run("python", "-m", "pytest", "-n", "2", "--dist", "loadgroup", "--no-loadscope-reorder", *session.posargs)


@nox.session(python="3.11")
def lowest(session: nox.Session) -> None:
    """The suite on the oldest libraries that pyproject.toml allows (needs uv, which resolves them)."""
    lock = Path(session.create_tmp()) / "lowest.txt"
    session.run(
        "uv", "pip", "compile", "--quiet", "--python-version", "3.11", "--resolution", "lowest-direct",
        "--group", "dev", "pyproject.toml", "--output-file", str(lock), external=True,
    )  # fmt: skip
    session.install("-r", str(lock))
    session.install("--no-deps", "--no-build-isolation", "--editable", ".")
    session.run("python", "-m", "pytest", "-n", "2", "--dist", "loadgroup", "--no-loadscope-reorder", *session.posargs)


@nox.session(python=PYTHONS)
def wheel(session: nox.Session) -> None:
    """The wheel alone, outside of the repository: it checks itself and runs the demo."""
    out = Path(session.create_tmp()).resolve()
    session.install("build", "hatchling")
    session.run("python", "-m", "build", "--no-isolation", "--outdir", str(out / "dist"), ".")
    session.run("python", "-m", "venv", "--clear", str(out / "alone"))
    python = str(out / "alone" / "bin" / "python")
    session.run(
        python, "-m", "pip", "install", "-q", "--require-hashes", "-r", _lock(session, "runtime-"), external=True
    )
    made = max((out / "dist").glob("*.whl"), key=lambda path: path.stat().st_mtime)
    session.run(python, "-m", "pip", "install", "-q", "--no-deps", str(made), external=True)
    crlm = str(out / "alone" / "bin" / "crlm")
    session.cd(out)
    session.run(crlm, "doctor", external=True)
    session.run(crlm, "demo", "--out", str(out / "demo"), external=True)


@nox.session(python="3.11")
def audit(session: nox.Session) -> None:
    """Known vulnerabilities of the default installation (asks a public database)."""
    session.install("pip-audit")
    session.run("pip-audit", "--require-hashes", "--disable-pip", "-r", _lock(session, "runtime-"))


@nox.session(python="3.11")
def sbom(session: nox.Session) -> None:
    """Bill of materials of the default installation (CycloneDX), in out/sbom.json."""
    session.install("cyclonedx-bom")
    Path("out").mkdir(exist_ok=True)
    session.run(
        "cyclonedx-py", "requirements", _lock(session, "runtime-"), "--pyproject", "pyproject.toml",
        "--output-reproducible", "--output-file", "out/sbom.json",
    )  # fmt: skip
