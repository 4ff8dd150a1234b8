"""What lies in a folder of pictures: class folders, files, and which folders are splits."""

import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..errors import InputError, reason
from .names import counted, is_hidden, listed, one_form, shown
from .pictures import endings

SPLITS = ("train", "test", "val")
_WORDS = {
    "train": re.compile("train(ing)?(set|data|images)?"),
    "test": re.compile("test(ing)?(set|data|images)?"),
    "val": re.compile("val(id(ation)?)?(set|data|images)?"),
}
_DATE = re.compile(r"(19|20)\d\d(\D|$)|(19|20)\d\d[01]\d")  # 2021, 2021-05, 20210503


@dataclass(frozen=True)
class Splits:
    """The folders of a data set that its owner divided.

    Fields:
        train, test: folders with one subfolder a class.
        val: the same, or None where validation is to be drawn.
        others: folders of pictures beside them, which are not read.
        test_is_val: whether the test set is the folder's validation set: it has no other.
    """

    train: Path
    test: Path
    val: Path | None = None
    others: tuple[Path, ...] = ()
    test_is_val: bool = False


def class_folders(folder: str | os.PathLike) -> list[Path]:
    """Sorted subfolders of `folder`, one a class, links to folders too.

    Hidden ones and a system's own (`names.IGNORED`) are not counted. InputError where the folder
    cannot be read, or where a name is not UTF-8.
    """
    folders = _subfolders(folder)
    for found in folders:
        try:
            found.name.encode()
        except UnicodeEncodeError:
            raise InputError(
                f"{folder}: the name of its subfolder {shown(found.name)} is not UTF-8: rename it"
            ) from None
    return folders


def _subfolders(folder: str | os.PathLike) -> list[Path]:
    try:
        return sorted(p for p in Path(folder).iterdir() if not is_hidden(p.name) and p.is_dir())
    except OSError as error:
        raise InputError(f"{shown(str(folder))}: cannot be read ({reason(error)})") from None


def splits_of(folder: str | os.PathLike) -> Splits | None:
    """Find the splits of a folder, by the names of its subfolders and by what they hold.

    A split has class folders. One word of its name says which it is, in any case: train, training;
    test, testing; val, valid, validation (`seg_train`, `Test-images`). Where train and val are all,
    val is the test set. A split that holds one folder alone, with the class folders in it
    (`seg_train/seg_train/`), is that folder.

    Without splits the subfolders are classes. A class may keep its pictures in subfolders, where
    another class has pictures of its own, or where all those subfolders have one name (`images/`)
    or are dates (`2021/`, `2021-05/`).

    Args:
        folder: its path.

    Returns:
        Splits; None where the subfolders are the classes.

    Raises:
        InputError: the folder cannot be read, or holds neither splits nor classes: a split alone,
            two for one role, several data sets, one folder that is the data set.
    """
    root = Path(folder)
    found = class_folders(root)
    inner = {f: [i for i in _subfolders(f) if _has_below(i)] for f in found}
    by_role = {role: [f for f in found if _role(f.name) == role and inner[f]] for role in SPLITS}
    roles = {_role(f.name) for f in found} - {None}
    if by_role["train"] and (by_role["test"] or by_role["val"]):
        return _divided(root, found, by_role)
    with_own = [f for f in found if has_own(f)]
    are_classes = any(not _role(f.name) for f in with_own) and not by_role["train"]
    if "train" in roles and len(roles) > 1 and not are_classes:
        _refuse_half(root, [f for f in found if _role(f.name) and not inner[f]])
    filled = [f for f in found if inner[f]]
    if with_own or not filled:  # classes, or no pictures at all, which reading says
        for folder in filled:
            _refuse_set(root, folder, inner[folder], {one_form(f.name) for f in with_own})
        return None
    names = sorted({one_form(i.name) for folders in inner.values() for i in folders})
    if len(filled) == 1:
        _refuse_wrapper(root, filled[0], inner[filled[0]])
    elif len(names) > 1 and not all(_DATE.match(name) for name in names):
        raise InputError(
            f"{folder}: {listed(f.name + '/' for f in filled)} hold no pictures but folders of "
            f"them ({listed(names)}): name the one that is the data set, call them train/ and "
            "test/, or put the pictures of a class into its folder"
        )
    return None


def _role(name: str) -> str | None:
    """The split that a folder's name says it is; None for no split, or for two."""
    words = re.findall(
        "[a-z]+", re.sub("([a-z])(?=[A-Z])|([A-Z])(?=[A-Z][a-z])", r"\1\2 ", one_form(name)).lower()
    )
    roles = {role for role, form in _WORDS.items() for word in words if form.fullmatch(word)}
    return roles.pop() if len(roles) == 1 else None


def _divided(root: Path, found: list[Path], by_role: dict[str, list[Path]]) -> Splits:
    for role, folders in by_role.items():
        if len(folders) > 1:
            raise InputError(
                f"{root}: {listed((f.name + '/' for f in folders), 9)} could each be the {role} "
                "set: keep one, or rename the others"
            )
    train, test, val = (next(iter(by_role[role]), None) for role in SPLITS)
    assert train
    others = tuple(f for f in found if f not in (train, test, val) and _has_below(f))
    splits = [_unwrapped(f) for f in (train, test, val) if f]
    for split in splits:
        if splits_of(split):
            raise InputError(f"{root}: {split.relative_to(root)}/ is divided itself: name one")
    return Splits(
        splits[0], splits[1], splits[2] if test and val else None, others, test_is_val=not test
    )


