"""`--objective`: every one by name, with β from the model's options, resumed, and refused in words."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.cli.conftest import Lucid

from lucid.cli.specs import _OBJECTIVES
from lucid.training import Run

TRAIN = ["train", "digits", "--steps", 2, "--size", 1, "--quiet", "--no-report"]
SPECS = {
    "elbo": ("elbo", "ELBO(Linear(steps=9, start=0.0, end=1.0, hold=0), spread=True)"),
    "free-bits": ("free-bits:nats=0.1,per_channel=yes", "FreeBits(0.1, per_channel=True, schedule=Linear("),
    "kl-balancing": ("kl-balancing", "KLBalancing(Linear(steps=9"),
    "geco": ("geco:target=80", "80, rate=0.001, momentum=0.99"),
    "capacity": ("capacity:nats=25,steps=100", "Capacity(Linear(steps=100, start=0.0, end=25"),
    "iwae": ("iwae:num_samples=3", "IWAE(3, schedule=Linear(steps=9"),
    "dreg": ("dreg:num_samples=3", "DReG(3, schedule=Linear(steps=9"),
    "miwae": ("miwae:num_groups=2,num_samples=2", "MIWAE(2, num_samples=2, schedule=Linear("),
    "ciwae": ("ciwae:mix=0.25", "CIWAE(0.25, num_samples=8, schedule=Linear("),
    "beta-tc": ("beta-tc:beta=3", "BetaTC(1437, schedule=Constant(beta=3.0), information=1.0"),
    "info-vae": ("info-vae:alpha=1,strength=50", "InfoVAE(1, strength=50, schedule=Linear("),
}


@pytest.mark.parametrize("name", _OBJECTIVES)
def test_every_objective_can_be_named_and_resumed(lucid: Lucid, tmp_path: Path, name: str) -> None:
    spec, words = SPECS[name]
    beta = () if name in ("geco", "capacity", "beta-tc") else ("--beta-schedule", "linear:steps=9")
    said = lucid(*TRAIN, "--out", tmp_path / "r", "--objective", spec, *beta)
    assert said.code == 0, said.err
    described = "\n".join(Run(tmp_path / "r").description["identity"]["objective"])
    assert words in described
    assert Run(tmp_path / "r").objective() is not None
    again = lucid("train", "--resume", tmp_path / "r", "--steps", 4, "--quiet", "--no-report")
    assert (again.code, "trained 4 steps" in again.out) == (0, True), again.err


def test_a_description_file_may_name_it(lucid: Lucid, tmp_path: Path) -> None:
    (tmp_path / "run.toml").write_text(
        '[data]\nsource = "digits"\n[model]\nsize = 1\nobjective = "iwae:num_samples=2"\n'
    )
    train = ["train", "--config", tmp_path / "run.toml", "--steps", 1, "--quiet", "--no-report"]
    assert lucid(*train, "--out", tmp_path / "a").code == 0
    assert repr(Run(tmp_path / "a").objective()).startswith("IWAE(2")
    assert lucid("train", "--config", tmp_path / "a" / "run.json", "--out", tmp_path / "b", *train[3:]).code == 0
    assert repr(Run(tmp_path / "b").objective()).startswith("IWAE(2")


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ("adversarial", "there is no objective 'adversarial'; there are elbo, free-bits"),
        ("free-bits:bits=3", "there is no setting 'bits'; it takes nats, per_channel"),
        ("elbo:spread=yes", "there is no setting 'spread'; it takes no settings"),
        ("geco", "'geco' needs target, for example geco:target=1000"),
        ("geco:target=soon", "'soon' in 'geco:target=soon' is neither a number nor yes or no"),
        ("iwae:num_samples=0", "num_samples must be a positive number of draws; received 0"),
        ("kl-balancing", "kl-balancing works while β warms up: give --beta-schedule too"),
    ],
)
def test_misuse_is_told_in_a_line(lucid: Lucid, tmp_path: Path, spec: str, said: str) -> None:
    found = lucid(*TRAIN, "--out", tmp_path / "r", "--objective", spec)
    assert found.code == 2
    assert said in found.err
    assert len(found.err.splitlines()) == 1
    assert not (tmp_path / "r").exists()


BETA = {
    "topdown elbo": (("--model", "topdown"), "ELBO(Linear(steps=9"),
    "topdown weight": (("--model", "topdown", "--kl-weight", 4), "ELBO(Constant(beta=4.0)"),
    "topdown balanced": (("--model", "topdown", "--objective", "kl-balancing"), "KLBalancing(Linear(steps=9"),
    "ladder": (
        ("--model", "ladder", "--objective", "free-bits", "--kl-weight", 4),
        "schedule=Linear(steps=500, start=0.0, end=4",
    ),
    "beta-tc": (("--objective", "beta-tc"), "BetaTC(1437, schedule=Linear(steps=9"),
    "beta-tc weight": (("--objective", "beta-tc", "--kl-weight", 4), "BetaTC(1437, schedule=Constant(beta=4.0)"),
}


@pytest.mark.parametrize("case", BETA)
def test_what_is_said_of_beta_is_the_objectives(lucid: Lucid, tmp_path: Path, case: str) -> None:
    options, words = BETA[case]
    schedule = () if "--kl-weight" in options else ("--beta-schedule", "linear:steps=9")
    said = lucid(*TRAIN, "--out", tmp_path / "r", *options, *schedule)
    assert said.code == 0, said.err
    assert words in "\n".join(Run(tmp_path / "r").description["identity"]["objective"])
    again = lucid("train", "--resume", tmp_path / "r", "--steps", 3, "--quiet", "--no-report")
    assert (again.code, "trained 3 steps" in again.out) == (0, True), again.err


REFUSED = {
    "geco": (
        ("--objective", "geco:target=80", "--kl-weight", 2),
        "geco finds the weight of the KL by rules of its own",
    ),
    "capacity": (
        ("--objective", "capacity:nats=9,steps=9", "--beta-schedule", "linear:steps=9"),
        "capacity finds the weight of the KL by rules of its own: leave --kl-weight and --beta-schedule",
    ),
    "beta-tc": (("--objective", "beta-tc:beta=3", "--kl-weight", 2), "'beta-tc:beta=3' says β: leave --kl-weight"),
    "per channel": (
        ("--objective", "free-bits:per_channel=yes", "--prior", "vamp:components=3"),
        "does not suit this model: free bits per channel need a KL that splits into channels",
    ),
    "flow": (
        ("--objective", "beta-tc", "--posterior", "flow"),
        "--objective beta-tc does not suit this model: the total correlation is estimated from posteriors that are",
    ),
    "no learning": (
        ("--objective", "info-vae:alpha=1", "--prior", "mixture:components=3"),
        "--objective info-vae:alpha=1 does not suit this model: InfoVAE at alpha 1",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_does_not_go_together_is_refused_before_training(lucid: Lucid, tmp_path: Path, case: str) -> None:
    options, words = REFUSED[case]
    said = lucid(*TRAIN, "--out", tmp_path / "r", *options)
    assert words in said.err
    assert (said.code, len(said.err.splitlines())) == (2, 1)
    assert not (tmp_path / "r").exists()


def test_a_weight_that_an_objective_does_not_spread_is_refused(lucid: Lucid, tmp_path: Path) -> None:
    (tmp_path / "run.toml").write_text('[data]\nsource = "digits"\n[model]\ndepth = 2\nhierarchical_kl = true\n')
    train = ["train", "--config", tmp_path / "run.toml", *TRAIN[2:]]
    said = lucid(*train, "--out", tmp_path / "r", "--objective", "free-bits")
    assert (said.code, "free-bits does not spread β over the levels" in said.err) == (2, True), said.err
    assert lucid(*train, "--out", tmp_path / "e", "--objective", "elbo").code == 0
    assert "spread=True" in repr(Run(tmp_path / "e").objective())
