"""What Keras runs on: backend, device, versions.

What decides results is said by the recipe and the command alone: Keras starts with the same
settings whatever `keras.json` and the environment say (docs/environment.md).
"""

import contextlib
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile

from .errors import InputError, reason

#: What Keras trains on. Keras' others compute forward alone.
TRAIN = ("tensorflow", "jax", "torch")
#: What Keras is told, whatever keras.json says. `backend` is KERAS_BACKEND's.
SETTINGS = {"image_data_format": "channels_last", "floatx": "float32", "epsilon": 1e-7}
#: Variables that would decide results in silence, as far as they are read when Keras, TensorFlow or
#: JAX starts.
DECIDING = (
    *("KERAS_MAX_EPOCHS", "KERAS_MAX_STEPS_PER_EPOCH", "KERAS_NNX_ENABLED"),
    "TF_ENABLE_ONEDNN_OPTS",  # many set it to be rid of TensorFlow's line about it
    *("JAX_ENABLE_X64", "JAX_DEFAULT_DTYPE_BITS", "JAX_NUMPY_DTYPE_PROMOTION"),
    *("JAX_NUMPY_RANK_PROMOTION", "JAX_DEFAULT_MATMUL_PRECISION", "JAX_DEFAULT_PRNG_IMPL"),
    *("JAX_THREEFRY_PARTITIONABLE", "JAX_RANDOM_SEED_OFFSET", "JAX_DISABLE_JIT"),
    *("JAX_DEBUG_NANS", "JAX_DEBUG_INFS", "JAX_ENABLE_CHECKS", "JAX_CHECK_TRACER_LEAKS"),
)
#: Variables whose unknown flags end the process that starts TensorFlow or JAX.
_FATAL = ("XLA_FLAGS", "TF_XLA_FLAGS")
#: {TensorFlow's variables of threads: the least that it takes}; beyond these it aborts, or starts
#: threads for ever, in the first step.
_THREADS = {"TF_NUM_INTRAOP_THREADS": 0, "TF_NUM_INTEROP_THREADS": -1}
_MOST_THREADS = 4096


_preparations = []


def prepare(devices=None, team=None):
    """Say what the next `start` is to do between Keras' import and its first look at devices,
    instead of what was said before.

    Args:
        devices: a devices.Devices; virtual ones divide the processor.
        team: a processes.Team that JAX starts with.
    """
    _preparations.clear()
    if devices is not None and devices.virtual:
        _preparations.append(lambda: _divide_processor(devices.count))
    if team is not None:
        _preparations.append(team.start_jax)


def start():
    """Import Keras and find the devices, without the lines that TensorFlow's C++ writes on stderr
    meanwhile; a fatal one is shown.

    Raises InputError where the environment names a backend or a device that is not there, or flags
    that XLA does not know.
    """
    # whatever ~/.keras/keras.json says; an empty one counts as none
    name = os.environ["KERAS_BACKEND"] = os.environ.get("KERAS_BACKEND") or "tensorflow"
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")  # JAX: GPU memory as needed
    if "keras" not in sys.modules:
        _check_threads()
        _try_flags()
    try:
        with (
            _fatal_shown(),
            _spared("matplotlib", "sklearn", *(["jax"] if name == "tensorflow" else [])),
            _undecided(),
        ):
            import keras
        while _preparations:
            _preparations.pop(0)()
        with _fatal_shown():
            device()
    except InputError:
        raise
    except Exception as error:  # a backend raises nearly anything
        why = reason(error) if str(error) else "a device or a library that it needs is not there"
        raise InputError(_does_not_start(name, why)) from None
    _settle(keras)
    use_gpu_memory_as_needed()
    import logging

    logging.getLogger("tensorflow").setLevel(
        "ERROR"
    )  # several training graphs in one process are meant


def _does_not_start(name, why):
    told = {k: os.environ[k] for k in (*_FATAL, "JAX_PLATFORMS") if os.environ.get(k)}
    others = "".join(f", {key} {value[:60]}" for key, value in told.items())
    return f"KERAS_BACKEND {name}{others}: Keras does not start on it ({why[:200]})"


def require_training():
    """InputError where KERAS_BACKEND names what Keras does not train on. Starts nothing."""
    if chosen() not in TRAIN:
        raise InputError(f"KERAS_BACKEND: must be one of {', '.join(TRAIN)}, received {chosen()!r}")


def chosen():
    """The name of the backend that Keras runs on, or will when it starts. Starts nothing."""
    if "keras" in sys.modules:
        return sys.modules["keras"].backend.backend()
    return os.environ.get("KERAS_BACKEND") or "tensorflow"


def _settle(keras):
    """Bring Keras' settings, which a program that imported it before may have changed, to ours."""
    for setting, value in SETTINGS.items():
        if getattr(keras.config, setting)() != value:
            getattr(keras.config, f"set_{setting}")(value)
    keras.config.set_max_epochs(None)
    keras.config.set_max_steps_per_epoch(None)


