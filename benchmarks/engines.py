"""Images per second of training: the lecture's script, this package, PyTorch, in turns.

    python benchmarks/engines.py --data-dir DIR [--case 74|84|88|90|94] [--rounds 20]
                                 [--engines A B ...]

The same network, batch size, optimizer (Adam) and data; the engines take turns, each in a process
of its own that sleeps while the others work, and the order turns from round to round. A turn is one
pass over --images train images, after everything is compiled. Printed: each round, and for each
engine the median of its images per second and of its ratio to each other engine, with a 95 %
interval from order statistics (exact for any distribution: a shared machine that halves its rate
for a second spoils a mean), and the share of the processor's own matrix-product rate, measured in
the same turns, that the training step reaches (multiply-adds of convolutions and matrix products,
forward and backward; the first layer's images need no gradient).

Cases: 74, the lecture's first network; 84, its last network; 88, the same with augmentation, for
which the lecture's script has ImageDataGenerator.flow (needs SciPy); 90 and 94, which the lecture
has not, by plain steps on whole images. PyTorch runs channels-last, eager or compiled.

Engines: lecture, ours, torch, each with options after colons: precision=mixed_bfloat16, batch=128,
threads=1 (both of TensorFlow's thread pools), onednn=0, fpmath=bf16 (oneDNN computes float32
convolutions in bfloat16), backend=jax;
torch: compile=1 (torch.compile, which needs a C++ compiler);
ours: fused=0 (only Keras' own layers), steps=1 (steps that the compiled function takes at a time);
lecture: wait=0 (fed with a data set that does not tune itself, see backend.batched: Keras' own may
sleep at the end of a pass, which weighs the more the shorter the turns are). Default: lecture and
lecture:wait=0 where there is one, ours, and torch where it is installed, eager and compiled; these
in bfloat16 too but for 74. Example:
--engines ours ours:batch=128 ours:batch=128:precision=mixed_bfloat16
"""

import argparse
import importlib.util
import json
import math
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from cifar_lab import cli  # noqa: E402
from cifar_lab.errors import InputError  # noqa: E402

CASES = {case: f"cifar10-{case}" for case in ("74", "84", "88", "90", "94")}
LECTURE = ("74", "84", "88")  # those that the lecture has
OPTIONS = {  # name: (the engines that have it, what it may be)
    "precision": (("lecture", "ours", "torch"), ("float32", "mixed_bfloat16")),
    "batch": (("lecture", "ours", "torch"), int),
    "threads": (("lecture", "ours", "torch"), int),
    "onednn": (("lecture", "ours"), ("0", "1")),
    "fpmath": (("lecture", "ours"), ("bf16", "strict")),
    "backend": (("lecture", "ours"), ("tensorflow", "jax", "torch")),
    "compile": (("torch",), ("0", "1")),
    "fused": (("ours",), ("0", "1")),
    "steps": (("ours",), int),
    "wait": (("lecture",), ("0", "1")),
}


def median_with_interval(values, confidence=0.95):
    """(median, low, high): the k-th smallest and k-th largest value bound the median with at least
    `confidence`."""
    values, n = sorted(values), len(values)
    tail, k = 0.0, 0
    while tail + math.comb(n, k) / 2**n <= (1 - confidence) / 2:
        tail += math.comb(n, k) / 2**n
        k += 1
    if k == 0:
        raise ValueError(f"values: at least 6 are needed for an interval, received {n}")
    return statistics.median(values), values[k - 1], values[n - k]


# --- the engines, each in a process of its own: (case, data directory, options) -> fit(images) ---


