"""What Keras runs on: backend, device, versions."""

import contextlib
import os
import platform
import sys

from .errors import InputError, reason


def start():
    """Import Keras and find the devices, without the lines that TensorFlow's C++ writes on stderr
    meanwhile.

    Raises InputError where KERAS_BACKEND names a backend that is not installed.
    """
    name = os.environ.setdefault("KERAS_BACKEND", "tensorflow")  # whatever ~/.keras/keras.json says
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")  # JAX: GPU memory as needed
    try:
        with quiet_stderr():
            with _spared("matplotlib", "sklearn", *(["jax"] if name == "tensorflow" else [])):
                import keras  # noqa: F401
            device()
    except (ImportError, ValueError) as error:
        raise InputError(
            f"KERAS_BACKEND {name}: Keras does not start on it ({reason(error)[:200]})"
        ) from None
    use_gpu_memory_as_needed()
    import logging

    logging.getLogger("tensorflow").setLevel(
        "ERROR"
    )  # several training graphs in one process are meant


@contextlib.contextmanager
def _spared(*names):
    """Packages that are not to be found within. Keras and TensorFlow import these where they are
    installed, for helpers that this package does not use: a third of a command's start
    (docs/experiments/engine.md). Afterwards they can be imported as ever."""
    absent = [name for name in names if name not in sys.modules]
    sys.modules.update(dict.fromkeys(absent))  # None: an ImportError
    try:
        yield
    finally:
        for name in absent:
            del sys.modules[name]


@contextlib.contextmanager
def quiet_stderr():
    """Nothing on stderr within, what C++ libraries print there included."""
    sys.stderr.flush()
    saved = os.dup(2)
    try:
        with open(os.devnull, "w") as nowhere:
            os.dup2(nowhere.fileno(), 2)
        yield
    finally:
        os.dup2(saved, 2)
        os.close(saved)


def device():
    """(kind, words): kind is "CPU" or "GPU"; words name the hardware, "CPU: AMD EPYC, 2 cores"."""
    import keras

    names = []
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        names = [
            tf.config.experimental.get_device_details(gpu).get("device_name", gpu.name)
            for gpu in tf.config.list_physical_devices("GPU")
        ]
    elif keras.backend.backend() == "jax":
        import jax

        names = [d.device_kind for d in jax.devices() if d.platform in ("gpu", "cuda", "rocm")]
    elif keras.backend.backend() == "torch":
        import torch

        names = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    if names:
        return "GPU", f"GPU: {', '.join(names)}"
    return "CPU", processor()


def processor():
    """The processor in words, "CPU: AMD EPYC, 2 cores", without starting Keras."""
    return f"CPU: {_cpu_name()}, {cores()} cores"


def is_tensorflow():
    import keras

    return keras.backend.backend() == "tensorflow"


def is_jax():
    import keras

    return keras.backend.backend() == "jax"


def is_tensorflow_on_cpu():
    """Where XLA is off, because it makes convolutions many times slower."""
    return is_tensorflow() and device()[0] == "CPU"


def is_jax_on_gpu():
    """Where an epoch is a compiled program, because Python between its steps makes the GPU wait."""
    return is_jax() and device()[0] == "GPU"


def precision(recipe):
    """The dtype policy that a recipe trains with here."""
    import keras

    if device()[0] == "GPU":
        return recipe.gpu_precision
    fast = (
        recipe.cpu_precision != "mixed_bfloat16"
        or keras.backend.backend() == "tensorflow"
        and has_bfloat16()
    )
    return recipe.cpu_precision if fast else "float32"


def has_bfloat16():
    """Whether the processor multiplies bfloat16 by itself (AVX512_BF16 or AMX); False where that
    cannot be told."""
    try:
        with open("/proc/cpuinfo") as file:
            flags = next(line for line in file if line.startswith("flags")).split()
    except (OSError, StopIteration):
        return False
    return "avx512_bf16" in flags or "amx_bf16" in flags


def cores():
    """Processor cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()


def _cpu_name():
    try:
        with open("/proc/cpuinfo") as file:
            return next(
                line.split(":", 1)[1].strip() for line in file if line.startswith("model name")
            )
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def use_gpu_memory_as_needed():
    """Stop TensorFlow from taking a GPU's whole memory at the start (JAX is told by the
    environment)."""
    import keras

    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        for gpu in tf.config.list_physical_devices("GPU"):
            try:
                tf.config.experimental.set_memory_growth(gpu, True)
            except RuntimeError:  # already in use by this process: too late, and harmless
                pass


def batched(x, y, batch_size):
    """Arguments for Keras' `fit` and `predict` on arrays: {"x", "y", "batch_size"}, or on
    TensorFlow {"x": a tf.data.Dataset}.

    Keras' own batching on TensorFlow tunes itself in a thread that sleeps 10 ms, 20 ms, 40 ms ...,
    and each pass may wait for its last sleep: up to as long again as the pass took
    (docs/experiments/engine.md). The data set given here does not tune itself.

    x, y: arrays of one length, or y None. batch_size: the last batch is as small as it must be.
    """
    import keras

    if keras.backend.backend() != "tensorflow":
        return {"x": x, "batch_size": batch_size} | ({} if y is None else {"y": y})
    import tensorflow as tf

    options = tf.data.Options()
    options.autotune.enabled = False
    dataset = tf.data.Dataset.from_tensor_slices(x if y is None else (x, y))
    return {"x": dataset.batch(batch_size).prefetch(2).with_options(options)}


def versions():
    """Versions of what decides a figure: {"python": "3.11.7", "keras": ..., ...}."""
    from importlib import metadata  # with email and more: not for those who only predict

    import keras

    names = ["cifar_lab", "keras", keras.backend.backend(), "numpy", "pillow"]
    found = {"python": platform.python_version()}
    for name in names:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            from . import __version__

            found[name] = __version__ if name == "cifar_lab" else "unknown"
    return found
