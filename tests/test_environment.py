"""Whatever surrounds a command decides no result: variables, keras.json, folders, streams."""

import json
import os
import subprocess
import sys
import textwrap

import numpy as np
import pytest
from PIL import Image

from cifar_lab import backend, style, terminal
from cifar_lab.cli import streams
from cifar_lab.data import cache
from cifar_lab.searching import process
from support import ROOT, assert_refused, command_env, run

# a network that is another one under channels_first, and trains in no time
NETWORK = """
def small(input_shape, num_classes):
    import keras
    from keras import layers

    inputs = keras.Input(input_shape)
    x = layers.Rescaling(1 / 255)(inputs)
    x = layers.Conv2D(3, 5, strides=4, activation="relu")(x)
    x = layers.BatchNormalization(epsilon=1e-3)(x)
    x = layers.Flatten()(x)
    return keras.Model(inputs, layers.Dense(num_classes, activation="softmax")(x))
"""
TRAIN = ("--epochs", 2, "--set", "batch_size=16")
HOSTILE = {
    "MPLBACKEND": "module://a_notebook.backend_inline",
    "KERAS_MAX_EPOCHS": "1",
    "KERAS_MAX_STEPS_PER_EPOCH": "1",
    "KERAS_NNX_ENABLED": "true",
    "TF_ENABLE_ONEDNN_OPTS": "0",
    "KERASTUNER_ORACLE_IP": "127.0.0.1",
    "PYTHONWARNINGS": "error",
    "PYTHONSAFEPATH": "1",
    "LC_ALL": "tr_TR",
    "PYTHONUTF8": "0",
    "COLUMNS": "x",
    "TERM": "unknown",
    "http_proxy": "http://127.0.0.1:9",
    "TF_NUM_INTEROP_THREADS": "abc",
    "TF_USE_LEGACY_KERAS": "1",
}


def through_shell(redirections, script, *args, cwd):
    """A root script with the streams that a shell gives it: (its own exit code, what the shell
    shows)."""
    code = cwd / "code"
    line = f"""{{ '{sys.executable}' '{ROOT / script}' "$@"; echo $? >'{code}'; }} {redirections}"""
    done = subprocess.run(
        ["/bin/sh", "-c", line, "sh", *map(str, args)],
        cwd=cwd,
        env=command_env(),
        capture_output=True,
        text=True,
        timeout=200,
    )
    return int(code.read_text()), done


@pytest.fixture(scope="module")
def nets(tmp_path_factory):
    file = tmp_path_factory.mktemp("nets") / "nets.py"
    file.write_text(NETWORK)
    rng = np.random.default_rng(0)
    for label in "ab":
        folder = file.parent / "photos" / label
        folder.mkdir(parents=True)
        for i in range(20):
            pixels = rng.integers(0, 256, (32, 32, 3), np.uint8)
            Image.fromarray(pixels).save(folder / f"{i}.png")
    return f"{file}:small", "--data", file.parent / "photos"


def weights_of(bundle):
    import keras

    return keras.saving.load_model(bundle / "model.keras", compile=False).get_weights()


# --- what decides results ---