def lecture(case, data_dir, options):
    """The lecture's script: images as floats in 0-1, one-hot labels, plain layers, compile, fit."""
    import keras
    from keras import layers

    from cifar_lab import data, ladder

    dataset = data.load("cifar10", data_dir)
    x_train = dataset.train_images.astype("float32") / 255.0
    y_train = keras.utils.to_categorical(dataset.train_labels, 10)
    keras.config.set_dtype_policy(options["precision"])
    batch_size = options["batch"]
    inputs = keras.Input(shape=(32, 32, 3))
    if case == "74":
        x = layers.Conv2D(32, (3, 3), activation="relu")(inputs)
        x = layers.Dropout(0.2)(x)
        x = layers.Conv2D(32, (3, 3), activation="relu", padding="same")(x)
        x = layers.MaxPooling2D((2, 2))(x)
        x = layers.Conv2D(64, (3, 3), activation="relu", padding="same")(x)
        x = layers.MaxPooling2D((2, 2))(x)
        x = layers.Flatten()(x)
        x = layers.Dropout(0.2)(x)
        x = layers.Dense(512, activation="relu")(x)
        x = layers.Dropout(0.2)(x)
    else:
        x, settings = inputs, ladder.get(CASES[case]).recipe.builder_options
        for filters, dropout in zip((32, 64, 128), settings["dropout"]):
            for _ in range(2):
                x = layers.Conv2D(
                    filters,
                    (3, 3),
                    padding="same",
                    use_bias=False,
                    kernel_regularizer=keras.regularizers.l2(settings["l2"]),
                )(x)
                x = layers.BatchNormalization()(x)
                x = layers.Activation("relu")(x)
            x = layers.MaxPooling2D((2, 2))(x)
            x = layers.Dropout(dropout)(x)
        x = layers.Flatten()(x)
    outputs = layers.Dense(10, activation="softmax", dtype="float32")(x)
    model = keras.Model(inputs, outputs)
    assert model.count_params() == {"74": 1_639_914}.get(case, 308_842)
    model.compile(optimizer="adam", loss="categorical_crossentropy", metrics=["accuracy"])
    if case != "88" and options["wait"] == "0":
        from cifar_lab import backend

        return lambda n: model.fit(
            **backend.batched(x_train[:n], y_train[:n], batch_size), epochs=1, verbose=0
        )
    if case != "88":
        return lambda n: model.fit(
            x_train[:n], y_train[:n], batch_size=batch_size, epochs=1, verbose=0
        )
    from tensorflow.keras.preprocessing.image import ImageDataGenerator

    a = ladder.get("cifar10-88").recipe.augmentation
    datagen = ImageDataGenerator(
        rotation_range=a.rotation_range,
        width_shift_range=a.width_shift_range,
        height_shift_range=a.height_shift_range,
        horizontal_flip=a.horizontal_flip,
    )
    if options["wait"] == "1":
        return lambda n: model.fit(
            datagen.flow(x_train[:n], y_train[:n], batch_size=batch_size), epochs=1, verbose=0
        )

    def fit(
        n,
    ):  # what Keras does with the generator but for the self-tuning: its batches, one ahead
        import tensorflow as tf

        flow = datagen.flow(x_train[:n], y_train[:n], batch_size=batch_size)
        untuned = tf.data.Options()
        untuned.autotune.enabled = False
        signature = (tf.TensorSpec((None, 32, 32, 3)), tf.TensorSpec((None, 10)))
        batches = tf.data.Dataset.from_generator(
            lambda: (flow[i] for i in range(len(flow))), output_signature=signature
        )
        model.fit(batches.prefetch(2).with_options(untuned), epochs=1, verbose=0)

    return fit


def ours(case, data_dir, options):
    """The package's own trainer, with the callbacks of train.py."""
    from cifar_lab import data, ladder, training
    from cifar_lab import recipe as recipes
    from cifar_lab.phases import Phase
    from cifar_lab.training import progress

    recipe = recipes.changed(
        ladder.get(CASES[case]).recipe, {"batch_size": options["batch"]}, "benchmark"
    )
    plan = training.Plan.of(
        recipe,
        data.load("cifar10", data_dir),
        precision=options["precision"],  # chosen here, not by the machine
        steps_per_execution=options.get("steps"),
        fused=options["fused"] == "1",
    )
    trainer = training.Trainer(plan)
    watchers = trainer.watchers(lambda line: None, progress.Interrupt())
    # train.py's fit but for validation, which the lecture's fit leaves out here too, and the line
    # that tells of it
    watchers.callbacks = [c for c in watchers.callbacks if not isinstance(c, progress.Progress)]
    watchers.begin()

    def fit(n):
        trainer.fit(trainer.order(0)[:n], 0, watchers, validate=False, phase=Phase())

    return fit


def torch(case, data_dir, options):
    """The same network in PyTorch; see torch_engine."""
    from torch_engine import fit_of

    return fit_of(CASES[case], data_dir, options)


