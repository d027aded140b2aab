"""Tiny ImageNet-200: its classes, images and labels, in every layout that people have."""

from collections import Counter
from collections.abc import Iterable
from pathlib import Path, PurePosixPath

from labcnn.data import cache
from labcnn.data.archive import read_files
from labcnn.data.cache import ImageFiles, list_some
from labcnn.data.splits import OfficialData
from labcnn.errors import DataError

NAME = "tiny-imagenet-200"
OFFICIAL_URL = "http://cs231n.stanford.edu/tiny-imagenet-200.zip"
OFFICIAL_MD5 = "90528d7ca1a48142e341f4ef8d21d0de"
#: Classes, and images per class in train and in val, of the official data.
OFFICIAL_COUNTS = (200, 500, 50)
#: Of the decoded images, labels and classes of the official data (:func:`cache.fingerprint`).
OFFICIAL_FINGERPRINT = "a705bd291f6963f187de9b6204c833214e3375c4ea6dbed458e5b31b17030120"
EXPECTED = (
    "expected wnids.txt, words.txt, train/<wnid>/images/*.JPEG and "
    "val/images/*.JPEG with val/val_annotations.txt (or val/<wnid>/*.JPEG)"
)

#: Images by class and file name: one that lies in two places counts once.
Found = dict[tuple[str, str], str]


def describe_difference(data: OfficialData) -> str:
    """``official``, or how data differs from that."""
    if data.fingerprint == OFFICIAL_FINGERPRINT:
        return "official"
    classes = len(data.class_names)
    if (classes, len(data.train) // classes, len(data.test) // classes) == OFFICIAL_COUNTS:
        return "NOT the official data: as many, but other images, labels or classes"
    return "subset: the official data has 200 classes x 500 train and 50 test images"


def find_images(path: Path, work: Path) -> ImageFiles:
    """Find classes, images and labels in an archive or a folder; ``work`` isn't needed.

    Classes are those of ``wnids.txt`` that have images, in the order of ``wnids.txt``; images are
    ordered by class, then file name. A :class:`DataError` says what was expected where.
    """
    contents = read_files(path)
    root = _find_root(contents)
    inside = [name for name in contents if name.startswith(root)]
    files = {name.removeprefix(root): contents[name] for name in inside}
    wnids = tuple(dict.fromkeys(_decode_text(files, "wnids.txt").split()))
    lines = _decode_text(files, "words.txt").splitlines()
    words = dict(line.split("\t", 1) for line in lines if "\t" in line)
    train, test = _find_in_split(files, "train"), _find_in_split(files, "val")
    present = {wnid for wnid, _ in (*train, *test)}
    if unknown := present - set(wnids):
        raise DataError(f"classes not in wnids.txt: {list_some(sorted(unknown))}")
    wnids = tuple(wnid for wnid in wnids if wnid in present)
    return ImageFiles(
        read=lambda name: cache.decode_image(files[name]),
        wnids=wnids,
        class_names=tuple(words.get(w, w).split(",")[0].strip() for w in wnids),
        train=_label(train, wnids, "train"),
        test=_label(test, wnids, "val"),
    )


def _find_root(names: Iterable[str]) -> str:
    """What the names of the data set's files begin with: nothing, or one or two folders."""
    with_train = {name.split("train/")[0] for name in names if "train/" in name}
    lists = [name for name in names if PurePosixPath(name).name == "wnids.txt"]
    for depth in range(3):
        found = {name.removesuffix("wnids.txt") for name in lists if name.count("/") == depth}
        roots = sorted(found & with_train)
        if len(roots) > 1:
            raise DataError(f"more than one data set ({', '.join(roots)}); name one")
        if roots:
            return roots[0]
    raise DataError(f"no wnids.txt with train/ beside it; {EXPECTED}")


def _decode_text(files: dict[str, bytes], name: str) -> str:
    try:
        return files[name].decode("utf-8-sig")
    except KeyError:
        raise DataError(f"{name} is missing; {EXPECTED}") from None
    except UnicodeDecodeError:
        raise DataError(f"{name} isn't UTF-8 text") from None


def _find_in_split(files: dict[str, bytes], split: str) -> Found:
    """Images at ``<split>/<wnid>/x.JPEG`` and ``<split>/<wnid>/images/x.JPEG``.

    And at ``val/images/x.JPEG``, whose classes ``val/val_annotations.txt`` says.
    """
    found: Found = {}
    annotated: list[str] = []
    for place in files:
        path = PurePosixPath(place)
        is_jpeg = path.suffix.lower() in (".jpeg", ".jpg")
        if not is_jpeg or path.name.startswith("._"):  # macOS leaves ._x.JPEG beside x.JPEG
            continue
        match path.parts:
            case ("val", "images", name) if split == "val":
                annotated.append(name)
            case (first, wnid, name) | (first, wnid, "images", name) if first == split:
                found.setdefault((wnid, name), place)
            case (first, *_) if first == split:
                raise DataError(f"{place} lies in an unknown place; {EXPECTED}")
    if not annotated:
        return found
    text = _decode_text(files, "val/val_annotations.txt")
    lines = [line.split("\t") for line in text.splitlines()]
    wnids = {line[0]: line[1] for line in lines if len(line) > 1}
    if unlabelled := sorted(set(annotated) - set(wnids)):
        raise DataError(
            f"images of val/images/ not in val_annotations.txt: {list_some(unlabelled)}"
        )
    return found | {(wnids[name], name): f"val/images/{name}" for name in annotated}


def _label(found: Found, wnids: tuple[str, ...], split: str) -> dict[str, int]:
    """The images in order, each with its class's number."""
    if not found:
        raise DataError(f"no images in {split}/; {EXPECTED}")
    counts = Counter(wnid for wnid, _ in found)
    usual, _ = Counter(counts.values()).most_common(1)[0]
    if odd := [f"{wnid} has {counts[wnid]}" for wnid in wnids if counts[wnid] != usual]:
        raise DataError(
            f"{split}/ needs as many images in every class; most have {usual}, but {list_some(odd)}"
        )
    number = {wnid: label for label, wnid in enumerate(wnids)}
    labelled = [(number[wnid], name, path) for (wnid, name), path in found.items()]
    return {path: label for label, _, path in sorted(labelled)}
