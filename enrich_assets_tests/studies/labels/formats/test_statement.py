"""What the formats share: polygons painted, moments told in UTC."""

from __future__ import annotations

import numpy as np

from enrich_assets.studies.labels.formats.statement import polygons_to_pixels, utc


def test_a_polygon_on_pixel_edges_covers_whole_pixels() -> None:
    expected = np.zeros((6, 10), bool)
    expected[1:4, 2:5] = True
    assert np.array_equal(polygons_to_pixels([[2, 1, 5, 1, 5, 4, 2, 4]], 6, 10), expected)


def test_moments_are_told_in_utc() -> None:
    assert utc("2024-01-30T02:40:43.893565Z") == "2024-01-30T02:40:43.893+00:00"
    assert utc("2024-01-30 02:40") == "2024-01-30T02:40:00.000+00:00"
    assert utc("yesterday") is None
    assert utc(None) is None
