"""The page stands alone, is valid, escapes what users wrote, and says what the evaluation says."""

from __future__ import annotations

import itertools
import re
from dataclasses import replace
from importlib.resources import files

import numpy as np
import pytest
from tests.report.worlds import WORLDS, Read, World, digits, metrics, photographs, series, table

from lucid.report import Header, Html, KeyFigure, Section, build_page, element

HOSTILE = '"><script>alert(1)</script><img src=http://evil.example/x>'


@pytest.fixture(scope="module")
def pages() -> dict[str, str]:
    return {name: make().page() for name, make in WORLDS.items()}


@pytest.mark.parametrize("name", WORLDS)
def test_the_page_is_balanced_and_its_ids_are_unique_and_found(pages: dict[str, str], name: str) -> None:
    read = Read(pages[name])
    ids = read.attributes("id")
    assert len(ids) == len(set(ids))
    wanted = {value[1:] for value in read.attributes("href")} | set(re.findall(r"url\(#([^)]+)\)", pages[name]))
    assert wanted <= set(ids)


@pytest.mark.parametrize("name", WORLDS)
def test_the_page_asks_for_nothing_and_runs_nothing(pages: dict[str, str], name: str) -> None:
    page, read = pages[name], Read(pages[name])
    assert all(source.startswith("data:image/png;base64,") for source in read.attributes("src"))
    assert all(link.startswith("#") for link in read.attributes("href"))
    assert "://" not in page
    assert "@import" not in page
    assert {tag for tag, _ in read.tags}.isdisjoint({"script", "link", "iframe", "object", "embed", "base", "form"})
    assert not any(name.startswith("on") for _, attrs in read.tags for name in attrs)
    (policy,) = [a["content"] for t, a in read.tags if t == "meta" and a.get("http-equiv") == "Content-Security-Policy"]
    assert policy is not None
    assert policy.startswith("default-src 'none'")


@pytest.mark.parametrize("name", WORLDS)
def test_each_section_is_there_with_a_sentence_that_says_how_to_read_it(pages: dict[str, str], name: str) -> None:
    read = Read(pages[name])
    sections = [attrs["id"] for tag, attrs in read.tags if tag == "section"]
    expected = ["reconstructions", "samples", "interpolations", "latent-map", "latent-units", "run"]
    if name in ("digits", "three levels"):
        expected = ["training", *expected[:-1], "likelihood", "run"]
    assert sections == expected
    assert [href[1:] for href in read.attributes("href") if href[1:] in sections] == sections
    readings = re.findall(r'<h2>[^<]+</h2><p class="reading">([^<]+)</p>', pages[name])
    assert len(readings) == len(sections)
    assert all(len(reading) > 60 for reading in readings)


@pytest.mark.parametrize("name", WORLDS)
def test_what_is_drawn_has_words_and_follows_the_colour_scheme(pages: dict[str, str], name: str) -> None:
    page, read = pages[name], Read(pages[name])
    for tag, attrs in read.tags:
        if tag == "svg":
            assert attrs["role"] == "img"
            assert attrs["aria-label"]
        if tag == "img":
            assert "alt" in attrs
        if tag == "th":
            assert attrs["scope"] in ("row", "col")
    # Every sentinel has become a variable, and matplotlib's own colours are nowhere.
    assert "5eed" not in page
    assert "5eee" not in page
    drawings = "".join(re.findall(r"<svg.*?</svg>", page))
    assert set(re.findall(r"(?:fill|stroke): ([^;\"]+)", drawings)) <= {"none"} | {
        f"var(--{v})" for v in ("ink", "muted", "rule", "accent", "soft", "paper", *(f"c{i}" for i in range(10)))
    }
    assert page.count("<style") == 1
    assert '<html lang="en">' in page
    assert len(page) < 2_000_000


@pytest.mark.parametrize("make", [digits, table, series])
def test_the_same_objects_give_the_same_bytes(make) -> None:
    world = make()
    assert world.page() == world.page()


def test_each_kind_is_shown_as_suits_it(pages: dict[str, str]) -> None:
    for name in ("table", "series", "vector"):
        assert "<img" not in pages[name]
    for name in ("digits", "rgb", "rgba", "binarised"):
        assert pages[name].count("<img") > 50
    words = Read(pages["table"]).words
    for phrase in (
        "Correlations in the data",
        "Correlations in the samples",
        "R²",
        "Some samples, in the units of the file",
    ):
        assert phrase in words
    assert "Median and middle 80% at each time" in Read(pages["series"]).words
    assert "The 12 columns of 30 that vary most are shown." in Read(pages["vector"]).words


