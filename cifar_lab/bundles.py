"""Bundles: what a finished training leaves in saved_models/RUNG. Written whole, read checked.

A bundle is a folder with model.keras (the bare network, float32, uncompiled), card.json (what it is
and how well it does), history.csv (a row an epoch) and, where matplotlib is installed,
learning_curve.png. This module imports no Keras but to load a model.
"""

import contextlib
import hashlib
import json
import os
import re
import shutil
import zipfile
from pathlib import Path

from . import ladder, paths
from .errors import InputError, reason

CARD_KEYS = (
    "rung",
    "recipe",
    "seed",
    "classes",
    "val_accuracy",
    "test_accuracy",
    "seconds",
    "device",
    "versions",
    "data_sha256",
    "model_sha256",
)
_OURS = (
    "model.*",
    ".model.*.partial",
    "card.json",
    "*.card.json",
    "history.csv",
    "learning_curve.png",
)
_OWN = re.compile(r".+\.py(:(?P<name>\w+))?")


def find(name: str | Path) -> Path:
    """The folder of a bundle, from a rung's name, a path (of the folder, or of its model.keras), or
    the "FILE.py:NAME" that it was trained as.

    Raises InputError where there is none.
    """
    name = str(name)
    if name in ladder.LADDER:
        return _of_rung(name)
    if not name:
        raise InputError(f"'': must be a rung ({_rungs()}) or the folder of a bundle")
    own = _OWN.fullmatch(name)
    if own:
        return _of_own(name, own["name"])
    folder = Path(os.path.abspath(name))
    if folder.name == "model.keras":
        folder = folder.parent
    _recover_unless_in_use(folder)
    if name.endswith(".weights.h5"):
        raise InputError(
            f"{name}: is a weights file, which names no network: give it as `weights`, with a rung "
            "or FILE.py:NAME"
        )
    if os.path.isfile(folder):
        raise InputError(f"{name}: is a file; a rung or the folder of a bundle is needed")
    if not os.path.isdir(folder):
        raise InputError(f"{name!r}: is neither a rung ({_rungs()}) nor the folder of a bundle")
    return folder


def _rungs() -> str:
    return ", ".join(ladder.LADDER)


def _of_rung(name: str) -> Path:
    candidates = [paths.home() / "saved_models" / name]
    candidates += [paths.PACKAGED / name] if paths.PACKAGED else []
    for folder in candidates:
        _recover_unless_in_use(folder)
        if folder.is_dir():
            return folder
    where, how = candidates[0].parent, f"{paths.command('train')} {name}"
    raise InputError(f"{name}: has no bundle in {where}: train it first ({how})")


def _of_own(name: str, label: str | None) -> Path:
    """The one bundle in runs/, of the checkout or the working folder, that was trained as `name`.

    Its card must name the same NAME and, where its builder is of a file, the same file. InputError
    where there is no such file or no such bundle, or more than one: none is chosen in silence.
    """
    file = Path(name.removesuffix(f":{label}") if label else name)
    if not file.is_file():
        raise InputError(f"{file}: there is no such file; name the folder of the bundle")
    places = dict.fromkeys((paths.home() / "runs", Path.cwd() / "runs"))
    found = []
    for card in (card for runs in places for card in sorted(runs.glob("*/card.json"))):
        with contextlib.suppress(InputError):
            if _is_of_own(read_card(card.parent), file, label):
                found.append(card.parent)
    if len(found) == 1:
        return found[0]
    shown = ", ".join(map(str, found[:4] or places))
    if not found:
        how = f"{paths.command('train')} {name}"
        raise InputError(f"{name}: has no bundle in {shown}: train it first ({how})")
    raise InputError(f"{name}: has several bundles ({shown}); name the folder of one")


def _is_of_own(card: dict, file: Path, label: str | None) -> bool:
    """Whether a card is of a network that `file` defines, called `label` where one is given."""
    if card["rung"] in ladder.LADDER or label not in (None, card["rung"]):
        return False
    recipe = card["recipe"] if isinstance(card["recipe"], dict) else {}
    of_file, _, builder = str(recipe.get("builder", "")).rpartition(":")
    # a recipe of the file may name one of the package's builders: then its NAME alone tells
    return of_file == file.name or not of_file and label is not None and bool(builder)


def read_card(folder):
    """card.json of a bundle, checked: dict. Raises InputError naming what is wrong."""
    path = Path(folder) / "card.json"
    try:
        card = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(
            f"{path}: cannot be read ({reason(error)}): not a bundle, or its training is unfinished"
        ) from None
    except ValueError as error:
        raise InputError(f"{path}: is not JSON ({reason(error)})") from None
    if not isinstance(card, dict):
        raise InputError(f"{path}: must hold a JSON object")
    missing = [k for k in CARD_KEYS if k not in card]
    if missing:
        raise InputError(f"{path}: lacks {', '.join(missing)}")
    classes = card["classes"]
    if not (
        isinstance(classes, list) and len(classes) >= 2 and all(isinstance(c, str) for c in classes)
    ):
        raise InputError(f"{path}: classes must be a list of two or more names")
    if not isinstance(card["model_sha256"], str):
        raise InputError(f"{path}: model_sha256 must be a string")
    return card