# --- one process an engine -----------------------------------------------------------------------


def work(spec):
    """Answer lines of standard input on standard output: a number of images -> seconds; "matmul" ->
    FLOP/s."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what libraries print is no answer
    options = spec["options"]
    if spec["engine"] != "torch":
        import keras

        if keras.backend.backend() == "tensorflow" and "threads" in options:
            import tensorflow as tf

            tf.config.threading.set_intra_op_parallelism_threads(options["threads"])
            tf.config.threading.set_inter_op_parallelism_threads(options["threads"])
    fit = globals()[spec["engine"]](spec["case"], spec["data_dir"], options)
    fit(2 * options["batch"])
    fit(4 * options["batch"])
    from importlib import metadata

    library = {"torch": "torch"}.get(spec["engine"], options.get("backend", "tensorflow"))
    print(f"ready {library} {metadata.version(library)}", file=answers, flush=True)
    for line in sys.stdin:
        if line.strip() == "matmul":
            answer = matmul_flops(spec["engine"], options)
        else:
            start = time.perf_counter()
            fit(int(line))
            answer = time.perf_counter() - start
        print(answer, file=answers, flush=True)


def matmul_flops(engine, options, size=1536, repeats=4):
    """FLOP/s of a product of two square matrices in the engine's own library and precision."""
    low = options["precision"] == "mixed_bfloat16"
    if engine == "torch":
        import torch

        a = torch.rand(size, size, dtype=torch.bfloat16 if low else torch.float32)

        def product():
            return a @ a
    else:
        import keras

        a = keras.ops.cast(keras.random.uniform((size, size)), "bfloat16" if low else "float32")

        def product():
            return float(keras.ops.matmul(a, a)[0, 0])

    product()
    start = time.perf_counter()
    for _ in range(repeats):
        product()
    return 2 * size**3 * repeats / (time.perf_counter() - start)


def parse_engine(text, case):
    """("lecture", options) of "lecture:batch=64"; ValueError for what is not known."""
    from cifar_lab import ladder

    engine, *pairs = text.split(":")
    if engine not in ("lecture", "ours", "torch"):
        raise ValueError(f"engine {engine!r}: must be one of lecture, ours, torch")
    options = {
        "precision": "float32",
        "batch": ladder.get(CASES[case]).recipe.batch_size,
        "compile": "0",
        "fused": "1",
        "wait": "1",
    }
    mine = [name for name, (engines, _) in OPTIONS.items() if engine in engines]
    for pair in pairs:
        name, _, value = pair.partition("=")
        if name not in mine:
            raise ValueError(
                f"engine {text!r}: option {pair!r} must be one of "
                f"{', '.join(o + '=...' for o in mine)}"
            )
        allowed = OPTIONS[name][1]
        if (
            value not in allowed
            if allowed is not int
            else not (value.isdecimal() and int(value) > 0)
        ):
            words = (
                "a whole number of at least 1" if allowed is int else f"one of {', '.join(allowed)}"
            )
            raise ValueError(f"engine {text!r}: {name} must be {words}, received {value!r}")
        options[name] = int(value) if allowed is int else value
    return engine, options


def default_engines(case):
    """What takes turns where nothing else is asked for."""
    if case in LECTURE:
        yield from ("lecture", "lecture:wait=0")
    mine = ["ours"]
    if importlib.util.find_spec("torch"):
        mine += ["torch", "torch:compile=1"]
    yield from mine
    if case != "74":
        yield from (f"{name}:precision=mixed_bfloat16" for name in mine)


def check(text, case):
    """Raises ValueError where engine `text` cannot run `case` in this Python; starts nothing."""
    engine, options = parse_engine(text, case)
    if engine == "lecture" and case not in LECTURE:
        raise ValueError(f"engine 'lecture': has no case {case}")
    if engine == "torch" and not importlib.util.find_spec("torch"):
        raise ValueError("engine 'torch': PyTorch is not installed")
    library = options.get("backend", "tensorflow")
    if not importlib.util.find_spec(library):
        raise ValueError(f"engine {text!r}: {library} is not installed")
    if "threads" in options and library != "tensorflow":
        raise ValueError(
            f"engine {text!r}: threads is an option of TensorFlow and PyTorch's own engine"
        )
    if engine == "lecture" and case == "88" and not importlib.util.find_spec("scipy"):
        raise ValueError("engine 'lecture': ImageDataGenerator needs SciPy, which is not installed")


