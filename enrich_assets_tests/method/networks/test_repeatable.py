"""Seeds that are stable, and a caller whose random numbers are left alone."""

from __future__ import annotations

import torch

from enrich_assets.method.networks.repeatable import derived_seed, repeatable

CPU = torch.device("cpu")


def test_seeds_of_different_purposes_differ_and_are_stable():
    cells = [(seed, purpose, epoch) for seed in range(5) for purpose in range(3) for epoch in range(20)]
    seeds = {derived_seed(*cell) for cell in cells}
    assert len(seeds) == 300
    assert derived_seed(7, 1, 2) == derived_seed(7, 1, 2)


def test_the_callers_random_numbers_are_left_alone():
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    with repeatable(CPU):
        torch.manual_seed(99)
        torch.rand(10)
    assert torch.equal(torch.rand(3), expected)
