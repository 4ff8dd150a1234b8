"""Exercises: right solutions pass, wrong ones get the words meant for them, and no program that a
learner may write does harm.

The solutions are written as learners write them, apart from `cifar_lab.scratch`. What is wrong is
mostly a right solution with one piece replaced, judged in this process, which costs little.
"""

import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from cifar_lab import exercises
from cifar_lab.errors import InputError
from cifar_lab.exercises import comparing, judge

RIGHT = {
    "affine": """
def affine_forward(x, w, b):
    return np.dot(x, w) + b

def affine_backward(gradient, x, w):
    by_x = gradient @ w.T
    by_w = x.T @ gradient
    by_b = np.sum(gradient, axis=0)
    return by_x, by_w, by_b
""",
    "softmax-loss": """
def softmax(scores):
    shifted = scores - np.max(scores, axis=1, keepdims=True)
    e = np.exp(shifted)
    return e / e.sum(axis=1, keepdims=True)

def softmax_loss(scores, labels):
    n = len(scores)
    shifted = scores - scores.max(axis=1, keepdims=True)
    log_p = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    loss = -log_p[np.arange(n), labels].mean()
    gradient = np.exp(log_p)
    gradient[np.arange(n), labels] -= 1
    return loss, gradient / n
""",
    "hinge-loss": """
def hinge_loss(scores, labels):
    n = scores.shape[0]
    loss, gradient = 0.0, np.zeros_like(scores)
    for i in range(n):
        right = scores[i, labels[i]]
        for j in range(scores.shape[1]):
            if j == labels[i]:
                continue
            margin = scores[i, j] - right + 1
            if margin > 0:
                loss += margin
                gradient[i, j] += 1
                gradient[i, labels[i]] -= 1
    return loss / n, gradient / n
""",
    "backprop": """
def sigmoid(s):
    return 1 / (1 + np.exp(-s))

def network_forward(x, w1, b1, w2, b2):
    h = sigmoid(x @ w1 + b1)
    y = sigmoid(h @ w2 + b2)
    return h, y

def network_backward(x, t, h, y, w2):
    d2 = (y - t) * y * (1 - y) / len(x)
    d1 = (d2 @ w2.T) * h * (1 - h)
    return x.T @ d1, d1.sum(0), h.T @ d2, d2.sum(0)
""",
    "batch-norm": """
def batch_norm_forward(x, gamma, beta, moving_mean, moving_variance, training, momentum, epsilon):
    if training:
        mean, variance = x.mean(axis=0), x.var(axis=0)
        moving_mean = momentum * moving_mean + (1 - momentum) * mean
        moving_variance = momentum * moving_variance + (1 - momentum) * variance
    else:
        mean, variance = moving_mean, moving_variance
    normal = (x - mean) / np.sqrt(variance + epsilon)
    return gamma * normal + beta, moving_mean, moving_variance

def batch_norm_backward(gradient, x, gamma, epsilon):
    n = x.shape[0]
    mean, variance = x.mean(axis=0), x.var(axis=0)
    deviation = np.sqrt(variance + epsilon)
    normal = (x - mean) / deviation
    d = gradient * gamma
    by_variance = (d * (x - mean) * -0.5 * deviation**-3).sum(axis=0)
    by_mean = (-d / deviation).sum(axis=0)
    by_x = d / deviation + by_variance * 2 * (x - mean) / n + by_mean / n
    return by_x, (gradient * normal).sum(axis=0), gradient.sum(axis=0)
""",
    "dropout": """
def dropout_forward(x, rate, training, generator):
    if not training:
        return x, np.ones_like(x)
    kept = generator.random(x.shape) > rate
    factor = kept / (1 - rate)
    return x * factor, factor

def dropout_backward(gradient, factor):
    return gradient * factor
""",
    "convolution": """
def out_size(size, window, stride, padding):
    return (size + 2 * padding - window) // stride + 1

def im2col(x, rows, columns, stride, padding):
    n, height, width, c = x.shape
    down = out_size(height, rows, stride, padding)
    across = out_size(width, columns, stride, padding)
    x = np.pad(x, ((0, 0), (padding, padding), (padding, padding), (0, 0)))
    out = []
    for k in range(n):
        for i in range(down):
            for j in range(across):
                seen = x[k, i * stride:i * stride + rows, j * stride:j * stride + columns]
                out.append(seen.reshape(-1))
    return np.array(out)

def convolution_forward(x, kernel, bias, stride, padding):
    rows, columns, c, f = kernel.shape
    down = out_size(x.shape[1], rows, stride, padding)
    across = out_size(x.shape[2], columns, stride, padding)
    y = im2col(x, rows, columns, stride, padding) @ kernel.reshape(-1, f) + bias
    return y.reshape(len(x), down, across, f)

def convolution_backward(gradient, x, kernel, stride, padding):
    rows, columns, c, f = kernel.shape
    n, height, width, _ = x.shape
    flat = gradient.reshape(-1, f)
    by_kernel = (im2col(x, rows, columns, stride, padding).T @ flat).reshape(kernel.shape)
    by_x = np.zeros((n, height + 2 * padding, width + 2 * padding, c))
    for i in range(gradient.shape[1]):
        for j in range(gradient.shape[2]):
            part = gradient[:, i, j] @ kernel.reshape(-1, f).T
            top, left = i * stride, j * stride
            by_x[:, top:top + rows, left:left + columns] += part.reshape(n, rows, columns, c)
    by_x = by_x[:, padding:padding + height, padding:padding + width]
    return by_x, by_kernel, flat.sum(axis=0)
""",
    "pooling": """
def max_pool_forward(x, window, stride):
    n, height, width, c = x.shape
    down, across = (height - window) // stride + 1, (width - window) // stride + 1
    y = np.zeros((n, down, across, c))
    for i in range(down):
        for j in range(across):
            top, left = i * stride, j * stride
            y[:, i, j] = x[:, top:top + window, left:left + window].max(axis=(1, 2))
    return y

def max_pool_backward(gradient, x, window, stride):
    by_x = np.zeros_like(x)
    n, down, across, c = gradient.shape
    for k in range(n):
        for i in range(down):
            for j in range(across):
                for f in range(c):
                    top, left = i * stride, j * stride
                    seen = x[k, top:top + window, left:left + window, f]
                    row, column = np.unravel_index(seen.argmax(), seen.shape)
                    by_x[k, top + row, left + column, f] += gradient[k, i, j, f]
    return by_x
""",
    "adam": """
def adam_step(w, gradient, m, v, t, learning_rate, beta_1, beta_2, epsilon):
    m = beta_1 * m + (1 - beta_1) * gradient
    v = beta_2 * v + (1 - beta_2) * gradient**2
    mh = m / (1 - beta_1**t)
    vh = v / (1 - beta_2**t)
    return w - learning_rate * mh / (np.sqrt(vh) + epsilon), m, v
""",
    "knn": """
def distances(train, test):
    a, b = test.astype(float), train.astype(float)
    squared = (a**2).sum(axis=1)[:, None] + (b**2).sum(axis=1) - 2 * a @ b.T
    return np.sqrt(np.maximum(squared, 0))

def predict(train, labels, test, k):
    far = distances(train, test)
    found = np.zeros(len(test), int)
    for i in range(len(test)):
        nearest = labels[np.argsort(far[i], kind="stable")[:k]]
        found[i] = np.bincount(nearest).argmax()
    return found
""",
}

