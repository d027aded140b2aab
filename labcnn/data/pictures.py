"""Pictures of any size and format, as arrays of the size that the nets take."""

from pathlib import Path

import numpy as np

from labcnn.data.splits import IMAGE_SHAPE
from labcnn.errors import DataError


def read_picture(path: Path | str) -> np.ndarray:
    """One picture as 64 x 64 x 3, uint8.

    It is turned as its camera says, laid on white where it is transparent, made RGB, scaled until
    its shorter side has 64 pixels (bicubic, antialiased), and cut to the middle 64 x 64.

    Raises
    ------
    DataError
        It is missing, or no picture that Pillow can read to its end.
    """
    from PIL import Image, ImageOps, UnidentifiedImageError

    height, width, _ = IMAGE_SHAPE
    try:
        with Image.open(path) as file:
            picture = ImageOps.exif_transpose(file)
            if "A" in picture.getbands() or "transparency" in picture.info:
                picture = picture.convert("RGBA")
                picture = Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture)
            fitted = ImageOps.fit(picture.convert("RGB"), (width, height), Image.Resampling.BICUBIC)
            return np.array(fitted)
    except FileNotFoundError:
        raise DataError(f"{path}: there is no such picture") from None
    except (UnidentifiedImageError, Image.DecompressionBombError, OSError, SyntaxError,
            ValueError) as error:  # fmt: skip
        reason = str(error).removesuffix(f" {str(path)!r}")
        raise DataError(f"{path}: no picture that can be read ({reason})") from None
