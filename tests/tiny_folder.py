"""A small Tiny ImageNet in the official layout: random pictures, few classes."""

import bz2
import gzip
import io
import lzma
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

WNIDS = ("n02124075", "n04067472", "n01443537")
TRAIN, VAL = 4, 2


def jpeg(number: int, mode: str = "RGB", size: tuple[int, int] = (64, 64)) -> bytes:
    """A picture that differs for each ``number``."""
    pixels = np.random.default_rng(number).integers(0, 256, (*size[::-1], 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).convert(mode).save(buffer, "JPEG", quality=90)
    return buffer.getvalue()


def write_tiny(root: Path, wnids: tuple[str, ...] = WNIDS) -> Path:
    """Write the official layout below ``root / "tiny-imagenet-200"`` and return that."""
    folder = root / "tiny-imagenet-200"
    (folder / "val/images").mkdir(parents=True)
    (folder / "test/images").mkdir(parents=True)
    (folder / "test/images/test_0.JPEG").write_bytes(jpeg(9999))
    write(folder / "wnids.txt", "".join(f"{wnid}\n" for wnid in wnids))
    words = [f"{w}\tcreature {n}, Latin name {n}\n" for n, w in enumerate(wnids)]
    write(folder / "words.txt", "n00000001\tentity\n" + "".join(words))
    annotations = []
    for number, wnid in enumerate(wnids):
        (folder / "train" / wnid / "images").mkdir(parents=True)
        write(folder / "train" / wnid / f"{wnid}_boxes.txt", f"{wnid}_0.JPEG\t0\t0\t9\t9\n")
        for k in range(TRAIN):
            picture = jpeg(100 * number + k)
            (folder / "train" / wnid / "images" / f"{wnid}_{k}.JPEG").write_bytes(picture)
        for k in range(VAL):
            # official val files are numbered across the classes
            name = f"val_{k * len(wnids) + number}.JPEG"
            (folder / "val/images" / name).write_bytes(jpeg(5000 + 100 * number + k))
            annotations.append(f"{name}\t{wnid}\t0\t0\t9\t9\n")
    write(folder / "val/val_annotations.txt", "".join(annotations))
    return folder


def write(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")


def val_classes(folder: Path) -> dict[str, str]:
    """Class of each val image, as the annotations say."""
    text = (folder / "val/val_annotations.txt").read_text(encoding="utf-8")
    return {line.split("\t")[0]: line.split("\t")[1] for line in text.splitlines()}


def sort_val(folder: Path, images: str = "") -> None:
    """Sort val into class folders, as many scripts do: ``val/<wnid>/<images>/x.JPEG``."""
    for name, wnid in val_classes(folder).items():
        target = folder / "val" / wnid / images
        target.mkdir(parents=True, exist_ok=True)
        (folder / "val/images" / name).rename(target / name)
    (folder / "val/images").rmdir()
    (folder / "val/val_annotations.txt").unlink()


def zipped(folder: Path, archive: Path) -> Path:
    """``folder`` and what is in it as a zip archive."""
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as file:
        for path in (folder, *sorted(folder.rglob("*"))):
            file.write(path, path.relative_to(folder.parent))
    return archive


def tarred(folder: Path, archive: Path) -> Path:
    """``folder`` as a tar archive; a name ending in ``gz``, ``bz2`` or ``xz`` compresses it."""
    plain = io.BytesIO()
    with tarfile.open(fileobj=plain, mode="w") as file:
        file.add(folder, folder.name)
    packs: dict[str, Callable[[bytes], bytes]] = {
        ".tar": bytes, ".gz": gzip.compress, ".bz2": bz2.compress, ".xz": lzma.compress,
    }  # fmt: skip
    archive.write_bytes(packs[archive.suffix](plain.getvalue()))
    return archive
