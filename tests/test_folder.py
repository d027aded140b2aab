"""One's own pictures and CIFAR-10: from files of any kind to a data set, a run and a report."""

import hashlib
import os
import pickle
import re
import shutil
import tarfile
from pathlib import Path
from typing import Any

import html5lib
import numpy as np
import pytest
from fake_runs import write_runs
from PIL import Image
from training_requests import request
from typer.testing import CliRunner

from labcnn.cli import app
from labcnn.data import Origin, cache, load_dataset, origin, resolve_dataset, tiny_imagenet
from labcnn.data.folder import read_picture
from labcnn.errors import DataError, LabError, ParameterError, RunError
from labcnn.recipe import Recipe, defaults
from labcnn.runs import load_runs
from labcnn.training.trainer import fit
from labreport import tables
from labreport.build import build_report
from labreport.facts import Facts
from labreport.figures import ranking
from labreport.one_run import describe_request
from labreport.study import load_study
from labreport.verdicts import judge_claims

COLOURS = {"猫": (200, 30, 30), "狗": (30, 200, 30), "Vögel": (30, 30, 200)}


@pytest.fixture(autouse=True)
def data_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LABCNN_DATA", str(tmp_path / "data"))
    return tmp_path / "data"


def write_pictures(folder: Path, count: int, colour: tuple[int, int, int], first: int = 0) -> None:
    """Noisy pictures of one colour, of several sizes."""
    folder.mkdir(parents=True, exist_ok=True)
    for k in range(first, first + count):
        rng = np.random.default_rng(k)
        pixels = rng.normal(colour, 20, (40 + 20 * (k % 3), 50, 3)).clip(0, 255)
        Image.fromarray(pixels.astype(np.uint8)).save(folder / f"图 {k:03}.png")


@pytest.fixture
def pets(tmp_path: Path) -> Path:
    folder = tmp_path / "我的 Pets_1"
    for name, colour in COLOURS.items():
        write_pictures(folder / name, 10, colour)
    return folder


def fails(given: str | Path | int, kind: type[LabError] = DataError) -> str:
    """The one line that is said of a folder."""
    with pytest.raises(kind) as error:
        resolve_dataset(given if isinstance(given, int) else str(given))
    (line,) = str(error.value).splitlines()
    return line