class Worker:
    def __init__(self, text, case, data_dir):
        self.name = text
        engine, options = parse_engine(text, case)
        self.options = options
        env = {
            **os.environ,
            "TF_CPP_MIN_LOG_LEVEL": "3",
            "KERAS_BACKEND": options.get("backend", "tensorflow"),
        }
        if "onednn" in options:
            env["TF_ENABLE_ONEDNN_OPTS"] = options["onednn"]
        if "fpmath" in options:
            env["ONEDNN_DEFAULT_FPMATH_MODE"] = options["fpmath"].upper()
        spec = {"engine": engine, "case": case, "data_dir": data_dir, "options": options}
        self.process = subprocess.Popen(
            [sys.executable, __file__, "--worker", json.dumps(spec)],
            env=env,
            text=True,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        ready, _, self.library = self.process.stdout.readline().strip().partition(" ")
        if ready != "ready":
            raise InputError(f"engine {text} did not start: see above")

    def ask(self, question):
        print(question, file=self.process.stdin, flush=True)
        answer = self.process.stdout.readline()
        if not answer:
            raise InputError(f"engine {self.name} stopped: see above")
        time.sleep(0.25)  # its threads spin for a while before they sleep
        return float(answer)


def main(argv):
    parser = cli.Parser(
        prog="engines.py", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data-dir")
    parser.add_argument("--case", choices=CASES, default="74")
    parser.add_argument("--rounds", type=cli.whole(6), default=20, help="at least 6")
    # ours keeps a tenth for validation
    parser.add_argument("--images", type=cli.whole(1, 45_000), default=1600, help="images a turn")
    parser.add_argument("--engines", nargs="+", metavar="ENGINE")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    args = parser.parse_args(argv)
    if args.worker:
        work(json.loads(args.worker))
        return cli.OK
    if not args.engines:
        args.engines = list(default_engines(args.case))
    from cifar_lab import backend, cost, data, ladder, networks

    try:
        for text in args.engines:
            check(text, args.case)
        if len(set(args.engines)) < len(args.engines):
            raise ValueError(f"--engines: must differ, received {' '.join(args.engines)}")
        data.load("cifar10", args.data_dir)  # there and whole, before it is loaded in every process
    except (ValueError, OSError) as error:
        parser.error(str(error))
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    workers = [Worker(text, args.case, args.data_dir) for text in args.engines]
    speeds, peaks = ({w.name: [] for w in workers} for _ in range(2))
    for round_ in range(args.rounds):
        turn = round_ % len(workers)
        order = workers[turn:] + workers[:turn]
        for w in order:
            peaks[w.name].append(w.ask("matmul"))
            speeds[w.name].append(args.images / w.ask(args.images))
        print(
            f"round {round_ + 1:>2}: "
            + ", ".join(f"{w.name} {speeds[w.name][-1]:.0f}" for w in workers)
            + " images/s",
            flush=True,
        )
    for w in workers:
        w.process.stdin.close()
        w.process.wait()
    backend.start()
    step = cost.training_multiply_adds(networks.build(ladder.get(CASES[args.case]).recipe, 10))
    for w in workers:
        ratios = {
            other: [
                round(v, 3)
                for v in median_with_interval(
                    [a / b for a, b in zip(speeds[w.name], speeds[other])]
                )
            ]
            for other in speeds
            if other != w.name
        }
        share = [2 * step * s / p for s, p in zip(speeds[w.name], peaks[w.name])]
        print(
            json.dumps(
                {
                    "case": args.case,
                    "engine": w.name,
                    "library": w.library,
                    "images_per_second": round(statistics.median(speeds[w.name]), 1),
                    "ratio_median_low_high": ratios,
                    "rounds": args.rounds,
                    "images_a_turn": args.images,
                    "matmul_gflops": round(statistics.median(peaks[w.name]) / 1e9, 1),
                    "share_of_matmul_rate": round(statistics.median(share), 3),
                }
            )
        )
    print(json.dumps({"device": backend.device()[1], "versions": backend.versions()}))
    return cli.OK


if __name__ == "__main__":
    raise SystemExit(cli.guarded("engines.py", main, sys.argv[1:]))