# (exercise, what is replaced, by what, words of the diagnosis)
WRONG = [
    ("affine", "np.sum(gradient, axis=0)", "gradient",
     "affine_backward: the gradient of b misses the sum over the batch"),
    ("affine", "np.sum(gradient, axis=0)", "np.mean(gradient, axis=0)",
     "the gradient of b is the mean over the batch"),
    ("affine", "axis=0)", "axis=1)", "the gradient of b is summed over the units"),
    ("affine", "x.T @ gradient", "gradient.T @ x", "the gradient of w is transposed"),
    ("affine", "gradient @ w.T", "gradient @ w", "the gradient of x misses the transpose"),
    ("affine", " + b", "", "affine_forward: b is missing"),
    ("softmax-loss", "scores - np.max(scores, axis=1, keepdims=True)", "scores",
     "softmax: overflow for large scores: subtract the largest of each image first"),
    ("softmax-loss", "np.max(scores, axis=1, keepdims=True)", "np.max(scores)",
     "subtracts the largest score of the whole batch"),
    ("softmax-loss", "e.sum(axis=1, keepdims=True)", "e.sum(axis=1)", "keepdims=True is missing"),
    ("softmax-loss", "e.sum(axis=1, keepdims=True)", "e.sum()", "divides by the sum over the"),
    ("softmax-loss", "gradient / n", "gradient",
     "the gradient is not divided by the number of images"),
    ("softmax-loss", "gradient[np.arange(n), labels] -= 1", "gradient[:, labels] -= 1",
     "the gradient takes 1 from whole columns"),
    ("softmax-loss", ".mean()", ".sum()", "the loss is the sum over the images"),
    ("softmax-loss", "-log_p[np.arange(n), labels]",
     "-np.log(softmax(scores)[np.arange(n), labels] + 1e-7)", "adds a small number inside the log"),
    ("softmax-loss", "-log_p[np.arange(n), labels]",
     "-np.log(softmax(scores)[np.arange(n), labels])", "the loss goes wrong where p rounds to 0"),
    ("hinge-loss", "if j == labels[i]:", "if False:", "the loss counts the right class too"),
    ("hinge-loss", "gradient / n", "gradient",
     "the gradient is not divided by the number of images"),
    ("hinge-loss", "gradient[i, labels[i]] -= 1", "gradient[i, labels[i]] = -1",
     "the right class gets -1 once"),
    ("hinge-loss", "- right + 1", "- right", "the margin of 1 is missing from the loss"),
    ("backprop", "h * (1 - h)", "1", "the derivative of the first sigmoid is missing"),
    ("backprop", "(y - t)", "(t - y)", "the gradients have the wrong sign"),
    ("backprop", "* y * (1 - y)", "", "the derivative of the second sigmoid is missing"),
    ("backprop", " / len(x)", "", "the gradients are not divided by the number of images"),
    ("backprop", "d1.sum(0)", "d1", "the gradient of b1 misses the sum over the batch"),
    ("batch-norm", "mean, variance = moving_mean, moving_variance",
     "mean, variance = x.mean(0), x.var(0)",
     "batch normalisation uses batch statistics in inference"),
    ("batch-norm", "np.sqrt(variance + epsilon)\n    return",
     "(np.sqrt(variance) + epsilon)\n    return", "epsilon is outside the root"),
    ("batch-norm", "x.var(axis=0)\n        moving", "x.var(axis=0, ddof=1)\n        moving",
     "the variance is the unbiased one"),
    ("batch-norm", " + by_variance * 2 * (x - mean) / n + by_mean / n", "",
     "takes the batch's mean and variance for constants"),
    ("batch-norm", "gradient * normal", "gradient * x", "the gradient of gamma takes x"),
    ("batch-norm", "momentum * moving_mean + (1 - momentum) * mean",
     "(1 - momentum) * moving_mean + momentum * mean", "the moving mean is the wrong way round"),
    ("dropout", "factor = kept / (1 - rate)", "factor = kept * 1.0",
     "dropout: not scaled by 1 / (1 - rate)"),
    ("dropout", "random(x.shape) > rate", "random(x.shape) < rate",
     "the rate is the share dropped, not kept"),
    ("dropout", "if not training:", "if False:", "in inference it drops values"),
    ("dropout", "random(x.shape)", "random(x.shape[1])", "drops the same units of every image"),
    ("dropout", "generator.random(x.shape)", "np.random.random(x.shape)",
     "draws from elsewhere than the generator"),
    ("dropout", "return x, np.ones_like(x)", "return x * (1 - rate), np.ones_like(x)",
     "in inference y is multiplied by 1 - rate"),
    ("dropout", "gradient * factor", "gradient", "the gradient passes what was dropped"),
    ("convolution", "kernel.reshape(-1, f) + bias", "kernel[::-1, ::-1].reshape(-1, f) + bias",
     "the kernel was flipped: this is convolution, not cross-correlation"),
    ("convolution", "seen.reshape(-1)", "seen.transpose(2, 0, 1).reshape(-1)",
     "im2col: each row has the channels first"),
    ("convolution", " // stride + 1", " // stride", "the last window down and across is missing"),
    ("convolution", "] += part", "] = part", "a pixel that several windows saw gets one gradient"),
    ("convolution", "y.reshape(len(x), down, across, f)", "y.reshape(len(x), f, down, across)",
     "the reshape to (N, F, down, across) mixes filters and places"),
    ("convolution", "flat.sum(axis=0)", "gradient.sum(axis=0)",
     "the gradient of the bias is summed over the images alone"),
    ("pooling", ".max(axis=(1, 2))", ".mean(axis=(1, 2))", "this is average pooling"),
    ("pooling", ".max(axis=(1, 2))", ".max(axis=(1, 2), initial=0)", "negative values are lost"),
    ("pooling", "] += gradient", "] = gradient", "a pixel that won in several windows"),
    ("pooling", "row, column = np.unravel_index(seen.argmax(), seen.shape)\n",
     "row, column = np.nonzero(seen == seen.max())\n",
     "equal largest values all get the whole gradient"),
    ("adam", "mh = m / (1 - beta_1**t)\n    vh = v / (1 - beta_2**t)", "mh, vh = m, v",
     "Adam without bias correction: the first step is 3.16 times as long"),
    ("adam", "(np.sqrt(vh) + epsilon)", "np.sqrt(vh + epsilon)", "epsilon is inside the root"),
    ("adam", "gradient**2", "gradient", "v takes the gradient without its square"),
    ("adam", "w - learning_rate", "w + learning_rate", "the step goes uphill"),
    ("knn", "np.argsort(far[i], kind=\"stable\")", "np.argsort(-far[i], kind=\"stable\")",
     "sorts by similarity"),
    ("knn", "squared = (a**2).sum(axis=1)[:, None] + (b**2).sum(axis=1) - 2 * a @ b.T",
     "squared = np.abs(a[:, None] - b).sum(axis=2) ** 2",
     "these are L1 distances, where L2 was asked"),
    ("knn", "np.bincount(nearest).argmax()",
     "max(set(nearest), key=lambda v: (list(nearest).count(v), v))",
     "of equally many votes the larger label wins"),
    ("knn", "a, b = test.astype(float), train.astype(float)\n",
     "return np.sqrt(((test[:, None] - train) ** 2).sum(2))\n",
     "differences of uint8 wrap around"),
    ("knn", "np.bincount(nearest).argmax()", "nearest.mean()", "takes the mean of the labels"),
]  # fmt: skip


