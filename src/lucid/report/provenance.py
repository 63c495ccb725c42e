"""How the run was made: its resolved description, and the versions that made it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lucid.report.curves import Metrics
from lucid.report.look import Look
from lucid.report.markup import Html, element
from lucid.report.page import Section

__all__ = ["duration", "provenance_section"]

_FOR_RESUMING = ("identity", "finished", "launch")
"""What run.json says for the sake of `--resume`, and a reader finds elsewhere on the page."""


def provenance_section(look: Look, description: Mapping[str, Any], metrics: Metrics) -> Section:
    """Everything needed to make the run again."""
    groups: dict[str, dict[str, str]] = {"Data": {}, "Model": look.model_facts(), "Training": {}}
    for name, value in description.items():
        if name in _FOR_RESUMING:
            continue
        groups.setdefault(name.capitalize() if isinstance(value, Mapping) else "Versions", {}).update(
            _flat(value) if isinstance(value, Mapping) else {name: _plain(value)}
        )
    groups["Data"] = {"protocol": look.protocol.describe(), **groups["Data"]}
    if metrics:
        last = metrics[-1]
        groups["Training"] |= {
            "steps taken": f"{last['step']:,}",
            "epochs taken": f"{last['epoch']:.4g}",
            "updates left out": f"{last.get('skipped', 0):,}",
            "time": duration(last["seconds"]),
        }
    groups.setdefault("Versions", {}).update(_versions())
    reading = (
        "The resolved description of the run, as saved beside this page in run.json: the same values make the same run."
    )
    content = element("div", *(_group(name, facts) for name, facts in groups.items() if facts), class_="facts")
    return Section("run", "How it was made", reading, content)


def duration(seconds: float) -> str:
    """A time people read."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    minutes = seconds / 60
    return f"{minutes:.0f} min" if minutes < 100 else f"{minutes / 60:.1f} h"


def _group(name: str, facts: Mapping[str, str]) -> Html:
    entries = [part for key, value in facts.items() for part in (element("dt", key), element("dd", value))]
    return element("div", element("h3", name), element("dl", *entries))


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    facts: dict[str, str] = {}
    for key, value in values.items():
        name = f"{prefix}{key}".replace("_", " ")
        if isinstance(value, Mapping) and value:
            facts |= _flat(value, f"{name} · ")
        else:
            facts[name] = _plain(value)
    return facts


def _plain(value: Any) -> str:
    if value is None:
        return "—"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, list | tuple):
        return ", ".join(_plain(part) for part in value) or "—"
    return str(value)


def _versions() -> dict[str, str]:
    from importlib.metadata import version

    return {f"{name}, this page": version(name) for name in ("torch", "matplotlib")}