@contextlib.contextmanager
def _undecided():
    """Within, Keras and JAX find no keras.json and no variable of DECIDING. Keras writes no
    keras.json either: a command that only predicts writes nothing."""
    if "keras" in sys.modules:
        yield
        return
    given = {key: os.environ.pop(key) for key in DECIDING if key in os.environ}
    home = os.environ.get("KERAS_HOME")
    os.environ["KERAS_HOME"] = os.devnull  # no folder: nothing is read from or written to it
    try:
        yield
    finally:
        del os.environ["KERAS_HOME"]
        os.environ.update(given if home is None else {**given, "KERAS_HOME": home})
        config = sys.modules.get("keras.src.backend.config")
        if config is not None:  # where keras.datasets and keras.applications keep downloads
            config._KERAS_DIR = keras_home()


def keras_home():
    """Keras' folder: KERAS_HOME, else .keras in the home folder, or in that of temporary files
    where the home cannot be written."""
    if os.environ.get("KERAS_HOME"):
        return os.environ["KERAS_HOME"]
    base = os.path.expanduser("~")
    return os.path.join(base if os.access(base, os.W_OK) else tempfile.gettempdir(), ".keras")


@contextlib.contextmanager
def downloads(kind):
    """Keras' folder, where it downloads to within; what came is removed again where that fails.

    kind: of downloads, the folder in it: "datasets" or "models".
    """
    folder = os.path.join(keras_home(), kind)
    os.makedirs(folder, exist_ok=True)  # else Keras takes one that is cleared at the next start
    before = set(os.listdir(folder))
    try:
        yield
    except BaseException:
        for name in set(os.listdir(folder)) - before:
            path = os.path.join(folder, name)
            if os.path.isdir(path) and not os.path.islink(path):
                shutil.rmtree(path, ignore_errors=True)
            else:
                os.unlink(path)
        raise


def ignored():
    """Lines on what the environment says and nobody heeds, because it would decide results."""
    why = "not heeded; the recipe and the command decide results"
    names = [name for name in DECIDING if os.environ.get(name)]
    if names:
        yield f"{', '.join(names)}: {why}"
    path = os.path.join(keras_home(), "keras.json")
    with contextlib.suppress(OSError, ValueError, AttributeError, RecursionError):
        with open(path, encoding="utf-8") as file:
            said = json.loads(file.read(1 << 16))
        other = [name for name, value in SETTINGS.items() if said.get(name, value) != value]
        if other:
            yield f"{path}: {', '.join(other)} {why}"


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


# --- what libraries say ---


@contextlib.contextmanager
def quiet_stderr():
    """Nothing on stderr within, what C++ libraries print there included."""
    with open(os.devnull, "w") as nowhere, _stderr_into(nowhere.fileno()):
        yield


@contextlib.contextmanager
def stdout_spared():
    """Nothing that C++ libraries print on stdout within; what Python prints goes there as ever."""
    sys.stdout.flush()
    saved = os.dup(1)
    with open(os.devnull, "w") as nowhere:
        os.dup2(nowhere.fileno(), 1)
    try:
        with (
            open(saved, "w", closefd=False) as stdout,
            contextlib.redirect_stdout(stdout),
        ):
            yield
    finally:
        os.dup2(saved, 1)
        os.close(saved)


@contextlib.contextmanager
def _stderr_into(number):
    """What is written to stderr within goes to another file descriptor."""
    if sys.stderr is not None:
        with contextlib.suppress(OSError, ValueError):  # a full disk, or closed
            sys.stderr.flush()
    try:
        saved = os.dup(2)
    except OSError:  # closed: nobody would see it
        yield
        return
    try:
        os.dup2(number, 2)
        yield
    finally:
        os.dup2(saved, 2)
        os.close(saved)


# Waits for a line; where none comes, because the process that should write it is gone, tells what
# that one's libraries said last, but for their notes (I, W, E) and what follows a stack's top.
_KEEPER = r"""
read -r line ||
    grep -v -e "^[IWE][0-9]" -e "^ *@ " -e "^\*\*\*" -e "^WARNING: All" "$1" | head -n 3 >&2
rm -f "$1"
"""


@contextlib.contextmanager
def _fatal_shown():
    """As quiet_stderr; where a library ends the process within, its last words are shown.

    A library's fatal error calls abort or _exit, after which nobody is left here to tell, so a
    shell waits beside; where there is none, or no place for a file, nothing is held back.
    """
    try:
        said = tempfile.NamedTemporaryFile(prefix="cifar_lab-", suffix=".stderr", delete=False)
    except OSError:
        yield
        return
    with said:
        try:
            keeper = subprocess.Popen(
                ["/bin/sh", "-c", _KEEPER, "sh", said.name],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
            )
        except OSError:
            os.unlink(said.name)
            yield
            return
        try:
            with _stderr_into(said.fileno()):
                yield
        finally:
            keeper.communicate(b"alive\n")


