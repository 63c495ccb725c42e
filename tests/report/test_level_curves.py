"""The KL and the active units of each level over the steps, as drawn on the page."""

from __future__ import annotations

import re
from typing import Any

from tests.report.worlds import metrics

from lucid.report.curves import training_section
from lucid.report.level_curves import kl_panel, units_panel


def counted(levels: int) -> list[dict[str, Any]]:
    """Lines of a run whose level 0 loses a unit at each validation, and whose deepest was never in use."""
    found = metrics(levels)
    validations = [line for line in found if line["split"] == "validation"]
    for number, line in enumerate(validations):
        line["active_units"] = [max(0, 16 - number), *[4] * (levels - 2), 0] if levels > 1 else [16 - number]
        line["latent_units"] = [16, *[4] * (levels - 2), 8] if levels > 1 else [16]
    return found


def curves(svg: str) -> list[list[tuple[float, float]]]:
    """Points of the lines that go through as many places as there are validations."""
    found = []
    for path in re.findall(r'<path d="([^"]+)"', svg):
        points = [(float(x), float(y)) for x, y in re.findall(r"[ML] ?(-?[\d.]+) (-?[\d.]+)", path)]
        if len(points) > 5:
            found.append(points)
    return found


def test_each_level_has_a_curve_and_is_named_with_its_units() -> None:
    panel = units_panel(counted(3))
    assert panel is not None
    for name in ("level 0, of 16", "level 1, of 4", "level 2, of 8"):
        assert name in panel
    falling, *_ = curves(panel)
    heights = [y for _, y in falling]
    assert heights == sorted(heights), "in SVG what falls has a growing y"
    assert heights[0] < heights[-1]


def test_of_one_level_the_title_says_how_many_there_are() -> None:
    panel = units_panel(counted(1))
    assert panel is not None
    assert "Active units, of 16" in panel


def test_tens_of_levels_go_from_pale_to_strong() -> None:
    lines = counted(40)
    for panel in (units_panel(lines), kl_panel(lines, None)):
        assert panel is not None
        assert "From pale, level 0" in panel
        assert "the deepest" in panel
        opacities = [float(found) for found in re.findall(r"stroke-opacity: ([\d.]+)", panel)]
        assert opacities[0] == 0.15
        assert opacities == sorted(opacities)


def test_a_run_of_an_earlier_lucid_has_no_such_panel() -> None:
    assert units_panel(metrics()) is None
    assert "Active units" not in training_section(metrics(), {}).content
    assert "Active units" in training_section(counted(2), {}).content
