"""The table of docs/coming-from-pythae.md: every model of pythae has a row, and what is said to be composed is."""

from __future__ import annotations

import re
from pathlib import Path

PAGE = Path(__file__).parents[1] / "docs" / "coming-from-pythae.md"

# What `from pythae.models import …` offers in 0.1.2, configurations and the base class aside.
PYTHAE = [
    *("AE", "AutoModel", "Adversarial_AE", "BetaTCVAE", "BetaVAE", "CIWAE", "DisentangledBetaVAE", "FactorVAE"),
    *("HVAE", "INFOVAE_MMD", "IWAE", "MIWAE", "MSSSIM_VAE", "PIWAE", "PoincareVAE", "RAE_GP", "RAE_L2", "RHVAE"),
    *("SVAE", "VAE", "VAEGAN", "VAE_IAF", "VAE_LinNF", "VAMP", "VQVAE", "WAE_MMD"),
]


def rows() -> dict[str, str]:
    return dict(re.findall(r"^\| `(\w+)` \| (.+) \|$", PAGE.read_text(encoding="utf-8"), flags=re.MULTILINE))


def test_every_model_has_a_row() -> None:
    assert sorted(rows()) == sorted(PYTHAE)
    assert len(PYTHAE) == 26


def test_what_is_composed_is_constructed_by_the_page_and_the_rest_says_why_not() -> None:
    constructed = set(re.findall(r'^    "(\w+)": \(model\(', PAGE.read_text(encoding="utf-8"), flags=re.MULTILINE))
    composed = {name for name, said in rows().items() if said.startswith(f"`{name}`")}
    assert composed == constructed
    others = {name: said for name, said in rows().items() if name not in composed}
    assert others.pop("AutoModel").startswith("`lucid.load`")
    assert all(said.startswith("not composed: ") for said in others.values())
