"""Reading: exact pixels out of every layout; one line names what is damaged."""

import gzip
import pickle
import struct
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cifar_lab import data
from cifar_lab.data import cifar
from cifar_lab.errors import InputError
from support import ROOT, bomb_header, command_env, replace_file, write_fashion, write_idx


@pytest.fixture(autouse=True)
def no_environment(monkeypatch, tmp_path):
    monkeypatch.delenv("CIFAR_LAB_DATA", raising=False)
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "no-keras-cache"))


def test_importing_it_imports_no_keras():
    code = "import sys, cifar_lab.data; sys.exit(bool({'keras', 'tensorflow'} & set(sys.modules)))"
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=command_env(), check=True)


def refused(words, name, data_dir, **kwargs):
    with pytest.raises(InputError, match=words) as error:
        data.load(name, data_dir, **kwargs)
    assert "\n" not in str(error.value)
    return str(error.value)


# --- CIFAR-10 ---


def test_binary_pixels_and_labels(cifar10, cifar10_batch):
    for data_dir in (cifar10, cifar10.parent):
        dataset = data.load("cifar10", str(data_dir))
        assert (
            dataset.train_images.shape == (50_000, 32, 32, 3)
            and dataset.train_images.dtype == np.uint8
        )
        assert dataset.test_images.shape == (10_000, 32, 32, 3)
        assert dataset.classes[3] == "cat"
        record = cifar10_batch[7]
        assert dataset.test_labels[7] == record[0]
        for channel in range(3):  # plane by plane, row-major
            np.testing.assert_array_equal(
                dataset.test_images[7, :, :, channel],
                record[1 + 1024 * channel : 1 + 1024 * (channel + 1)].reshape(32, 32),
            )


def test_environment_names_the_data(cifar10, monkeypatch):
    monkeypatch.setenv("CIFAR_LAB_DATA", str(cifar10.parent))
    assert len(data.load("cifar10").test_labels) == 10_000


def python2_batch(data_bytes, labels):
    """A batch as CIFAR-10's authors pickled it with Python 2, protocol 2, opcode by opcode."""

    def short(text):
        return b"U" + bytes([len(text)]) + text

    array = (
        b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85"
        + short(b"b")
        + b"\x87R"
        + b"(K\x01"
        + b"M\x10'M\x00\x0c\x86"
        + b"cnumpy\ndtype\n"
        + short(b"u1")
        + b"K\x00K\x01\x87R(K\x03"
        + short(b"|")
        + b"NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
        + b"\x89"
        + b"T"
        + struct.pack("<I", len(data_bytes))
        + data_bytes
        + b"tb"
    )
    numbers = b"](" + b"".join(b"K" + bytes([n]) for n in labels) + b"e"
    return b"\x80\x02}(" + short(b"data") + array + short(b"labels") + numbers + b"u."


@pytest.mark.parametrize("how", ["python2", 2, 4, 5])
def test_python_version_gives_the_same_arrays(tmp_path, cifar10_batch, how):
    folder = tmp_path / "cifar-10-batches-py"
    folder.mkdir()
    pixels, labels = np.ascontiguousarray(cifar10_batch[:, 1:]), cifar10_batch[:, 0].tolist()
    if how == "python2":
        raw = python2_batch(pixels.tobytes(), labels)
    else:
        raw = pickle.dumps({b"data": pixels, b"labels": labels, b"batch_label": b"x"}, protocol=how)
    for name in [f"data_batch_{i}" for i in range(1, 6)] + ["test_batch"]:
        (folder / name).write_bytes(raw)
    dataset = data.load("cifar10", str(tmp_path))
    np.testing.assert_array_equal(
        dataset.test_images[9, 4, 5], pixels[9].reshape(3, 32, 32)[:, 4, 5]
    )
    np.testing.assert_array_equal(dataset.test_labels, labels)


