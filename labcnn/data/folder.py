"""One's own pictures: a folder of class folders, decoded once and found by its name afterwards.

And how a picture of any size and format becomes what the nets take.
"""

import hashlib
import re
import stat
import sys
import unicodedata
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from labcnn.data import cache
from labcnn.data.cache import BrokenImage, ImageFiles, list_some
from labcnn.data.splits import IMAGE_SHAPE, SPLIT_SEED
from labcnn.errors import UNREADABLE, DataError

if TYPE_CHECKING:
    from PIL.Image import Image as Picture

SPLITS = ("train", "val", "test")
#: Part of each class that becomes the test set, and of the rest validation, where none is given.
A_FIFTH = 0.2
#: What file managers and archives leave beside pictures; so what begins with a point.
SYSTEM_FILES = {"thumbs.db", "desktop.ini", "__macosx"}
EXPECTED = "expected a folder for each class, or train/, val/ and test/ with such folders"


class File(NamedTuple):
    """A file of a class: its name below the data set's folder, bytes, and time of change in ns."""

    name: str
    size: int
    changed: int


#: Endings of files that people keep beside pictures, and that are none.
OTHERS = {".txt", ".md", ".csv", ".json", ".xml", ".yaml", ".yml", ".pdf", ".zip"}
#: The files by split and class; the split is ``train`` where there is one folder for all.
Found = dict[str, dict[str, list[File]]]


def prepare_folder(path: Path) -> str:
    """Decode a folder of pictures unless it is unchanged since; give the data set's name.

    The folder has a folder for each class, or ``train``, ``val`` and ``test`` that have. A fifth of
    each class of ``train``, by the split's own seed, becomes the test set where there is no
    ``test``, and a fifth of the rest validation where there is no ``val``. Each picture is made
    64 x 64 by :func:`read_picture`. A :class:`DataError` names pictures that are broken or in no
    class, or classes with too few.
    """
    if any((place / "wnids.txt").exists() for place in (path, *path.glob("*/"))):
        raise DataError(
            f"{path}: has Tiny ImageNet's layout (wnids.txt); prepare it by `labcnn data fetch "
            "--from FOLDER`, then dataset=tiny-imagenet-200"
        )
    name = name_folder(path)
    try:
        found, others = _find_files(path)
    except OSError as error:
        raise DataError(f"{error.filename or path}: {error.strerror or error}") from None
    except DataError as error:
        raise DataError(f"{path}: {error}") from None
    source, place = _digest(repr(found)), _digest(str(path.resolve()))

    def is_done() -> bool:
        try:
            meta = cache.read_meta(cache.folder_of(name)) if cache.is_prepared(name) else None
            return meta is not None and meta.source == source and bool(cache.load(name))
        except DataError:  # cut or damaged
            return False

    def choose(work: Path) -> ImageFiles:
        if others:
            print(f"left out, not a picture: {list_some(others)}", file=sys.stderr)
        return _choose_images(path, found)._replace(source=source, place=place)

    cache.prepare(name, str(path), choose, is_done)
    return name


def name_folder(path: Path) -> str:
    """``own-`` and the folder's own name in small letters, with ``-`` for what isn't a letter."""
    place = path if path.name not in ("", "..") else path.resolve()
    own = unicodedata.normalize("NFC", place.name.casefold())
    words = re.sub(r"[\W_]+", "-", own).strip("-").removeprefix("own-")
    return f"own-{words[:40].rstrip('-') or 'pictures'}"


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode(errors="surrogateescape")).hexdigest()


def _find_files(root: Path) -> tuple[Found, list[str]]:
    """All files in class folders, and the names of those that are in none.

    A :class:`DataError` for what has no place, such as pictures in no class.
    """
    from PIL import Image

    inside = [path for path in sorted(root.iterdir()) if not _is_ignored(path)]
    splits = {path.name: path for path in inside if path.name in SPLITS and _has_folders(path)}
    if splits:
        if "train" not in splits:
            raise DataError(f"{' and '.join(splits)} without train; {EXPECTED}")
        if other := [path.name for path in inside if path.is_dir() and path.name not in splits]:
            raise DataError(f"{list_some(other)}: not train, val or test; {EXPECTED}")
    found, strays = Found(), [path for path in inside if splits and not path.is_dir()]
    for split, place in (splits or {"train": root}).items():
        found[split] = {}
        for path in sorted(each for each in place.iterdir() if not _is_ignored(each)):
            if path.is_dir():
                label = unicodedata.normalize("NFC", path.name)
                files = list(_walk(path, root))
                kept = [file for file in files if Path(file.name).suffix.lower() not in OTHERS]
                found[split].setdefault(label, []).extend(kept)
                strays += [root / file.name for file in files if file not in kept]
            else:
                strays.append(path)
    names = [path.relative_to(root).as_posix() for path in strays]
    endings = Image.registered_extensions() if strays else {}
    if pictures := [name for name in names if Path(name).suffix.lower() in endings]:
        raise DataError(
            f"pictures in no class folder ({len(pictures)}): {list_some(pictures)}; move each into "
            "the folder of its class"
        )
    return found, names


