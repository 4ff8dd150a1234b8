from cifar_lab.cli import train

raise SystemExit(train())
