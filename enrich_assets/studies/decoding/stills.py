"""Still images: PNG, JPEG, BMP, WebP through Pillow, TIFF (each page a frame) through OpenCV.

Pillow and not OpenCV for the former, because OpenCV hands out half an image when the file is cut off and says
nothing. The EXIF orientation is honoured; nothing else of the metadata is read.
"""

from __future__ import annotations

import io

import cv2
import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from enrich_assets.studies.decoding.clip import Clip, refuse_absurd_size
from enrich_assets.studies.decoding.greyscale import to_eight_bits, to_grey
from enrich_assets.studies.errors import UnreadableFile

_AS_THEY_ARE = ("L", "LA", "RGB", "RGBA", "I;16", "I;16B", "I;16L", "I", "F")
_EXIF_ORIENTATION = 0x0112
_PHOTOMETRIC = 262
_PNG = b"\x89PNG\r\n\x1a\n"
_TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")


def read_still(path: str, content: bytes) -> Clip:
    """The image, or all pages of a TIFF or frames of an animation that have the size of the largest.

    Parameters
    ----------
    path : str
        For messages.
    content : bytes
        The whole file.

    Raises
    ------
    UnreadableFile
        Whatever does not decode to the last pixel.
    """
    reason = ""
    try:
        if content.startswith(_TIFF):
            return _read_tiff(path, content)
        with Image.open(io.BytesIO(content)) as image:
            pages = getattr(image, "n_frames", 1)
            refuse_absurd_size(path, image.height, image.width, pages)
            if image.format == "MPO":  # a JPEG with previews of other sizes behind it
                pages = 1
            frames = []
            for page in range(pages):
                if pages > 1:
                    image.seek(page)
                frames.append(_pixels(image))
            if content.startswith(_PNG) and content[24] == 16 and image.mode in ("RGB", "RGBA") and pages == 1:
                # Pillow keeps the upper 8 of 16 bits; that the file is whole was just proved.
                deep = cv2.imdecode(
                    np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED | cv2.IMREAD_IGNORE_ORIENTATION
                )
                assert deep is not None
                frames = [to_grey(deep, order="BGR")]
        return Clip(to_eight_bits(frames[0][None] if pages == 1 else np.stack(frames)))
    except UnreadableFile:
        raise
    except Image.DecompressionBombError:
        reason = "announces more pixels than an image of a patient has"
    except Exception as error:
        reason = f"does not decode as an image ({type(error).__name__}); it may be cut off"
    raise UnreadableFile(path, reason, "export or copy it again")


def _pixels(image: Image.Image) -> np.ndarray:
    """The page that Pillow stands at, upright, in grey of 8 or 16 bits, int32 or float."""
    if image.mode in ("P", "PA"):
        image = image.convert("RGBA" if "transparency" in image.info or image.mode == "PA" else "RGB")
    elif image.mode == "1":
        image = image.convert("L")
    elif image.mode not in _AS_THEY_ARE:  # CMYK, YCbCr, LAB, ...
        image = image.convert("RGB")
    if image.format == "JPEG" or "exif" in image.info:
        turned = image.getexif().get(_EXIF_ORIENTATION, 1)
        if turned != 1:
            image = ImageOps.exif_transpose(image)
    pixels = np.asarray(image)
    if pixels.dtype.byteorder == ">":
        pixels = pixels.astype(pixels.dtype.newbyteorder("="))
    if pixels.dtype == np.int32:  # Pillow's mode for some 16-bit files
        pixels = pixels.astype(np.uint16) if pixels.min() >= 0 and pixels.max() < 1 << 16 else pixels
    return to_grey(pixels)


def _read_tiff(path: str, content: bytes) -> Clip:
    try:
        with Image.open(io.BytesIO(content)) as image:
            n_pages = getattr(image, "n_frames", 1)
            refuse_absurd_size(path, image.height, image.width, n_pages)
            white_is_zero = image.tag_v2.get(_PHOTOMETRIC) == 0  # type: ignore[attr-defined]
    except UnidentifiedImageError:  # 64-bit floats, say, which OpenCV does read
        n_pages, white_is_zero = 0, False
    whole, pages = cv2.imdecodemulti(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED)
    if not whole or not len(pages):
        raise UnreadableFile(
            path,
            "does not decode as TIFF: cut off, or of an unusual kind",
            "export it again with 8 or 16 bits, or as PNG",
        )
    frames = [to_grey(page, order="BGR") for page in pages]
    if white_is_zero:  # OpenCV turns 8 bits round, and leaves 16 as they are
        frames = [frame if frame.dtype == np.uint8 else ~frame for frame in frames]
    largest = max(frames, key=lambda frame: frame.size)  # the others are thumbnails, or the steps of a pyramid
    same = [frame for frame in frames if frame.shape == largest.shape and frame.dtype == largest.dtype]
    warnings = []
    if len(same) < len(frames):
        warnings.append(f"left out {len(frames) - len(same)} pages of another size than the largest")
    if len(frames) < n_pages:
        warnings.append(f"is damaged: {len(frames)} of {n_pages} pages could be read")
    return Clip(to_eight_bits(np.stack(same)), warnings=warnings, is_partial=len(frames) < n_pages)
