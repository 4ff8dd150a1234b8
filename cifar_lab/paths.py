"""Where things lie: a checkout, or an installed copy; and how a command is called there."""

from __future__ import annotations

import importlib.util
from pathlib import Path

from .errors import InputError

_PACKAGE = Path(__file__).resolve().parent
_ROOT = _PACKAGE.parent

#: The root of the checkout that this package is used from, None in an installed copy.
CHECKOUT = _ROOT if (_ROOT / "setup.cfg").is_file() and (_ROOT / "models").is_dir() else None
#: saved_models/ of an installed copy, None in a checkout.
PACKAGED = None if CHECKOUT else _PACKAGE / "saved_models"


def home() -> Path:
    """Where saved_models/ and runs/ are written: the checkout, else the working folder."""
    return CHECKOUT or Path.cwd()


def results_folder() -> Path:
    """results/ of the checkout, or the one that was installed."""
    return (CHECKOUT or _PACKAGE) / "results"


def command(name: str) -> str:
    """How a command is called here: "python train.py", in an installed copy "cifar-lab train"."""
    return f"python {name}.py" if CHECKOUT else f"cifar-lab {name}"


def install_hint(extra: str) -> str:
    """The command that installs an extra here."""
    return f"pip install -e '.[{extra}]'" if CHECKOUT else f"pip install 'cifar_lab[{extra}]'"


def require_installed() -> None:
    """InputError where the `cifar_lab.models` that Python finds is not this copy's. Imports
    nothing.

    models/, results/ and saved_models/ stand beside the package in a checkout; the packaging
    maps them into it, in an editable install too.
    """
    spec = importlib.util.find_spec("cifar_lab.models")
    found = Path(spec.origin).resolve().parent if spec and spec.origin else None
    if found == (CHECKOUT or _PACKAGE) / "models":
        return
    how = f"run `python -m pip install -e .` in {_ROOT}"
    if found is None:
        raise InputError(f"cifar_lab is not installed in this Python: {how}")
    raise InputError(f"this Python has the cifar_lab of {found.parent}, not this one: {how}")