# Hostile and odd input


def test_names_that_users_chose_are_text_and_nothing_else() -> None:
    columns = [HOSTILE, r"$\alpha$ & <b>", "[[0]] & [[1]]"]
    hostile = table(columns)._replace(description={"model": {"name": HOSTILE}, "training": {HOSTILE: [HOSTILE]}})
    page = hostile.page()
    read = Read(page)
    assert {"script", "img", "b"}.isdisjoint(tag for tag, _ in read.tags)
    assert "<script" not in page
    for name in columns:
        assert " ".join(name.split()) in read.words
    assert f"{HOSTILE} on people" in read.words


def test_classes_with_odd_names_stand_on_the_map_as_they_are() -> None:
    world = digits()
    names = (HOSTILE, "$x^2$", "[[3]]", "数字", *(f"class {i}" for i in range(4, 10)))
    protocol = replace(world.dataset.protocol, classes=names)
    read = Read(world._replace(dataset=replace(world.dataset, protocol=protocol)).page())
    for name in names:
        assert read.words.count(" ".join(name.split())) >= 2  # in the legend and on the map


def test_a_page_without_labels_evaluation_or_metrics_says_so_and_stands() -> None:
    world = digits()
    world.dataset.test.labels = None
    page = World(world.model, world.dataset).page()
    read = Read(page)
    assert "has not been evaluated yet" in read.words
    assert "Colours are labels" not in read.words
    assert 'id="likelihood"' not in page
    assert 'id="training"' not in page


@pytest.mark.parametrize("lines", [1, 2, 5])
def test_a_run_of_few_lines_is_drawn(lines: int) -> None:
    read = Read(digits()._replace(metrics=metrics(lines=lines)).page())
    assert "Training" in read.words


def test_only_training_lines_and_numbers_that_were_not_finite_are_drawn() -> None:
    lines = [line for line in metrics() if line["split"] == "train"]
    lines[3] = {**lines[3], "loss": None, "elbo": None, "reconstruction": None}
    words = Read(digits()._replace(metrics=lines, evaluation=None).page()).words
    assert "The ring marks" not in words


def test_a_split_without_test_examples_is_shown_by_its_validation_part() -> None:
    world = series()
    empty = replace(world.dataset, test=type("Empty", (), {"size": 0})())
    assert "validation series" in Read(world._replace(dataset=empty).page()).words


def test_nothing_global_is_left_behind() -> None:
    import sys

    import matplotlib as mpl
    import torch

    world = digits()
    page = world.page()
    world.model.train()
    # Settings of the user's own are neither changed nor followed.
    with mpl.rc_context({"font.size": 33, "axes.grid": False, "lines.linewidth": 9}):
        before, stream = mpl.rcParams.copy(), torch.random.get_rng_state()
        assert world.page() == page
        assert mpl.rcParams.copy() == before
    assert torch.equal(torch.random.get_rng_state(), stream)
    assert world.model.training
    assert "matplotlib.pyplot" not in sys.modules


# The numbers


def test_the_figures_are_those_of_the_evaluation() -> None:
    world = digits()
    found = world.evaluation
    assert found is not None
    assert found.bits_per_dim is not None
    page = world.page()
    numerals = re.findall(r'<span class="numeral">([^<]+)</span>', page)
    value, error = found.log_likelihood.rounded()
    assert numerals == [
        f"{found.bits_per_dim:.3f}",
        value,
        found.elbo.rounded()[0],
        str(sum(found.active_units)),
    ]
    words = Read(page).words
    assert f"± {error}, 10 weighted draws" in words
    assert f"figures on {found.num_examples} test examples" in words
    for row in found.to_table():
        assert f"{row.name} {row.value} {row.unit} {row.meaning}" in words
    assert f"0 {found.latent_units[0]} {found.active_units[0]} {found.kl[0]:.2f}" in words
    assert found.protocol in words


def test_every_level_has_its_row_and_its_drawing(pages: dict[str, str]) -> None:
    read = Read(pages["three levels"])
    for level in range(3):
        assert f"Level {level}" in read.words
        assert f"KL of each unit of level {level}, sorted" in read.attributes("aria-label")


