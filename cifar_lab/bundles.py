"""Bundles: what a finished training leaves in saved_models/RUNG. Written whole, read checked.

A bundle is a folder with model.keras (the bare network, float32, uncompiled), card.json (what it is
and how well it does), history.csv (a row an epoch) and, where matplotlib is installed,
learning_curve.png. This module imports no Keras but to load a model.
"""

import contextlib
import glob
import hashlib
import json
import os
import re
import shutil
import tempfile
import zipfile
from pathlib import Path

from . import documents, files, ladder, paths, schema
from .errors import InputError, reason

_OURS = (
    "model.*",
    ".model.*.partial",
    ".model.*.lock",
    "card.json",
    "*.card.json",
    "history.csv",
    "learning_curve.png",
)
_NO_LINK = getattr(os, "O_NOFOLLOW", 0)
_OWN = re.compile(r".+\.py(:(?P<name>\w+))?")


def find(name: str | Path, writes: bool = False) -> Path:
    """The folder of a bundle, from a rung's name, a path (of the folder, or of its model.keras), or
    the "FILE.py:NAME" that it was trained as.

    writes: whether something will be written to it: then what a kill left half replaced is put
        back. Otherwise nothing is touched, and the earlier bundle is found where the kill left it.

    Raises InputError where there is none.
    """
    name = str(name)
    if name in ladder.LADDER:
        return _of_rung(name, writes)
    if not name:
        raise InputError(f"'': must be a rung ({_rungs()}) or the folder of a bundle")
    own = _OWN.fullmatch(name)
    if own:
        return _of_own(name, own["name"])
    folder = Path(os.path.abspath(name))
    if folder.name == "model.keras":
        folder = folder.parent
    folder = _present(folder, writes)
    if name.endswith(".weights.h5"):
        raise InputError(
            f"{name}: is a weights file, which names no network: give it as `weights`, with a rung "
            "or FILE.py:NAME"
        )
    if os.path.isfile(folder):
        raise InputError(f"{name}: is a file; a rung or the folder of a bundle is needed")
    if not os.path.isdir(folder):
        near = schema.meant(name, ladder.LADDER)
        raise InputError(
            f"{name!r}{near}: is neither a rung ({_rungs()}) nor the folder of a bundle"
        )
    return folder


def _rungs() -> str:
    return ", ".join(ladder.LADDER)


def _of_rung(name: str, writes: bool) -> Path:
    candidates = [paths.home() / "saved_models" / name]
    candidates += [paths.PACKAGED / name] if paths.PACKAGED else []
    for candidate in candidates:
        folder = _present(candidate, writes)
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
    of_file, _, builder = stored_recipe(card).get("builder", "").rpartition(":")
    # a recipe of the file may name one of the package's builders: then its NAME alone tells
    return of_file == file.name or not of_file and label is not None and bool(builder)


def read_card(folder):
    """card.json of a bundle, checked: dict. Raises InputError naming what is wrong."""
    path = Path(folder) / "card.json"
    try:
        return schema.read_json(path, documents.CARD)
    except OSError as error:
        raise InputError(
            f"{path}: cannot be read ({reason(error)}): not a bundle, or its training is unfinished"
        ) from None


def stored_recipe(card):
    """The recipe that a card stores, in the form of its day: dict; {} where it has none."""
    return card.get("recipe") or {}


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

    from . import networks, strangers

    try:
        strangers.check(".keras", path)
        with networks.bounded():
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
    """Hex digest of a regular file. Raises OSError."""
    with files.opened(path) as file:
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
    if previous.is_dir() and not previous.is_symlink():
        with contextlib.suppress(OSError):  # a folder that cannot be written: nothing to mend there
            if folder.is_dir():
                shutil.rmtree(previous)
            else:
                previous.rename(folder)


