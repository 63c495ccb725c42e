"""What a model is before `save` it is after `load`; and what `save` leaves behind when it fails."""

from __future__ import annotations

import json
import os
import resource
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import torch
from torch import nn

from lucid.io import load, register, save, tensor_shapes, write_json

if TYPE_CHECKING:
    from types import SimpleNamespace


def names(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir())


def config_of(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "config.json").read_text(encoding="utf-8"))


def assert_equal_models(a: nn.Module, b: nn.Module) -> None:
    assert repr(a) == repr(b)
    left, right = a.state_dict(), b.state_dict()
    assert list(left) == list(right)
    for name, tensor in left.items():
        assert tensor.dtype == right[name].dtype, name
        assert torch.equal(tensor, right[name]), name


def trained(model: Any) -> Any:
    """Move every tensor away from what construction makes."""
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.rand(parameter.shape, generator=generator).to(parameter.dtype))
    model.train()
    model(torch.rand(8, 3, generator=generator))
    model.eval()
    return model


def test_a_model_comes_back_whole(tmp_path: Path, toy: SimpleNamespace) -> None:
    model = trained(toy.make(beta_schedule=toy.Ramp(10), scale=float("inf")))
    model.step.fill_(17)
    model.protocol = toy.Protocol(256, (0.5,))
    save(model, tmp_path / "new" / "model", figures={"elbo": -88.5, "k": [1, 10]})
    back = load(tmp_path / "new" / "model")
    assert type(back) is toy.Model
    assert_equal_models(back, model)
    assert back.config.beta_schedule == toy.Ramp(10)
    assert back.config.scale == float("inf")
    assert back.protocol == toy.Protocol(256, (0.5,))
    assert back.figures == {"elbo": -88.5, "k": [1, 10]}
    assert not any(module.training for module in back.modules())
    assert back.step == 17
    assert torch.equal(back.grid, model.grid)
    x = torch.linspace(-1, 1, 12).reshape(4, 3)
    assert torch.equal(back(x), model(x))
    assert names(tmp_path / "new" / "model") == ["config.json", "model.safetensors"]
    assert names(tmp_path / "new") == ["model"]


def test_the_configuration_says_what_wrote_it(tmp_path: Path, toy: SimpleNamespace) -> None:
    import lucid

    save(toy.make(), tmp_path / "a")
    config = config_of(tmp_path / "a")
    assert (config["format"], config["schema"]) == ("lucid-artefact", 1)
    assert (config["lucid"], config["torch"]) == (lucid.__version__, torch.__version__)
    assert (config["protocol"], config["figures"]) == (None, {})
    assert config["weights"]["bytes"] == (tmp_path / "a" / "model.safetensors").stat().st_size


def test_loading_leaves_the_random_state_alone(tmp_path: Path, toy: SimpleNamespace) -> None:
    save(toy.make(), tmp_path / "a")
    state = torch.get_rng_state()
    load(tmp_path / "a")
    assert torch.equal(torch.get_rng_state(), state)


def test_a_loaded_model_can_be_trained_and_saved_again(tmp_path: Path, toy: SimpleNamespace) -> None:
    save(toy.make(), tmp_path / "a")
    model = load(tmp_path / "a").train()
    before = model.encoders[0][0].weight.clone()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    model(torch.randn(8, 3)).square().sum().backward()
    optimizer.step()
    assert not torch.equal(model.encoders[0][0].weight, before)
    save(model, tmp_path / "a")
    assert_equal_models(load(tmp_path / "a"), model)


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.float16])
def test_dtypes_are_kept_also_of_buffers_outside_the_state(
    tmp_path: Path, toy: SimpleNamespace, dtype: torch.dtype
) -> None:
    model = toy.make(scale=3.0).to(dtype)
    save(model, tmp_path / "a")
    back = load(tmp_path / "a")
    assert_equal_models(back, model)
    assert back.grid.dtype == dtype
    assert back.step.dtype == torch.int64
    assert "grid" not in back.state_dict()
    torch.testing.assert_close(back.grid, model.grid)


