"""Volumes as clips: which voxel lands where, what is refused."""

from __future__ import annotations

from pathlib import Path

import nibabel
import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import given
from hypothesis import strategies as st

from enrich_assets.studies.decoding import read_mask_volume, read_volume
from enrich_assets.studies.errors import UnreadableFile
from enrich_assets.studies.readers import read_clip, read_mask

AXES = {"R": (0, 1), "L": (0, -1), "A": (1, 1), "P": (1, -1), "S": (2, 1), "I": (2, -1)}  # in nibabel's RAS millimetres
ORIENTATIONS = ("RAS", "LPS", "LAS", "PIR", "ASL", "SPR")


def nifti(folder: Path, array: np.ndarray, orientation: str = "RAS", name: str = "v.nii.gz") -> Path:
    """array : (i, j, k), whose axes go to the sides that `orientation` names (nibabel's convention)."""
    affine = np.eye(4)
    affine[:3, :3] = 0
    for axis, side in enumerate(orientation):
        row, sign = AXES[side]
        affine[row, axis] = sign
    nibabel.save(nibabel.Nifti1Image(array, affine), folder / name)
    return folder / name


def landmark(orientation: str, side: str, shape: tuple[int, int, int]) -> np.ndarray:
    """A volume that is bright in the outermost layer towards a side of the patient."""
    array = np.zeros(shape, np.uint8)
    axis = next(k for k, letter in enumerate(orientation) if AXES[letter][0] == AXES[side][0])
    index = [slice(None)] * 3
    index[axis] = slice(-1, None) if orientation[axis] == side else slice(0, 1)
    array[tuple(index)] = 200
    return array


@pytest.mark.parametrize("orientation", ORIENTATIONS)
@pytest.mark.parametrize(("plane", "top", "left"), [("axial", "A", "R"), ("coronal", "S", "R"), ("sagittal", "S", "A")])
def test_a_stated_plane_shows_the_patient_as_radiologists_look_however_the_file_lies(
    orientation, plane, top, left, tmp_path
):
    up = nifti(tmp_path, landmark(orientation, top, (4, 5, 6)), orientation, "up.nii.gz")
    aside = nifti(tmp_path, landmark(orientation, left, (4, 5, 6)), orientation, "aside.nii.gz")

    frames = read_volume(str(up), up.read_bytes(), plane).frames
    assert (frames[:, 0] == 200).all()
    assert not frames[:, 1:].any()
    frames = read_volume(str(aside), aside.read_bytes(), plane).frames
    assert (frames[:, :, 0] == 200).all()
    assert not frames[:, :, 1:].any()


@given(shape=st.tuples(*(st.integers(2, 5) for _ in range(3))), seed=st.integers(0, 2**16))
def test_stored_slices_are_the_files_last_axis_and_nothing_is_turned(shape, seed, tmp_path_factory):
    array = np.random.default_rng(seed).integers(0, 256, shape, np.uint8)
    file = nifti(tmp_path_factory.mktemp("v"), array, "LAS", "v.nii")
    clip = read_volume(str(file), file.read_bytes())
    assert np.array_equal(clip.frames, array.transpose(2, 1, 0))


@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_how_a_file_lies_is_recorded(orientation, tmp_path):
    file = nifti(tmp_path, np.zeros((2, 3, 4), np.uint8), orientation)
    assert read_clip(str(file)).kept["orientation"] == orientation


def test_all_four_formats_show_the_same_slices(tmp_path):
    array = np.random.default_rng(0).integers(0, 256, (3, 4, 5), np.uint8)
    for suffix in (".nii", ".nii.gz", ".mha", ".nrrd"):
        file = tmp_path / f"v{suffix}"
        sitk.WriteImage(sitk.GetImageFromArray(array), str(file))
        assert np.array_equal(read_clip(str(file)).frames, array), suffix


def test_a_volume_over_time_is_shown_volume_after_volume(tmp_path):
    array = np.random.default_rng(0).integers(0, 256, (2, 3, 4, 5), np.uint8)  # i, j, k, t
    frames = read_clip(str(nifti(tmp_path, array))).frames
    assert np.array_equal(frames, array.transpose(3, 2, 1, 0).reshape(20, 3, 2))