def load(folder):
    """(keras.Model, card) of a bundle whose model has the card's checksum. Raises InputError."""
    folder = Path(folder)
    card = read_card(folder)
    path = folder / "model.keras"
    try:
        found = file_sha256(path)
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({reason(error)})") from None
    if found != card["model_sha256"]:
        raise InputError(
            f"{path}: checksum {found[:12]}... is not the card's {card['model_sha256'][:12]}...: "
            "the model was changed or damaged after it was saved"
        )
    import keras

    from . import strangers

    try:
        strangers.check(".keras", path)
        model = keras.saving.load_model(path, compile=False, safe_mode=True)
    except Exception as error:  # Keras raises nearly anything on an archive that is not a model
        raise InputError(f"{path}: Keras cannot load it ({reason(error)[:200]})") from None
    if not isinstance(model, keras.Model) or len(model.outputs or ()) != 1:
        raise InputError(f"{path}: holds no model with one output")
    if model.output_shape[-1] != len(card["classes"]):
        raise InputError(
            f"{folder}: the model has {model.output_shape[-1]} outputs, the card "
            f"{len(card['classes'])} classes"
        )
    return model, card


def file_sha256(path):
    """Hex digest of a file."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


# --- writing --------------------------------------------------------------------------------------


def _beside(folder, ending):
    folder = Path(os.path.abspath(folder))
    return folder.with_name(f".{folder.name}.{ending}")


def state_path(folder):
    """The state file of an unfinished training whose bundle will be `folder`."""
    return _beside(folder, "state.npz")


def occupied(folder):
    """Whether a folder is there and holds anything."""
    return Path(folder).is_dir() and any(Path(folder).iterdir())


def refuse_existing(folder):
    """InputError where a bundle, or the state of an unfinished training, is at `folder`."""
    if occupied(folder):
        raise InputError(
            f"{folder}: holds a trained bundle already; `overwrite` replaces it, `output` "
            "names another folder"
        )
    if state_path(folder).exists():
        raise InputError(
            f"{folder}: an unfinished run is there ({state_path(folder).name}); `resume` goes "
            "on with it, "
            "`overwrite` starts over"
        )


def recover(folder):
    """Put the earlier bundle back where a killed process left it between two renames. Call with the
    lock held."""
    folder, previous = Path(folder), _beside(folder, "previous")
    if previous.is_dir():
        with contextlib.suppress(OSError):  # a folder that cannot be written: nothing to mend there
            if folder.is_dir():
                shutil.rmtree(previous)
            else:
                previous.rename(folder)


def _recover_unless_in_use(folder):
    if not os.path.isdir(folder) and os.path.isdir(_beside(folder, "previous")):
        with contextlib.suppress(InputError, OSError), locked(folder):
            recover(folder)


def prepare(folder, bytes_needed):
    """Make sure, before hours are spent, that a bundle can be written to `folder`. Changes nothing
    there.

    Raises InputError: it is a file, a mount point or holds what is not a bundle's, cannot be
    written, or its disk has less than `bytes_needed` free.
    """
    folder = Path(folder)
    if not folder.name or os.path.ismount(folder):
        raise InputError(
            f"{folder}: is a mount point, which a finished bundle cannot be renamed to; name "
            "a folder inside it"
        )
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        if folder.exists() and not folder.is_dir():
            raise InputError(f"{folder}: is a file; `output` must name a folder")
        strangers = (
            sorted(p.name for p in folder.iterdir() if not any(p.match(o) for o in _OURS))
            if folder.is_dir()
            else []
        )
        if strangers:
            raise InputError(
                f"{folder}: holds what is not a bundle's ({', '.join(strangers[:3])}); "
                "`output` must name a new folder or a bundle"
            )
        probe = _beside(folder, f"probe-{os.getpid()}")
        probe.mkdir()
        probe.rmdir()
        if folder.is_dir() and not os.access(folder, os.W_OK):
            raise InputError(f"{folder}: cannot be written")
        free = shutil.disk_usage(folder.parent).free
    except OSError as error:
        raise InputError(f"{folder}: cannot be written ({reason(error)})") from None
    if free < bytes_needed:
        raise InputError(
            f"{folder.parent}: no space left for this run: {free / 1e6:.0f} MB free, "
            f"{bytes_needed / 1e6:.0f} MB needed"
        )


@contextlib.contextmanager
def locked(folder):
    """Hold `folder` for one training at a time; InputError where another process holds it."""
    try:
        import fcntl
    except ImportError:  # not on Windows
        yield
        return
    path = _beside(folder, "lock")
    with open(path, "w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise InputError(f"{folder}: another training is writing there") from None
        except OSError:  # a file system without locks
            pass
        try:
            yield
        finally:
            path.unlink(missing_ok=True)


def write(folder, fill):
    """Write a bundle whole or not at all, replacing the one that is there.

    Call with the lock held. fill: called with an empty folder, which then becomes `folder`; what it
    returns is returned.
    """
    folder, partial, previous = (
        Path(folder),
        _beside(folder, "partial"),
        _beside(folder, "previous"),
    )
    recover(folder)
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir()
    try:
        result = fill(partial)
        for file in partial.iterdir():
            sync(file)
        sync(partial)
        if folder.is_dir():
            folder.rename(previous)
        partial.rename(folder)
        sync(folder.parent)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        recover(folder)
        raise
    shutil.rmtree(previous, ignore_errors=True)
    return result


def write_file(path, write_to):
    """Write a file whole or not at all: `write_to` gets a binary file object."""
    path = Path(path)
    temporary = path.with_name(path.name + ".tmp")
    try:
        with open(temporary, "wb") as file:
            write_to(file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
        sync(path.parent)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def pack(path):
    """Compress the members of a zip archive, which Keras stores as they are. To be called before
    the file is in use."""
    path = Path(path)
    with zipfile.ZipFile(path) as archive:
        members = {info.filename: archive.read(info) for info in archive.infolist()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)


def write_json(path, value):
    """A JSON file, whole or not at all."""
    write_file(path, lambda file: file.write((json.dumps(value, indent=2) + "\n").encode()))


def sync(path):
    """fsync a file or a folder (folders cannot be opened on Windows, and need not be)."""
    with contextlib.suppress(PermissionError, IsADirectoryError):
        fd = os.open(path, os.O_RDONLY)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)
