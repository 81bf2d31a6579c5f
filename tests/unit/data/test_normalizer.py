from __future__ import annotations

import numpy as np
import pytest
import torch

from inril.data.normalizer import Normalizer


@pytest.fixture
def arrays() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    obs = rng.normal(3, 5, (100, 4)).astype(np.float32)
    action = rng.uniform(-2, 1, (100, 3)).astype(np.float32)
    obs[:, 1] = 7.5
    action[:, 2] = -0.25
    return obs, action


def test_extremes_map_to_plus_and_minus_one(arrays: tuple[np.ndarray, np.ndarray]) -> None:
    normalizer = Normalizer.fit(*arrays)
    obs = normalizer.normalize_obs(torch.from_numpy(arrays[0]))[:, [0, 2, 3]]
    np.testing.assert_allclose(obs.amin(0), -1, atol=1e-6)
    np.testing.assert_allclose(obs.amax(0), 1, atol=1e-6)


def test_formula(arrays: tuple[np.ndarray, np.ndarray]) -> None:
    obs, action = arrays
    normalizer = Normalizer.fit(obs, action)
    low, high = action.min(0).astype(np.float64), action.max(0).astype(np.float64)
    x = np.array([0.3, -1.7, -0.25], dtype=np.float32)
    np.testing.assert_allclose(
        normalizer.normalize_action(torch.from_numpy(x)), 2 * (x - low) / (high - low + 1e-6) - 1, rtol=1e-5
    )
    np.testing.assert_allclose(
        normalizer.denormalize_action(torch.from_numpy(x)), (x + 1) / 2 * (high - low) + low, rtol=1e-5
    )


def test_environments_are_read_and_written_in_raw_float64(arrays: tuple[np.ndarray, np.ndarray]) -> None:
    normalizer = Normalizer.fit(*arrays)
    normalizer.clip = 0.5
    obs, action = (torch.from_numpy(array[:6]) for array in arrays)
    assert torch.equal(normalizer.from_env(obs.double().numpy()), normalizer.normalize_obs(obs))
    chunk = normalizer.to_env(action)
    assert chunk.dtype == np.float64
    np.testing.assert_array_equal(chunk, normalizer.denormalize_action(action).numpy())


@pytest.mark.parametrize("shape", [(), (5,), (2, 6), (2, 3, 4)])
def test_round_trip_with_constant_dimensions(arrays: tuple[np.ndarray, np.ndarray], shape: tuple[int, ...]) -> None:
    normalizer = Normalizer.fit(*arrays)
    index = torch.randint(100, shape, generator=torch.Generator().manual_seed(0))
    action = torch.from_numpy(arrays[1])[index]
    assert action.shape == (*shape, 3)
    torch.testing.assert_close(
        normalizer.denormalize_action(normalizer.normalize_action(action)), action, rtol=0, atol=3e-6
    )


def test_constant_dimensions_stay_finite(arrays: tuple[np.ndarray, np.ndarray]) -> None:
    normalizer = Normalizer.fit(*arrays)
    assert torch.equal(normalizer.normalize_obs(torch.from_numpy(arrays[0]))[:, 1], torch.full((100,), -1.0))
    assert torch.equal(normalizer.denormalize_action(torch.randn(100, 3))[:, 2], torch.full((100,), -0.25))


def test_nothing_is_clamped(arrays: tuple[np.ndarray, np.ndarray]) -> None:
    normalizer = Normalizer.fit(*arrays)
    assert normalizer.normalize_obs(torch.full((4,), 1e3))[0] > 10
    assert normalizer.denormalize_action(torch.full((3,), 3.0))[0] > normalizer.action_max[0]


def test_state_is_saved_with_the_policy(arrays: tuple[np.ndarray, np.ndarray]) -> None:
    fitted, restored = Normalizer.fit(*arrays), Normalizer(4, 3)
    assert set(fitted.state_dict()) == {"obs_min", "obs_max", "action_min", "action_max"}
    restored.load_state_dict(fitted.state_dict())
    obs = torch.from_numpy(arrays[0])
    assert torch.equal(restored.normalize_obs(obs), fitted.normalize_obs(obs))
    assert not list(fitted.parameters())


def test_observations_are_bounded_and_actions_are_not(arrays: tuple[np.ndarray, np.ndarray]) -> None:
    obs, action = arrays
    normalizer = Normalizer.fit(obs, action)
    far = torch.from_numpy(obs + np.array([1e3, 1e-3, 0.0, -1e3], dtype=np.float32))
    free = normalizer.normalize_obs(far)
    assert free[:, 1].abs().max() > 100  # a constant dimension is steep
    normalizer.clip = 3.0
    torch.testing.assert_close(normalizer.normalize_obs(far), free.clamp(-3, 3))
    assert normalizer.normalize_action(torch.tensor([100.0, 0.0, 0.0])).max() > 3
    assert "clip" not in normalizer.state_dict()


def test_narrow_ranges_are_widened_about_their_middle(arrays: tuple[np.ndarray, np.ndarray]) -> None:
    obs, action = arrays
    obs[:, 0] = np.linspace(2.0, 2.1, 100)
    plain, widened = Normalizer.fit(obs, action), Normalizer.fit(obs, action, range_floor=0.5)
    assert widened.obs_min[:2].tolist() == pytest.approx([1.8, 6.5])  # 0.5 about 2.05; a constant 7.5 by 1 either side
    assert widened.obs_max[:2].tolist() == pytest.approx([2.3, 8.5])
    for name in ("obs_min", "obs_max"):
        assert torch.equal(getattr(widened, name)[2:], getattr(plain, name)[2:])
    assert torch.equal(widened.action_min, plain.action_min)
    constants_alone = Normalizer.fit(obs, action, range_floor=0.0)
    assert constants_alone.obs_min[:2].tolist() == pytest.approx([2.0, 6.5])
