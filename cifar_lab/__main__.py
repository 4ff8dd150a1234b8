"""`python -m cifar_lab COMMAND ...`: the commands, as `cifar-lab COMMAND ...`."""

from .cli import main

if __name__ == "__main__":
    raise SystemExit(main())
