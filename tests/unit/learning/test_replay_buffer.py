from __future__ import annotations

import torch

from inril.learning.replay_buffer import Replay
from inril.tensor_file import pack, unpack

N_ENVS = 3


def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def filled(n_added: int, n_rows: int = 4) -> Replay:
    """Row r of environment e holds 10 r + e in every array."""
    replay = Replay(n_rows, N_ENVS, obs_dim=2, chunk_shape=(2, 1))
    for row in range(n_added):
        mark = 10.0 * row + torch.arange(N_ENVS)
        obs, chunk = mark[:, None].expand(-1, 2), mark[:, None, None].expand(-1, 2, 1)
        replay.add(obs, chunk, mark, obs + 0.5, (mark % 2 == 0).float(), (mark % 3 == 0).float())
    return replay


def drawn(replay: Replay) -> set[float]:
    return set(replay.sample(generator(), 500).reward.tolist())


def marks(rows: range) -> set[float]:
    return {10.0 * row + env for row in rows for env in range(N_ENVS)}


def test_only_what_was_stored_is_drawn_and_all_of_it() -> None:
    replay = filled(2)
    assert len(replay) == 2 * N_ENVS
    assert drawn(replay) == marks(range(2))


def test_the_oldest_rows_are_overwritten() -> None:
    replay = filled(6)
    assert len(replay) == 4 * N_ENVS
    assert drawn(replay) == marks(range(2, 6))


def test_arrays_of_a_transition_stay_together() -> None:
    batch = filled(6).sample(generator(), 50)
    assert torch.equal(batch.obs[:, 1], batch.reward)
    assert torch.equal(batch.chunk[:, 1, 0], batch.reward)
    assert torch.equal(batch.next_obs[:, 0], batch.reward + 0.5)
    assert torch.equal(batch.terminated, (batch.reward % 2 == 0).float())
    assert torch.equal(batch.truncated, (batch.reward % 3 == 0).float())


def test_halves_share_no_environment() -> None:
    envs = [set((filled(6).sample_half(generator(), 200, half).reward % 10).tolist()) for half in (0, 1)]
    assert envs == [{0.0, 2.0}, {1.0}]


def test_rows_come_in_order_of_time() -> None:
    for n_added, rows in ((2, range(2)), (4, range(4)), (6, range(2, 6)), (9, range(5, 9))):
        ordered = filled(n_added).in_order()
        assert ordered.reward.tolist() == [[10.0 * row + env for env in range(N_ENVS)] for row in rows]
        assert torch.equal(ordered.chunk[..., 1, 0], ordered.reward)


def test_chunks_are_exchanged_where_they_lie_and_nothing_else() -> None:
    replay = filled(6)
    position = torch.tensor([1, 7, 7])
    before = replay[torch.arange(12)]
    replay.write_chunks(position, torch.tensor([-1.0, -2.0, -2.0])[:, None, None].expand(-1, 2, 1))
    after = replay[torch.arange(12)]
    expected = before.chunk.clone()
    expected[1], expected[7] = -1.0, -2.0
    assert torch.equal(after.chunk, expected)
    for a, b in zip(before._replace(chunk=after.chunk), after, strict=True):
        assert torch.equal(a, b)


def test_a_restored_buffer_goes_on_like_the_first() -> None:
    for n_added in (2, 6):
        replay, restored = filled(n_added), Replay(4, N_ENVS, 2, (2, 1))
        restored.load_state_dict(unpack(*pack(replay.state_dict())))
        for buffer in (replay, restored):
            buffer.add(torch.ones(3, 2), torch.ones(3, 2, 1), torch.ones(3), *[torch.ones(3, 2)], *[torch.ones(3)] * 2)
        for a, b in zip(replay.sample(generator(), 99), restored.sample(generator(), 99), strict=True):
            assert torch.equal(a, b)
