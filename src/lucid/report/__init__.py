"""What a person looks at: the page of a run, `report.html`, in one file that asks for nothing from anywhere.

`write_report(folder)` makes it from a run's folder, `render(…)` from objects, `build_page(…)` from sections of one's
own.
"""

from __future__ import annotations

from lucid.report.compose import render, write_report
from lucid.report.diagnosis import Diagnosis, Gain, Since, Verdict, diagnose
from lucid.report.diagnosis_words import rows as diagnosis_rows
from lucid.report.latents import write_map
from lucid.report.markup import Html, element
from lucid.report.page import Header, KeyFigure, Section, build_page
from lucid.report.run import Opened, open_run

__all__ = [
    "Diagnosis",
    "Gain",
    "Header",
    "Html",
    "KeyFigure",
    "Opened",
    "Section",
    "Since",
    "Verdict",
    "build_page",
    "diagnose",
    "diagnosis_rows",
    "element",
    "open_run",
    "render",
    "write_map",
    "write_report",
]
