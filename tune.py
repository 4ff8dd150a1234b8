from cifar_lab.cli import tune

raise SystemExit(tune())
