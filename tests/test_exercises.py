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

import numpy as np
import pytest

from cifar_lab import exercises, scratch
from cifar_lab.errors import InputError
from cifar_lab.exercises import comparing, judge
from support import ROOT

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
    ("softmax-loss", "e.sum(axis=1, keepdims=True)", "e.sum()", "divides by the sum over the whole"),
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
    ("batch-norm", "np.sqrt(variance + epsilon)\n    return", "(np.sqrt(variance) + epsilon)\n    return",
     "epsilon is outside the root"),
    ("batch-norm", "x.mean(axis=0), x.var(axis=0)\n        moving", "x.mean(axis=0), x.var(axis=0, ddof=1)\n        moving",
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
     "squared = np.abs(a[:, None] - b).sum(axis=2) ** 2", "these are L1 distances, where L2 was asked"),
    ("knn", "np.bincount(nearest).argmax()",
     "max(set(nearest), key=lambda v: (list(nearest).count(v), v))",
     "of equally many votes the larger label wins"),
    ("knn", "a, b = test.astype(float), train.astype(float)\n", "return np.sqrt(((test[:, None] - train) ** 2).sum(2))\n",
     "differences of uint8 wrap around"),
    ("knn", "np.bincount(nearest).argmax()", "nearest.mean()", "takes the mean of the labels"),
]  # fmt: skip


def source(name, text):
    return f'import numpy as np\nEXERCISE = "{name}"\n{text}'


def judged(name, text, tmp_path, train=False):
    """The lines of the checks of a solution, judged in this process."""
    file = tmp_path / "mine.py"
    file.write_text(source(name, text))
    exercise = exercises.get(name)
    with np.errstate(all="ignore"):
        found = judge.judge(exercise, judge.load(exercise, file), str(file), train=train)
    checks = [exercises.Check(**c) for c in found["checks"]]
    assert all(c.what and c.words and "\n" not in c.line for c in checks)
    return [c.line for c in checks]


@pytest.mark.parametrize("name", exercises.names())
def test_right_solutions_pass(name, tmp_path):
    lines = judged(name, RIGHT[name], tmp_path)
    assert lines and all(line.startswith("ok ") for line in lines), lines


@pytest.mark.parametrize("name, old, new, words", WRONG, ids=range(len(WRONG)))
def test_wrong_solutions_get_their_words(name, old, new, words, tmp_path):
    assert old in RIGHT[name]
    lines = judged(name, RIGHT[name].replace(old, new), tmp_path)
    wrong = [line for line in lines if line.startswith("wrong ")]
    assert any(words in line for line in wrong), lines
