"""The multi-class hinge loss of linear classifiers, and its gradient."""

from __future__ import annotations

import numpy as np

from .. import scratch
from .comparing import against_numerical
from .exercise import Case, Exercise, Found, Function, Functions, Wrong
from .pictures import affine, learn, pictures
from .softmax_loss import Loss


def hinge_loss(scores, labels):
    """How far each wrong score intrudes on a margin of 1 below the right one; and its gradient.

    For each image, the sum over the wrong classes j of max(0, s_j - s_right + 1); the loss is the
    mean over the images. Each wrong class that is inside the margin has a gradient of 1 / N, the
    right class -1 / N for each of them.

    Args:
        scores: (N, classes).
        labels: (N,), whole numbers, the right classes.

    Returns:
        A tuple: the loss, one number; its gradient by the scores, (N, classes).

    Source: CS231n, "Multiclass support vector machine loss"; Weston and Watkins (1999).
    """
    t, loss = scratch.one_hot(labels, scores.shape[1]), scratch.MultiClassHinge()
    return loss.value(scores, t), loss.gradient(scores, t)


def _t(s, y):
    return scratch.one_hot(y, s.shape[1])


def _gaps(s, y, margin=1.0):
    """s_j - s_right + margin, (N, classes)."""
    return s - s[np.arange(len(s)), y][:, None] + margin


def _above(s, y, margin=1.0):
    return np.maximum(_gaps(s, y, margin), 0) * (1 - _t(s, y))


def _over(s, y, margin=1.0):
    return (_above(s, y, margin) > 0).astype(float)


def _gradient(s, y, over):
    return (over - _t(s, y) * over.sum(1, keepdims=True)) / len(s)


def _columns(s, y):
    over = _over(s, y)
    over[:, y] = -over.sum(1)[:, None]
    return over / len(s)


