"""A frame's id in the name of its image, and back."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from enrich_assets.studies.frame_names import FrameNames, image_name


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.text(min_size=1, max_size=12), st.text(min_size=1, max_size=12), st.integers(0, 10**6))
def test_a_frame_id_survives_in_the_name_of_its_image(study: str, clip: str, index: int) -> None:
    frame = f"{study.replace('/', '-')}/{clip.replace('/', '-')}/{index}"
    if not frame.isprintable():
        return
    for name in (image_name(frame), "w_images/" + image_name(frame, 12), "0badcafe-" + image_name(frame, 3)):
        assert FrameNames([frame]).find([name]) == frame
        if "badcafe" not in name or "_-" in name:
            assert FrameNames().find([name]) == frame
    assert all(c.isascii() and (c.isalnum() or c in "-_.") for c in image_name(frame))


def test_a_name_too_long_for_a_file_system_is_found_among_known_frames() -> None:
    frame = "s" * 300 + "/c/0"
    assert len(image_name(frame, 1)) < 200
    assert FrameNames([frame, "s/c/1"]).find([image_name(frame, 1)]) == frame
    assert FrameNames(["s/c/1"]).find([image_name(frame, 1)]) is None
