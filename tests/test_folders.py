"""A folder as it is: splits by other names, strangers in it, copies, damage, odd names."""

import os
import shutil
import unicodedata

import numpy as np
import pytest
from PIL import Image

from cifar_lab import bundle_data, data
from cifar_lab.cli import common
from cifar_lab.errors import InputError
from support import assert_refused, run

SHAPE = (8, 8, 3)


class Pictures:
    """Writes pictures, each other than all before."""

    def __init__(self, root):
        self.root, self.rng = root, np.random.default_rng(0)

    def __call__(self, *folders, count=4, start=0):
        for folder in folders:
            (self.root / folder).mkdir(parents=True, exist_ok=True)
            for i in range(start, start + count):
                self.one(f"{folder}/{i}.png")
        return self.root

    def one(self, name):
        path = self.root / name
        Image.fromarray(self.rng.integers(0, 256, (9, 8, 3)).astype(np.uint8)).save(path)
        return path


@pytest.fixture
def pictures(tmp_path):
    return Pictures(tmp_path / "photos")


def load(root, **options):
    """(data set, lines) of a folder."""
    lines = []
    dataset = data.load(str(root), input_shape=SHAPE, notice=lines.append, **options)
    assert not any("\n" in line for line in lines)
    return dataset, lines


def refused(root, words, **options):
    with pytest.raises(InputError, match=words) as error:
        load(root, **options)
    assert "\n" not in str(error.value)
    return str(error.value)


# --- splits ---

NAMES = {
    "plain": ("train", "test"),
    "upper case": ("TRAIN", "Test"),
    "training and testing": ("Training", "testing"),
    "train and val": ("train", "val"),
    "train and valid": ("train", "VALID"),
    "train and validation": ("train", "validation"),
    "prefix": ("seg_train", "seg_test"),
    "suffix": ("train_images", "test_images"),
    "dashes and blanks": ("my-train", "my test"),
    "capitals": ("MyTrain", "MYTest"),
    "numbers": ("train2017", "val2017"),
    "in one word": ("trainset", "testset"),
    "version": ("photos.train.v2", "photos.validation.v2"),
}


@pytest.mark.parametrize("kind", NAMES)
def test_two_splits_by_their_names(kind, pictures):
    train, test = NAMES[kind]
    pictures(f"{train}/cat", f"{train}/dog", count=5)
    root = pictures(f"{test}/cat", f"{test}/dog", count=3)
    dataset, lines = load(root)
    assert dataset.classes == data.folder_classes(root) == ("cat", "dog")
    assert (len(dataset.train_labels), len(dataset.test_labels)) == (10, 6)
    assert dataset.val_indices is None
    assert data.splits_of(root) == data.Splits(
        root / train, root / test, test_is_val="val" in test.lower()
    )
    if kind == "plain":
        assert not lines
    else:
        assert len(lines) == 1 and train in lines[0] + train and f"{test}/" in lines[0]
    if "val" in test.lower():
        assert lines == [f"{root}: has no test/, so {test}/ is the test set"]
        assert dataset.note == f"{test}/ is the test set"


@pytest.mark.parametrize("val", ["val", "Validation", "my_valid"])
def test_three_splits(val, pictures):
    pictures("train/cat", "train/dog", count=5)
    pictures(f"{val}/cat", f"{val}/dog", count=2)
    root = pictures("test/cat", "test/dog", count=3)
    dataset, lines = load(root)
    assert len(dataset.train_labels) == 14 and len(dataset.test_labels) == 6
    assert dataset.val_indices.tolist() == [10, 11, 12, 13]
    assert dataset.val_indices.dtype == np.int64
    alone, _ = data.read_labelled_folder(root / val, SHAPE)
    np.testing.assert_array_equal(dataset.train_images[dataset.val_indices], alone[0])
    np.testing.assert_array_equal(dataset.train_labels[dataset.val_indices], alone[1])
    assert len(lines) == (val != "val")


def test_validation_of_ones_own_is_in_the_digest_and_outlives_a_limit(pictures):
    pictures("train/cat", "train/dog", count=6)
    pictures("val/cat", "val/dog", count=2)
    dataset, _ = load(pictures("test/cat", "test/dog"))
    from dataclasses import replace

    drawn = replace(dataset, val_indices=None)
    assert dataset.train_sha256() != drawn.train_sha256()
    assert dataset.test_sha256() == drawn.test_sha256()
    small = data.limited(dataset, 6, seed=0)
    assert small.val_indices.tolist() == [6, 7, 8, 9] and len(small.train_labels) == 10
    for images in ("train_images", "train_labels"):
        np.testing.assert_array_equal(
            getattr(small, images)[small.val_indices], getattr(dataset, images)[dataset.val_indices]
        )
    with pytest.raises(InputError, match="must be 4 to 12"):
        data.limited(dataset, 13, seed=0)


