"""A panel too large for one sitting: killed between two blocks, it goes on with the next one, to the same content."""

from __future__ import annotations

from pathlib import Path

import pytest

from enrich_assets.method.pairs import blocks
from enrich_assets.store.receipts import DamagedStore
from enrich_assets_tests.made_home import file_of, make, opened, receipt


class Killed(Exception):
    pass


@pytest.mark.parametrize("key", ["view/similarity/vae", "archive/similarity/vae"])
def test_a_killed_panel_goes_on_with_the_next_block(small: Path, key: str, monkeypatch: pytest.MonkeyPatch) -> None:
    before = receipt(opened(small), key, "first")
    monkeypatch.setattr(blocks, "PAIRS_OF_A_BLOCK", before.metrics["pairs"] // 3)
    monkeypatch.setattr(blocks, "PAIRS_OF_A_PART", 1)
    whole, begins = blocks.all_pairs, []

    def one_block(*args: object, n_earlier: int, **options: object) -> object:
        begins.append(n_earlier)
        if len(begins) == 2:
            raise Killed
        return whole(*args, n_earlier=n_earlier, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(blocks, "all_pairs", one_block)
    with pytest.raises(Killed):
        make(opened(small), key, "first")
    made = make(opened(small), key, "first")
    assert made.receipt.digest == before.digest
    assert begins[0] == 0
    assert begins[2] == begins[1] > 0  # the block that was cut off; the first one is not counted again


def test_earlier_panels_that_cannot_be_read_cost_time_and_nothing_else(small: Path) -> None:
    """They spare a pass some work; what it finds does not hang on them."""
    from enrich_assets.archive.curation import Panels

    archive = opened(small)
    file_of(archive, "view/similarity/vae", "first", "panel/neighbours.npy").unlink()
    panels = Panels(archive.store, {"first": receipt(archive, "view/similarity/vae", "first")})
    with pytest.raises(DamagedStore):
        panels.total()
    assert panels.total_for(10, 3) is None
