"""`import lucid` loads PyTorch and nothing heavier; rooms come when they are asked for."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest


def loaded_by(statement: str) -> set[str]:
    """Modules that a statement loads in a fresh interpreter that has loaded torch."""
    code = (
        f"import sys, json, torch; before = set(sys.modules); {statement}; "
        "print(json.dumps(sorted(set(sys.modules) - before)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(json.loads(done.stdout))


def modules_after(statement: str) -> set[str]:
    """The top-level modules among them."""
    return {name.partition(".")[0] for name in loaded_by(statement)}


def test_import_lucid_costs_torch_and_nothing_more() -> None:
    assert modules_after("import lucid") == {"lucid"}


@pytest.mark.parametrize(
    ("statement", "heavy"),
    [
        (
            "import lucid.models, lucid.nn",
            {"matplotlib", "sklearn", "pyarrow", "pandas", "PIL", "rich"},
        ),
        (
            "import lucid.objectives, lucid.evaluation",
            {"matplotlib", "sklearn", "pyarrow", "pandas"},
        ),
        ("import lucid.data", {"matplotlib", "sklearn", "pyarrow", "pandas", "PIL"}),
        ("import lucid.training", {"matplotlib", "tensorboard", "rich"}),
        ("import lucid.cli", {"matplotlib", "sklearn", "pyarrow", "pandas", "PIL"}),
    ],
)
def test_rooms_load_heavy_libraries_on_first_use(statement: str, heavy: set[str]) -> None:
    assert not modules_after(statement) & heavy


def test_no_room_loads_the_compiler() -> None:
    """Which takes as long as PyTorch itself, for every command and every process that decodes blocks."""
    loaded = loaded_by("import lucid.models, lucid.codec, lucid.evaluation, lucid.data, lucid.training, lucid.cli")
    assert "lucid.models.output" in loaded
    assert not loaded & {"torch._dynamo", "torch._inductor"}


def test_an_import_changes_nothing_global() -> None:
    code = (
        "import torch; a = torch.get_rng_state(), torch.get_default_dtype(), torch.get_num_threads(); "
        "import lucid, lucid.models, lucid.data, lucid.training, lucid.report; "
        "b = torch.get_rng_state(), torch.get_default_dtype(), torch.get_num_threads(); "
        "assert torch.equal(a[0], b[0]) and a[1:] == b[1:]"
    )
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True)


def test_every_room_is_reached_from_the_package() -> None:
    import lucid

    for name in lucid.__all__:
        assert getattr(lucid, name) is not None
    with pytest.raises(AttributeError, match="module 'lucid' has no attribute 'nothing'"):
        lucid.nothing  # noqa: B018