SPLITS_REFUSED = {
    "two train sets": (["train/a", "train/b", "my_train/a", "my_train/b", "test/a"], "train set"),
    "two test sets": (["train/a", "train/b", "test/a", "testing/a"], "test set"),
    "two validation sets": (["train/a", "val/a", "valid/a", "test/a"], "val set"),
    "train alone": (["train/a", "train/b"], "has train/ alone.*or name .*train"),
    "val alone": (["val/a", "val/b"], "has val/ alone"),
    "test and val": (["test/a", "test/b", "val/a", "val/b"], "test/, val/ hold no pictures but"),
    "pictures without classes": (["train", "val"], "train/, val/ have no class folders"),
    "test without classes": (["train/a", "train/b", "test"], "test/ has no class folders"),
    "two data sets": (["setA/cat", "setA/dog", "setB/cat", "setB/dog"], "setA/, setB/ hold no"),
    "two data sets of one class": (["setA/cat", "setB/dog"], "setA/, setB/ hold no pictures"),
    "two of digits": (["a/0", "a/1", "b/0", "b/1"], "a/, b/ hold no pictures but folders"),
    "two divided ones": (["x/train/a", "x/test/a", "y/train/a", "y/test/a"], "x/, y/ hold no"),
    "train of divided ones": (
        ["train/x/train/a", "train/x/test/a", "train/y/b", "test/a"],
        "photos/train: x/, y/ hold no pictures but",
    ),
    "a data set beside classes": (["cat", "dog", "old/cat", "old/dog"], "old/ is no class"),
    "a divided one beside classes": (["cat", "dog", "x/train/cat", "x/val/cat"], "x/ is no class"),
    "wrapper": (["photos/cat", "photos/dog"], "name .*photos/photos$"),
    "wrapper of splits": (["inner/train/cat", "inner/test/cat"], "name .*photos/inner$"),
    "two wrappers": (["a/b/cat", "a/b/dog"], "name .*photos/a/b$"),
}


@pytest.mark.parametrize("kind", SPLITS_REFUSED)
def test_what_is_neither_split_nor_classes(kind, pictures):
    folders, words = SPLITS_REFUSED[kind]
    root = pictures(*folders)
    refused(root, words)
    with pytest.raises(InputError, match=words):
        data.folder_classes(root)


def test_train_against_val_is_refused_by_the_command_or_read_as_splits(pictures, tmp_path):
    done = run("train.py", "cifar10-74", "--data", pictures("train", "val"), "--output", "x")
    assert_refused(done, "train/, val/ have no class folders")
    done = run("train.py", "cifar10-74", "--data", pictures("a/train/b", "a/train/c"))
    assert_refused(done, "have no class folders")


def test_unpacked_twice(pictures):
    """seg_train/seg_train/ as some archives have it, and pictures without classes beside."""
    pictures("seg_train/seg_train/a", "seg_train/seg_train/b", "seg_pred/seg_pred")
    dataset, lines = load(pictures("seg_test/seg_test/a", "seg_test/seg_test/b"))
    assert dataset.classes == ("a", "b") and len(dataset.test_labels) == 8
    assert "trains on seg_train/seg_train/, tests on seg_test/seg_test/" in lines[0]
    assert "left out seg_pred/" in lines[1]


def test_pictures_outside_of_a_class_are_left_out_with_a_line(pictures):
    root = pictures("train/a", "train/b", "test/a", "test/b")
    pictures.one("train/stray.png")
    dataset, lines = load(root)
    assert len(dataset.train_labels) == 8
    assert lines == [f"{root}: skipped 1 picture outside of a class: train/stray.png"]
    for name in "1234":
        pictures.one(f"train/a/{name}.png")
        pictures.one(f"{name}.png")
    _, lines = load(root / "train")
    assert lines[0].endswith("train: skipped 1 picture outside of a class: stray.png")


def test_a_test_folder_without_classes_beside_train_and_val(pictures):
    dataset, lines = load(pictures("train/a", "train/b", "val/a", "val/b", "test"))
    assert len(dataset.test_labels) == 8 and "val/ is the test set" in lines[0]
    assert "left out test/" in lines[1]


