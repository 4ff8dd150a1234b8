from cifar_lab.cli import export

raise SystemExit(export())
