"""`python -m cifar_lab COMMAND ...`: the commands, as `cifar-lab COMMAND ...`."""

import os
import sys

# `python -m` puts the working folder before Python's own modules, so that a random.py there would
# stand in for theirs: it comes last
if not sys.flags.safe_path and sys.path and sys.path[0] in ("", os.getcwd()):
    sys.path.append(sys.path.pop(0))

from .cli import main  # noqa: E402

if __name__ == "__main__":
    raise SystemExit(main())