def test_frozen_and_tied_parameters_stay_so(tmp_path: Path, toy: SimpleNamespace) -> None:
    encoder, decoder = nn.Linear(3, 3), nn.Linear(3, 3)
    decoder.weight = encoder.weight
    encoder.bias.requires_grad_(False)
    model = toy.make(encoders=[encoder], decoders=[decoder])
    save(model, tmp_path / "a")
    back = load(tmp_path / "a")
    assert back.encoders[0].weight is back.decoders[0].weight
    assert not back.encoders[0].bias.requires_grad
    assert back.decoders[0].bias.requires_grad
    assert back.encoders[0].weight.requires_grad


def test_a_tie_that_cannot_be_kept_is_refused(tmp_path: Path, toy: SimpleNamespace) -> None:
    encoder, decoder = nn.Linear(3, 4), nn.Linear(4, 3)
    decoder.weight = nn.Parameter(encoder.weight.detach().t())
    with pytest.raises(ValueError, match=r"'encoders\.0\.weight' and 'decoders\.0\.weight' are different views"):
        save(toy.make(encoders=[encoder], decoders=[decoder]), tmp_path / "a")
    assert names(tmp_path) == []


def test_a_shared_module_is_saved_once_and_shared_again(tmp_path: Path, toy: SimpleNamespace) -> None:
    shared = nn.Linear(3, 3)
    model = toy.make(encoders=[shared, shared], decoders=[nn.Sequential(shared)])
    save(model, tmp_path / "a")
    back = load(tmp_path / "a")
    assert back.encoders[0] is back.encoders[1] is back.decoders[0][0]
    assert len(list(back.parameters())) == 2
    assert_equal_models(back, model)


def test_user_modules_are_asked_for_and_receive_the_weights(tmp_path: Path, toy: SimpleNamespace) -> None:
    model = trained(toy.make(encoders=[toy.Foreign()]))
    save(model, tmp_path / "a")
    with pytest.raises(ValueError, match=r"encoders\[0\]' was a .*conftest\.Foreign.*load\(folder, encoders=\[…\]\)"):
        load(tmp_path / "a")
    mine = toy.Foreign()
    back = load(tmp_path / "a", encoders=[mine])
    assert back.encoders[0] is mine
    assert_equal_models(back, model)


def test_modules_may_replace_what_is_not_opaque_if_the_weights_fit(tmp_path: Path, toy: SimpleNamespace) -> None:
    model = trained(toy.make())
    save(model, tmp_path / "a")
    other = [nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Tanh())]
    back = load(tmp_path / "a", encoders=other)
    assert isinstance(back.encoders[0][2], nn.Tanh)
    assert torch.equal(back.encoders[0][0].weight, model.encoders[0][0].weight)
    before = [nn.Linear(3, 4)]
    untouched = before[0].weight.clone()
    with pytest.raises(
        ValueError,
        match=r"with the encoders you passed, the model does not fit.*'encoders.0.weight' is not in the file",
    ):
        load(tmp_path / "a", encoders=before)
    assert torch.equal(before[0].weight, untouched)
    with pytest.raises(ValueError, match=r"'decoders.0.0.weight' is \(3, 4\) in the file and \(3, 5\) in the model"):
        load(tmp_path / "a", decoders=[nn.Sequential(nn.Linear(5, 3))])


def test_an_opaque_schedule_is_never_dropped_in_silence(tmp_path: Path, toy: SimpleNamespace) -> None:
    def schedule(step: int) -> float:
        return 0.5

    save(toy.make(beta_schedule=schedule), tmp_path / "a")
    with pytest.raises(
        ValueError, match=r"beta_schedule' was a .*schedule.*it is a function.*load\(folder, beta_schedule=…\)"
    ):
        load(tmp_path / "a")
    assert load(tmp_path / "a", beta_schedule=schedule).config.beta_schedule is schedule
    assert load(tmp_path / "a", beta_schedule=None).config.beta_schedule is None


def test_a_field_that_does_not_exist_is_refused(tmp_path: Path, toy: SimpleNamespace) -> None:
    save(toy.make(), tmp_path / "a")
    with pytest.raises(
        ValueError, match="no field 'encoder' to replace; it has beta_schedule, decoders, encoders, pri"
    ):
        load(tmp_path / "a", encoder=[nn.ReLU()])


