"""Licences of installed distributions; run as a script, it writes ``docs/licences.md``.

``python tests/installed_licences.py check`` refuses an environment that holds anything under the GPL. Nothing but the
standard library is needed, so an environment that holds the wheel alone can be asked.
"""

from __future__ import annotations

import re
import sys
from importlib import metadata
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]
LOCKS = REPOSITORY / "requirements"
PAGE = REPOSITORY / "docs" / "licences.md"
PAGE_PYTHON = (3, 11)
_REQUIREMENT = re.compile(r"^([A-Za-z0-9_.\-]+)==([^ ;\\]+)(?: ; ([^\\]+?))? *\\?$", re.MULTILINE)
COPYLEFT = re.compile(r"\b[AL]?GPL|GNU (Affero |Lesser |Library or Lesser )?General Public", re.IGNORECASE)
# Their metadata name no licence; the text lies beside the code.
TEXT_ONLY = {
    "huey": "Permission is hereby granted, free of charge",
    "skops": "Permission is hereby granted, free of charge",
}
_IDENTIFIERS = {
    "3-Clause BSD License": "BSD-3-Clause",
    "Apache": "Apache-2.0",
    "Apache Software License": "Apache-2.0",
    "BSD License": "BSD",
    "ISC License (ISCL)": "ISC",
    "MIT License": "MIT",
    "Mozilla Public License 2.0 (MPL 2.0)": "MPL-2.0",
    "Python Software Foundation License": "PSF-2.0",
}
_SPDX = re.compile(r"(?:0BSD|Apache-2\.0|BSD-[23]-Clause|CC0-1\.0|ISC|MIT|MIT-0|MIT-CMU|MPL-2\.0|PSF-2\.0|Zlib)")
_PERMISSIVE = re.compile(
    r"(?:0BSD|Apache-2\.0( WITH LLVM-exception)?|BSD(-[23]-Clause)?|CC0-1\.0|ISC|MIT|MIT-0|MIT-CMU|PSF-2\.0|Zlib)"
)
# Libraries of GCC that wheels bring along, with what their authors allow.
_GCC = {
    "libgfortran": "GPL-3.0-or-later WITH GCC-exception-3.1",
    "libgomp": "GPL-3.0-or-later WITH GCC-exception-3.1",
    "libquadmath": "LGPL-2.1-or-later",
}


def locked(path: Path) -> dict[str, str]:
    """Version of each package that a lock names."""
    return {name: version for name, version, _ in _REQUIREMENT.findall(path.read_text(encoding="utf-8"))}


def said_licence(name: str) -> str:
    """All that the metadata of an installed distribution say."""
    found = metadata.metadata(name)
    first_line = (found.get("License") or "").strip().splitlines()[:1]
    return " | ".join(text for text in [found.get("License-Expression") or "", *_classified(name), *first_line] if text)


def licence(name: str) -> str:
    """The licence as an SPDX expression; empty if the metadata name none that is known."""
    if name in TEXT_ONLY:
        return "MIT" if TEXT_ONLY[name] in licence_text(name) else ""
    found = metadata.metadata(name)
    if expression := found.get("License-Expression"):
        return str(expression)
    stated = (found.get("License") or "").strip()
    if all(_SPDX.fullmatch(part) for part in re.split(r" (?:AND|OR) ", stated)):
        return stated
    known = [_IDENTIFIERS[said] for said in [*_classified(name), stated] if said in _IDENTIFIERS]
    return known[0] if known else ""


def kind(expression: str) -> str:
    """What a licence asks for: ``permissive``, ``weak copyleft`` (per file) or nothing known.

    >>> kind("MPL-2.0 AND MIT"), kind("Apache-2.0 OR BSD-2-Clause"), kind("GPL-3.0-only")
    ('weak copyleft', 'permissive', '')
    """
    parts = re.split(r" (?:AND|OR) ", expression)
    if all(_PERMISSIVE.fullmatch(part) for part in parts):
        return "permissive"
    return "weak copyleft" if all(p == "MPL-2.0" or _PERMISSIVE.fullmatch(p) for p in parts) else ""


def licence_text(name: str) -> str:
    """Licence files of an installed distribution in one line."""
    texts = [str(f.read_text()) for f in metadata.files(name) or [] if "LICENSE" in f.name.upper()]
    return " ".join(" ".join(texts).split())


def page() -> str:
    """The page about the default installation on the Python that runs this."""
    lock = locked(_lock(PAGE_PYTHON[1]))
    lines = [f"| {name} | {version} | {licence(name)} | {kind(licence(name))} |" for name, version in lock.items()]
    return _PAGE.format(
        minor=PAGE_PYTHON[1], count=len(lock), packages="\n".join(lines), others=_others(lock), gcc=_gcc_libraries(lock)
    )


def _classified(name: str) -> list[str]:
    found = metadata.metadata(name)
    return [c.rpartition("::")[2].strip() for c in found.get_all("Classifier") or [] if c.startswith("License ::")]


def _lock(minor: int) -> Path:
    return LOCKS / f"runtime-py3{minor}.txt"


def _others(lock: dict[str, str]) -> str:
    lines = []
    for minor in (12, 13):
        found = locked(_lock(minor))
        differing = [f"{name} {version}" for name, version in found.items() if lock.get(name) != version]
        lines.append(f"- Python 3.{minor}: {', '.join(differing) or 'none'}")
    return "\n".join(lines)


def _gcc_libraries(lock: dict[str, str]) -> str:
    lines = []
    for name in lock:
        files = {f.name.split("-")[0] for f in metadata.files(name) or [] if ".libs" in str(f.parent)}
        lines += [f"| {name} | {library} | {_GCC[library]} |" for library in sorted(files & _GCC.keys())]
    return "\n".join(lines)


_PAGE = """# Licences of the default installation

radiomics_crlm is under Apache-2.0. Its installation brings {count} packages (Linux, the lock
`requirements/runtime-py3{minor}.txt`), none of them under the GPL. A package of kind *weak copyleft* asks that changes
to its own files stay open; it asks nothing of programs that use it.

| package | version | licence | kind |
|---|---|---|---|
{packages}

The other locks name the same packages, with other versions of these:

{others}

## Libraries inside the packages

Some wheels bring libraries of the GNU compilers. The runtime exception of their licence lets programs under any licence
use them; `libquadmath` is under the LGPL and is loaded at run time, so it can be replaced.

| package | library | licence |
|---|---|---|
{gcc}

## Extras

The table holds no extras. Extra `pdf` brings pyphen, whose users choose between GPL, LGPL and MPL. Some packages that
only the tests need (group `dev`) are under the GPL; none is installed with the program.

`python tests/installed_licences.py` writes this page from what is installed; a test keeps it equal to the lock.
"""


def main(arguments: list[str]) -> int:
    """Write the page, or check the environment of this Python."""
    if arguments != ["check"]:
        PAGE.write_text(page(), encoding="utf-8")
        return 0
    names = [found.metadata["Name"] for found in metadata.distributions()]
    wrong = [f"{name}: {said_licence(name)}" for name in names if COPYLEFT.search(said_licence(name))]
    sys.stdout.write("\n".join(wrong) or f"{len(names)} distributions, none under the GPL")
    sys.stdout.write("\n")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