CLASSES = {
    "a class called train": (["train", "car", "bus"], ("bus", "car", "train")),
    "one of them in years": (["cat/2021", "cat/2022", "dog"], ("cat", "dog")),
    "all in years": (["cat/2021", "cat/2022", "dog/2021"], ("cat", "dog")),
    "all in months": (["cat/2021-05", "dog/20210601/raw"], ("cat", "dog")),
    "all in one name": (["cat/images", "dog/images"], ("cat", "dog")),
    "pictures above and below": (["cat", "cat/more", "dog", "dog/more"], ("cat", "dog")),
    "a training class in a folder": (["training", "resting/day 1", "play"], None),
}


@pytest.mark.parametrize("kind", CLASSES)
def test_classes_that_keep_pictures_in_subfolders(kind, pictures):
    folders, classes = CLASSES[kind]
    root = pictures(*folders)
    dataset, lines = load(root)
    assert dataset.classes == (classes or ("play", "resting", "training"))
    assert data.splits_of(root) is None
    count = len(dataset.train_labels) + len(dataset.test_labels)
    assert count == 4 * len(folders)
    nested = "cat/2" in folders[0] or "images" in folders[0]
    assert ("pictures in subfolders count as their class folder's: cat/" in lines[0]) == nested


def test_classes_differ_between_splits(pictures):
    root = pictures("train/a", "train/b", "train/c", "test/a", "test/b", "test/d")
    refused(root, r"train/ and test/ have different classes \(c, d\)")
    (root / "train" / "c").rename(root / "train" / "d")
    pictures("val/a", "val/c")
    refused(root, r"train/ and val/ have different classes \(b, c, d\)")


def test_a_network_is_tested_on_the_split_of_another_name(pictures):
    root = pictures("Training/a", "Training/b", "Validation/a", "Validation/b")
    card = {"classes": ["a", "b"], "data": {}}
    images, labels, where = bundle_data.test_images(card, str(root), None, SHAPE, print)
    assert where == str(root / "Validation") and labels.tolist() == [0] * 4 + [1] * 4


# --- what lies between ---

STRANGE = (
    *(".ipynb_checkpoints", "@eaDir", "__MACOSX", ".git", "$RECYCLE.BIN", "__pycache__"),
    *("System Volume Information", "lost+found", ".Trash-1000", ".@__thumb", "#recycle"),
)


@pytest.mark.parametrize("divided", [False, True])
def test_what_systems_leave_behind_is_not_read(divided, pictures):
    splits = ("train/", "test/") if divided else ("",)
    root = pictures(*(split + name for split in splits for name in "ab"))
    before, lines = load(root)
    for name in STRANGE:
        for where in ("", *splits, *(s + c for s in splits for c in ("a/", "b/2021/"))):
            pictures(f"{where}{name}", f"{where}{name}/cat", count=1)
    for name in ("Thumbs.db", "desktop.ini", ".DS_Store", "._0.png", "ehthumbs.db"):
        for folder in (root, root / splits[0] / "a"):
            (folder / name).write_bytes(b"x")
    after, lines_after = load(root)
    assert after.classes == ("a", "b") and lines_after == lines
    assert after.train_sha256() == before.train_sha256()
    assert after.test_sha256() == before.test_sha256()


# --- copies ---


def copy(root, source, target):
    """The same pixels in a file of another format."""
    Image.open(root / source).save(root / target)


def test_copies_of_test_pictures_leave_the_train_set(pictures):
    root = pictures("train/a", "train/b", "test/a", "test/b", count=6)
    for i in (1, 2, 3, 5):
        copy(root, f"test/a/{i}.png", f"train/a/copy{i}.bmp")
    dataset, lines = load(root)
    assert len(dataset.train_labels) == 12 and len(dataset.test_labels) == 12
    assert lines == [
        f"{root}: left 4 pictures out of the train set that the test set has too: "
        "train/a/copy1.bmp, train/a/copy2.bmp, train/a/copy3.bmp, ..."
    ]


def test_copies_between_train_validation_and_test(pictures):
    root = pictures("train/a", "train/b", "val/a", "val/b", "test/a", "test/b")
    copy(root, "val/a/0.png", "train/a/c.png")
    copy(root, "test/a/0.png", "val/a/c.png")
    copy(root, "test/a/1.png", "train/a/d.png")
    dataset, lines = load(root)
    assert len(dataset.train_labels) == 16 and len(dataset.val_indices) == 8
    assert [line.split(": ", 1)[1] for line in lines] == [
        "left 1 picture out of the validation set that the test set has too: val/a/c.png",
        "left 1 picture out of the train set that the validation set has too: train/a/c.png",
        "left 1 picture out of the train set that the test set has too: train/a/d.png",
    ]