def source(name, text):
    return f'import numpy as np\nEXERCISE = "{name}"\n{text}'


def judged(name, text, tmp_path):
    """The lines of the checks of a solution, judged in this process."""
    file = tmp_path / "mine.py"
    file.write_text(source(name, text))
    exercise = exercises.get(name)
    with np.errstate(all="ignore"):
        found = judge.judge(exercise, judge.load(exercise, file), str(file), train=False)
    checks = [exercises.Check(**c) for c in found["checks"]]
    assert all(c.what and c.words and "\n" not in c.line for c in checks)
    return [c.line for c in checks]


# Python code: judge {name: file}, JSON in the argument
JUDGE = """
import json, sys
from pathlib import Path
from cifar_lab import exercises
from cifar_lab.exercises import judge
found = {}
for name, file in json.loads(sys.argv[1]).items():
    exercise = exercises.get(name)
    found[name] = judge.judge(exercise, judge.load(exercise, Path(file)), file)
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def right_ones(tmp_path_factory):
    """What is found of all right solutions, networks trained: one process, with one thread."""
    files = {name: tmp_path_factory.mktemp("right") / f"{name}.py" for name in RIGHT}
    for name, file in files.items():
        file.write_text(source(name, RIGHT[name]))
    done = subprocess.run(
        [sys.executable, "-c", JUDGE, json.dumps({k: str(v) for k, v in files.items()})],
        env={**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("name", exercises.names())
def test_right_solutions_pass_and_train(name, right_ones):
    found = right_ones[name]
    assert len(found["checks"]) >= 3 and all(c["ok"] for c in found["checks"]), found
    assert found["scratch_accuracy"] > 0.5  # of ten classes
    assert abs(found["accuracy"] - found["scratch_accuracy"]) < 0.05
    words = f"accuracy {found['accuracy']:.1%} with yours, "
    assert found["checks"][-1]["words"].startswith(words)


@pytest.mark.parametrize("name, old, new, words", WRONG, ids=range(len(WRONG)))
def test_wrong_solutions_get_their_words(name, old, new, words, tmp_path):
    assert any(words in line for line in wrong_lines(name, old, new, tmp_path))


def wrong_lines(name, old, new, tmp_path):
    assert old in RIGHT[name]
    lines = judged(name, RIGHT[name].replace(old, new), tmp_path)
    wrong = [line for line in lines if line.startswith("wrong ")]
    assert wrong, lines
    return wrong


@pytest.mark.parametrize("name", exercises.names())
def test_every_known_mistake_gets_its_own_words(name):
    """Each row of the tables, put in the place of the right output."""
    exercise = exercises.get(name)
    cases = exercise.cases(np.random.default_rng(0))
    rows = [(f, wrong) for f in exercise.functions for wrong in f.wrong]
    assert len(rows) >= (3 if name != "dropout" else 1)
    for function, wrong in rows:

        def mistaken(*args, function=function, wrong=wrong):
            right, one = function.right(*args), wrong.of(*args)
            at = wrong.output
            return one if len(function.outputs) == 1 else (*right[:at], one, *right[at + 1 :])

        outcomes = [comparing.call(mistaken, case.args) for case in cases[function.name]]
        found = comparing.diagnose(function, cases[function.name], outcomes)
        assert found == [wrong.words], (function.name, wrong.words, found)


# Mistakes that no table has: (exercise, what is replaced, by what, words)
UNSEEN = [
    ("affine", "x.T @ gradient", "-x.T @ gradient", "the gradient of w has the wrong sign"),
    ("affine", "x.T @ gradient", "3 * x.T @ gradient", "is 3 times what it should be"),
    ("affine", "x.T @ gradient", "x.T @ gradient + 1", "gradient of w is +1 off in every entry"),
    ("affine", "x.T @ gradient", "x.T @ gradient / w.shape[1]",
     "is divided by the number of units once too often"),
    ("affine", "x.T @ gradient", "x.T @ gradient * 0", "the gradient of w is 0 everywhere"),
    ("affine", "x.T @ gradient", "w", "the gradient of w is w, unchanged"),
    ("affine", "x.T @ gradient", "np.sort(x.T @ gradient)", "right values in the wrong places"),
    ("affine", "x.T @ gradient", "x.T @ gradient + np.eye(*w.shape)",
     "the gradient of w: the first entry that differs, [0, 0], must be "),
    ("affine", "x.T @ gradient", "x.T @ gradient[:, :1]", "must have shape (4, 3), has (4, 1)"),
    ("affine", "x.T @ gradient", "x.T @ gradient + np.inf", "is inf at [0, 0]"),
    ("affine", "x.T @ gradient", "x.T @ gradien", "raises NameError (line 9): name 'gradien'"),
    ("affine", "x.T @ gradient", "(x.T @ gradient).astype(np.float32)", "has dtype float32"),
    ("affine", "x.T @ gradient", "str(x)", "must be an array of numbers, is str"),
    ("affine", "x.T @ gradient", "None", "returns None for the gradient of w"),
    ("affine", "return by_x, by_w, by_b", "", "returns None: is its `return` missing?"),
    ("affine", "return by_x, by_w, by_b", "return by_x", "the gradient of b), returned one value"),
    ("affine", "return by_x, by_w, by_b", "return by_w, by_x, by_b", "are they returned in order?"),
    ("affine", "by_x = g", "gradient *= 1.5; by_x = g", "changes gradient in place: work on"),
    ("affine", "def affine_backward", "def other", "affine_backward: is not there yet"),
    ("softmax-loss", "labels].mean()", "labels].sum() / scores.shape[1]",
     "the sum over the images: it is their mean; and the loss is divided by the number of classes"),
    ("softmax-loss", "scores - scores.max", "scores; scores -= 1; shifted = scores - scores.max",
     "softmax_loss: changes scores in place"),
    ("backprop", "h.T @ d2", "2 * h.T @ (y - t)", "of the second sigmoid is missing"),
    ("convolution", "top, left = i * stride, j * stride", "top, left = i * stride, j",
     "; right for 2 images, 4 filters, 6 x 5 x 3 by 3 x 3, stride 1, padding 0"),
    ("dropout", "> rate", "> 0.5", "drops 50% of the values, with a rate of 0.25"),
    ("dropout", "generator.random(x.shape)", "np.random.default_rng(0).random(x.shape)",
     "drops the same values whatever the generator"),
    ("adam", "np.sqrt(vh)", "vh**0.25", "must be as long as the learning rate"),
    ("knn", "np.zeros(len(test), int)", "np.zeros(len(test))", "must be whole numbers"),
]  # fmt: skip


@pytest.mark.parametrize("name, old, new, words", UNSEEN, ids=range(len(UNSEEN)))
def test_other_mistakes_get_sensible_words(name, old, new, words, tmp_path):
    lines = wrong_lines(name, old, new, tmp_path)
    assert any(words in line for line in lines), lines


def test_a_function_is_judged_with_right_ones_in_the_place_of_wrong_ones(tmp_path):
    lines = wrong_lines("convolution", "reshape(-1))", "ravel() * 2)", tmp_path)
    assert lines == ["wrong im2col: the matrix is 2 times what it should be"]


def test_the_numerical_gradient_convicts_without_a_table(tmp_path):
    lines = wrong_lines("affine", "x.T @ gradient", "1.01 * x.T @ gradient", tmp_path)
    assert re.fullmatch(
        r"wrong affine_backward, numerically: the gradient of w at \[0, 0\] is \S+ by central "
        r"differences of your own function, \S+ by yours",
        lines[-1],
    )


# --- the file to fill in -------------------------------------------------------------------------


def test_names_and_lessons():
    assert exercises.names() == list(RIGHT)
    for name, lesson in exercises.LESSONS.items():
        exercise = exercises.of_lesson(lesson)
        assert (exercise.name, exercise.lesson) == (name, lesson)
    assert exercises.of_lesson("matrices").name == "affine"
    for call in (exercises.get, exercises.of_lesson):
        with pytest.raises(InputError, match="'magic'"):
            call("magic")


@pytest.mark.parametrize("name", exercises.names())
def test_the_written_file_has_all_functions_none_written(name, tmp_path):
    path = exercises.write(name, tmp_path / "my exercise.py")
    text = path.read_text(encoding="utf-8")
    assert f'EXERCISE = "{name}"\n' in text and "Source: " in text and "scratch" not in text
    assert " --check '" in text and max(map(len, text.splitlines())) <= 120
    exercise = exercises.get(name)
    found = judge.judge(exercise, judge.load(exercise, path))["checks"]
    assert {c["what"]: c["words"] for c in found} == {
        f.name: "is not written yet" for f in exercise.functions
    }


def test_a_file_that_is_there_is_kept(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text("precious")
    with pytest.raises(InputError, match="mine.py: is there already; `overwrite` replaces it"):
        exercises.write("affine", path)
    assert path.read_text() == "precious"
    exercises.write("affine", path, overwrite=True)
    assert "def affine_forward(x, w, b):" in path.read_text()
    for place, words in (
        (tmp_path, "is there already"),
        (tmp_path / "no" / "a.py", "No such file"),
    ):
        with pytest.raises(InputError, match=words):
            exercises.write("affine", place)
    with pytest.raises(InputError, match="cannot be written"):
        exercises.write("affine", tmp_path, overwrite=True)


# --- the process ---------------------------------------------------------------------------------


def checked(tmp_path, text, **options):
    path = tmp_path / "mine.py"
    path.write_text(text)
    return exercises.check(path, **options)


def test_a_right_file_passes(tmp_path, monkeypatch):
    """Nothing of the working folder, the file's folder or PYTHONPATH is imported; nor is Keras."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    for name in ("random.py", "numpy.py", "judge.py"):
        (tmp_path / name).write_text("raise SystemExit(1)\n")
    first = "PATTERN = '\\d'\nimport sys\n"
    first += "assert not {'keras', 'tensorflow', 'PIL'} & set(sys.modules)\n"
    report = checked(tmp_path, source("knn", first + RIGHT["knn"]))
    assert report.passed and report.exercise == "knn" and report.printed == ""
    assert 0.5 < report.accuracy == report.scratch_accuracy <= 1
    assert (
        report.lines[-1] == "knn: passed"
        and f"{report.accuracy:.1%} with yours" in report.lines[-2]
    )
    assert json.loads(json.dumps(report.as_json()))["lines"] == report.lines