def test_the_ring_is_at_the_model_kept_whatever_the_warm_up_made_of_the_loss() -> None:
    # The warm-up makes early losses small; at full weight the best line is another one.
    lines = metrics(warm_up=True)
    validation = [line for line in lines if line["split"] == "validation"]
    best = min(validation, key=lambda line: line["reconstruction"] + sum(line["kl"]))
    world = digits()._replace(metrics=lines)
    assert f"the model of this page: step {best['step']:,}" in Read(world.page()).words
    world.model.figures = {"step": 40}
    assert "the model of this page: step 40" in Read(world.page()).words


def test_weighted_losses_are_told_from_the_elbo() -> None:
    world = digits()
    assert "so the loss is exactly −ELBO" in Read(world.page()).words
    words = Read(world._replace(metrics=metrics(warm_up=True)).page()).words
    assert "β went from 0 to 1" in words
    assert "β, the weight of the KL" in words


def test_updates_that_were_left_out_are_told() -> None:
    world = digits()
    assert "left out:" not in Read(world.page()).words
    words = Read(world._replace(metrics=[{**line, "skipped": 7} for line in metrics()]).page()).words
    assert "7 of 390 updates were left out: their gradient was not finite" in words
    assert "updates left out 7" in words


# The page by itself


def test_sections_of_ones_own_make_a_page() -> None:
    header = Header("a < b", "protocol", "meta", (KeyFigure("ELBO", "−1.00", "nats", "note"),), "note")
    read = Read(build_page(header, [Section("one", "One", "Read it so.", element("p", "x & y"))], "end"))
    for phrase in ("a < b", "protocol", "meta", "ELBO", "−1.00", "Read it so.", "x & y", "end"):
        assert phrase in read.words


def test_markup_is_escaped_unless_it_is_ours() -> None:
    assert element("p", "<b>", Html("<i>x</i>"), title='"') == '<p title="&quot;">&lt;b&gt;<i>x</i></p>'


def schemes() -> list[dict[str, str]]:
    style = (files("lucid.report") / "page.css").read_text(encoding="utf-8")
    return [
        dict(re.findall(r"--(\w+): (#[0-9a-f]{6})", block))
        for block in re.findall(r":root \{(.*?)\}", style, re.DOTALL)
    ]


def linear_light(colour: str) -> np.ndarray:
    c = np.array([int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)])
    return np.where(c <= 0.04045, c / 12.92, ((c + 0.055) / 1.055) ** 2.4)


def contrast(a: str, b: str) -> float:
    low, high = sorted(float(linear_light(c) @ [0.2126, 0.7152, 0.0722]) for c in (a, b))
    return (high + 0.05) / (low + 0.05)


def lab(light: np.ndarray) -> np.ndarray:
    to_xyz = [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]]
    xyz = np.array(to_xyz) @ np.clip(light, 0, 1) / [0.95047, 1, 1.08883]
    f = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


# Machado, Oliveira, Fernandes: A Physiologically-Based Model for Simulation of Color Vision Deficiency, 2009, severity
# 1.
VISION = {
    "ordinary": np.eye(3),
    "protanopia": np.array(
        [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]]
    ),
    "deuteranopia": np.array(
        [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]]
    ),
    "tritanopia": np.array(
        [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]]
    ),
}


@pytest.mark.parametrize("scheme", [0, 1], ids=["light", "dark"])
def test_text_can_be_read_and_categories_be_told_apart(scheme: int) -> None:
    colours = schemes()[scheme]
    # WCAG 2.2: 4.5 for text. Categories also have names, and marks that differ from the eleventh on.
    assert all(contrast(colours[name], colours["paper"]) >= 4.5 for name in ("ink", "muted", "accent"))
    categories = [colours[f"c{i}"] for i in range(10)]
    assert all(contrast(colour, colours["paper"]) >= 2.5 for colour in categories)
    for matrix in VISION.values():
        places = [lab(matrix @ linear_light(colour)) for colour in categories]
        assert min(float(np.linalg.norm(a - b)) for a, b in itertools.combinations(places, 2)) >= 15


def test_large_pictures_are_made_small_and_the_page_stays_light() -> None:
    page = photographs((3, 240, 160)).page()
    sizes = {(attrs["width"], attrs["height"]) for tag, attrs in Read(page).tags if tag == "img"}
    assert sizes == {("64", "96")}
    assert len(page) < 3_000_000  # of noise, which does not compress