def test_a_module_shared_with_a_replaced_part_is_asked_for(tmp_path: Path, toy: SimpleNamespace) -> None:
    shared = nn.Linear(3, 3)
    save(toy.make(encoders=[shared], decoders=[shared]), tmp_path / "a")
    with pytest.raises(
        ValueError, match=r"'config.decoders.0.' is the same module as one in a part.*pass 'decoders' too"
    ):
        load(tmp_path / "a", encoders=[nn.Linear(3, 3)])


def test_an_opaque_protocol_is_asked_for(tmp_path: Path, toy: SimpleNamespace) -> None:
    model = toy.make()
    model.protocol = print
    save(model, tmp_path / "a")
    with pytest.raises(ValueError, match=r"entry 'protocol' was a builtins\.print.*load\(folder, protocol=…\)"):
        load(tmp_path / "a")
    assert load(tmp_path / "a", protocol=toy.Protocol(2, ())).protocol == toy.Protocol(2, ())


def test_models_that_cannot_be_described_are_refused(tmp_path: Path, toy: SimpleNamespace) -> None:
    with pytest.raises(TypeError, match=r"save takes an nn.Module; received dict"):
        save({}, tmp_path / "a")
    with pytest.raises(ValueError, match=r"conftest\.Foreign cannot be saved, because its class is not registered"):
        save(toy.Foreign(), tmp_path / "a")
    hooked = toy.make()
    hooked.register_forward_hook(lambda *_: None)
    with pytest.raises(ValueError, match="cannot be saved, because it carries forward or backward hooks"):
        save(hooked, tmp_path / "a")
    changed = toy.make()
    changed.decoders.append(nn.Linear(3, 3))
    with pytest.raises(ValueError, match="because its tensors are not those its constructor arguments make"):
        save(changed, tmp_path / "a")
    with pytest.raises(ValueError, match="has no shape yet: call the model on an example"):
        save(toy.make(encoders=[nn.LazyLinear(3)]), tmp_path / "a")
    with pytest.raises(ValueError, match="is on the meta device"):
        save(toy.make().to("meta"), tmp_path / "a")
    assert names(tmp_path) == []


def test_state_that_is_not_a_tensor_is_refused(tmp_path: Path) -> None:
    @register
    class IoTestExtra(nn.Module):
        def get_extra_state(self) -> object:
            return {"a": 1}

        def set_extra_state(self, state: object) -> None:
            pass

    with pytest.raises(ValueError, match="'_extra_state' is a dict; an artefact holds tensors only"):
        save(IoTestExtra(), tmp_path / "a")


def test_figures_that_json_would_change_are_refused_and_nothing_is_left(tmp_path: Path, toy: SimpleNamespace) -> None:
    save(toy.make(), tmp_path / "a", figures={"elbo": 1.0})
    before = (tmp_path / "a" / "config.json").read_bytes()
    with pytest.raises(ValueError, match=r"figures\.elbo is nan"):
        save(toy.make(), tmp_path / "a", figures={"elbo": float("nan")})
    assert (tmp_path / "a" / "config.json").read_bytes() == before
    assert names(tmp_path) == ["a"]


def test_an_artefact_is_replaced_and_nothing_else_is(tmp_path: Path, toy: SimpleNamespace) -> None:
    save(toy.make(), tmp_path / "a", figures={"first": True})
    save(toy.make(), tmp_path / "a", figures={"second": True})
    assert load(tmp_path / "a").figures == {"second": True}
    assert names(tmp_path) == ["a"]
    (tmp_path / "empty").mkdir()
    save(toy.make(), tmp_path / "empty")
    assert_equal_models(load(tmp_path / "empty"), load(tmp_path / "empty"))

    (tmp_path / "a" / "notes.txt").write_text("mine")
    with pytest.raises(ValueError, match=r"holds 'notes\.txt' beside the artefact; replacing it would delete that"):
        save(toy.make(), tmp_path / "a")
    foreign = tmp_path / "foreign"
    foreign.mkdir()
    write_json(foreign / "config.json", {"model_type": "bert"})
    (foreign / "model.safetensors").write_bytes(b"someone else's")
    with pytest.raises(ValueError, match=r"is not empty and not a .*lucid artefact, so it is not replaced"):
        save(toy.make(), foreign)
    assert names(foreign) == ["config.json", "model.safetensors"]
    (tmp_path / "file").write_text("x")
    with pytest.raises(ValueError, match="is a file; save needs the name of a folder"):
        save(toy.make(), tmp_path / "file")


