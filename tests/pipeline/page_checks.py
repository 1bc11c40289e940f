"""What is asked of every page in a browser: structure, contrast, and what axe-core finds."""

from __future__ import annotations

from importlib import metadata
from pathlib import Path
from typing import Any

import pytest

STRUCTURE = """() => {
  const faults = [];
  const ids = [...document.querySelectorAll('[id]')].map(e => e.id);
  if (new Set(ids).size !== ids.length) faults.push('repeated id');
  for (const t of document.querySelectorAll('table')) {
    if (!t.caption || !t.caption.textContent.trim()) faults.push('table without caption');
    const wide = row => [...row.cells].reduce((n, c) => n + c.colSpan, 0);
    const widths = new Set([...t.rows].map(wide));
    if (widths.size !== 1) faults.push('ragged table: ' + t.caption.textContent);
    if ([...t.querySelectorAll('th')].some(h => !h.scope)) faults.push('head without scope');
  }
  const levels = [...document.querySelectorAll('h1,h2,h3,h4')].map(h => +h.tagName[1]);
  levels.forEach((l, k) => { if (k && l - levels[k - 1] > 1) faults.push('level skipped at ' + k); });
  for (const r of document.querySelectorAll('[role=region]'))
    if (!r.getAttribute('aria-label')) faults.push('nameless region');
  for (const s of document.querySelectorAll('svg')) {
    const named = (s.getAttribute('aria-labelledby') || '').split(' ').map(i => document.getElementById(i));
    if (named.length < 2 || named.some(e => !e || !e.textContent.trim())) faults.push('nameless figure');
    if (s.getAttribute('role') !== 'img' || s.querySelector('a, button, [tabindex]')) faults.push('figure is no image');
  }
  if (document.querySelectorAll('main').length !== 1) faults.push('not one main');
  for (const a of document.querySelectorAll('a[href^="#"]'))
    if (!document.querySelector(a.getAttribute('href'))) faults.push('dead link ' + a.getAttribute('href'));
  return faults;
}"""
CONTRAST = """() => {
  const parse = c => c.match(/[\\d.]+/g).map(Number);
  const light = c => { const [r, g, b] = c.slice(0, 3).map(v => v / 255)
      .map(v => v <= .03928 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4); return .2126 * r + .7152 * g + .0722 * b; };
  const ground = e => { for (; e; e = e.parentElement) { const c = parse(getComputedStyle(e).backgroundColor);
      if (c.length < 4 || c[3] > 0) return c; } return [255, 255, 255]; };
  const poor = new Set();
  for (const e of document.querySelectorAll('body *')) {
    if (e.closest('svg') || ![...e.childNodes].some(n => n.nodeType === 3 && n.textContent.trim())) continue;
    const [a, b] = [light(parse(getComputedStyle(e).color)), light(ground(e))].sort((x, y) => y - x);
    if ((a + .05) / (b + .05) < 4.5) poor.add(e.tagName + '.' + e.className);
  }
  return [...poor];
}"""


def serious_faults(page: Any, *rules: str) -> list[list[str]]:
    """Rule and place of each serious or critical fault of the open page; of all rules if none is named."""
    if not page.evaluate("() => 'axe' in window"):
        script = _axe()
        if script is None:
            pytest.skip("no installed package brings axe-core")
        page.add_script_tag(path=script)
        # What is drawn inside an image is no content for anybody but the eye, and most of the elements of a card.
        page.evaluate("() => document.querySelectorAll('svg[role=img] > :not(title, desc)').forEach(e => e.remove())")
    # What passes is counted and not described, which takes axe most of its time; a fault is shown by its own HTML.
    options: dict[str, Any] = {"resultTypes": ["violations"]}
    options |= dict.fromkeys(("selectors", "xpath", "ancestry", "elementRef"), False)
    found: list[list[str]] = page.evaluate(
        """options => axe.run(options).then(r => r.violations
           .filter(v => ['serious', 'critical'].includes(v.impact)).map(v => [v.id, v.nodes[0].html.slice(0, 200)]))""",
        options | ({"runOnly": list(rules)} if rules else {}),
    )
    return found


def _axe() -> Path | None:
    """The accessibility checker axe-core, if some installed package brings it along."""
    for package in ("axe-playwright-python", "axe-core-python", "axe-selenium-python"):
        try:
            files = metadata.files(package) or []
        except metadata.PackageNotFoundError:
            continue
        for file in files:
            if file.name in ("axe.min.js", "axe.js"):
                return Path(str(file.locate()))
    return None
