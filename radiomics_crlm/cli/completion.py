"""Names that the shell completes: shipped experiments, extraction profiles, clinical rules.

Read from the text of the shipped files, because a shell waits for the answer and libraries take long to load.
"""

from __future__ import annotations

import re

from radiomics_crlm.resources import resource

_RULE = re.compile(r"^([a-z]\w*):\n  title:", re.MULTILINE)
_PROFILE = re.compile(r"^  ([\w-]+):$", re.MULTILINE)


def experiment_names(incomplete: str) -> list[str]:
    """Shipped experiments that begin so.

    >>> experiment_names("dem")
    ['demo']
    """
    return _beginning(incomplete, [path.stem for path in resource("experiments").glob("*.yaml")])


def rule_names(incomplete: str) -> list[str]:
    """Clinical rules that begin so.

    >>> rule_names("fong_c")
    ['fong_crs']
    """
    files = resource("clinical/data").glob("*.yaml")
    return _beginning(incomplete, [name for path in files for name in _RULE.findall(path.read_text(encoding="utf-8"))])


def profile_names(incomplete: str) -> list[str]:
    """Shipped extraction profiles that begin so.

    >>> profile_names("mr")
    ['mr-t1-hbp']
    """
    _, _, profiles = resource("configs/extract.yaml").read_text(encoding="utf-8").partition("\nprofiles:\n")
    return _beginning(incomplete, _PROFILE.findall(profiles))


def _beginning(incomplete: str, names: list[str]) -> list[str]:
    return sorted(name for name in names if name.startswith(incomplete))
