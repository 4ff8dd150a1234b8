from cifar_lab.cli import predict

raise SystemExit(predict())