def test_a_picture_of_any_format_and_mode_comes_out_in_its_colours(
    tmp_path: Path, subtests: pytest.Subtests
) -> None:
    """Left half orange, right half blue; 90 x 60, so that the middle is cut out."""
    colours = np.array([[255, 128, 0], [0, 64, 255]], np.uint8)
    picture = Image.fromarray(colours[np.repeat([[0, 1]], 45, 1).repeat(60, 0)])
    gray = np.array([picture.convert("L").getpixel((x, 30)) for x in (10, 80)])
    clear = picture.convert("RGBA")
    clear.putalpha(Image.fromarray(np.full((60, 90), 128, np.uint8)))
    on_white = (colours.astype(float) * 128 + 255.0 * 127) / 255
    hole = picture.quantize(4)
    hole.info["transparency"] = hole.getpixel((10, 30))
    deep = Image.fromarray(np.asarray(picture.convert("L")).astype(np.uint16) * 257)
    turned = picture.transpose(Image.Transpose.ROTATE_90)  # to be turned right by a quarter
    exif = Image.Exif()
    exif[0x0112] = 6
    film = [picture, Image.new("RGB", picture.size)]
    cases: dict[str, tuple[Image.Image, Any, dict[str, Any]]] = {
        "a.png": (picture, colours, {}),
        "a.bmp": (picture, colours, {}),
        "a.webp": (picture, colours, {"lossless": True}),
        "a.tiff": (picture, colours, {}),
        "a.jpg": (picture, colours, {"quality": 95, "subsampling": 0}),
        "turned.jpg": (turned, colours, {"quality": 95, "subsampling": 0, "exif": exif}),
        "cmyk.jpg": (picture.convert("CMYK"), colours, {"quality": 95}),
        "cmyk.tiff": (picture.convert("CMYK"), colours, {}),
        "film.gif": (film[0], colours, {"save_all": True, "append_images": film[1:]}),
        "film.webp": (film[0], colours, {"save_all": True, "append_images": film[1:],
                                         "lossless": True}),
        "palette.png": (picture.quantize(4), colours, {}),
        "hole.png": (hole, [[255] * 3, colours[1]], {"transparency": hole.info["transparency"]}),
        "alpha.png": (clear, on_white, {}),
        "alpha.webp": (clear, on_white, {"lossless": True}),
        "gray.png": (picture.convert("L"), gray[:, None], {}),
        "gray alpha.png": (clear.convert("LA"), (gray[:, None] * 128 + 255 * 127) / 255, {}),
        "gray.jpg": (picture.convert("L"), gray[:, None], {"quality": 95}),
        "bits.png": (picture.convert("1", dither=Image.Dither.NONE), [[255], [0]], {}),
        "16 bit.png": (deep, gray[:, None], {}),
        "16 bit.tiff": (deep, gray[:, None], {}),
        "16 bit.pgm": (deep, gray[:, None], {}),
    }  # fmt: skip
    for name, (made, expected, options) in cases.items():
        with subtests.test(name):
            path = tmp_path / f"图片 {name}"
            made.save(path, **options)
            found = read_picture(path)
            assert found.shape == (64, 64, 3) and found.dtype == np.uint8
            halves = np.stack([found[:, :28].mean((0, 1)), found[:, 36:].mean((0, 1))])
            assert np.abs(halves - np.broadcast_to(expected, (2, 3))).max() < 6, halves
    for name, mode in (("float.tiff", "F"), ("32 bit.tiff", "I")):
        Image.fromarray(np.full((9, 9), 1e5, np.float32 if mode == "F" else np.int32)).save(
            tmp_path / name
        )
        with pytest.raises(DataError, match=r"range|16 bits"):
            read_picture(tmp_path / name)
    os.mkfifo(tmp_path / "pipe.png")  # opened, it would be waited for
    with pytest.raises(DataError, match=r"pipe\.png: a folder, pipe, socket or device"):
        read_picture(tmp_path / "pipe.png")


def test_one_folder_is_split_once_and_found_again_by_its_name(pets: Path) -> None:
    for name in (".DS_Store", "猫/Thumbs.db", "猫/._图 001.png"):
        (pets / name).write_bytes(b"x")
    (pets / "__MACOSX" / "猫").mkdir(parents=True)
    name = resolve_dataset(str(pets))
    assert name == "own-我的-pets-1"
    data = load_dataset(name)
    assert data.class_names == tuple(sorted(COLOURS)) and data.name == name
    sizes = [np.bincount(split.labels[split.indices]) for split in (data.train, data.val)]
    assert [size.tolist() for size in sizes] == [[6] * 3, [2] * 3]
    assert np.bincount(data.test.labels).tolist() == [2] * 3
    for split in (data.train, data.val, data.test):
        for row in split.indices:
            colour = split.images[row].mean((0, 1))
            assert np.abs(colour - COLOURS[data.class_names[split.labels[row]]]).max() < 15
    every = [split.images[row].tobytes() for split in (data.train, data.val, data.test)
             for row in split.indices]  # fmt: skip
    assert len(set(every)) == 30  # no picture in two parts
    assert origin(name, data.fingerprint) is Origin.OWN
    assert str(pets) not in (cache.folder_of(name) / cache.META).read_text(encoding="utf-8")

    kept = shutil.copytree(pets, pets.with_name("copy") / pets.name)
    shutil.rmtree(pets)
    assert resolve_dataset(name) == name  # without the folder
    assert load_dataset(resolve_dataset(str(kept))).fingerprint == data.fingerprint
    assert Recipe.from_parameters({"variant": "short_norm", "dataset": name}).experiment == name
    assert defaults(name, "course") == defaults("tiny-imagenet-200", "course")


