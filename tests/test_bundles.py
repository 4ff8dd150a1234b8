"""Bundles: written whole or not at all, refused when changed."""

import json
import os
import shutil

import numpy as np
import pytest

from cifar_lab import bundles, paths
from cifar_lab.errors import InputError
from support import ROOT


def fill_with(text):
    def fill(folder):
        (folder / "model.keras").write_text(text)
        (folder / "card.json").write_text("{}")
        return text

    return fill


def test_write_and_replace(tmp_path):
    target = tmp_path / "b"
    assert bundles.write(target, fill_with("one")) == "one"
    bundles.write(target, fill_with("two"))
    assert (target / "model.keras").read_text() == "two"
    assert [p.name for p in tmp_path.iterdir()] == ["b"]


def test_a_failing_write_leaves_what_was_there(tmp_path):
    target = tmp_path / "b"

    def fail(folder):
        (folder / "model.keras").write_text("half")
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError):
        bundles.write(target, fail)
    assert list(tmp_path.iterdir()) == []
    bundles.write(target, fill_with("one"))
    with pytest.raises(OSError):
        bundles.write(target, fail)
    assert (target / "model.keras").read_text() == "one" and [
        p.name for p in tmp_path.iterdir()
    ] == ["b"]


@pytest.mark.parametrize("killed_at", ["rename 1", "rename 2", "remove"])
def test_killed_between_any_two_steps(tmp_path, monkeypatch, killed_at):
    """A process that dies at a rename leaves the old bundle or the new one, after recover()."""
    target = tmp_path / "b"
    bundles.write(target, fill_with("old"))
    renames = []

    class Killed(BaseException):
        pass

    rename, rmtree = bundles.Path.rename, shutil.rmtree

    def dying_rename(self, to):
        renames.append(to)
        if killed_at == f"rename {len(renames)}":
            raise Killed
        return rename(self, to)

    def dying_rmtree(path, **kwargs):
        if killed_at == "remove" and str(path).endswith(".previous"):
            raise Killed
        return rmtree(path, **kwargs)

    with monkeypatch.context() as m:
        m.setattr(bundles.Path, "rename", dying_rename)
        m.setattr(bundles.shutil, "rmtree", dying_rmtree)
        m.setattr(bundles, "recover", lambda folder: None)  # a killed process cleans nothing up
        with pytest.raises(Killed):
            bundles.write(target, fill_with("new"))
    bundles.recover(target)
    assert (target / "model.keras").read_text() == ("new" if killed_at == "remove" else "old")
    bundles.write(target, fill_with("third"))
    assert [p.name for p in tmp_path.iterdir()] == ["b"]


def test_prepare_refuses_before_hours_are_spent(tmp_path):
    with pytest.raises(InputError, match="no space left.*MB needed"):
        bundles.prepare(tmp_path / "b", bytes_needed=1e18)
    (tmp_path / "file").write_text("x")
    with pytest.raises(InputError, match="is a file"):
        bundles.prepare(tmp_path / "file", 0)
    with pytest.raises(InputError, match="cannot be written"):
        bundles.prepare(tmp_path / "file" / "b", 0)
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "thesis.tex").write_text("x")
    with pytest.raises(InputError, match="not a bundle's .thesis.tex"):
        bundles.prepare(tmp_path / "home", 0)
    assert (tmp_path / "home" / "thesis.tex").exists()


def test_write_file_is_whole_or_absent(tmp_path):
    def fail(file):
        file.write(b"half")
        raise OSError("disk")

    bundles.write_file(tmp_path / "f", lambda file: file.write(b"whole"))
    with pytest.raises(OSError):
        bundles.write_file(tmp_path / "f", fail)
    assert (tmp_path / "f").read_bytes() == b"whole" and os.listdir(tmp_path) == ["f"]


def test_load_refuses_a_flipped_byte_and_a_foreign_card(fashion_bundle, tmp_path):
    folder = tmp_path / "copy"
    shutil.copytree(fashion_bundle[0], folder)
    model, card = bundles.load(folder)
    assert model.count_params() == 412_778 and card["rung"] == "fashion-mnist-92"
    raw = bytearray((folder / "model.keras").read_bytes())
    raw[len(raw) // 2] ^= 1
    (folder / "model.keras").write_bytes(raw)
    with pytest.raises(InputError, match="checksum"):
        bundles.load(folder)
    # a file that is no model but has the card's checksum
    (folder / "model.keras").write_bytes(b"junk")
    card["model_sha256"] = bundles.file_sha256(folder / "model.keras")
    (folder / "card.json").write_text(json.dumps(card))
    with pytest.raises(InputError, match="Keras cannot load it"):
        bundles.load(folder)


def test_plain_keras_reads_the_model_without_the_package(fashion_bundle, tmp_path):
    import subprocess
    import sys

    images = np.random.default_rng(0).integers(0, 256, (9, 28, 28, 1)).astype("float32")
    np.save(tmp_path / "x.npy", images)
    code = (
        "import sys, numpy as np, keras; m = keras.saving.load_model(sys.argv[1], safe_mode=True); "
        "np.save(sys.argv[3], m.predict(np.load(sys.argv[2]), verbose=0)); "
        "assert not any(n.startswith('cifar_lab') for n in sys.modules)"
    )
    subprocess.run(
        [
            sys.executable,
            "-c",
            code,
            str(fashion_bundle[0] / "model.keras"),
            str(tmp_path / "x.npy"),
            str(tmp_path / "y.npy"),
        ],
        cwd=tmp_path,
        check=True,
        capture_output=True,
    )
    ours = bundles.load(fashion_bundle[0])[0].predict(images, verbose=0)
    np.testing.assert_array_equal(np.load(tmp_path / "y.npy"), ours)


def test_find_names_the_rungs(tmp_path):
    with pytest.raises(InputError, match="neither a rung .*cifar10-74.* nor the folder"):
        bundles.find(str(tmp_path / "nothing"))
    assert paths.home() == ROOT
