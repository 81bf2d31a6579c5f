from __future__ import annotations

import copy
from typing import Any, cast

from inril.policies.chain_sampler import ChainSampler


def test_copies_record_their_own_chains() -> None:
    sampler = ChainSampler([], cast(Any, None), [0.1])
    sampler._recordings[4] = cast(Any, object())  # replays the weights where this sampler has them
    other = copy.deepcopy(sampler)
    assert other._recordings == {}
    assert other.std == [0.1]
    assert len(sampler._recordings) == 1