def test_it_is_decoded_again_only_when_a_file_has_changed(
    pets: Path, capfd: pytest.CaptureFixture
) -> None:
    name = resolve_dataset(str(pets))
    meta = cache.folder_of(name) / cache.META
    before, written = load_dataset(name).fingerprint, meta.stat().st_mtime_ns
    assert resolve_dataset(f"{pets}/") == name
    assert meta.stat().st_mtime_ns == written
    images = cache.folder_of(name) / "train_images.npy"
    images.write_bytes(images.read_bytes()[:-1])  # damaged: made anew
    resolve_dataset(str(pets))
    assert load_dataset(name).fingerprint == before
    write_pictures(pets / "猫", 1, COLOURS["狗"])  # another picture in the place of one
    resolve_dataset(str(pets))
    changed = load_dataset(name).fingerprint
    assert capfd.readouterr().err.count("left out") == 0
    (pets / "猫" / "图 001.png").unlink()
    (pets / "notes.txt").write_text("of the camera", encoding="utf-8")
    inside = next(path for path in sorted(pets.iterdir()) if path.is_dir()) / "labels.csv"
    inside.write_text("a,b", encoding="utf-8")  # beside the pictures of a class
    resolve_dataset(str(pets))
    said = capfd.readouterr().err
    assert "left out, not a picture: " in said
    assert "notes.txt" in said and "labels.csv" in said
    assert len({before, changed, load_dataset(name).fingerprint}) == 3


def test_given_splits_are_kept_and_missing_ones_are_taken_from_train(
    tmp_path: Path, subtests: pytest.Subtests
) -> None:
    given = {"train": 10, "val": 3, "test": 4}
    expected = {
        ("train", "val", "test"): (10, 3, 4),
        ("train", "test"): (8, 2, 4),
        ("train", "val"): (8, 3, 2),
        ("train",): (6, 2, 2),
    }
    for splits, counts in expected.items():
        with subtests.test(str(splits)):
            folder = tmp_path / "-".join(splits)
            for k, split in enumerate(splits):
                for extra, (label, colour) in enumerate(COLOURS.items()):  # uneven classes
                    count = given[split] + (extra if splits == ("train", "val", "test") else 0)
                    write_pictures(folder / split / label, count, colour, 100 * k)
            data = load_dataset(resolve_dataset(str(folder)))
            found = [np.bincount(s.labels[s.indices]) for s in (data.train, data.val, data.test)]
            assert tuple(int(f.min()) for f in found) == counts
            if len(splits) == 3:
                assert [sorted(f) for f in found] == [[n, n + 1, n + 2] for n in counts]
                half = load_dataset(data.name, 0.5)
                assert set(half.val.indices) < set(data.val.indices)
                assert len(half.train) < len(data.train) and len(half.test) == len(data.test)


def test_what_is_no_data_set_is_refused_in_one_line(pets: Path, tmp_path: Path) -> None:
    for k in range(7):
        (pets / "猫" / f"z{k}.jpg").write_bytes(b"\xff\xd8 cut")
    (pets / "狗" / "empty.png").touch()
    said = fails(pets)
    assert "8 of 38 images broken: " in said and "猫/z0.jpg (no picture that can" in said
    assert "and 3 more" in said and cache.list_prepared() == []
    shutil.rmtree(pets / "猫")
    (pets / "狗" / "empty.png").unlink()
    write_pictures(pets / "猫", 3, COLOURS["猫"])
    assert "with too few pictures (1): 猫 (2 train, 0 val, 1 test); each needs" in fails(pets)
    (pets / "loose.png").touch()
    assert "pictures in no class folder (1): loose.png" in fails(pets)
    (pets / "loose.png").unlink()
    os.mkfifo(pets / "狗" / "pipe.png")
    assert "狗/pipe.png: a pipe, socket or device" in fails(pets)
    (pets / "狗" / "pipe.png").unlink()
    (pets / "狗" / "up").symlink_to(pets)
    assert "狗/up/狗: a link to a folder that it lies in" in fails(pets)
    (pets / "狗" / "up").unlink()
    (pets / "狗" / "gone.png").symlink_to(pets / "nowhere.png")
    assert "gone.png: No such file" in fails(pets)

    one = tmp_path / "one"
    write_pictures(one / "猫", 9, COLOURS["猫"])
    assert "class folders: 1, at least 2 are needed" in fails(one)
    shutil.move(one / "猫", one / "val" / "猫")
    assert "val without train" in fails(one)
    write_pictures(one / "train" / "狗", 9, COLOURS["狗"])
    (one / "valid" / "猫").mkdir(parents=True)
    assert "valid: not train, val or test" in fails(one)
    shutil.rmtree(one / "valid")
    said = fails(one)
    assert "狗 (7 train, 0 val, 2 test), 猫 (0 train, 9 val, 0 test)" in said
    (one / "wnids.txt").touch()
    assert "labcnn data fetch --from FOLDER" in fails(one)
    (tmp_path / "empty").mkdir()
    assert "class folders: 0, at least 2" in fails(tmp_path / "empty")
    for unknown in ("mnist", 7, "own-", "own-a/b"):
        assert re.search(
            "unknown; valid: auto, tiny|no such folder", fails(unknown, ParameterError)
        )
    assert "no such folder" in fails(tmp_path / "nope", ParameterError)
    assert fails_to_load("own-never") == "give the folder of its pictures: dataset=FOLDER"
    assert [p.name for p in (tmp_path / "data").iterdir() if p.is_dir()] == []


