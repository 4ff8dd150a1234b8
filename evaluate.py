from cifar_lab.cli import evaluate

raise SystemExit(evaluate())
