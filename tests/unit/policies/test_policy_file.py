from __future__ import annotations

from pathlib import Path

import pytest
import torch

from inril.config.base import TaskSpec
from inril.config.policy import DiffusionConfig, GaussianConfig, UNetConfig
from inril.errors import InputError
from inril.policies.policy_file import PolicySpec, load_policy, save_policy
from inril.tensor_file import write_tensors


@pytest.fixture
def specs(task: TaskSpec, diffusion_config: DiffusionConfig, gaussian_config: GaussianConfig) -> dict[str, PolicySpec]:
    unet = diffusion_config.model_copy(update={"network": UNetConfig(kind="unet", widths=(8, 16))})
    return {
        "diffusion": PolicySpec(task=task, policy=diffusion_config, horizon_steps=3),
        "unet": PolicySpec(task=task, policy=unet, horizon_steps=4),
        "gaussian": PolicySpec(task=task, policy=gaussian_config, horizon_steps=3),
    }


def message(path: Path, task: TaskSpec) -> str:
    with pytest.raises(InputError) as caught:
        load_policy(path, task)
    text = str(caught.value)
    assert "\n" not in text
    assert str(path) in text
    return text.replace(str(path), "FILE")


@pytest.mark.parametrize("kind", ["diffusion", "unet", "gaussian"])
def test_policy_comes_back_and_acts_the_same(
    tmp_path: Path, task: TaskSpec, specs: dict[str, PolicySpec], kind: str
) -> None:
    policy = specs[kind].build()
    policy.normalizer.obs_max.fill_(2.5)
    save_policy(tmp_path / "policy.safetensors", specs[kind], policy.state_dict(), {"step": 3})
    loaded, spec = load_policy(tmp_path / "policy.safetensors", task)
    assert spec == specs[kind]
    obs = torch.randn(4, 5, generator=torch.Generator().manual_seed(0))
    actions = [p.act(obs, torch.Generator().manual_seed(1)) for p in (policy, loaded)]
    assert torch.equal(*actions)


def test_policy_of_another_task_is_refused(tmp_path: Path, task: TaskSpec, specs: dict[str, PolicySpec]) -> None:
    path = tmp_path / "policy.safetensors"
    save_policy(path, specs["gaussian"], specs["gaussian"].build().state_dict(), {})
    assert message(path, task.model_copy(update={"id": "walker2d"})) == (
        "FILE: task: expected 'walker2d', got 'hopper'. Give the policy that was pre-trained for this task"
    )


def test_weights_of_other_sizes_are_refused(tmp_path: Path, task: TaskSpec, specs: dict[str, PolicySpec]) -> None:
    path = tmp_path / "policy.safetensors"
    save_policy(path, specs["diffusion"], specs["gaussian"].build().state_dict(), {})
    assert message(path, task).startswith("FILE: weights: expected the weights of diffusion, got Error(s) in loading")


def test_settings_that_do_not_fit_are_refused(tmp_path: Path, task: TaskSpec, specs: dict[str, PolicySpec]) -> None:
    path = tmp_path / "policy.safetensors"
    spec = specs["gaussian"].model_dump(mode="json")
    spec["horizon_steps"] = "many"
    write_tensors(path, "policy", specs["gaussian"].build().state_dict(), {"spec": spec})
    text = message(path, task)
    assert text.startswith("FILE: spec.horizon_steps: expected")
    assert text.endswith("got 'many'")
    spec = specs["unet"].model_dump(mode="json") | {"horizon_steps": 5}
    write_tensors(path, "policy", specs["unet"].build().state_dict(), {"spec": spec})
    assert "horizon_steps to be a multiple of 2 for a U-Net of 2 levels" in message(path, task)
    write_tensors(path, "policy", {}, {})
    assert message(path, task).startswith("FILE: spec: expected")


def test_checkpoint_is_no_policy(tmp_path: Path, task: TaskSpec) -> None:
    write_tensors(tmp_path / "c.safetensors", "checkpoint", {}, {})
    assert message(tmp_path / "c.safetensors", task) == ("FILE: kind: expected 'policy', got 'checkpoint'")