def fails_to_load(name: str) -> str:
    with pytest.raises(DataError, match=r"isn't prepared") as error:
        load_dataset(name)
    return str(error.value).partition(": ")[2]


def test_a_net_learns_them_and_another_folder_of_the_name_cant_join(
    pets: Path, tmp_path: Path, logs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    smoke = {"dataset": str(pets), "epochs": 3, "batch_size": 6, "learning_rate": 0.05}
    asked = request(**smoke)
    result = fit(asked, load_dataset(asked.recipe.dataset))
    assert result.classes == 3 and result.test.count == 6
    for path in asked.folder.path.rglob("*"):
        if path.is_file():
            assert str(pets).encode() not in path.read_bytes(), path
    assert "自己的图片" in describe_request(asked).data
    best = tmp_path / "ein Bild.png"
    shutil.copy(pets / "猫" / "图 001.png", best)
    said = CliRunner().invoke(app, ["predict", str(asked.folder.path), str(best)])
    assert said.exit_code == 0 and all(name in said.stdout for name in COLOURS)

    other = tmp_path / "other" / pets.name
    for label, colour in COLOURS.items():
        write_pictures(other / label, 10, colour, first=50)
    assert "rename this one, or delete" in fails(other)  # nothing is replaced
    monkeypatch.setenv("LABCNN_DATA", str(tmp_path / "another computer"))
    again = request(**smoke | {"dataset": str(other), "seed": 1})
    with pytest.raises(RunError, match=r"data_fingerprint=.* can't join experiment 'own-我的"):
        fit(again, load_dataset(again.recipe.dataset))
    assert len(load_runs(logs).table) == 1


def write_cifar(root: Path) -> tuple[Path, dict[str, str]]:
    """CIFAR-10's archive with ten images in each batch, and the MD5 of its files."""
    folder = root / "cifar-10-batches-py"
    folder.mkdir(parents=True)
    names = [f"class {k}" for k in range(10)]
    files = {f"data_batch_{k}": k for k in range(1, 6)} | {"test_batch": 6}
    for name, seed in files.items():
        pixels = np.random.default_rng(seed).integers(0, 256, (20, 3072), dtype=np.uint8)
        content = {"data": pixels, "labels": [k % 10 for k in range(20)]}
        (folder / name).write_bytes(pickle.dumps(content))
    (folder / "batches.meta").write_bytes(pickle.dumps({"label_names": names}))
    archive = root / "cifar-10-python.tar.gz"
    with tarfile.open(archive, "w:gz") as tar:
        tar.add(folder, folder.name)
    return archive, {p.name: hashlib.md5(p.read_bytes()).hexdigest() for p in folder.iterdir()}


def test_cifar10_is_fetched_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from torchvision.datasets import CIFAR10

    archive, md5 = write_cifar(tmp_path)

    def labcnn_data(*words: str | Path) -> str:
        found = CliRunner().invoke(app, ["data", *map(str, words)])
        return found.stdout if found.exit_code == 0 else str(found.exception)

    assert "official files, as their MD5 says" in labcnn_data("fetch", "cifar10", "--from", archive)
    for kind in ("train_list", "test_list"):
        files = [[name, md5[name]] for name, _ in getattr(CIFAR10, kind)]
        monkeypatch.setattr(CIFAR10, kind, files)
    monkeypatch.setattr(CIFAR10, "meta", {**CIFAR10.meta, "md5": md5["batches.meta"]})
    assert fails_to_load("cifar10").startswith("run `labcnn data fetch cifar10`")
    said = labcnn_data(
        "fetch", "cifar10", "--from", archive.parent / "cifar-10-batches-py" / "test_batch"
    )
    assert "cut, damaged or no tar" in said and "\n" not in said
    said = labcnn_data("fetch", "cifar10", "--from", archive)
    assert "10 classes, 100 train and 20 test images" in said
    data = load_dataset(resolve_dataset("cifar10"))
    assert (len(data.train), len(data.val), len(data.test)) == (80, 20, 20)
    whole = data.train.images
    first = pickle.loads((tmp_path / "cifar-10-batches-py" / "data_batch_1").read_bytes())
    small = first["data"][3].reshape(3, 32, 32).transpose(1, 2, 0)
    expected = Image.fromarray(small).resize((64, 64), Image.Resampling.BICUBIC)
    assert np.array_equal(whole[3], np.asarray(expected)) and data.class_names[3] == "class 3"
    for source in (tmp_path, tmp_path / "cifar-10-batches-py"):
        assert "prepared in" in labcnn_data("fetch", "cifar10", "--force", "--from", source)
    assert load_dataset("cifar10").fingerprint == data.fingerprint
    assert "already prepared" in labcnn_data("fetch", "cifar10")
    assert "valid: tiny-imagenet-200, cifar10" in labcnn_data("fetch", "mnist")
    status = labcnn_data("status")
    assert "cifar10: prepared: 10 classes" in status and "tiny-imagenet-200: absent" in status


FEW = ["short_baseline", "short_norm", "long_all"]


@pytest.mark.system
def test_a_report_of_own_pictures_names_them_and_no_other_data(tmp_path: Path, logs: Path) -> None:
    """The whole analysis notebook."""
    write_runs(logs, FEW, parameters={"dataset": "own-我的图片"}, images=60)
    build_report(logs, "own-我的图片", tmp_path / "report", {"images": False}, ["html"])
    page = (tmp_path / "report" / "report.html").read_text(encoding="utf-8")
    said = "".join(html5lib.parse(page, namespaceHTMLElements=False).itertext())
    assert "own-我的图片（自己的图片）" in said
    assert "比较的是什么：3 个模型在数据集 own-我的图片" in said
    assert "make report DATASET=own-我的图片" in said
    for foreign in ("ImageNet", "原报告", "原测试", "43.02"):
        assert (
            foreign not in page.partition('class="source"')[0]
        )  # a title of the literature has it


def test_the_data_is_named_and_the_original_stands_beside_its_own_only(tmp_path: Path) -> None:
    """In the tables, figures and texts of a report."""
    for dataset, fingerprint, name, beside in (
        ("tiny-imagenet-200", tiny_imagenet.OFFICIAL_FINGERPRINT, "Tiny ImageNet-200，", True),
        ("tiny-imagenet-200", "f00d", "tiny-imagenet-200（非官方数据）", False),
        ("cifar10", "f00d", "CIFAR-10，", False),
        ("shapes", "f00d", "shapes（内置演示数据）", False),
    ):
        folder = tmp_path / name
        of_it = {"dataset": dataset}
        write_runs(folder, FEW, images=200, parameters=of_it, fingerprint=fingerprint)
        study = load_study(folder)
        facts = Facts(study, judge_claims(study))
        assert f"| 数据集 | {name}" in facts.text("2.1-parameters").text
        assert study.has_original is study.full is beside
        assert ("原测试" in tables.tabulate_results(study).columns) is beside
        claims = tables.tabulate_claims(facts.verdicts, study.has_original)
        assert ("原报告" in claims.columns) is beside
        assert {len(row) for row in claims.rows} == {len(claims.columns)}
        legend = ranking.plot_ranking(study).legends[0].get_texts()
        assert any("原报告" in text.get_text() for text in legend) is beside
        for text in ("1-requirements", "3.6-summary", "4-claims"):
            assert ("原报告" in facts.text(text).text) is beside
        assert ("比较的是什么" in facts.text("completeness").text) is not beside
