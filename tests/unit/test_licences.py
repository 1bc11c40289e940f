"""What a default installation brings along: locked with hashes, from no address, under permissive licences."""

from __future__ import annotations

import re
from importlib import metadata
from pathlib import Path

import pytest

LOCKS = sorted((Path(__file__).parents[2] / "requirements").glob("*.txt"))
RUNTIME = [path for path in LOCKS if path.name.startswith("runtime-")]
_REQUIREMENT = re.compile(r"^([A-Za-z0-9_.\-]+)==([^ ;\\]+)(?: ; ([^\\]+?))? *\\?$", re.MULTILINE)
PERMISSIVE = re.compile(
    r"\b(MIT|MIT-0|MIT-CMU|BSD|[023]-?Clause|0BSD|BSD-[23]-Clause|Apache|ISC|PSF|Python Software Foundation|Zlib|CC0|"
    r"MPL|Mozilla Public License)\b"
)
COPYLEFT = re.compile(r"\bA?GPL|GNU (Affero )?General Public", re.IGNORECASE)
# Their metadata name no licence; the text lies beside the code.
TEXT_ONLY = {
    "huey": "Permission is hereby granted, free of charge",
    "skops": "Permission is hereby granted, free of charge",
}


def locked(path: Path) -> dict[str, str]:
    return {name: version for name, version, _ in _REQUIREMENT.findall(path.read_text(encoding="utf-8"))}


def licence(name: str) -> str:
    """What the metadata of an installed distribution say."""
    found = metadata.metadata(name)
    named = [c.rpartition("::")[2].strip() for c in found.get_all("Classifier") or [] if c.startswith("License ::")]
    first_line = (found.get("License") or "").strip().splitlines()[:1]
    return " | ".join(text for text in [found.get("License-Expression") or "", *named, *first_line] if text)


def test_there_is_a_lock_for_each_python() -> None:
    assert [path.name for path in LOCKS] == [
        f"{kind}py3{minor}.txt" for kind in ("", "runtime-") for minor in (11, 12, 13)
    ]


@pytest.mark.parametrize("path", LOCKS, ids=lambda path: path.stem)
def test_every_requirement_has_a_hash_and_no_address(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert not re.search(r"https?://|--index|--find-links|^-e |@ file", text, re.MULTILINE)
    blocks = re.split(r"\n(?=[A-Za-z0-9])", re.sub(r"^ *#.*\n", "", text, flags=re.MULTILINE).strip())
    assert len(blocks) == len(locked(path)) > 50
    assert all("--hash=sha256:" in block for block in blocks)


@pytest.mark.parametrize("path", RUNTIME, ids=lambda path: path.stem)
def test_the_default_installation_is_part_of_the_tested_one(path: Path) -> None:
    tested = locked(path.with_name(path.name.removeprefix("runtime-")))
    assert locked(path).items() <= tested.items()


def test_the_default_installation_has_permissive_licences() -> None:
    for name in locked(next(path for path in RUNTIME if path.name.endswith(_python()))):
        said = licence(name)
        if name in TEXT_ONLY:
            assert TEXT_ONLY[name] in _licence_text(name)
        else:
            assert PERMISSIVE.search(said), f"{name}: {said}"
        assert not COPYLEFT.search(said), f"{name}: {said}"


def _python() -> str:
    import sys

    return f"py3{sys.version_info.minor}.txt"


def _licence_text(name: str) -> str:
    files = metadata.files(name) or []
    texts = [str(f.read_text()) for f in files if "LICENSE" in f.name.upper()]
    return " ".join(" ".join(texts).split())
