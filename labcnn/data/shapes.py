"""The embedded demo set ``shapes``: 64 x 64 RGB images rendered by code from a fixed seed.

Twenty classes: five outlines times four textures. Place, size, rotation, colours, a cluttered
background and noise vary from image to image, so that a class can't be told by colour
or position.
"""

import hashlib
from contextlib import suppress
from pathlib import Path

import numpy as np

from labcnn.data.splits import IMAGE_SHAPE, OfficialData, Split
from labcnn.errors import UNREADABLE
from labcnn.files import data_folder, write_arrays

OUTLINES = ("circle", "square", "triangle", "star", "cross")
TEXTURES = ("stripes", "checks", "dots", "rings")
CLASS_NAMES = tuple(f"{texture} {outline}" for outline in OUTLINES for texture in TEXTURES)
#: Images of each class; those of train become train and validation.
PER_CLASS = {"train": 250, "test": 50}
SEED = 20_260_101
Random = np.random.Generator


def _inside(outline: int, u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Which points (u, v) of the unit square [-1, 1]^2 lie inside an outline of radius about 1."""
    radius, angle = np.hypot(u, v), np.arctan2(v, u)
    match OUTLINES[outline]:
        case "circle":
            return radius < 0.85
        case "square":
            return np.maximum(abs(u), abs(v)) < 0.75
        case "triangle":
            return (v > -0.55) & (v < 0.95 - 1.75 * abs(u))
        case "star":
            return radius < 0.72 + 0.33 * np.cos(5 * angle)
        case _:
            return (np.minimum(abs(u), abs(v)) < 0.3) & (np.maximum(abs(u), abs(v)) < 0.9)


def _pattern(texture: int, u: np.ndarray, v: np.ndarray, pitch: float) -> np.ndarray:
    """A texture's value in [0, 1] at (u, v); ``pitch`` is its period."""
    a, b = 2 * np.pi * u / pitch, 2 * np.pi * v / pitch
    match TEXTURES[texture]:
        case "stripes":
            wave = np.sin(a)
        case "checks":
            wave = np.sin(a) * np.sin(b) * 1.6
        case "dots":
            wave = np.cos(a) + np.cos(b) - 0.9
        case _:
            wave = np.sin(2 * np.pi * np.hypot(u, v) / pitch)
    return np.clip(0.5 + 2.0 * wave, 0, 1)


def _paint(
    image: np.ndarray, label: tuple[int, int], scale: float, reach: float, rng: Random
) -> None:
    """Put one textured outline of radius ``scale`` (half the image is 1) into ``image``, in place.

    Only the window that can hold it is touched: most outlines are small clutter.
    """
    size = len(image)
    centre = rng.uniform(-reach, reach, 2)
    low, high = (
        np.clip(np.rint((centre + sign * 1.1 * scale + 1) / 2 * size), 0, size).astype(int)
        for sign in (-1, 1)
    )
    axis = ((np.arange(size) + 0.5) / size * 2 - 1).astype(np.float32)
    dx, dy = (
        (axis[low[0] : high[0]] - centre[0])[None],
        (axis[low[1] : high[1]] - centre[1])[:, None],
    )
    turn = rng.uniform(0, 2 * np.pi)
    c, s = np.float32(np.cos(turn) / scale), np.float32(np.sin(turn) / scale)
    u, v = c * dx + s * dy, c * dy - s * dx
    dark, light = rng.uniform(0, 0.4, 3), rng.uniform(0.6, 1, 3)
    ink, paper = rng.permutation(np.stack([dark, light]).astype(np.float32))
    pattern = _pattern(label[1], u, v, rng.uniform(0.45, 0.7))[..., None]
    window = image[low[1] : high[1], low[0] : high[0]]
    inside = _inside(label[0], u, v)[..., None]
    window[:] = np.where(inside, paper + pattern * (ink - paper), window)


def _render(label: int, rng: Random) -> np.ndarray:
    """One image of class ``label``, uint8, 64 x 64 x 3."""
    axis = np.linspace(-1, 1, IMAGE_SHAPE[0], dtype=np.float32)
    ramp = np.sin(
        axis * rng.uniform(0.5, 4) + axis[:, None] * rng.uniform(0.5, 4) + rng.uniform(0, 6)
    )
    tint = rng.uniform(-0.2, 0.2, 3).astype(np.float32)
    image = rng.uniform(0.3, 0.7, 3).astype(np.float32) + ramp[..., None] * tint
    for _ in range(rng.integers(2, 5)):  # clutter: too small to be taken for the object
        _paint(image, divmod(int(rng.integers(20)), 4), rng.uniform(0.1, 0.2), 0.9, rng)
    _paint(image, divmod(label, len(TEXTURES)), rng.uniform(0.6, 0.9), 0.2, rng)
    image += np.float32(0.05) * rng.standard_normal(IMAGE_SHAPE, np.float32)
    return np.clip(image * 255, 0, 255).astype(np.uint8)


def _draw(split: str) -> np.ndarray:
    rng = np.random.default_rng([SEED, list(PER_CLASS).index(split)])
    return np.stack([_render(label, rng) for label in _labels(split)])


def _labels(split: str) -> np.ndarray:
    return np.tile(np.arange(len(CLASS_NAMES), dtype=np.int64), PER_CLASS[split])


def _read(path: Path) -> dict[str, np.ndarray] | None:
    """The images that :func:`load` kept in a file; None where it didn't, or the file is damaged."""
    with suppress(*UNREADABLE, MemoryError):
        if path.is_file():
            with path.open("rb") as file, np.load(file) as saved:
                images = {name: saved[name] for name in PER_CLASS}
            shapes = {name: (len(_labels(name)), *IMAGE_SHAPE) for name in PER_CLASS}
            if all(
                array.shape == shapes[name] and array.dtype == np.uint8
                for name, array in images.items()
            ):
                return images
    return None


def load() -> OfficialData:
    """5,000 images for training and validation, 1,000 for the test.

    Rendered once in seconds, then kept as a file of the data folder, named by this code's digest.
    """
    code = hashlib.sha256(Path(__file__).read_bytes()).hexdigest()[:12]
    path = data_folder() / "shapes" / f"{code}.npz"
    images = _read(path)
    if images is None:
        images = {name: _draw(name) for name in PER_CLASS}
        with suppress(OSError):  # a folder that can't be written or is full: drawn again next time
            write_arrays(path, images, compressed=False)
    digest = hashlib.sha256(images["train"].data)
    digest.update(images["test"].data)
    train, test = (Split(images[name], _labels(name)) for name in ("train", "test"))
    return OfficialData(train, test, CLASS_NAMES, digest.hexdigest())