def test_a_pickle_that_would_run_something_does_not(tmp_path):
    folder, flag = tmp_path / "cifar-10-batches-py", tmp_path / "ran"
    folder.mkdir()

    class Evil:
        def __reduce__(self):
            return (open, (str(flag), "w"))

    for name in [f"data_batch_{i}" for i in range(1, 6)] + ["test_batch"]:
        (folder / name).write_bytes(pickle.dumps({b"data": Evil()}))
    message = refused("refused, the pickle names .*open", "cifar10", str(tmp_path))
    assert "data_batch_1" in message and not flag.exists()


@pytest.mark.parametrize(
    "damage, words",
    [
        (lambda b: b[:-1], "data_batch_3.bin: has 30,729,999 bytes, must have 30,730,000"),
        (lambda b: b"", "data_batch_3.bin: has 0 bytes"),
        (lambda b: b + b"\0", "data_batch_3.bin: has 30,730,001 bytes"),
        (lambda b: bytes([11]) + b[1:], "data_batch_3.bin: label 11 at record 0, must be 0 to 9"),
    ],
)
def test_damaged_binary(cifar10, cifar10_batch, damage, words):
    replace_file(cifar10 / "data_batch_3.bin", damage(cifar10_batch.tobytes()))
    refused(words, "cifar10", str(cifar10))


def test_missing_batch(cifar10):
    (cifar10 / "data_batch_5.bin").unlink()
    refused("data_batch_5.bin: is missing", "cifar10", str(cifar10.parent))


def test_labels_of_one_class_only(cifar10, cifar10_batch):
    records = cifar10_batch.copy()
    records[:, 0] = 3
    for file in cifar10.iterdir():
        replace_file(file, records.tobytes())
    refused("only 1 of 10 classes", "cifar10", str(cifar10))


@pytest.mark.parametrize("raw", [b"", b"hello", b"\x80\x04]."])
def test_damaged_python_batch(tmp_path, raw):
    folder = tmp_path / "cifar-10-batches-py"
    folder.mkdir()
    for name in [f"data_batch_{i}" for i in range(1, 6)] + ["test_batch"]:
        (folder / name).write_bytes(raw)
    refused("data_batch_1: is not a CIFAR-10 python batch", "cifar10", str(tmp_path))


# --- CIFAR-100 ---


@pytest.fixture
def cifar100(tmp_path, monkeypatch):
    """A folder of CIFAR-100, 300 train and 200 test images, in the binary version: (its path, the
    train records, uint8 (300, 3074): coarse label, fine label, pixels)."""
    for name in ("_CIFAR100", "_CIFAR100_COARSE"):
        monkeypatch.setattr(cifar, name, replace(getattr(cifar, name), records=(300, 200)))
    rng = np.random.default_rng(0)
    records = rng.integers(0, 256, (500, 2 + 3072), np.uint8)
    records[:, 0], records[:, 1] = np.arange(500) % 20, np.arange(500) % 100
    folder = tmp_path / "cifar-100-binary"
    folder.mkdir()
    (folder / "train.bin").write_bytes(records[:300].tobytes())
    (folder / "test.bin").write_bytes(records[300:].tobytes())
    return folder, records[:300]


def as_python(folder, records):
    """The same in the python version, for both splits."""
    folder.mkdir(parents=True)
    for name, part in (("train", records), ("test", records[:200])):
        batch = {
            b"data": np.ascontiguousarray(part[:, 2:]),
            b"fine_labels": part[:, 1].tolist(),
            b"coarse_labels": part[:, 0].tolist(),
        }
        (folder / name).write_bytes(pickle.dumps(batch, protocol=2))
    return folder


