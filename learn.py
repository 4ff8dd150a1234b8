from cifar_lab.cli import learn

raise SystemExit(learn())