def test_a_wrong_file_is_reported_with_what_it_printed(tmp_path):
    text = (
        RIGHT["affine"]
        .replace(", by_b", ", gradient")
        .replace("by_x =", "print(x * 0)\n    by_x =")
    )
    report = checked(tmp_path, source("affine", text))
    assert not report.passed and report.accuracy is report.scratch_accuracy is None
    assert "wrong affine_backward: the gradient of b misses the sum over the batch" in report.lines
    assert report.printed.startswith("[[") and len(report.printed) <= 2_000
    assert report.lines[-2].startswith("note: the file printed '[[")
    assert report.lines[-1] == "affine: 2 of 3 checks failed"
    assert report.as_json()["passed"] is False


AFFINE = "def affine_forward(x, w, b):\n    "
# What is wrong before anything is run: (file, words)
UNUSABLE = {
    "syntax": ("x = 1\ndef f(:\n", "mine.py, line 2: is not Python"),
    "null": ("x = 1\0", "is not Python"),
    "large": ("#" * (1 << 20) + "\n", "of at most 1 MB"),
    "header": (AFFINE + "return x", 'needs a line EXERCISE = "...", one of affine, softmax'),
    "unknown": (source("magic", AFFINE + "return x"), "EXERCISE must be one of .*, is 'magic'"),
    "misspelt": (source("convolutoin", AFFINE + "return x"), r"is 'convolutoin' \(convolution\?\)"),
    "none": (source("affine", "def f(): pass"), "none of the functions affine_forward, affine_b"),
}