def _is_ignored(path: Path) -> bool:
    return path.name.startswith(".") or path.name.casefold() in SYSTEM_FILES


def _has_folders(path: Path) -> bool:
    """A class called ``train`` has pictures only, a split has the classes' folders."""
    return path.is_dir() and any(each.is_dir() for each in path.iterdir() if not _is_ignored(each))


def _walk(
    folder: Path, root: Path, above: frozenset[tuple[int, int]] = frozenset()
) -> Iterator[File]:
    """The files below a class's folder, in the order of their names; links are followed."""
    place = folder.stat().st_dev, folder.stat().st_ino
    if place in above:
        raise DataError(f"{folder.relative_to(root)}: a link to a folder that it lies in")
    for path in sorted(each for each in folder.iterdir() if not _is_ignored(each)):
        info, name = path.stat(), path.relative_to(root).as_posix()
        if stat.S_ISDIR(info.st_mode):
            yield from _walk(path, root, above | {place})
        elif stat.S_ISREG(info.st_mode):
            yield File(name, info.st_size, info.st_mtime_ns)
        else:
            raise DataError(f"{name}: a pipe, socket or device, no picture")


def _choose_images(root: Path, found: Found) -> ImageFiles:
    """Which files are for training, validation and test; a :class:`DataError` where too few are."""
    classes = sorted({label for part in found.values() for label in part})
    if len(classes) < 2:
        raise DataError(f"class folders: {len(classes)}, at least 2 are needed; {EXPECTED}")
    rng = np.random.default_rng(SPLIT_SEED)
    train, val, test = (dict[str, int]() for _ in SPLITS)
    too_few = []
    for number, label in enumerate(classes):
        rest, given, held = (
            [file.name for file in found.get(split, {}).get(label, [])] for split in SPLITS
        )
        if "test" not in found:
            chosen = set(rng.permutation(len(rest))[: round(len(rest) * A_FIFTH)].tolist())
            held = [name for k, name in enumerate(rest) if k in chosen]
            rest = [name for k, name in enumerate(rest) if k not in chosen]
        val_count = len(given) if "val" in found else round(len(rest) * A_FIFTH)
        counts = len(rest) - (0 if "val" in found else val_count), val_count, len(held)
        if not all(counts):
            too_few.append(f"{label} ({counts[0]} train, {counts[1]} val, {counts[2]} test)")
        train |= dict.fromkeys(rest, number)
        val |= dict.fromkeys(given, number)
        test |= dict.fromkeys(held, number)
    if too_few:
        raise DataError(
            f"classes with too few pictures ({len(too_few)}): {list_some(too_few)}; each needs one "
            "in each part, 4 pictures if one folder is split"
        )

    def read(name: str) -> np.ndarray:
        try:
            return read_picture(root / name)
        except DataError as error:
            raise BrokenImage(str(error).removeprefix(f"{root / name}: ")) from None

    names = tuple(classes)
    return ImageFiles(read, names, names, train | val, test, len(val))


def read_picture(path: Path | str) -> np.ndarray:
    """One picture as 64 x 64 x 3, uint8; of an animation, the first frame.

    It is turned as its camera says (EXIF), then made by :func:`fit_picture`. A :class:`DataError`:
    it is missing, or no picture that Pillow can read to its end.
    """
    from PIL import Image, ImageOps

    try:
        if not stat.S_ISREG(Path(path).stat().st_mode):
            raise DataError(f"{path}: a folder, pipe, socket or device, no picture")
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
    antialiased; a smaller one is enlarged). A ValueError: its values have no range that is known,
    32 bits per channel or numbers with a point.
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
