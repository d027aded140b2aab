"""Where the images of Tiny ImageNet lie, in every layout that people have, and their labels."""

from collections import Counter
from pathlib import PurePosixPath
from typing import NamedTuple

from labcnn.data.archive import MARKER, NESTED, Tree, is_junk, name_faults
from labcnn.errors import DataError

EXPECTED = (
    "expected wnids.txt, words.txt, train/<wnid>/images/*.JPEG and "
    "val/images/*.JPEG with val/val_annotations.txt (or val/<wnid>/*.JPEG)"
)
SUFFIXES = {".jpeg", ".jpg"}
ANNOTATIONS = "val/val_annotations.txt"


class Item(NamedTuple):
    """An image: its name in the tree and its class."""

    name: str
    wnid: str


class Layout(NamedTuple):
    """The images of both splits in a fixed order (by class, then file name), and the classes."""

    wnids: tuple[str, ...]
    class_names: tuple[str, ...]
    train: tuple[Item, ...]
    test: tuple[Item, ...]


def find_layout(tree: Tree) -> Layout:
    """Find classes, images and labels in ``tree``.

    Classes are those of ``wnids.txt`` that have images, in the order of ``wnids.txt``; the test
    split is the official val data.

    Raises
    ------
    DataError
        Says what was expected where, or names the classes on which the parts disagree.
    """
    names = [name for name in tree.names if not is_junk(name)]
    root = _root(tree, names)
    inside = {name.removeprefix(root): name for name in names if name.startswith(root)}
    for needed in ("wnids.txt", "words.txt"):
        if needed not in inside:
            raise DataError(f"{tree.path}: {root}{needed} is missing; {EXPECTED}")
    wnids = tuple(dict.fromkeys(_text(tree, inside["wnids.txt"]).split()))
    lines = _text(tree, inside["words.txt"]).splitlines()
    words = dict(line.split("\t", 1) for line in lines if "\t" in line)
    train = _in_class_folders(tree, inside, "train")
    test = _in_class_folders(tree, inside, "val") | _read_annotations(tree, inside)
    for split, items in (("train", train), ("val", test)):
        if not items:
            raise DataError(f"{tree.path}: no images in {root}{split}/; {EXPECTED}")
    present = _agree(tree, wnids, train, test)
    return Layout(
        wnids=present,
        class_names=tuple(words.get(w, w).split(",")[0].strip() for w in present),
        train=_order(tree, "train", present, train),
        test=_order(tree, "val", present, test),
    )


#: Images by class and file name: one that lies in two places counts once.
Found = dict[tuple[str, str], str]


def _root(tree: Tree, names: list[str]) -> str:
    roots = {n.removesuffix(MARKER) for n in names if PurePosixPath(n).name == MARKER}
    roots = {root for root in roots if root.count("/") <= NESTED}
    full = {root for root in roots if any(n.startswith(f"{root}train/") for n in names)}
    if not roots:
        raise DataError(f"{tree.path}: no wnids.txt found; {EXPECTED}")
    shallowest = min(root.count("/") for root in full or roots)
    best = sorted(root for root in full or roots if root.count("/") == shallowest)
    if len(best) > 1:
        raise DataError(f"{tree.path}: more than one data set ({', '.join(best)}); name one")
    return best[0]


def _text(tree: Tree, name: str) -> str:
    with name_faults(tree.path):
        content = tree.read(name)
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise DataError(f"{tree.path}: {name} isn't UTF-8 text") from None


def _in_class_folders(tree: Tree, inside: dict[str, str], split: str) -> Found:
    """Images at ``<split>/<wnid>/x.JPEG`` and ``<split>/<wnid>/images/x.JPEG``."""
    found: Found = {}
    for short, name in inside.items():
        path = PurePosixPath(short)
        if path.parts[0] != split or path.suffix.lower() not in SUFFIXES:
            continue
        match path.parts[1:]:
            case ("images", _) if split == "val":
                pass
            case (wnid, file) | (wnid, "images", file):
                found.setdefault((wnid, file), name)
            case _:
                raise DataError(f"{tree.path}: {name} lies in an unknown place; {EXPECTED}")
    return found


def _read_annotations(tree: Tree, inside: dict[str, str]) -> Found:
    """Images at ``val/images/x.JPEG``, whose classes ``val/val_annotations.txt`` says."""
    files = {
        short.removeprefix("val/images/"): name
        for short, name in inside.items()
        if short.startswith("val/images/") and PurePosixPath(short).suffix.lower() in SUFFIXES
    }
    if not files:
        return {}
    if ANNOTATIONS not in inside:
        raise DataError(f"{tree.path}: {ANNOTATIONS} is missing beside val/images/; {EXPECTED}")
    lines = [line.split("\t") for line in _text(tree, inside[ANNOTATIONS]).splitlines() if line]
    labels = {line[0]: line[1] for line in lines if len(line) > 1}
    unlabelled = sorted(files.keys() - labels.keys())
    if unlabelled:
        raise DataError(
            f"{tree.path}: {listed(unlabelled)} of val/images/ not in {ANNOTATIONS}, "
            "which gives each image its class"
        )
    return {(labels[file], file): name for file, name in files.items()}


def _agree(tree: Tree, wnids: tuple[str, ...], train: Found, test: Found) -> tuple[str, ...]:
    in_train, in_val = {wnid for wnid, _ in train}, {wnid for wnid, _ in test}
    for wrong, where in (
        (in_train - set(wnids), "in train/ but not in wnids.txt"),
        (in_val - set(wnids), "in val/ but not in wnids.txt"),
        (in_val - in_train, "with images in val/ but none in train/"),
        (in_train - in_val, "with images in train/ but none in val/"),
    ):
        if wrong:
            raise DataError(f"{tree.path}: classes {where}: {listed(sorted(wrong))}")
    return tuple(wnid for wnid in wnids if wnid in in_train)


def _order(tree: Tree, split: str, wnids: tuple[str, ...], found: Found) -> tuple[Item, ...]:
    counts = Counter(wnid for wnid, _ in found)
    usual = Counter(counts.values()).most_common(1)[0][0]
    odd = [f"{wnid} has {counts[wnid]}" for wnid in wnids if counts[wnid] != usual]
    if odd:
        raise DataError(
            f"{tree.path}: {split}/ needs as many images in every class; "
            f"most have {usual}, but {listed(odd)}"
        )
    rank = {wnid: place for place, wnid in enumerate(wnids)}
    keys = sorted(found, key=lambda key: (rank[key[0]], key[1]))
    return tuple(Item(found[key], key[0]) for key in keys)


def listed(things: list[str], most: int = 5) -> str:
    """``a, b, c, d, e and 3 more``."""
    more = f" and {len(things) - most} more" if len(things) > most else ""
    return ", ".join(things[:most]) + more