@pytest.mark.parametrize("text, words", UNUSABLE.values(), ids=UNUSABLE)
def test_unusable_files_are_refused_unrun(text, words, tmp_path, monkeypatch):
    monkeypatch.setattr(exercises.process, "run", None)
    with pytest.raises(InputError, match=words) as error:
        checked(tmp_path, text)
    assert "\n" not in str(error.value)


def test_unusable_paths_are_refused(tmp_path):
    with pytest.raises(InputError, match="nowhere.py: cannot be read"):
        exercises.check(tmp_path / "nowhere.py")
    with pytest.raises(InputError, match="must be a Python file, is a folder"):
        exercises.check(tmp_path)
    for seconds in (0, -1, "5", float("nan"), True):
        with pytest.raises(InputError, match="seconds: must be"):
            exercises.check(tmp_path, seconds)


# What is wrong when it runs: (affine's file, words, seconds)
HARMFUL = {
    "loops": (AFFINE + "while True: pass", "still running after 2 s", 2),
    "sleeps": (
        "import time; time.sleep(1000)\n" + AFFINE + "return x",
        "still running after 1 s",
        1,
    ),
    "raises": (AFFINE + "return x\n1 / 0", r"raises ZeroDivisionError \(line 5\).*imported", 30),
    "exits": ("import sys\n" + AFFINE + "sys.exit(0)", r"calls sys.exit \(line 5\)", 30),
    "ends": ("import os\n" + AFFINE + "os._exit(0)", r"exit code 0 \(in affine_forward\)", 30),
    "prints": (AFFINE + "\n    while True: print('x' * 10**4)", "printed over 1 MB", 30),
    "imports": ("import nowhere_to_be_found\n" + AFFINE + "return x", "No module named", 30),
    "arguments": ("def affine_forward(x, w): return x", r"take \(x, w, b\), takes \(x, w\)", 30),
    "order": ("def affine_forward(x, b, w): return x", r"takes \(x, b, w\)", 30),
    "number": ("affine_forward = 3", "must be a function, is a int", 30),
    "interrupts": (AFFINE + "raise KeyboardInterrupt", "raises KeyboardInterrupt", 30),
    "starts": (
        "import subprocess\n" + AFFINE + "subprocess.run(['sleep', '9'])",
        "starts another",
        30,
    ),
}
POSIX = {
    "forks": ("import os\n" + AFFINE + "\n    while True: os.fork()", "starts another process", 30),
    "allocates": (AFFINE + "return np.ones(100 << 30, np.uint8)", "more than 2 GB of memory", 30),
    "crashes": ("import os\n" + AFFINE + "os.kill(os.getpid(), 11)", "ended by SIGSEGV", 30),
}
HARMFUL |= POSIX if os.name == "posix" else {}