def test_a_folder_that_is_a_link_is_followed(tmp_path: Path, toy: SimpleNamespace) -> None:
    save(toy.make(), tmp_path / "disk" / "a")
    (tmp_path / "link").symlink_to(tmp_path / "disk" / "a")
    save(toy.make(), tmp_path / "link", figures={"n": 2})
    assert (tmp_path / "link").is_symlink()
    assert load(tmp_path / "link").figures == load(tmp_path / "disk" / "a").figures == {"n": 2}


def test_a_full_disk_leaves_the_old_artefact(tmp_path: Path, toy: SimpleNamespace) -> None:
    save(toy.make(), tmp_path / "a", figures={"old": True})
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (500, before[1]))
    try:
        with pytest.raises(OSError, match=str(tmp_path / "a" / "model.safetensors")):
            save(toy.make(), tmp_path / "a")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert load(tmp_path / "a").figures == {"old": True}
    assert names(tmp_path) == ["a"]


def test_a_parent_that_is_a_file_is_an_os_error(tmp_path: Path, toy: SimpleNamespace) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(OSError, match="file"):
        save(toy.make(), tmp_path / "file" / "a")


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="root writes everywhere")
def test_a_read_only_parent_is_an_os_error(tmp_path: Path, toy: SimpleNamespace) -> None:
    tmp_path.chmod(0o500)
    try:
        with pytest.raises(PermissionError, match=str(tmp_path / "a")):
            save(toy.make(), tmp_path / "a")
    finally:
        tmp_path.chmod(0o700)


@pytest.mark.parametrize("call", range(1, 4))
def test_a_swap_that_fails_leaves_one_whole_artefact(
    tmp_path: Path, toy: SimpleNamespace, monkeypatch: pytest.MonkeyPatch, call: int
) -> None:
    """Whichever rename fails, `load` finds the old artefact or the new one."""
    save(toy.make(), tmp_path / "a", figures={"version": 1})
    real, calls = Path.rename, [0]

    def rename(self: Path, target: Path) -> Path:
        calls[0] += 1
        if calls[0] == call:
            raise PermissionError(13, "Permission denied", str(self))
        return real(self, target)

    monkeypatch.setattr(Path, "rename", rename)
    if call == 3:
        save(toy.make(), tmp_path / "a", figures={"version": 2})  # two renames are all there are
    else:
        with pytest.raises(PermissionError, match=str(tmp_path / "a")):
            save(toy.make(), tmp_path / "a", figures={"version": 2})
    assert load(tmp_path / "a").figures == {"version": 2 if call == 3 else 1}
    assert names(tmp_path) == ["a"]


def test_a_kill_between_the_two_renames_loses_nothing(tmp_path: Path, toy: SimpleNamespace) -> None:
    save(toy.make(), tmp_path / "a", figures={"version": 1})
    (tmp_path / "a").rename(tmp_path / ".a.previous")
    assert load(tmp_path / "a").figures == {"version": 1}
    save(toy.make(), tmp_path / "a", figures={"version": 2})
    assert load(tmp_path / "a").figures == {"version": 2}
    assert names(tmp_path) == ["a"]


def test_a_kill_after_the_two_renames_loses_nothing(tmp_path: Path, toy: SimpleNamespace) -> None:
    save(toy.make(), tmp_path / "a", figures={"version": 1})
    shutil.copytree(tmp_path / "a", tmp_path / ".a.previous")
    save(toy.make(), tmp_path / "a", figures={"version": 2})
    assert load(tmp_path / "a").figures == {"version": 2}
    assert names(tmp_path) == ["a"]


def test_the_weights_are_a_plain_safetensors_file(tmp_path: Path, toy: SimpleNamespace) -> None:
    model = toy.make()
    save(model, tmp_path / "a")
    shapes = tensor_shapes(tmp_path / "a" / "model.safetensors")
    assert shapes == {name: item.shape for name, item in model.state_dict().items()}