def _present(folder, writes):
    """The folder of a bundle, or where the earlier one is that a killed process moved aside."""
    if os.path.isdir(folder):
        return folder
    previous = _beside(folder, "previous")
    if not os.path.isdir(previous) or previous.is_symlink():
        return folder
    if not writes:
        return previous
    with contextlib.suppress(InputError, OSError), locked(folder):
        recover(folder)
    return folder


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
            sorted(p.name for p in folder.iterdir() if not _is_ours(p)) if folder.is_dir() else []
        )
        if strangers:
            raise InputError(
                f"{folder}: holds what is not a bundle's ({', '.join(strangers[:3])}); "
                "`output` must name a new folder or a bundle"
            )
        tempfile.TemporaryFile(dir=folder.parent).close()  # a kill leaves nothing of it
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


def _is_ours(path):
    """Whether a file in a bundle's folder has a name that we give, a temporary one included."""
    return any(Path(path.name.removesuffix(".tmp")).match(name) for name in _OURS)


@contextlib.contextmanager
def locked(folder):
    """Hold `folder`, or a file, for one process at a time; InputError where another holds it.

    The lock is one of the system's on a file beside it, so that it ends with its process. Whoever
    is done removes the file, so one that was opened before may be nobody's any more: it counts only
    if it is still in its place once it is locked.
    """
    path = _beside(folder, "lock")
    while True:
        if path.is_symlink():
            raise InputError(f"{path}: is a symbolic link, which no lock is: remove it")
        file = os.open(path, os.O_RDWR | os.O_CREAT | _NO_LINK, 0o666)
        try:
            if not _lock(file):
                raise InputError(f"{folder}: another process is writing there")
            if _is_at(path, file):
                try:
                    yield
                finally:
                    if os.name == "posix":
                        remove_file(path)
                return
        finally:
            os.close(file)
            if os.name != "posix":  # Windows removes no open file; one that is in use stays
                remove_file(path)


def _is_at(path, file):
    """Whether an open file is what lies at a path."""
    with contextlib.suppress(FileNotFoundError):
        return os.path.samestat(os.fstat(file), os.stat(path, follow_symlinks=False))
    return False


def _lock(file):
    """Lock an open file for this process alone, at once: whether that is so now."""
    try:
        import fcntl
    except ImportError:  # Windows
        import msvcrt

        try:
            msvcrt.locking(file, msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined]
        except OSError:
            return False
        return True
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # a file system without locks
        pass
    return True


def remove_file(path):
    """Remove a file, or a link in its place, if it is there and can be removed."""
    with contextlib.suppress(OSError):
        os.unlink(path)


def remove(folder):
    """Remove a folder of ours and all that is in it, or a link in its place, not what it names."""
    folder = Path(folder)
    if folder.is_symlink():
        folder.unlink()
    else:
        shutil.rmtree(folder, ignore_errors=True)


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
    remove(partial)
    partial.mkdir()
    try:
        result = fill(partial)
        for file in partial.iterdir():
            sync(file)
        sync(partial)
        if folder.is_dir():
            if previous.is_symlink():  # a stranger's
                remove(previous)
            folder.rename(previous)
        partial.rename(folder)
        sync(folder.parent)
    except BaseException:
        remove(partial)
        recover(folder)
        raise
    remove(previous)
    return result


@contextlib.contextmanager
def scratch(path):
    """An empty folder beside what will lie at `path`, removed afterwards, and so are those that
    killed processes left. Call with the lock held."""
    path = Path(path)
    partial = _beside(path, "partial")
    for left in path.parent.glob(f".{glob.escape(path.name)}.*partial"):
        remove(left)
    partial.mkdir()
    try:
        yield partial
    finally:
        remove(partial)


def write_file(path, write_to):
    """Write a file whole or not at all: `write_to` gets a binary file object.

    What lies under the temporary name, of a process that was killed or a link of a stranger's, is
    removed and not followed. Raises OSError.
    """
    path = Path(path)
    temporary = path.with_name(path.name + ".tmp")
    try:
        remove_file(temporary)
        with open(temporary, "xb") as file:
            write_to(file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
        sync(path.parent)
    except BaseException:
        remove_file(temporary)
        raise


def append_to(path):
    """Open a file of ours at its end, in bytes, and where it is a link, or a pipe that would be
    waited for, not at all (OSError)."""
    careful = _NO_LINK | getattr(os, "O_NONBLOCK", 0)
    return open(path, "ab", opener=lambda name, flags: os.open(name, flags | careful, 0o666))


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