def _unwrapped(split: Path) -> Path:
    inner = _subfolders(split)
    if len(inner) == 1 and not has_own(inner[0]) and len(_subfolders(inner[0])) > 1:
        return inner[0]
    return split


def _refuse_half(root: Path, splits: list[Path]) -> None:
    """InputError: folders are called train and test, and these have no class folders."""
    verb = "has" if len(splits) == 1 else "have"
    raise InputError(
        f"{root}: {listed(f.name + '/' for f in splits)} {verb} no class folders with pictures; "
        "train/ and test/ need one subfolder a class"
    )


def _refuse_set(root: Path, folder: Path, inner: list[Path], classes: set[str]) -> None:
    """InputError where a folder beside classes holds splits, or the same classes once more."""
    roles = {_role(i.name) for i in inner}
    again = [i.name for i in inner if one_form(i.name) in classes - {one_form(folder.name)}]
    if "train" in roles and roles & {"test", "val"} or again:
        held = listed(again or [i.name for i in inner])
        raise InputError(
            f"{root}: {folder.name}/ is no class, it holds {held}: name the one folder that is the "
            f"data set, or put {folder.name}/ elsewhere"
        )


def _refuse_wrapper(root: Path, only: Path, inner: list[Path]) -> None:
    """InputError where the only folder of pictures is no class but the data set, or its split."""
    if len(inner) < 2 and not (inner and _subfolders(inner[0])) and not _role(only.name):
        return  # one class, its pictures in a subfolder
    if _role(only.name):
        raise InputError(
            f"{root}: has {only.name}/ alone; both train/ and test/ are needed, or name "
            f"{only}, and a part of it is kept for the test"
        )
    while len(inner) == 1 and not has_own(inner[0]):
        only, inner = inner[0], [i for i in _subfolders(inner[0]) if _has_below(i)]
    if not all(_DATE.match(i.name) for i in inner):
        raise InputError(f"{root}: the data set is in a folder inside: name {only}")


# --- files ----------------------------------------------------------------------------------------


def images_below(folder: str | os.PathLike) -> tuple[list[Path], list[Path]]:
    """Find the images in a folder and its subfolders, by the endings of their names.

    Args:
        folder: its path, or a link to it. Links to folders below it are not followed. Hidden files
            and folders, and a system's own, are passed over.

    Returns:
        (images, others): sorted paths of the files whose endings are read, and of what is left out:
        other files, linked folders, folders that cannot be read.

    Raises:
        InputError: there is no image.
    """
    known = endings()
    images: list[Path] = []
    others: list[Path] = []
    for path in _walk(Path(folder)):
        is_image = path.suffix.lower() in known and path.is_file()
        (images if is_image else others).append(path)
    if not images:
        rest = f": {_what_is_left_out(folder, sorted(others))}" if others else ""
        raise InputError(f"{folder}: holds no images{rest}")
    return sorted(images), sorted(others)


def left_out(folder: str | os.PathLike, paths: Sequence[Path]) -> str:
    """The line that tells a user what below `folder` was skipped; at least one path."""
    return f"{folder}: skipped {_what_is_left_out(folder, paths)}"


def _what_is_left_out(folder: str | os.PathLike, paths: Sequence[Path]) -> str:
    """ "2 files that are not images: a.csv, b.csv; 1 linked folder: more"."""
    kinds: dict[str, list[Path]] = {"file": [], "linked": [], "broken": [], "folder": []}
    for path in paths:
        if path.is_symlink() and not path.is_file():
            kinds["linked" if path.is_dir() else "broken"].append(path)
        else:
            kinds["folder" if path.is_dir() else "file"].append(path)
    parts = [
        (kinds["file"], "file", "that is not an image", "that are not images"),
        (kinds["linked"], "linked folder", "", ""),
        (kinds["broken"], "broken link", "", ""),
        (kinds["folder"], "folder", "that cannot be read", "that cannot be read"),
    ]
    return "; ".join(
        f"{counted(len(some), noun)} {one if len(some) == 1 else more}".rstrip()
        + f": {listed(str(p.relative_to(folder)) for p in some)}"
        for some, noun, one, more in parts
        if some
    )


def _walk(folder: Path) -> Iterator[Path]:
    """All that is below a folder and not hidden: files, links to folders, unreadable folders."""
    waiting = [folder]
    while waiting:
        folder = waiting.pop()
        try:
            with os.scandir(folder) as entries:
                inside = [entry for entry in entries if not is_hidden(entry.name)]
        except OSError:
            yield folder
            continue
        for entry in inside:
            path = folder / entry.name
            if entry.is_dir(follow_symlinks=False):
                waiting.append(path)
            else:
                yield path


def own_images(folder: Path) -> Iterator[Path]:
    """The pictures that lie in a folder itself, by the endings of their names."""
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                ending = os.path.splitext(entry.name)[1].lower()
                if ending in endings() and not is_hidden(entry.name) and entry.is_file():
                    yield folder / entry.name
    except OSError:
        return


def has_own(folder: Path) -> bool:
    """Whether a picture lies in a folder itself."""
    return any(True for _ in own_images(folder))


def _has_below(folder: Path) -> bool:
    """Whether there is a picture anywhere in a folder, by the endings of names."""
    return any(p.suffix.lower() in endings() and p.is_file() for p in _walk(folder))