@pytest.mark.parametrize("name, byte, count", [("cifar100", 1, 100), ("cifar100-coarse", 0, 20)])
def test_cifar100_fine_and_coarse_in_both_versions(cifar100, tmp_path, name, byte, count):
    folder, records = cifar100
    python = as_python(tmp_path / "python" / "cifar-100-python", records)
    for place in (folder, folder.parent, python, python.parent):
        dataset = data.load(name, str(place))
        assert dataset.train_images.shape == (300, 32, 32, 3)
        assert dataset.test_images.shape == (200, 32, 32, 3)
        assert len(dataset.classes) == count and list(dataset.classes) == sorted(dataset.classes)
        assert dataset.train_labels.tolist() == records[:, byte].tolist()
        pixel = records[7, 2:].reshape(3, 32, 32)[:, 4, 5]
        assert dataset.train_images[7, 4, 5].tolist() == pixel.tolist()


def test_cifar100_in_the_keras_cache(cifar100, tmp_path, monkeypatch):
    folder, records = cifar100
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    cache = tmp_path / "keras" / "datasets" / "cifar-100-python-target" / "cifar-100-python"
    as_python(cache, records)
    assert data.load("cifar100").train_labels.tolist() == records[:, 1].tolist()
    (cache / "test").write_bytes(b"cut")
    assert "delete it" in refused("test: is not a CIFAR-100 python batch", "cifar100", None)


@pytest.mark.parametrize("name, mode", [("cifar100", "fine"), ("cifar100-coarse", "coarse")])
def test_cifar100_is_downloaded_with_the_labels_asked_for(monkeypatch, name, mode):
    keras = pytest.importorskip("keras")
    x, y = np.zeros((20, 32, 32, 3), np.uint8), np.arange(20)[:, None]
    asked = []

    def load_data(label_mode="fine"):
        asked.append(label_mode)
        return (x, y), (x, y)

    monkeypatch.setattr(keras.datasets.cifar100, "load_data", load_data)
    lines = []
    dataset = data.load(name, notice=lines.append)
    assert asked == [mode] and dataset.test_labels.tolist() == list(range(20))
    assert lines == [
        f"{name} is not on this machine: downloading about 169 MB into the Keras cache"
    ]


@pytest.mark.parametrize(
    "damage, words",
    [
        (lambda b: b[:-1], "train.bin: has 922,199 bytes, must have 922,200"),
        (lambda b: b[:1] + b"\x64" + b[2:], "train.bin: label 100 at record 0, must be 0 to 99"),
        (None, "train.bin: is missing; CIFAR-100 needs train.bin, test.bin"),
    ],
)
def test_damaged_cifar100(cifar100, damage, words):
    folder, records = cifar100
    file = folder / "train.bin"
    file.write_bytes(damage(records.tobytes())) if damage else file.unlink()
    refused(words, "cifar100", str(folder))


@pytest.mark.parametrize("name, each", [("cifar100", 100), ("cifar100-coarse", 500)])
def test_real_cifar100(real_data, name, each):
    if not (Path(real_data) / "cifar-100-binary").is_dir():
        pytest.skip("CIFAR_LAB_DATA holds no cifar-100-binary/")
    dataset = data.load(name, real_data)
    assert len(dataset.train_labels) == 50_000 and len(dataset.test_labels) == 10_000
    assert np.bincount(np.concatenate([dataset.train_labels, dataset.test_labels])).tolist() == [
        each * 6
    ] * len(dataset.classes)


# --- IDX ---


@pytest.mark.parametrize("ending", ["", ".gz"])
def test_idx_gzipped_or_not(tmp_path, ending):
    write_fashion(tmp_path / "fashion-mnist", ending=ending)
    for data_dir in (tmp_path, tmp_path / "fashion-mnist"):
        dataset = data.load("fashion-mnist", str(data_dir))
        assert dataset.train_images.shape == (200, 28, 28, 1) and dataset.test_images.shape == (
            70,
            28,
            28,
            1,
        )
        assert dataset.train_labels[:12].tolist() == [*range(10), 0, 1]
        assert dataset.test_images[4, 8, 0, 0] >= 180 > dataset.test_images[4, 0, 0, 0]