@pytest.mark.parametrize("text, words, seconds", HARMFUL.values(), ids=HARMFUL)
def test_harmful_files_are_one_line(text, words, seconds, tmp_path):
    with pytest.raises(InputError, match=words) as error:
        checked(tmp_path, source("affine", text), seconds=seconds)
    assert str(error.value).startswith(str(tmp_path / "mine.py")) and "\n" not in str(error.value)


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="reads /proc")
def test_what_it_starts_is_ended_with_it(tmp_path):
    """A child of the C library's fork, which Python's hooks do not see."""
    note = tmp_path / "pid"
    fork = f"""
import ctypes, time
pid = ctypes.CDLL(None).fork()
if pid == 0:
    time.sleep(1000)
open({str(note)!r}, "w").write(str(pid))
"""
    report = checked(tmp_path, source("affine", fork + RIGHT["affine"].replace(" + b", "")))
    assert not report.passed
    stat = Path(f"/proc/{note.read_text()}/stat")
    until = time.monotonic() + 10
    while stat.exists() and stat.read_text().rpartition(")")[2].split()[0] != "Z":
        assert time.monotonic() < until
        time.sleep(0.05)


def test_the_import_is_cheap():
    code = (
        "import sys; from cifar_lab import exercises; exercises.names(); exercises.get('knn')\n"
        "assert not {'keras', 'tensorflow', 'PIL'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