def test_copies_in_a_class_are_there_once(pictures):
    root = pictures("a", "b", count=10)
    plain, _ = load(root)
    labels = np.repeat([0, 1], 10)
    rest, part = data.stratified_split(labels, 0.2, 0)
    whole, _ = data.read_labelled_folder(root, SHAPE)
    np.testing.assert_array_equal(plain.test_images, whole[0][part])
    np.testing.assert_array_equal(plain.train_images, whole[0][rest])
    for i in range(10):
        copy(root, f"a/{i}.png", f"a/{i}-copy.png")
    dataset, lines = load(root)
    assert lines[0] == f"{root}: left out 10 copies: a/0.png, a/1.png, a/2.png, ..."
    np.testing.assert_array_equal(dataset.test_labels, plain.test_labels)
    images = np.concatenate([dataset.train_images, dataset.test_images])
    assert len(set(data.picture_digests(images))) == len(images) == 20


def test_all_of_a_class_is_in_the_test_set_too(pictures):
    root = pictures("train/a", "test/a", "test/b")
    shutil.copytree(root / "test" / "b", root / "train" / "b")
    refused(root, "all train pictures of class b are in the test set too")


def test_one_picture_in_two_classes_is_said(pictures):
    root = pictures("a", "b", count=5)
    copy(root, "a/2.png", "b/x.png")
    _, lines = load(root)
    assert f"{root}: 1 picture is in two classes: a/2.png and b/x.png" in lines


# --- what is left out ---


def test_links_broken_links_and_strangers_in_one_line(pictures, tmp_path):
    root = pictures("a", "b")
    pictures("a/deep")
    (root / "a" / "link").symlink_to(root / "b")
    (root / "b" / "loop").symlink_to(root)
    (root / "b" / "gone.png").symlink_to(tmp_path / "nowhere.png")
    (root / "a" / "file.png").symlink_to(pictures.one("b/9.png"))
    for name in ("movie.mpg", "data.h5", "drawing.eps", "notes.txt", "print.pdf"):
        (root / "a" / name).write_bytes(b"x")
    os.mkfifo(root / "a" / "pipe.png")
    dataset, lines = load(root)
    assert len(dataset.train_labels) + len(dataset.test_labels) in (13, 14)  # a copy may leave
    assert lines[0] == (
        f"{root}: skipped 6 files that are not images: a/data.h5, a/drawing.eps, a/movie.mpg, ...; "
        "2 linked folders: a/link, b/loop; 1 broken link: b/gone.png"
    )


def test_a_folder_that_cannot_be_read_is_said(pictures, monkeypatch):
    root, scandir = pictures("a", "b", "b/locked"), os.scandir

    def refuse(path):
        if os.path.basename(path) == "locked":
            raise PermissionError(13, "Permission denied", path)
        return scandir(path)

    monkeypatch.setattr(data.layout.os, "scandir", refuse)
    assert load(root)[1][0] == f"{root}: skipped 1 folder that cannot be read: b/locked"


def test_a_file_that_cannot_be_read_is_one_of_the_damaged(pictures, monkeypatch):
    root, read_file = pictures("a", "b"), data.reading.read_file

    def refuse(file):
        if file.name == "2.png":
            raise PermissionError(13, "Permission denied", file)
        return read_file(file)

    monkeypatch.setattr(data.reading, "read_file", refuse)
    refused(root, "2 files cannot be read: a/2.png: cannot be read .Permission denied.; b/2.png")
    assert load(root, skip_damaged=True)[0].skipped == ("a/2.png", "b/2.png")


def test_a_class_may_be_a_link(pictures):
    root = pictures("a", "elsewhere/b")
    (root / "b").symlink_to(root / "elsewhere" / "b")
    (root / "elsewhere").rename(root.parent / "elsewhere")
    (root / "b").unlink()
    (root / "b").symlink_to(root.parent / "elsewhere" / "b")
    assert load(root)[0].classes == ("a", "b")


# --- damage ---


