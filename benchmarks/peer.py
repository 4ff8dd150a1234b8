"""airbench94 beside a rung: both trained on the same machine, in turns, in one run. For a GPU; runs
anywhere.

    KERAS_BACKEND=jax python benchmarks/peer.py --data-dir DIR --output OUT [--rung cifar10-94]
    [--seeds 5] [--compile] [--one-program | --both]

airbench94 (Jordan 2024, "94% on CIFAR-10 in 3.29 Seconds on a Single GPU") is written here anew in
PyTorch from the paper: 50,000 train images, 9.9 epochs in batches of 1,024, half precision on a
GPU, and its test accuracy with and without its six views. Ours is the rung by the path of train.py.
Each run prints a JSON line: seconds of training (whitening included, test and compilation apart;
ours also validates after each epoch, theirs never), accuracy; at the end one with medians and the
ratio ours / theirs of each turn, for each way of ours. Before the first turn theirs trains a few
steps, with --compile once as a whole, so that what is compiled or chosen on first use is not in its
times. With --one-program all epochs of ours are one program (JAX); with --both each turn trains
ours twice, epoch by epoch and as one program. --epochs and --limit make it a rehearsal.
"""

import argparse
import importlib.util
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from cifar_lab import backend, cli, ladder  # noqa: E402
from cifar_lab import recipe as recipes  # noqa: E402
from cifar_lab.errors import InputError  # noqa: E402

KEYS = (
    "seed",
    "seconds",
    "compile_seconds",
    "test_accuracy",
    "val_accuracy",
    "precision",
    "backend",
    "device",
)
MEAN, SD = (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)


