"""What the documentation shows can be run: the pages' blocks are collected by conftest.py, the examples run here."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])
EXAMPLES = sorted(ROOT.glob("examples/*.py"))


def untested_blocks(text: str) -> list[str]:
    """The Python fences that the collector would pass over, and the skips that give no reason."""
    fences = re.findall(r"^[ \t]*(?:[-*+>]|\d+[.)])?[ \t]*(?:```+|~~~+)[ \t]*((?:py|\{code).*)$", text, re.MULTILINE)
    skips = re.findall(r"<!--+\s*(skip:.*?)\s*--+>", text, re.DOTALL)
    return [fence for fence in fences if fence != "python"] + [
        skip for skip in skips if skip != "skip: end" and not re.search(r'"[^"]{10,}"', skip)
    ]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_python_block_of_a_page_runs_or_says_why_not(page: Path) -> None:
    assert untested_blocks(page.read_text(encoding="utf-8")) == []


def test_a_block_that_would_not_run_is_noticed() -> None:
    assert untested_blocks("```python\n1\n```") == []
    assert untested_blocks("```python no-run\n1\n```") == ["python no-run"]
    assert untested_blocks("```{code-block} python\n1\n```") == ["{code-block} python"]
    assert untested_blocks("```{toctree}\nindex\n```") == []
    assert untested_blocks("- ```py\n  1\n  ```") == ["py"]
    assert untested_blocks('<!-- skip: next "needs two GPUs" -->') == []
    assert untested_blocks("<!-- skip: next -->") == ["skip: next"]


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.name)
def test_an_example_runs(example: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-W", "error", str(example)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, f"{example.name} failed:\n{done.stdout}{done.stderr}"
