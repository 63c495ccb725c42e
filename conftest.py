"""The pages are tests: each ```python block of README.md and docs/ runs, in order, one namespace and one folder a page.

A block that cannot run here is preceded by `<!-- skip: next "why" -->`.
"""

from __future__ import annotations

import os
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from sybil import Sybil
from sybil.parsers.markdown import PythonCodeBlockParser, SkipParser


def _enter_empty_folder(namespace: dict[str, Any]) -> None:
    stack = namespace["_leave"] = ExitStack()
    folder = stack.enter_context(tempfile.TemporaryDirectory())
    stack.callback(os.chdir, Path.cwd())
    os.chdir(folder)


def _leave_folder(namespace: dict[str, Any]) -> None:
    namespace["_leave"].close()


pytest_collect_file = Sybil(
    parsers=[PythonCodeBlockParser(), SkipParser()],
    patterns=["README.md", "CONTRIBUTING.md", "docs/*.md", "docs/**/*.md"],
    setup=_enter_empty_folder,
    teardown=_leave_folder,
).pytest()