class Airbench94:
    """The paper's network, optimizer and data handling on one device. images: uint8 (N, 32, 32, 3);
    labels: int (N,)."""

    batch_size, peak_rate, momentum, weight_decay, bias_scaler = 1024, 11.5, 0.85, 0.0153, 64.0
    widths = (64, 256, 256)

    def __init__(self, dataset, compiled=False):
        import torch

        self.torch = torch
        self.device = "cuda" if torch.cuda.is_available() else "cpu"
        self.dtype = torch.float16 if self.device == "cuda" else torch.float32
        mean, sd = (torch.tensor(v, device=self.device).view(1, 3, 1, 1) for v in (MEAN, SD))

        def on_device(images):
            x = torch.from_numpy(images).to(self.device).permute(0, 3, 1, 2).float().div(255)
            return ((x - mean) / sd).to(self.dtype).contiguous(memory_format=torch.channels_last)

        self.train_images, self.test_images = (
            on_device(dataset.train_images),
            on_device(dataset.test_images),
        )
        self.train_labels, self.test_labels = (
            torch.from_numpy(labels).long().to(self.device)
            for labels in (dataset.train_labels, dataset.test_labels)
        )
        if self.device == "cuda":
            torch.backends.cudnn.benchmark = True
        self.net = self.network()  # one for all runs, so that it is compiled once
        self.model = torch.compile(self.net, mode="max-autotune") if compiled else self.net

    def network(self):
        """A new network with first weights, the whitened layer's from train patches."""
        torch = self.torch
        nn = torch.nn

        def normalisation(channels):
            layer = nn.BatchNorm2d(channels, momentum=0.4, eps=1e-12)
            layer.weight.requires_grad = False
            return layer

        def convolution(before, after):
            layer = nn.Conv2d(before, after, 3, padding="same", bias=False)
            nn.init.dirac_(layer.weight.data[:before])
            return layer

        parts, before = [nn.Conv2d(3, 24, 2), nn.GELU()], 24
        for width in self.widths:
            parts += [
                convolution(before, width),
                nn.MaxPool2d(2),
                normalisation(width),
                nn.GELU(),
                convolution(width, width),
                normalisation(width),
                nn.GELU(),
            ]
            before = width
        net = nn.Sequential(
            *parts, nn.MaxPool2d(3), nn.Flatten(), nn.Linear(before, 10, bias=False)
        )
        net = net.to(self.device, self.dtype, memory_format=torch.channels_last)
        for module in net.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.float()
        patches = self.train_images[:5000].float().unfold(2, 2, 1).unfold(3, 2, 1)
        patches = patches.permute(0, 2, 3, 1, 4, 5).reshape(-1, 12)
        values, vectors = torch.linalg.eigh(torch.cov(patches.T).cpu())
        kernels = (vectors / (values + 5e-4).sqrt()).T.reshape(12, 3, 2, 2).flip(0)
        net[0].weight.data.copy_(torch.cat([kernels, -kernels]))
        net[0].bias.data.zero_()
        net[0].weight.requires_grad = False
        return net

    def synchronise(self):
        if self.device == "cuda":
            self.torch.cuda.synchronize()

    def train(self, seed, epochs=9.9, max_steps=None):
        """(network, seconds): trained once, from first weights; the network is the same object each
        time."""
        torch, net, model = self.torch, self.net, self.model
        torch.manual_seed(seed)
        self.synchronise()
        start = time.perf_counter()
        net.load_state_dict(self.network().state_dict())
        net[0].bias.requires_grad = True
        count, size = len(self.train_images), min(self.batch_size, len(self.train_images))
        batches = count // size
        steps = -(-round(batches * epochs * 1000) // 1000)
        if max_steps:
            steps = min(steps, max_steps)
        # "lr per 1,024 examples" of the paper: of a loss that is summed, decoupled from momentum
        scale = 1024 * (1 + 1 / (1 - self.momentum))
        rate, decay = self.peak_rate / scale, self.weight_decay * size / scale
        biases = [
            p
            for m in net.modules()
            if isinstance(m, torch.nn.BatchNorm2d)
            for p in m.parameters()
            if p.requires_grad
        ]
        mine = {id(p) for p in biases}
        others = [p for p in net.parameters() if p.requires_grad and id(p) not in mine]
        optimizer = torch.optim.SGD(
            [
                {
                    "params": biases,
                    "lr": rate * self.bias_scaler,
                    "weight_decay": decay / (rate * self.bias_scaler),
                },
                {"params": others, "lr": rate, "weight_decay": decay / rate},
            ],
            momentum=self.momentum,
            nesterov=True,
        )
        warmup = max(1, int(0.23 * steps))

        def factor(step):
            return (
                0.2 + 0.8 * step / warmup
                if step < warmup
                else 1 - 0.93 * (step - warmup) / max(1, steps - warmup)
            )

        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, factor)
        loss_function = torch.nn.CrossEntropyLoss(label_smoothing=0.2, reduction="sum")
        slow = [v.detach().clone() for v in net.state_dict().values() if v.is_floating_point()]

        def look_ahead(decay):
            with torch.no_grad():
                fast = [v for v in net.state_dict().values() if v.is_floating_point()]
                for s, f in zip(slow, fast):
                    s.lerp_(f, 1 - decay)
                    f.copy_(s)

        images, step = self.train_images, 0
        flipped = torch.rand(count, device=self.device) < 0.5
        images = torch.where(flipped.view(-1, 1, 1, 1), images.flip(-1), images)
        padded = torch.nn.functional.pad(images, (2,) * 4, "reflect")
        model.train()
        for epoch in range(int(epochs) + 1):
            net[0].bias.requires_grad = epoch < 3
            shift_y, shift_x = (torch.randint(0, 5, (count,), device=self.device) for _ in range(2))
            cropped = torch.empty_like(images)
            for dy in range(5):
                for dx in range(5):
                    chosen = (shift_y == dy) & (shift_x == dx)
                    cropped[chosen] = padded[chosen, :, dy : dy + 32, dx : dx + 32]
            if epoch % 2:
                cropped = cropped.flip(-1)
            order = torch.randperm(count, device=self.device)
            for i in range(batches):
                chosen = order[i * size : (i + 1) * size]
                logits = model(cropped[chosen].contiguous(memory_format=torch.channels_last)) / 9
                loss = loss_function(logits.float(), self.train_labels[chosen])
                optimizer.zero_grad(set_to_none=True)
                loss.backward()
                optimizer.step()
                schedule.step()
                step += 1
                if step % 5 == 0:
                    look_ahead(0.95**5 * (step / steps) ** 3)
                if step == steps:
                    look_ahead(1.0)  # the average is the result
                    self.synchronise()
                    return net, time.perf_counter() - start
        raise AssertionError("an epoch too few")

    def accuracies(self, net):
        """(of single images, of the average over six views: mirrored, and both moved by a pixel
        up-left and down-right)."""
        torch = self.torch
        net.eval()
        hits = [0, 0]
        with torch.no_grad():
            for i in range(0, len(self.test_images), 2000):
                x, y = self.test_images[i : i + 2000], self.test_labels[i : i + 2000]
                padded = torch.nn.functional.pad(x, (1,) * 4, "reflect")
                views = [
                    0.5 * net(v).float() + 0.5 * net(v.flip(-1)).float()
                    for v in (x, padded[:, :, :32, :32], padded[:, :, 2:, 2:])
                ]
                hits[0] += int((net(x).float().argmax(1) == y).sum())
                hits[1] += int(
                    ((0.5 * views[0] + 0.25 * views[1] + 0.25 * views[2]).argmax(1) == y).sum()
                )
        return tuple(h / len(self.test_images) for h in hits)


