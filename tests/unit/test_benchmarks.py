"""What benchmarks count; what they time is never asserted."""

from __future__ import annotations

import torch

from benchmarks.products import Products


def test_operations_of_products_are_counted_those_of_no_rows_too() -> None:
    some, none, weight = torch.randn(8, 4), torch.randn(0, 4), torch.randn(4, 2)
    with Products() as products:
        some @ weight
        none @ weight
        none.t() @ torch.randn(0, 3)
        torch.addmm(torch.randn(2), some, weight)
        torch.bmm(some.view(2, 4, 4), some.view(2, 4, 4))
    assert products.operations == 2 * (8 * 4 * 2 + 8 * 4 * 2 + 2 * 4 * 4 * 4)
    assert products.seconds > 0
