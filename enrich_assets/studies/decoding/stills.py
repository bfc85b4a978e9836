"""Still images: PNG, JPEG, BMP, WebP through Pillow, TIFF (each page a frame) through OpenCV.

Pillow and not OpenCV for the former, because OpenCV hands out half an image when the file is cut off and says
nothing. The EXIF orientation is honoured; nothing else of the metadata is read.
"""

from __future__ import annotations

import io
import struct

import cv2
import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from enrich_assets.studies.decoding.clip import Clip, refuse_absurd_bytes, refuse_absurd_size
from enrich_assets.studies.decoding.greyscale import to_eight_bits, to_grey
from enrich_assets.studies.errors import UnreadableFile

_AS_THEY_ARE = ("L", "LA", "RGB", "RGBA", "I;16", "I;16B", "I;16L", "I", "F")
_EXIF_ORIENTATION = 0x0112
_PHOTOMETRIC, _BITS = 262, 258
MAX_CLIP_PAGES = 10_000
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
            refuse_absurd_size(path, image.height, image.width, pages, _bytes_per_pixel(image))
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
        return Clip(_eight_bits(path, frames[0][None] if pages == 1 else np.stack(frames)))
    except (UnreadableFile, MemoryError):
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


def _bytes_per_pixel(image: Image.Image) -> int:
    """Of all channels, as Pillow holds them."""
    deep = (
        {"I": 4, "F": 4}.get(image.mode[:1], 1) if len(image.mode) == 1 else 2 if image.mode.startswith("I;16") else 1
    )
    return deep * len(image.getbands())


def _eight_bits(path: str, frames: np.ndarray) -> np.ndarray:
    """`to_eight_bits`, of something that is there to be seen. Raises UnreadableFile."""
    if frames.dtype.kind == "f" and not np.isfinite(frames).any():
        raise UnreadableFile(path, "holds no number in any pixel (all are NaN or infinite)", "export it again")
    return to_eight_bits(frames)


def _read_tiff(path: str, content: bytes) -> Clip:
    n_pages, white_is_zero = _tiff_header(path, content)
    encoded = np.frombuffer(content, np.uint8)
    frames: list[np.ndarray] = []  # of the largest size so far
    n_read = 0
    while n_read < (n_pages or MAX_CLIP_PAGES):
        whole, pages = cv2.imdecodemulti(encoded, cv2.IMREAD_UNCHANGED, range=(n_read, n_read + 1))
        if not whole or not len(pages):
            break
        frame = to_grey(pages[0], order="BGR")
        if white_is_zero and frame.dtype != np.uint8:  # OpenCV turns 8 bits round, and leaves 16 as they are
            frame = ~frame
        n_read += 1
        if frames and frame.size > frames[0].size:  # smaller ones are thumbnails, or the steps of a pyramid
            frames.clear()
        if not frames or (frame.shape == frames[0].shape and frame.dtype == frames[0].dtype):
            frames.append(frame)
            refuse_absurd_bytes(path, frame.nbytes * len(frames))
    if not frames:
        raise UnreadableFile(
            path,
            "does not decode as TIFF: cut off, or of an unusual kind",
            "export it again with 8 or 16 bits, or as PNG",
        )
    warnings = []
    if len(frames) < n_read:
        warnings.append(f"left out {n_read - len(frames)} pages of another size than the largest")
    if n_read < n_pages:
        warnings.append(f"is damaged: {n_read} of {n_pages} pages could be read")
    return Clip(_eight_bits(path, np.stack(frames)), warnings=warnings, is_partial=n_read < n_pages)


def _has_too_many_pages(content: bytes) -> bool:
    """Whether the chain of its directories goes on beyond what a clip has: Pillow's count takes the square of their number."""
    order, big = "<" if content[:1] == b"I" else ">", content[2:4] in (b"+\0", b"\0+")
    count, entry, offset = ("Q", 20, "Q") if big else ("H", 12, "I")
    at = 8 if big else 4
    try:
        for _ in range(MAX_CLIP_PAGES + 1):
            (directory,) = struct.unpack_from(order + offset, content, at)
            if not directory:
                return False
            (entries,) = struct.unpack_from(order + count, content, directory)
            at = directory + struct.calcsize(order + count) + entries * entry
    except struct.error:  # it leads out of the file: what there is before is read
        return False
    return True


def _tiff_header(path: str, content: bytes) -> tuple[int, bool]:
    """How many pages it announces (0: Pillow cannot tell) and whether white is zero; none of them absurd.

    Raises UnreadableFile where the pages together decode to more than can be one clip.
    """
    if _has_too_many_pages(content):
        raise UnreadableFile(
            path, f"has more than {MAX_CLIP_PAGES:,} pages, and no clip has as many", "cut it into clips"
        )
    try:
        with Image.open(io.BytesIO(content)) as image:
            n_pages = getattr(image, "n_frames", 1)
            white_is_zero = image.tag_v2.get(_PHOTOMETRIC) == 0  # type: ignore[attr-defined]
            decoded = 0
            for page in range(n_pages):
                image.seek(page)
                bits = image.tag_v2.get(_BITS, (1,))  # type: ignore[attr-defined]
                per_pixel = -(-sum(bits if isinstance(bits, tuple) else (bits,)) // 8)
                refuse_absurd_size(path, image.height, image.width, 1, per_pixel)
                decoded += image.height * image.width * max(1, per_pixel)
                refuse_absurd_bytes(path, decoded)
            return n_pages, white_is_zero
    except UnidentifiedImageError:  # 64-bit floats, say, which OpenCV does read
        return 0, False