def work(data_dir, limit, epochs, compiled):
    """Answer lines of standard input, seeds, on standard output with JSON: PyTorch and TensorFlow
    do not share a process."""
    from cifar_lab import data

    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what libraries print is no answer
    dataset = data.load("cifar10", data_dir)
    peer = Airbench94(data.limited(dataset, limit, 0) if limit else dataset, compiled)
    if limit:  # a rehearsal: its accuracy is no figure
        peer.test_images, peer.test_labels = peer.test_images[:limit], peer.test_labels[:limit]
    if compiled:
        # as a whole: the first layer's bias trains for three epochs only, which is another graph
        peer.train(0, epochs=epochs or 9.9)
    else:
        peer.train(0, max_steps=10)
    print(json.dumps({"library": f"torch {peer.torch.__version__}"}), file=answers, flush=True)
    for line in sys.stdin:
        net, seconds = peer.train(int(line), epochs=epochs or 9.9)
        single, views = peer.accuracies(net)
        print(
            json.dumps(
                {
                    "engine": "airbench94",
                    "seed": int(line),
                    "seconds": round(seconds, 3),
                    "test_accuracy": single,
                    "six_views_accuracy": views,
                    "compiled": compiled,
                }
            ),
            file=answers,
            flush=True,
        )


def main(argv):
    parser = cli.Parser(
        prog="peer.py", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data-dir")
    parser.add_argument("--output", required=True, help="folder for the bundles of our runs")
    parser.add_argument(
        "--rung",
        choices=[r for r in ladder.LADDER if ladder.get(r).recipe.data == "cifar10"],
        default="cifar10-94",
        metavar="RUNG",
    )
    parser.add_argument("--seeds", type=cli.whole(1), default=5)
    parser.add_argument("--compile", action="store_true", help="torch.compile for theirs")
    ours = parser.add_mutually_exclusive_group()
    ours.add_argument("--one-program", action="store_true", help="for ours, on JAX")
    ours.add_argument("--both", action="store_true", help="ours without and with --one-program")
    parser.add_argument("--epochs", type=cli.whole(1), help="of both, for a rehearsal")
    parser.add_argument("--limit", type=cli.whole(1), help="train images of both, for a rehearsal")
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args(argv)
    if args.worker:
        work(args.data_dir, args.limit, args.epochs, args.compile)
        return cli.OK
    if not importlib.util.find_spec("torch"):
        raise InputError("PyTorch is not installed")
    from cifar_lab import bundles, data

    ways = (False, True) if args.both else (args.one_program,)
    folders = {
        (seed, way): Path(args.output).resolve()
        / f"{args.rung}-seed{seed}{'-one-program' if way else ''}"
        for seed in range(args.seeds)
        for way in ways
    }
    for folder in folders.values():
        bundles.prepare(folder, bytes_needed=0)
        bundles.refuse_existing(folder)
    recipe = ladder.get(args.rung).recipe
    if args.epochs:
        recipe = recipes.changed(recipe, {"epochs": args.epochs}, "--epochs")
    backend.start()
    from cifar_lab import training
    from cifar_lab.training import one_program

    if True in ways:
        one_program.refuse(recipe)
    dataset = data.load("cifar10", args.data_dir, recipe.input_shape)
    worker = subprocess.Popen(
        [sys.executable, __file__, "--worker", *argv],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )

    def theirs(seed=None):
        if seed is not None:
            print(seed, file=worker.stdin, flush=True)
        answer = worker.stdout.readline()
        if not answer:
            raise InputError("airbench94 did not run: see above")
        return json.loads(answer)

    library = theirs()
    found = {way: [] for way in ways}
    for seed in range(args.seeds):
        their = {**theirs(seed), **library}
        print(json.dumps(their), flush=True)
        for way in ways:
            card, _ = training.train(
                recipe,
                dataset,
                folders[seed, way],
                rung=args.rung,
                seed=seed,
                limit=args.limit,
                one_program=way,
                command=cli.command_line("benchmarks/peer.py", argv),
                notice=lambda line: print(line, file=sys.stderr, flush=True),
            )
            our = {"engine": args.rung, "one_program": way, **{k: card[k] for k in KEYS}}
            print(json.dumps(our), flush=True)
            found[way].append((their, our))
    worker.stdin.close()
    worker.wait()
    for way, turns in found.items():
        print(
            json.dumps(
                {
                    "n": len(turns),
                    "whole": args.epochs is None and args.limit is None,
                    "one_program": way,
                    "device": card["device"],
                    "ratio_of_seconds": [
                        round(our["seconds"] / their["seconds"], 3) for their, our in turns
                    ],
                    "median_seconds": {
                        "airbench94": statistics.median(t["seconds"] for t, _ in turns),
                        args.rung: statistics.median(o["seconds"] for _, o in turns),
                    },
                    "mean_accuracy": {
                        "airbench94": statistics.fmean(t["test_accuracy"] for t, _ in turns),
                        "airbench94, six views": statistics.fmean(
                            t["six_views_accuracy"] for t, _ in turns
                        ),
                        args.rung: statistics.fmean(o["test_accuracy"] for _, o in turns),
                    },
                    "versions": card["versions"],
                }
            ),
            flush=True,
        )
    return cli.OK


if __name__ == "__main__":
    raise SystemExit(cli.guarded("peer.py", main, sys.argv[1:]))