def test_mnist_and_fashion_mnist_are_told_apart(tmp_path):
    write_fashion(tmp_path / "fashion-mnist")
    refused("holds no mnist", "mnist", str(tmp_path))
    refused("holds no mnist", "mnist", str(tmp_path / "fashion-mnist"))


IDX_DAMAGE = {
    "wrong magic": (
        "train-images-idx3-ubyte",
        lambda b: b"\0\0\x0d\x03" + b[4:],
        "wrong magic number 3331, must be 2051",
    ),
    "truncated": ("train-images-idx3-ubyte", lambda b: b[:-5], "truncated"),
    "empty": ("train-labels-idx1-ubyte", lambda b: b"", "too few for an IDX header"),
    "label 11": ("train-labels-idx1-ubyte", lambda b: b[:-1] + b"\x0b", "label 11 at record 199"),
    "fewer labels": (
        "t10k-labels-idx1-ubyte",
        lambda b: b[:4] + struct.pack(">I", 69) + b[8:-1],
        "69 labels for 70 images",
    ),
    "wrong size": (
        "t10k-images-idx3-ubyte",
        lambda b: b[:8] + struct.pack(">II", 14, 56) + b[16:],
        "must be 28 x 28 bytes, are 14 x 56",
    ),
    "no items": (
        "t10k-labels-idx1-ubyte",
        lambda b: b[:4] + struct.pack(">I", 0),
        "holds no items",
    ),
}


@pytest.mark.parametrize("kind", IDX_DAMAGE)
def test_damaged_idx(tmp_path, kind):
    name, damage, words = IDX_DAMAGE[kind]
    folder = write_fashion(tmp_path / "fashion-mnist", ending="")
    (folder / name).write_bytes(damage((folder / name).read_bytes()))
    message = refused(words, "fashion-mnist", str(tmp_path))
    assert "idx" in message and "ubyte" in message