_TRIALS = {  # what reads the flags
    "jax": "import jax; jax.devices()",
    "tensorflow": """
import tensorflow as tf
tf.config.list_physical_devices()
tf.function(lambda x: x + 1, jit_compile=True)(tf.constant(1.0))
""",
}


def _check_threads():
    """InputError for a number of threads that TensorFlow does not survive. What is no number, it
    takes for none."""
    for name, least in _THREADS.items():
        try:
            count = int(os.environ.get(name, ""))
        except ValueError:
            continue
        if not least <= count <= _MOST_THREADS:
            allowed = f"a whole number from {least} to {_MOST_THREADS:,}"
            raise InputError(f"{name}: must be {allowed}, received {os.environ[name][:60]}")


def _try_flags():
    """InputError where XLA does not know the flags of the environment, tried in another process."""
    if not any(os.environ.get(name) for name in _FATAL):
        return
    name = os.environ["KERAS_BACKEND"]
    if name == "torch":
        return
    done = subprocess.run(
        [sys.executable, "-P", "-c", _TRIALS["jax" if name == "jax" else "tensorflow"]],
        env={**os.environ, "JAX_PLATFORMS": "cpu", "CUDA_VISIBLE_DEVICES": ""},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        errors="replace",
    )
    lines = [line for line in done.stderr.splitlines() if "nknown flag" in line]
    if done.returncode and lines:
        told = lines[-1].rpartition("] ")[2]
        raise InputError(_does_not_start(name, told))


def device():
    """(kind, words): kind is "CPU" or "GPU"; words name the hardware, "CPU: AMD EPYC, 2 cores"."""
    names = _gpus()
    if names:
        return "GPU", f"GPU: {names[0]}"  # the others do nothing but where they are asked to
    return "CPU", processor()


def _gpus():
    """Names of the GPUs of this process, in the order of their numbers, the one that computes by
    default first."""
    import keras

    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        return [
            tf.config.experimental.get_device_details(gpu).get("device_name", gpu.name)
            for gpu in tf.config.get_visible_devices("GPU")
        ]
    if keras.backend.backend() == "jax":
        import jax

        found = jax.local_devices()
        return [d.device_kind for d in found if d.platform in ("gpu", "cuda", "rocm")]
    if keras.backend.backend() == "torch":
        import torch

        count = torch.cuda.device_count()
        first = torch.cuda.current_device() if count else 0
        return [torch.cuda.get_device_name((first + i) % count) for i in range(count)]
    return []


def _divide_processor(count):
    """Let the processor be so many devices, and the only ones. A backend that has started already
    stays as it is."""
    import keras

    with contextlib.suppress(RuntimeError):
        if keras.backend.backend() == "jax":
            import jax

            jax.config.update("jax_num_cpu_devices", count)
            jax.config.update("jax_platforms", "cpu")
        elif keras.backend.backend() == "tensorflow":
            import tensorflow as tf

            tf.config.set_visible_devices([], "GPU")
            tf.config.set_logical_device_configuration(
                tf.config.list_physical_devices("CPU")[0],
                [tf.config.LogicalDeviceConfiguration()] * count,
            )


def wanted(devices):
    """The devices of this process that a training with these is to run on: JAX's own objects,
    TensorFlow's names, [] on PyTorch.

    devices: a devices.Devices.   Raises InputError where there are fewer.
    """
    import keras

    if keras.backend.backend() == "jax":
        import jax

        found = jax.local_devices(backend="cpu" if devices.virtual else None)
    elif keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        found = [] if devices.virtual else tf.config.list_logical_devices("GPU")
        found = [d.name for d in found or tf.config.list_logical_devices("CPU")]
    else:
        return []
    if len(found) < devices.count:
        if devices.virtual:
            why = f"Keras has started in this program, where the processor is {len(found)}"
        else:
            here = "there is 1" if len(found) == 1 else f"there are {len(found)}"
            why = (
                f"{here} here ({described(found)}); cpu:{devices.count} rehearses on the processor"
            )
        raise InputError(f"`devices` {devices.text}: {why}")
    return found[: devices.count or None]


def described(found):
    """Devices of `wanted` in words: "GPU: 2 x NVIDIA H100", "CPU: AMD EPYC, 2 cores, as 2 virtual
    devices"."""
    names = _gpus()[: len(found)]
    if names and len(found) == len(names):
        counts = {name: names.count(name) for name in names}
        words = [name if count == 1 else f"{count} x {name}" for name, count in counts.items()]
        return f"GPU: {', '.join(words)}"
    return f"{processor()}, as {len(found)} virtual devices" if len(found) > 1 else processor()


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

    dataset = tf.data.Dataset.from_tensor_slices(x if y is None else (x, y))
    return {"x": untuned(dataset.batch(batch_size))}


def untuned(dataset):
    """A tf.data.Dataset that reads two elements ahead and does not tune itself."""
    import tensorflow as tf

    options = tf.data.Options()
    options.autotune.enabled = False
    return dataset.prefetch(2).with_options(options)


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
