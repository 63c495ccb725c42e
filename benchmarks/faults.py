"""Runs killed at random instants and resumed, against the unbroken run, bit for bit.

    python benchmarks/faults.py [--kills 200] [--signals 20] [--seed 0] [--case TEXT ...] [--folder FOLDER]
        [--json FILE]

Every case of `tests/training/fault_cases.py`, each way to give data and each option with a state, is trained once to
its end. Then it is started again and again in a process of its own that is ended by SIGKILL after a random time, and
resumed until it ends; a resumed run may be killed too. A kill can land before the run exists (it is then started
anew), in the writing of a checkpoint or of the artefact, between these, or after the end. What is left must be what
the unbroken run left: the tensors and numbers of the last checkpoint, the artefact, the lines of metrics.jsonl and the
names of the files; times of day excepted. After the kills, SIGINT, and SIGTERM twice in a row, do the same.
The exit status is 1 where anything differs. POSIX only.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

os.environ["OMP_NUM_THREADS"] = "1"
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tests.training.fault_cases import CASES
from tests.training.faults import PLACES, Blows, Row, campaign, interrupt, kill, terminate_twice

COLUMNS = ("hits", *PLACES, "resumes", "restarts", "runs", "equal", "seconds")


def told(title: str, hits: int, blows: Blows, arguments: argparse.Namespace) -> list[Row]:
    """Run a campaign; print a line as soon as a case is done, and the sum."""
    names: list[str] = arguments.case
    cases = [case for case in CASES if not names or any(name in case.name for name in names)]
    print(f"\n{title:38}" + "".join(f"{name:>{max(len(name), 5) + 2}}" for name in COLUMNS), flush=True)
    rows: list[Row] = []
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        for row in campaign(cases, hits, arguments.seed, Path(folder), blows):
            rows.append(row)
            print(line(row), flush=True)
            for difference in row.differences:
                print(f"    {difference[-500:]}", flush=True)
    together = Row("all")
    for row in rows:
        together.places += row.places
        together.resumes += row.resumes
        together.restarts += row.restarts
        together.runs += row.runs
        together.differences += row.differences
        together.seconds += row.seconds
    print(line(together), flush=True)
    return rows


def line(row: Row) -> str:
    """A row of the table."""
    return f"{row.case:38}" + "".join(
        f"{text:>{max(len(name), 5) + 2}}" for name, text in zip(COLUMNS, figures(row).values(), strict=True)
    )


def figures(row: Row) -> dict[str, Any]:
    """The columns of a row."""
    counts: Counter[str] = row.places
    return {
        "hits": row.kills,
        **{place: counts[place] for place in PLACES},
        "resumes": row.resumes,
        "restarts": row.restarts,
        "runs": row.runs,
        "equal": "no" if row.differences else "yes",
        "seconds": round(row.seconds, 1),
    }


def main() -> int:
    """Hit, compare, print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--signals", type=int, default=20, help="of each kind but SIGKILL")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--case", action="append", default=[], help="only cases whose name holds this text")
    parser.add_argument("--folder", help="where the runs are written; by default the system's for temporary files")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    planned = {
        "SIGKILL": (arguments.kills, kill),
        "SIGINT": (arguments.signals, interrupt),
        "SIGTERM twice": (arguments.signals, terminate_twice),
    }
    campaigns = {name: told(name, hits, blows, arguments) for name, (hits, blows) in planned.items() if hits}
    if arguments.json:
        rows = [
            {"signal": name, "case": row.case, **figures(row), "differences": row.differences}
            for name, found in campaigns.items()
            for row in found
        ]
        arguments.json.write_text(json.dumps(rows, indent=1) + "\n")
    differing = [row.case for rows in campaigns.values() for row in rows if row.differences]
    print(f"\ndiffering: {', '.join(differing) if differing else 'none'}")
    return 1 if differing else 0


if __name__ == "__main__":
    sys.exit(main())
