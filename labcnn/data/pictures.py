"""Pictures of any size and format, as arrays of the size that the nets take."""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from labcnn.data.splits import IMAGE_SHAPE
from labcnn.errors import UNREADABLE, DataError

if TYPE_CHECKING:
    from PIL.Image import Image as Picture


def read_picture(path: Path | str) -> np.ndarray:
    """One picture as 64 x 64 x 3, uint8; of an animation, the first frame.

    It is turned as its camera says (EXIF), then made by :func:`fit_picture`.

    Raises
    ------
    DataError
        It is missing, or no picture that Pillow can read to its end.
    """
    from PIL import Image, ImageOps

    try:
        with Image.open(path) as file:
            return fit_picture(ImageOps.exif_transpose(file))
    except FileNotFoundError:
        raise DataError(f"{path}: there is no such picture") from None
    except (*UNREADABLE, Image.DecompressionBombError, SyntaxError) as error:
        reason = str(error).removesuffix(f" {str(path)!r}")
        raise DataError(f"{path}: no picture that can be read ({reason})") from None


def fit_picture(picture: "Picture") -> np.ndarray:
    """A Pillow image as 64 x 64 x 3, uint8.

    The rule: 16 bits per channel become 8 (0-65535 to 0-255). What is transparent is laid on
    white. Gray, palette and CMYK become RGB, as Pillow converts them; a colour profile isn't
    applied. The largest square in the middle is cut out and scaled to 64 x 64 (bicubic,
    antialiased; a smaller one is enlarged).

    Raises
    ------
    ValueError
        Its values have no range that is known: 32 bits per channel, or numbers with a point.
    """
    from PIL import Image, ImageOps

    if picture.mode.startswith("I"):
        values = np.asarray(picture)
        if values.min() < 0 or values.max() > 65_535:
            raise ValueError("more than 16 bits per channel")
        eight = np.rint(values / 257).astype(np.uint8)
        eight[values == picture.info.get("transparency", -1)] = 255
        picture = Image.fromarray(eight)
    if picture.mode == "F":
        raise ValueError("numbers with a point, whose range isn't known")
    if {"A", "a"} & set(picture.getbands()) or "transparency" in picture.info:
        picture = picture.convert("RGBA")
        picture = Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture)
    height, width, _ = IMAGE_SHAPE
    return np.array(ImageOps.fit(picture.convert("RGB"), (width, height), Image.Resampling.BICUBIC))
