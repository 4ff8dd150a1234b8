"""Names of files and classes: how they are compared, and how they are shown."""

import unicodedata
from collections.abc import Iterable, Sequence

from ..terminal import escaped

# What systems and tools leave behind, in lower case; all that begins with a dot is hidden anyway
IGNORED = {
    *("thumbs.db", "ehthumbs.db", "ehthumbs_vista.db", "desktop.ini", "icon\r"),
    *("__macosx", "temporary items", "network trash folder"),
    *("$recycle.bin", "recycler", "system volume information", "lost+found", "found.000"),
    *("@eadir", "@tmp", "@recycle", "@recently-snapshot", "#recycle", "#snapshot"),
    "__pycache__",
}


LONGEST = 100  # characters of a name that is listed; of a longer one, its ends


def is_hidden(name: str) -> bool:
    """Whether a file or folder of this name is none of the user's."""
    return name.startswith(".") or name.lower() in IGNORED


def one_form(name: str) -> str:
    """A class name in Unicode's composed form: a Mac may write the other one (UAX 15, NFC)."""
    return unicodedata.normalize("NFC", name)


def same_classes(classes: Sequence[str], others: Sequence[str]) -> bool:
    """Whether two lists of class names are equal, whatever their Unicode form."""
    return [one_form(c) for c in classes] == [one_form(c) for c in others]


def shown(name: str) -> str:
    """A name as a line of text holds it: what cannot be printed is escaped."""
    return escaped(name)


def listed(names: Iterable[str], most: int = 3) -> str:
    """ "a, b, c, ..." """
    names = list(names)
    short = [n if len(n) <= LONGEST else f"{n[: LONGEST // 2]}...{n[-LONGEST // 2 :]}"
             for n in map(shown, names[:most])]  # fmt: skip
    return ", ".join(short + ["..."] * (len(names) > most))


def counted(count: int, noun: str, plural: str = "") -> str:
    """ "1 picture", "1,200 pictures"."""
    return f"{count:,} {noun if count == 1 else plural or noun + 's'}"
