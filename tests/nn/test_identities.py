"""`lucid.nn` is `torch.nn` under another name: the same objects, not copies of them."""

from __future__ import annotations

import importlib

import lucid.nn.functional as F  # pyright: ignore[reportMissingImports]
import pytest
import torch

import lucid.nn as nn
import lucid.nn.module


def test_the_classes_are_pytorchs_own() -> None:
    assert nn.Linear is torch.nn.Linear
    assert nn.Sequential is torch.nn.Sequential
    assert nn.Module is torch.nn.Module
    assert nn.Parameter is torch.nn.Parameter
    assert lucid.nn.module.Module is torch.nn.Module
    assert F is torch.nn.functional
    assert nn.functional is torch.nn.functional


PUBLIC = [name for name in dir(torch.nn) if not name.startswith("_")]


@pytest.mark.parametrize("name", PUBLIC)
def test_every_public_name_is_there(name: str) -> None:
    if name == "modules":  # torch.nn's own package of the same classes
        assert nn.modules is torch.nn.modules
    assert getattr(nn, name) is getattr(torch.nn, name)
    assert name in dir(nn)


@pytest.mark.parametrize("name", ["functional", "init", "parameter", "utils"])
def test_submodules_import_under_either_spelling(name: str) -> None:
    assert importlib.import_module(f"lucid.nn.{name}") is getattr(torch.nn, name)


def test_an_unknown_name_is_an_attribute_error_that_says_where() -> None:
    with pytest.raises(AttributeError, match=r"module 'lucid.nn' has no attribute 'Linaer'"):
        _ = nn.Linaer