WRONG = (
    Wrong(
        0,
        "the loss counts the right class too, a margin of 1 for each image: set it to 0",
        lambda s, y: np.maximum(_gaps(s, y), 0).sum(1).mean(),
    ),
    Wrong(
        0, "the loss is the sum over the images: it is their mean", lambda s, y: _above(s, y).sum()
    ),
    Wrong(
        0,
        "the loss counts the right class too, and is the sum over the images: it is their mean",
        lambda s, y: np.maximum(_gaps(s, y), 0).sum(),
    ),
    Wrong(
        0, "the margin of 1 is missing from the loss", lambda s, y: _above(s, y, 0).sum(1).mean()
    ),
    Wrong(
        0,
        "the sign of the margin is wrong: it is s_j - s_right + 1",
        lambda s, y: _above(s, y, -1).sum(1).mean(),
    ),
    Wrong(
        0,
        "the scores are the wrong way round: it is s_j - s_right + 1",
        lambda s, y: (np.maximum(2 - _gaps(s, y), 0) * (1 - _t(s, y))).sum(1).mean(),
    ),
    Wrong(
        0,
        "max(0, ...) is missing from the loss: what is outside the margin counts nothing",
        lambda s, y: (_gaps(s, y) * (1 - _t(s, y))).sum(1).mean(),
    ),
    Wrong(
        0,
        "this is the loss of the worst wrong class alone (Crammer and Singer): all count",
        lambda s, y: _above(s, y).max(1).mean(),
    ),
    Wrong(
        0,
        "the right score is missing from the loss: s_j - s_right + 1",
        lambda s, y: (np.maximum(s + 1, 0) * (1 - _t(s, y))).sum(1).mean(),
    ),
    Wrong(
        0,
        "this is the squared hinge: the excess is not squared",
        lambda s, y: (_above(s, y) ** 2).sum(1).mean(),
    ),
    Wrong(
        0,
        "the loss is the mean over the classes too: it is their sum",
        lambda s, y: _above(s, y).mean(),
    ),
    Wrong(
        0,
        "the loss is that of each image: it is their mean, one number",
        lambda s, y: _above(s, y).sum(1),
    ),
    Wrong(
        0,
        "the loss takes scores[:, labels], whole columns: scores[np.arange(N), labels] is each "
        "image's own",
        lambda s, y: np.maximum(s - s[:, y] + 1, 0).sum(1).mean(),
    ),
    Wrong(
        1,
        "the gradient is not divided by the number of images",
        lambda s, y: _gradient(s, y, _over(s, y)) * len(s),
    ),
    Wrong(
        1,
        "the gradient of the right class is missing: -1 for each wrong class inside the margin",
        lambda s, y: _over(s, y) / len(s),
    ),
    Wrong(
        1,
        "the gradient of the right class is missing, and it is not divided by the number of images",
        lambda s, y: _over(s, y),
    ),
    Wrong(
        1,
        "the right class gets -1 once: it gets -1 for each wrong class inside the margin",
        lambda s, y: (_over(s, y) - _t(s, y)) / len(s),
    ),
    Wrong(
        1,
        "the right class gets -1 once: it gets -1 for each wrong class inside the margin",
        lambda s, y: (_over(s, y) - _t(s, y) * (_over(s, y).sum(1, keepdims=True) > 0)) / len(s),
    ),
    Wrong(
        1,
        "the right class gets -(classes - 1): it gets -1 for each wrong class inside the margin",
        lambda s, y: (_over(s, y) - _t(s, y) * (s.shape[1] - 1)) / len(s),
    ),
    Wrong(
        1,
        "the gradient does not heed the margin: classes outside it get 0",
        lambda s, y: _gradient(s, y, 1 - _t(s, y)),
    ),
    Wrong(
        1,
        "the gradient counts the right class among the wrong ones",
        lambda s, y: _gradient(s, y, _over(s, y) + _t(s, y)) + _t(s, y) / len(s),
    ),
    Wrong(
        1,
        "the gradient counts the right class among those inside the margin: -1 once too often",
        lambda s, y: (_over(s, y) - _t(s, y) * (_over(s, y).sum(1, keepdims=True) + 1)) / len(s),
    ),
    Wrong(
        1,
        "the gradient has the wrong sign: wrong classes get +1, the right one less",
        lambda s, y: -_gradient(s, y, _over(s, y)),
    ),
    Wrong(
        1,
        "the gradient holds the excess itself: inside the margin it is 1, however far",
        lambda s, y: _gradient(s, y, _above(s, y)),
    ),
    Wrong(
        1,
        "wrong classes get the excess itself: inside the margin they get 1, however far",
        lambda s, y: (_above(s, y) - _t(s, y) * _over(s, y).sum(1, keepdims=True)) / len(s),
    ),
    Wrong(
        1,
        "the gradient does not know the margin of 1",
        lambda s, y: _gradient(s, y, _over(s, y, 0)),
    ),
    Wrong(
        1,
        "the gradient writes to whole columns: gradient[np.arange(N), labels], not [:, labels]",
        _columns,
    ),
    Wrong(
        1,
        "this is the gradient for the worst wrong class alone (Crammer and Singer): all count",
        lambda s, y: _gradient(
            s, y, _over(s, y) * (_above(s, y) == _above(s, y).max(1, keepdims=True))
        ),
    ),
)


def cases(rng: np.random.Generator) -> dict[str, list[Case]]:
    found = []
    for n, classes in ((5, 3), (3, 7), (4, 4), (1, 5)):
        args = rng.normal(0, 1.5, (n, classes)), rng.integers(0, classes, n)
        found.append(Case(args, {"images": n, "classes": classes}))
    safe = np.array([[5.0, 0, 1], [0, 0.5, 9]]), np.array([0, 2])
    found.append(Case(safe, {"images": 2, "classes": 3}, "all outside the margin"))
    return {"hinge_loss": found}


def numerical(yours: Functions) -> Found:
    s, labels = np.random.default_rng(1).normal(size=(3, 4)), np.array([2, 0, 2])
    given = yours["hinge_loss"](s.copy(), labels)[1]
    loss = lambda: yours["hinge_loss"](s, labels)[0]  # noqa: E731
    yield "hinge_loss, numerically", against_numerical(loss, {"the gradient": s}, [given])


def network(functions: Functions) -> float:
    net = scratch.Network(scratch.Flatten(), affine(np.random.default_rng(2), 16 * 16 * 3, 10))
    return learn(net, pictures(), loss=Loss(functions["hinge_loss"]))


EXERCISE = Exercise(
    name="hinge-loss",
    lesson="hinge",
    title="the hinge loss of several classes, and its gradient.",
    functions=(Function(hinge_loss, ("the loss", "the gradient"), WRONG),),
    cases=cases,
    numerical=numerical,
    network=network,
    task="a linear classifier that learns embedded pictures by this loss",
)