def test_damaged_gzip_and_missing_file(fashion):
    file = fashion / "fashion-mnist" / "train-images-idx3-ubyte.gz"
    whole = file.read_bytes()
    file.write_bytes(whole[: len(whole) // 2])
    refused("train-images-idx3-ubyte.gz: damaged gzip", "fashion-mnist", str(fashion))
    file.write_bytes(whole[:-6] + b"\0\0\0\0\0\0")
    refused("damaged gzip", "fashion-mnist", str(fashion))
    file.unlink()
    refused("train-images-idx3-ubyte.*is missing", "fashion-mnist", str(fashion))


def test_keras_cache_is_used_and_checked(tmp_path, monkeypatch):
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    write_fashion(tmp_path / "datasets" / "fashion-mnist")
    assert len(data.load("fashion-mnist").train_labels) == 200
    x, y = np.zeros((20, 28, 28), np.uint8), np.arange(20) % 10
    npz = tmp_path / "datasets" / "mnist.npz"
    np.savez(npz, x_train=x, y_train=y, x_test=x, y_test=y)
    assert data.load("mnist").train_images.shape == (20, 28, 28, 1)
    for wrong, words in (
        ({"y_test": y[:10]}, "10 labels for 20 images"),
        ({"x_train": x / 255}, "must be 28 x 28 bytes"),
        ({"x_train": x.reshape(20, 784)}, "must be 28 x 28 bytes"),
        ({"y_train": y * 0}, "1 of 10 classes"),
    ):
        np.savez(npz, **{**dict(x_train=x, y_train=y, x_test=x, y_test=y), **wrong})
        assert "delete it" in refused(words, "mnist", None)


def test_an_interrupted_download_is_started_again(tmp_path, monkeypatch, capsys):
    keras = pytest.importorskip("keras")
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    folder = write_fashion(tmp_path / "datasets" / "fashion-mnist")
    (folder / "t10k-labels-idx1-ubyte.gz").unlink()
    x, y = np.zeros((20, 28, 28), np.uint8), np.arange(20) % 10

    def load_data():
        print("Downloading data from a server")  # as Keras does, on stdout
        return (x, y), (x, y)

    monkeypatch.setattr(keras.datasets.fashion_mnist, "load_data", load_data)
    assert data.load("fashion-mnist").train_images.shape == (20, 28, 28, 1)
    assert capsys.readouterr().out == ""


def test_a_failed_download_says_what_to_do(monkeypatch):
    keras = pytest.importorskip("keras")

    def fail():
        raise OSError("no route to host")

    monkeypatch.setattr(keras.datasets.cifar10, "load_data", fail)
    lines = []
    message = refused("download failed.*no route", "cifar10", None, notice=lines.append)
    assert "`data_dir`" in message and "`data` synthetic" in message
    assert "170 MB" in lines[0]


def test_given_folder_without_the_set(tmp_path):
    message = refused("holds no cifar10", "cifar10", str(tmp_path))
    assert "`data` synthetic" in message and "cifar-10-batches-bin" in message
    (tmp_path / "cifar-10-python.tar.gz").write_bytes(b"")
    assert "unpack cifar-10-python.tar.gz" in refused("holds no", "cifar10", str(tmp_path))
    refused("is not a folder", "cifar10", str(tmp_path / "nowhere"))


# --- folders of images ---


def test_folder_without_split_keeps_a_stratified_fifth(photos):
    lines = []
    dataset = data.load(str(photos), input_shape=(32, 32, 3), notice=lines.append)
    assert dataset.classes == ("b", "g", "r")
    assert (
        np.bincount(dataset.test_labels).tolist() == [2, 2, 2] and len(dataset.train_labels) == 30
    )
    assert "fifth" in dataset.note and "fifth" in lines[0]
    for color, channel in (("r", 0), ("g", 1), ("b", 2)):
        mean = dataset.train_images[dataset.train_labels == dataset.classes.index(color)].mean(
            (0, 1, 2)
        )
        assert mean.argmax() == channel


def test_folder_with_train_and_test(photos, tmp_path):
    root = tmp_path / "split"
    root.mkdir()
    photos.rename(root / "train")
    for name in "rgb":
        (root / "test" / name).mkdir(parents=True)
        (root / "train" / name / "0.png").rename(root / "test" / name / "0.png")
    dataset = data.load(str(root), input_shape=(16, 16, 1))
    assert dataset.train_images.shape == (33, 16, 16, 1) and dataset.test_images.shape == (
        3,
        16,
        16,
        1,
    )
    assert dataset.note == ""
    (root / "test" / "r" / "0.png").rename(root / "test" / "g" / "1.png")
    (root / "test" / "r").rmdir()
    refused("different classes .r.", str(root), None, input_shape=(16, 16, 1))


def test_one_class_empty_class_and_too_few(tmp_path):
    root = tmp_path / "f"
    (root / "a").mkdir(parents=True)
    refused("at least two classes, has 1", str(root), None, input_shape=(8, 8, 3))
    (root / "b").mkdir()
    refused("a: holds no images$", str(root), None, input_shape=(8, 8, 3))
    (root / "a" / "IMG_1.HEIC").write_bytes(b"of a phone")
    (root / "a" / "print.pdf").write_bytes(b"%PDF")  # Pillow writes such, and does not read them
    refused(
        "a: holds no images: 2 files that are not images: IMG_1.HEIC, print.pdf$",
        str(root),
        None,
        input_shape=(8, 8, 3),
    )
    for name in "ab":
        Image.new("RGB", (8, 8)).save(root / name / "1.png")
    refused("needs at least 3", str(root), None, input_shape=(8, 8, 3))


def test_a_class_that_no_folder_can_be_called(tmp_path):
    for name in ("Bag", "T-shirt-top"):
        (tmp_path / name).mkdir()
        Image.new("L", (28, 28)).save(tmp_path / name / "1.png")
    (_, labels), classes = data.read_labelled_folder(
        str(tmp_path), (28, 28, 1), classes=data.CLASSES["fashion-mnist"]
    )
    assert labels.tolist() == [8, 0] and classes == data.CLASSES["fashion-mnist"]
    (tmp_path / "T-shirt").mkdir()
    with pytest.raises(
        InputError, match="subfolder 'T-shirt' is not a class of the model .T-shirt-top, Trouser"
    ):
        data.read_labelled_folder(str(tmp_path), (28, 28, 1), classes=data.CLASSES["fashion-mnist"])


def test_bad_files_are_named(photos):
    bad = photos / "r" / "0.png"
    whole = bad.read_bytes()
    for raw, words in (
        (b"a text file", "is not an image"),
        (b"", "is not an image"),
        (whole[: len(whole) // 2], "damaged image"),
    ):
        bad.write_bytes(raw)
        assert "0.png" in refused(words, str(photos), None, input_shape=(8, 8, 3))


def test_decompression_bomb(photos):
    (photos / "r" / "0.png").write_bytes(bomb_header())
    refused("0.png: claims over 200 million pixels", str(photos), None, input_shape=(8, 8, 3))


def test_stray_files_are_left_out_with_a_word(photos):
    (photos / "r" / "Thumbs.db").write_text("x")
    (photos / "r" / ".DS_Store").write_text("x")
    (photos / "r" / "notes.txt").write_text("x")
    lines = []
    assert (
        len(data.load(str(photos), input_shape=(8, 8, 3), notice=lines.append).train_labels) == 30
    )
    assert lines[0] == f"{photos}: skipped 1 file that is not an image: r/notes.txt"
    for name in ("a.csv", "b.csv", "c.csv"):
        (photos / "g" / name).write_text("x")
    data.load(str(photos), input_shape=(8, 8, 3), notice=lines.append)
    assert lines[2].endswith(
        ": skipped 4 files that are not images: g/a.csv, g/b.csv, g/c.csv, ..."
    )


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation(tmp_path, orientation):
    """A picture, stored as a camera held that way stores it, comes out upright."""
    upright = np.zeros((16, 16, 3), np.uint8)
    upright[:8, :8, 0] = 255
    stored = {
        1: lambda a: a,
        2: lambda a: a[:, ::-1],
        3: lambda a: a[::-1, ::-1],
        4: lambda a: a[::-1],
        5: lambda a: a.transpose(1, 0, 2),
        6: lambda a: np.rot90(a, 1),
        7: lambda a: np.rot90(a, 2).transpose(1, 0, 2),
        8: lambda a: np.rot90(a, -1),
    }[orientation](upright)
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(np.ascontiguousarray(stored)).save(tmp_path / "p.png", exif=exif)
    np.testing.assert_array_equal(data.read_image(tmp_path / "p.png", (16, 16, 3)), upright)


def test_modes(tmp_path):
    def read(array, mode=None, ending="png", shape=(4, 4, 3)):
        image = Image.fromarray(array) if mode is None else Image.fromarray(array).convert(mode)
        image.save(tmp_path / f"x.{ending}")
        return data.read_image(tmp_path / f"x.{ending}", shape)

    red = np.zeros((4, 4, 3), np.uint8)
    red[..., 0] = 200
    assert read(red)[0, 0].tolist() == [200, 0, 0]
    assert abs(int(read(red, "P")[0, 0, 0]) - 200) <= 4  # the web palette has 204
    assert abs(int(read(red, "CMYK", "tiff")[0, 0, 0]) - 200) <= 1
    assert read(red[..., 0])[0, 0].tolist() == [200, 200, 200]  # grey
    assert read(np.full((4, 4), 65535 // 2, np.uint16))[0, 0, 0] == 127  # 16-bit grey
    clear = np.concatenate([red, np.zeros((4, 4, 1), np.uint8)], -1)
    assert read(clear)[0, 0].tolist() == [255, 255, 255]  # transparent: laid on white
    assert read(red, shape=(4, 4, 1))[0, 0].tolist() == [60]  # ITU-R 601 luma of (200, 0, 0)


def test_crop_is_the_centre_of_the_scaled_picture(tmp_path):
    wide = np.zeros((10, 30, 3), np.uint8)
    wide[:, 10:20] = 255
    Image.fromarray(wide).save(tmp_path / "w.png")
    assert (data.read_image(tmp_path / "w.png", (10, 10, 3)) == 255).all()


def test_named_sets_are_brought_to_the_recipes_shape(fashion):
    assert data.load("fashion-mnist", str(fashion), (32, 32, 3)).train_images.shape == (
        200,
        32,
        32,
        3,
    )


def test_the_test_split_alone_is_the_same_test_split(monkeypatch):
    load = data.synthetic.load
    monkeypatch.setattr(
        data.synthetic, "load", lambda train_size=50, **more: load(train_size, 30, **more)
    )
    whole, alone = (
        data.load("synthetic:clutter=1", test_only=test_only, **shape)
        for test_only, shape in ((False, {}), (True, {"input_shape": (28, 28, 1)}))
    )
    assert whole.train_images.shape == (50, 32, 32, 3) and alone.train_images.shape == (
        0,
        28,
        28,
        1,
    )
    np.testing.assert_array_equal(
        alone.test_images, data.fit_images(whole.test_images, (28, 28, 1))
    )
    np.testing.assert_array_equal(alone.test_labels, whole.test_labels)


def test_unknown_name_lists_the_names():
    assert ", ".join(data.NAMES) in refused("must be one of", "cifar11", None)


# --- splits and digests ---


def test_stratified_split_is_seeded_disjoint_and_in_proportion():
    labels = np.repeat([0, 1, 2], [100, 50, 11])
    rest, part = data.stratified_split(labels, 0.1, seed=1)
    assert np.bincount(labels[part]).tolist() == [10, 5, 1]
    assert sorted([*rest, *part]) == list(range(161))
    np.testing.assert_array_equal(part, data.stratified_split(labels, 0.1, seed=1)[1])
    assert part.tolist() != data.stratified_split(labels, 0.1, seed=2)[1].tolist()
    with pytest.raises(InputError, match="at least two of each"):
        data.stratified_split(np.array([0, 0, 1]), 0.1, seed=0)


@pytest.mark.parametrize("limit", [20, 21, 57, 199, 200])
def test_limit_is_exact_and_stratified(fashion, limit):
    dataset = data.load("fashion-mnist", str(fashion))
    small = data.limited(dataset, limit, seed=0)
    counts = np.bincount(small.train_labels, minlength=10)
    assert counts.sum() == limit and counts.max() - counts.min() <= 1
    assert len(small.test_labels) == 70


@pytest.mark.parametrize("limit", [19, 201])
def test_impossible_limit(fashion, limit):
    with pytest.raises(InputError, match=f"`limit`: must be 20 to 200.*received {limit}"):
        data.limited(data.load("fashion-mnist", str(fashion)), limit, seed=0)


def test_digest_is_of_the_train_split(fashion):
    dataset = data.load("fashion-mnist", str(fashion))
    assert dataset.train_sha256() != data.limited(dataset, 100, 0).train_sha256()
    assert dataset.test_sha256() == data.limited(dataset, 100, 0).test_sha256()
    folder = fashion / "fashion-mnist"
    raw = gzip.decompress((folder / "train-labels-idx1-ubyte.gz").read_bytes())
    write_idx(folder / "train-labels-idx1-ubyte.gz", np.roll(np.frombuffer(raw[8:], np.uint8), 1))
    assert data.load("fashion-mnist", str(fashion)).train_sha256() != dataset.train_sha256()