def test_a_two_dimensional_image_is_one_frame_and_has_no_other_plane(tmp_path):
    array = np.arange(12, dtype=np.uint8).reshape(3, 4)
    file = tmp_path / "v.nii.gz"
    sitk.WriteImage(sitk.GetImageFromArray(array), str(file))
    assert np.array_equal(read_clip(str(file)).frames, array[None])
    with pytest.raises(UnreadableFile, match="is one image, and the profile asks for axial slices"):
        read_clip(str(file), plane="axial")


def test_values_are_stretched_over_the_whole_volume_and_one_outlier_blackens_nothing(tmp_path):
    array = np.linspace(-1000, 1000, 4000, dtype=np.float32).reshape(10, 20, 20)
    array[0, 0, 0], array[1, 0, 0] = 1e9, np.nan
    frames = read_clip(str(nifti(tmp_path, array))).frames
    assert frames.max() == 255
    assert 120 < np.median(frames) < 136


def test_masks_are_cut_like_their_volume(tmp_path):
    image = np.random.default_rng(0).integers(0, 256, (4, 5, 6), np.uint8)
    mask = (image > 128).astype(np.int16)
    image_file, mask_file = nifti(tmp_path, image, "PIR"), nifti(tmp_path, mask, "PIR", "mask.nii.gz")
    for plane in ("stored", "axial", "coronal", "sagittal"):
        clip = read_clip(str(image_file), plane=plane)
        for k, frame in enumerate(clip.frames):
            read = read_mask(str(mask_file), 2, frame.shape, page=k, page_each=True, plane=plane)
            assert np.array_equal(read, frame > 128)


def test_a_mask_of_soft_edges_is_refused(tmp_path):
    file = nifti(tmp_path, np.full((2, 3, 4), 0.5, np.float32))
    with pytest.raises(UnreadableFile, match="no class index"):
        read_mask_volume(str(file), file.read_bytes())


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("v.mhd", b"ObjectType = Image\nElementDataFile = v.raw\n", "pixels lie in another file"),
        ("v.hdr", b"\0" * 348, "pixels lie in another file"),
        ("v.mha", b"ObjectType = Image\nNDims = 2\nDimSize = 4 4\nElementType = MET_UCHAR\nElementDataFile = /etc/passwd\n", "names another file"),
        ("v.nrrd", b"NRRD0004\ntype: uchar\ndimension: 2\nsizes: 4 4\nencoding: raw\ndata file: /etc/passwd\n\n", "names another file"),
        ("v.nii", b"\x5c\x01\0\0" + b"\0" * 340 + b"ni1\0", "names another file"),
        ("v.nii.gz", b"\x1f\x8b\x08", "is not whole"),
        ("v.nii", b"nothing", "does not decode"),
        ("v.mha", b"ObjectType = Image\nNDims = 3\nDimSize = 60000 60000 60000\nElementType = MET_UCHAR\nElementDataFile = LOCAL\n", "more than can be one clip"),
    ],
)  # fmt: skip
def test_what_points_elsewhere_or_is_no_volume_is_refused_by_name(name, content, says, tmp_path):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UnreadableFile, match=says) as refused:
        read_clip(str(tmp_path / name))
    assert name in str(refused.value)


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("suffix", [".nii", ".nii.gz", ".mha", ".nrrd"])
def test_a_volume_cut_off_is_refused(suffix, compressed, tmp_path):
    array = np.random.default_rng(0).integers(0, 256, (30, 30, 30), np.uint8)
    whole = tmp_path / f"whole{suffix}"
    sitk.WriteImage(sitk.GetImageFromArray(array), str(whole), compressed)
    for share in (0.5, 0.999):
        cut = tmp_path / f"cut{share}{suffix}"
        cut.write_bytes(whole.read_bytes()[: int(share * whole.stat().st_size)])
        with pytest.raises(UnreadableFile, match=cut.name):
            read_clip(str(cut))


def test_colours_are_refused(tmp_path):
    file = tmp_path / "v.mha"
    sitk.WriteImage(sitk.GetImageFromArray(np.zeros((2, 3, 4, 3), np.uint8), isVector=True), str(file))
    with pytest.raises(UnreadableFile, match="3 values at each place"):
        read_clip(str(file))