def damage(root):
    (root / "a" / "0.png").write_bytes(b"")
    (root / "a" / "1.png").write_bytes(b"words")
    whole = (root / "b" / "3.png").read_bytes()
    (root / "b" / "3.png").write_bytes(whole[: len(whole) // 2])


def test_all_damaged_files_are_named_at_once(pictures):
    root = pictures("a", "b", count=8)
    damage(root)
    for _ in range(2):  # the second time from the cache
        error = refused(root, "3 files cannot be read: a/0.png: is not an image")
        assert "a/1.png: is not an image" in error and "b/3.png: damaged image" in error
        assert error.endswith(" (`skip_damaged` leaves them out)")
    assert "--skip-damaged leaves" in common.as_flags(error)
    with pytest.raises(InputError, match="3 files cannot be read") as caught:
        data.read_labelled_folder(root, SHAPE)
    assert "skip_damaged" not in str(caught.value)  # which it has not
    for i in range(8, 80):
        (root / "b" / f"{i}.png").write_bytes(b"")
    lines = []
    with pytest.raises(InputError) as caught:
        data.load(str(root), input_shape=SHAPE, notice=lines.append)
    assert str(caught.value).startswith(
        f"{root}: 75 files cannot be read: a/0.png, a/1.png, b/10.png, ... (each is listed above)"
    )
    told = {line.partition(": ")[0] for line in lines}
    assert told > {"a/0.png", "b/3.png", *(f"b/{i}.png" for i in range(8, 80))}


def test_damage_in_both_splits_is_named_at_once(pictures):
    root = pictures("train/a", "train/b", "test/a", "test/b")
    damage(root / "train")
    damage(root / "test")
    assert "test/a/0.png" in refused(root, "6 files cannot be read: train/a/0.png: ")


def test_damaged_files_are_left_out_on_request(pictures):
    root = pictures("a", "b", count=8)
    damage(root)
    dataset, lines = load(root, skip_damaged=True)
    assert dataset.skipped == ("a/0.png", "a/1.png", "b/3.png")
    assert f"{root}: skipped 3 damaged files: a/0.png, a/1.png, b/3.png" in lines
    assert len(dataset.train_labels) + len(dataset.test_labels) == 13
    for i in range(8):
        (root / "a" / f"{i}.png").write_bytes(b"")
    refused(root, "no picture of class a is left", skip_damaged=True)
    pictures("a", count=2)
    refused(root, "a: has 2 images; .* needs at least 3", skip_damaged=True)


# --- names ---


def forms(name):
    composed, taken_apart = (unicodedata.normalize(f, name) for f in ("NFC", "NFD"))
    assert composed != taken_apart
    return composed, taken_apart


def test_two_unicode_forms_of_a_class_are_one(pictures):
    composed, apart = forms("Vögel")
    root = pictures(f"train/{composed}", "train/cat", f"test/{apart}", "test/cat")
    dataset, _ = load(root)
    assert dataset.classes == (composed, "cat")
    for expected in ((composed, "cat"), (apart, "cat")):
        (_, labels), classes = data.read_labelled_folder(root / "test", SHAPE, classes=expected)
        assert labels.tolist() == [0] * 4 + [1] * 4 and classes == expected
        data.check_classes("x", (composed, "cat"), expected)
    pictures(f"train/{apart}", start=4)
    dataset, _ = load(root)
    assert len(dataset.classes) == 2 and len(dataset.train_labels) == 12
    assert data.folder_classes(root) == dataset.classes


def test_names_that_are_not_utf8(pictures):
    root = pictures("a", "b")
    name = os.fsencode(root / "a") + b"/\xff\xfe.png"
    shutil.copy(pictures.one("b/9.png"), name)
    os.mkdir(os.fsencode(root / "a") + b"/deep\xff")
    assert len(load(root)[0].train_labels) in (7, 8)  # one is there twice
    with open(name, "wb") as file:
        file.write(b"words")
    error = refused(root, "1 file cannot be read")
    assert r"a/\udcff\udcfe.png" in error
    error.encode()
    os.mkdir(os.fsencode(root) + b"/caf\xe9")
    assert r"caf\udce9 is not UTF-8: rename it" in refused(root, "subfolder")
    with pytest.raises(InputError, match="is not UTF-8"):
        data.folder_classes(root)


def test_errors_name_the_class():
    with pytest.raises(InputError, match="class dog has 1 image: a split needs at least two"):
        data.stratified_split(np.array([0, 0, 1]), 0.1, 0, ["cat", "dog"])


def test_line_breaks_in_names_stay_in_one_line(pictures):
    root = pictures("a", "b")
    (root / "a" / "x\ny.txt").write_text("")
    assert r"a/x\ny.txt" in load(root)[1][0]