def test_a_hostile_environment_changes_no_result(nets, tmp_path):
    """The plain run has no standard stream, the other everything that people have around."""
    plain = tmp_path / "plain"
    code, _ = through_shell(
        "<&- >&- 2>&-", "train.py", *nets, *TRAIN, "--output", plain, cwd=tmp_path
    )
    assert code == 0
    home = tmp_path / "keras"
    home.mkdir()
    settings = {"image_data_format": "channels_first", "floatx": "float16", "epsilon": 0.1}
    settings |= {"backend": "jax", "nnx_enabled": True}
    (home / "keras.json").write_text(json.dumps(settings))
    place = tmp_path / "place"
    place.mkdir()
    for name in ("random.py", "json.py", "keras.py", "matplotlib.py"):
        (place / name).write_text("raise SystemExit('a file of the working folder')\n")
    env = command_env(**HOSTILE, KERAS_HOME=home)
    del env["HOME"]
    out = tmp_path / "out"
    words = [sys.executable, ROOT / "train.py", *nets, *TRAIN, "--output", out]
    done = subprocess.run(
        list(map(str, words)), cwd=place, env=env, capture_output=True, text=True, timeout=200
    )
    assert done.returncode == 0, done.stderr
    names = "KERAS_MAX_EPOCHS, KERAS_MAX_STEPS_PER_EPOCH, KERAS_NNX_ENABLED, TF_ENABLE_ONEDNN_OPTS"
    assert f"{names}: not heeded" in done.stderr
    assert "keras.json: image_data_format, floatx, epsilon not heeded" in done.stderr
    for ours, theirs in zip(weights_of(plain), weights_of(out), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert (out / "learning_curve.png").is_file()
    assert [p.name for p in home.iterdir()] == ["keras.json"]


def in_python(code, **env):
    """What code prints in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        env=command_env(**env),
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


@pytest.mark.parametrize("content", ["[]", "{", '{"floatx": "float8"}', '{"epsilon": "x"}', "NaN"])
def test_nonsense_in_keras_json_is_not_read(content, tmp_path, monkeypatch):
    (tmp_path / "keras.json").write_text(content)
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    list(backend.ignored())  # raises nothing


def test_keras_writes_no_file_and_what_a_program_set_before_is_set_back(tmp_path):
    home = tmp_path / "home"
    home.mkdir()
    told = in_python(
        """
        import os
        from cifar_lab import backend
        backend.start()
        import keras
        print(keras.src.backend.config.keras_home(), os.environ.get("KERAS_HOME"))
        keras.config.set_image_data_format("channels_first")
        keras.config.set_epsilon(0.1)
        keras.config.set_max_epochs(1)
        backend.start()
        print(keras.config.image_data_format(), keras.config.epsilon(), keras.config.max_epochs())
        """,
        HOME=home,
        KERAS_MAX_EPOCHS="x",
    )
    assert told == [str(home / ".keras"), "None", "channels_last", "1e-07", "None"]
    assert list(home.iterdir()) == []


def test_without_a_home(monkeypatch, tmp_path):
    monkeypatch.delenv("KERAS_HOME", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "none"))
    assert not backend.keras_home().startswith(str(tmp_path))
    monkeypatch.setenv("HOME", str(tmp_path))
    assert backend.keras_home() == str(tmp_path / ".keras")


@pytest.mark.parametrize("place", ["/dev/null/nowhere", "/proc/nowhere", ""])
def test_without_a_cache(place, monkeypatch, tmp_path):
    monkeypatch.setenv("CIFAR_LAB_CACHE", place)
    monkeypatch.setenv("XDG_CACHE_HOME", "/dev/null/nowhere")
    shape = (2, 2, 1)
    with cache.Pictures(tmp_path, shape, 1, needed=False) as pictures:
        pictures.add(("a.png", 1, 2, 3), np.zeros(shape, np.uint8))
        assert pictures.finish() is None
    assert not cache.read(tmp_path, shape).places
    (drawn,) = cache.drawn("key", lambda: (np.arange(3),), 1000)
    assert drawn.tolist() == [0, 1, 2]


def test_what_came_of_a_failed_download_goes(monkeypatch, tmp_path):
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    kept = tmp_path / "datasets" / "kept"
    with backend.downloads("datasets"):
        kept.write_text("x")
    with pytest.raises(ValueError), backend.downloads("datasets"):
        (tmp_path / "datasets" / "archive").write_text("x")
        (tmp_path / "datasets" / "unpacked").mkdir()
        (tmp_path / "datasets" / "unpacked" / "file").write_text("x")
        raise ValueError("checksum")
    assert list((tmp_path / "datasets").iterdir()) == [kept]


# --- what cannot be had ---


@pytest.mark.parametrize("script, name", [("train.py", "numpy"), ("tune.py", "nonsense")])
def test_a_backend_that_trains_nothing(script, name, tmp_path, nets):
    done = run(script, *nets, "--output", tmp_path / "out", KERAS_BACKEND=name)
    assert_refused(done, "KERAS_BACKEND", "tensorflow, jax, torch", repr(name))
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "variables, words",
    [
        ({"KERAS_BACKEND": "jax", "XLA_FLAGS": "--no_such_flag=1"}, ["XLA_FLAGS", "Unknown flag"]),
        ({"KERAS_BACKEND": "jax", "JAX_PLATFORMS": "cuda"}, ["JAX_PLATFORMS cuda"]),
        ({"KERAS_BACKEND": "nonsense"}, ["KERAS_BACKEND nonsense"]),
        ({"TF_NUM_INTRAOP_THREADS": "-5"}, ["TF_NUM_INTRAOP_THREADS", "0 to 4,096", "-5"]),
        ({"TF_NUM_INTEROP_THREADS": "100000"}, ["TF_NUM_INTEROP_THREADS", "100000"]),
        pytest.param(
            {"TF_XLA_FLAGS": "--no_such_flag=1"},
            ["TF_XLA_FLAGS", "Unknown flag"],
            marks=pytest.mark.slow,
        ),
    ],
)
def test_what_a_library_cannot_start_with_is_one_line(variables, words, tmp_path):
    if variables.get("KERAS_BACKEND") == "jax":
        pytest.importorskip("jax", reason="JAX is not installed")
    assert_refused(run("train.py", "mnist-logistic", "--show", **variables), *words)


def test_the_last_words_of_a_library_are_shown(tmp_path):
    """A fatal message goes to stderr after all; what was said otherwise does not."""
    code = """
    import os
    from cifar_lab import backend
    with backend._fatal_shown():
        os.write(2, b"I0000 a note\\n")
    with backend._fatal_shown():
        os.write(2, b"E0000 another\\nF0000 file.cc:1] it cannot go on\\n    @ 0x1 a stack\\n")
        os._exit(1)
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        env=command_env(TMPDIR=tmp_path),
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 1
    assert done.stderr == "F0000 file.cc:1] it cannot go on\n"
    assert list(tmp_path.iterdir()) == []


# --- streams ---


@pytest.mark.parametrize(
    "redirections, code, said",
    [
        (">&-", 0, ""),
        ("2>&-", 0, ""),
        ("<&- >&- 2>&-", 0, ""),
        ("| head -n 1 >/dev/null", 0, ""),
        ("| head -n 0", 0, ""),
        pytest.param(
            ">/dev/full",
            2,
            "train.py: error: the output: cannot be written (No space left on device)",
            marks=pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full"),
        ),
    ],
)
def test_streams_that_are_closed_full_or_unread(redirections, code, said, tmp_path):
    found, done = through_shell(redirections, "train.py", "--list", cwd=tmp_path)
    assert (found, done.stderr.strip()) == (code, said)


@pytest.mark.parametrize("redirections", ["2>&-", "2>/dev/full", "2>&1 | head -n 1"])
def test_an_error_whose_line_nobody_reads(redirections, tmp_path):
    assert through_shell(redirections, "train.py", "nonsense", cwd=tmp_path)[0] == 2


@pytest.mark.slow
@pytest.mark.parametrize(
    "redirections", ["2>&-", ">&-", "2>/dev/full", ">/dev/full", "2>&1 | head -n 1", "| head -n 0"]
)
def test_a_training_whose_lines_nobody_reads(redirections, nets, tmp_path):
    out = tmp_path / "out"
    code, _ = through_shell(redirections, "train.py", *nets, *TRAIN, "--output", out, cwd=tmp_path)
    assert code == (2 if redirections == ">/dev/full" else 0)
    assert (out / "card.json").is_file() and (out / "learning_curve.png").is_file()


def test_a_file_that_forgets_what_it_cannot_write(tmp_path):
    read, write = os.pipe()
    os.close(read)
    file = streams.Patient(write, "w")
    assert file.write(b"abc") == 3 and isinstance(file.failure, BrokenPipeError)
    assert file.write(memoryview(b"abcd")) == 4
    file.close()


def test_a_line_without_stderr_goes_nowhere(monkeypatch, capsys):
    monkeypatch.setattr(sys, "stderr", None)
    terminal.say("a line")
    terminal.Notice()("another")
    assert capsys.readouterr().out == ""


def test_a_name_that_the_output_cannot_encode(tmp_path):
    """Letters of a folder's name that LC_ALL=C has not are written as escapes."""
    env = command_env(LC_ALL="C", PYTHONUTF8="0", PYTHONCOERCECLOCALE="0")
    name = "ağ-é"
    done = subprocess.run(
        [sys.executable, str(ROOT / "evaluate.py"), str(tmp_path / name)],
        env=env,
        capture_output=True,
        timeout=60,
    )
    assert done.returncode == 2 and b"Traceback" not in done.stderr
    assert b"evaluate.py: error: " in done.stderr


# --- pictures ---


def test_matplotlib_is_imported_whatever_its_backend_is_called(tmp_path):
    told = in_python(
        """
        from cifar_lab import style
        style.import_matplotlib()
        import os, matplotlib
        print(os.environ["MPLBACKEND"], matplotlib.rcParams._get_backend_or_none())
        """,
        MPLBACKEND="a.nonsense",
    )
    assert told == ["a.nonsense", "None"]
    (backend_kept,) = in_python(
        """
        from cifar_lab import style
        style.import_matplotlib()
        import matplotlib
        print(matplotlib.rcParams["backend"])
        """,
        MPLBACKEND="svg",
    )
    assert backend_kept == "svg"


def test_a_picture_is_there_whole_or_not_at_all(tmp_path, monkeypatch):
    path = tmp_path / "a.png"
    with style.style():
        style.save(style.figure(1, 1), path)
        before = path.read_bytes()
        monkeypatch.setattr(os, "replace", lambda *_: (_ for _ in ()).throw(OSError(28, "full")))
        with pytest.raises(OSError):
            style.save(style.figure(2, 1), path)
    assert path.read_bytes() == before and list(tmp_path.iterdir()) == [path]


def test_a_board_that_fails_costs_a_line(tmp_path, monkeypatch):
    import keras

    from cifar_lab import Recipe, training
    from cifar_lab.data import Dataset
    from cifar_lab.training import progress

    class Board(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(progress, "tensorboard", lambda folder: Board())
    recipe = Recipe(builder="linear", data="synthetic", input_shape=(8, 8, 1), epochs=2)
    images, labels = np.zeros((40, 8, 8, 1), np.uint8), np.arange(40) % 2
    dataset = Dataset("mine", ("a", "b"), images, labels, images, labels)
    lines = []
    card, _ = training.train(
        recipe,
        dataset,
        tmp_path / "out",
        rung="mine",
        tensorboard="board",
        test=False,
        notice=lines.append,
    )
    assert card["rung"] == "mine"
    assert [line for line in lines if "TensorBoard" in line] == [
        "callback TensorBoard: on_epoch_end failed (OSError: No space left on device); it is "
        "dropped, training goes on"
    ]


# --- trials and workers ---


@pytest.mark.parametrize("words", [process.PYTHON, (sys.executable, "-m")])
def test_files_of_the_working_folder_stand_in_for_no_module(words, tmp_path):
    for name in ("random.py", "json.py", "shlex.py", "numpy.py"):
        (tmp_path / name).write_text("raise SystemExit('a file of the working folder')\n")
    done = subprocess.run(
        [*words, "cifar_lab", "--version"],
        cwd=tmp_path,
        env=process.child_env(),
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr


def test_children_are_no_workers_of_another_chief(monkeypatch):
    for name in process.CHIEFS:
        monkeypatch.setenv(name, "x")
    assert not set(process.CHIEFS) & set(process.child_env())


def test_a_worker_reaches_its_chief_past_a_proxy():
    pytest.importorskip("grpc", reason="grpcio is not installed (the tune extra)")
    code = """
        import os
        from concurrent import futures
        import grpc
        from cifar_lab.searching import process
        class Echo(grpc.GenericRpcHandler):
            def service(self, details):
                return grpc.unary_unary_rpc_method_handler(lambda request, context: request)
        server = grpc.server(futures.ThreadPoolExecutor(1), handlers=[Echo()])
        port = server.add_insecure_port("127.0.0.1:0")
        server.start()
        os.environ.update(process.worker_env("127.0.0.1", port, "w"))
        with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
            print(channel.unary_unary("/a/b")(b"reached", timeout=20).decode())
        server.stop(None)
    """
    proxies = dict.fromkeys(("http_proxy", "https_proxy", "grpc_proxy"), "http://127.0.0.1:9")
    assert in_python(code, **proxies) == ["reached"]


@pytest.mark.slow
def test_a_search_in_a_hostile_environment(tmp_path):
    pytest.importorskip("keras_tuner", reason="keras-tuner is not installed (the tune extra)")
    (tmp_path / "random.py").write_text("x = 1\n")
    chief = dict(zip(process.CHIEFS, ("127.0.0.1", "9", "x"), strict=True))
    done = run(
        "tune.py",
        *("mnist-logistic", "--data", "synthetic", "--trial-epochs", 1, "--trial-images", 60),
        *("--max-trials", 2, "--workers", 1, "--output", tmp_path / "search", "--json"),
        cwd=tmp_path,
        **{**HOSTILE, **chief},
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["completed"] == 2


def test_warnings_that_are_errors_fail_no_trial(monkeypatch):
    monkeypatch.setenv("PYTHONWARNINGS", "error")
    code = "import warnings; warnings.warn('of a library')"
    command = [sys.executable, "-c", code]
    assert subprocess.run(command, capture_output=True).returncode == 1
    done = subprocess.run(command, env=process.child_env(), capture_output=True)
    assert done.returncode == 0, done.stderr


def test_the_page_of_the_environment_names_what_is_not_heeded():
    text = (ROOT / "docs" / "environment.md").read_text()
    assert all(name in text for name in (*backend.SETTINGS, *backend.DECIDING[:4]))
