"""Networks of a few neurons: what one neuron cannot do, and how several learn."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from .. import scratch
from .lesson import Lesson, Number, Outcome
from .picture import label
from .sources import Sources

# --- XOR ------------------------------------------------------------------------------------------

CORNERS = np.array([[0, 0], [0, 1], [1, 0], [1, 1.0]])
XOR = np.array([[0], [1], [1], [0.0]])
RATE, STEPS = 1.0, 10_000


class Weights(NamedTuple):
    """Of a network of 2, 2 and 1 neurons: kernels (2, 2) and (2, 1), biases (1, units), or (4,
    units) where each sample has its own."""

    first: np.ndarray
    first_bias: np.ndarray
    second: np.ndarray
    second_bias: np.ndarray


#: from here, found by search, a bias for each neuron ends at the lecture's .010 .987 .500 .500
STUCK = Weights(
    np.array([[1.0, 0.2], [0.3, 0.0]]),
    np.array([[0.1, 0.6]]),
    np.array([[0.2], [0.8]]),
    np.array([[0.7]]),
)
#: from here it ends at the solution
SOLVING = Weights(
    np.array([[1.0, -1.0], [1.0, -1.0]]), np.zeros((1, 2)), np.ones((2, 1)), np.zeros((1, 1))
)


def xor(sources: Sources) -> Outcome:
    """Two lines by hand; then backpropagation with a bias for each neuron, and for each sample."""
    each_sample = STUCK._replace(
        first_bias=STUCK.first_bias.repeat(4, 0), second_bias=STUCK.second_bias.repeat(4, 0)
    )
    stuck, stuck_losses, _ = _learn(STUCK, CORNERS)
    solved, solved_losses, solution = _learn(SOLVING, CORNERS)
    by_sample, sample_losses, _ = _learn(each_sample, CORNERS)
    blind, *_ = _learn(each_sample, np.zeros_like(CORNERS))
    line, *_ = np.linalg.lstsq(np.column_stack([CORNERS, np.ones(4)]), XOR[:, 0], rcond=None)

    def draw(figure):
        lines, losses, answers = figure.subplots(1, 3)
        across = np.array([-0.5, 1.5])
        lines.fill_between(across, 0.5 - across, 1.5 - across, color="C2", alpha=0.15)
        lines.plot(across, 0.5 - across, label="x1 + x2 = 0.5")
        lines.plot(across, 1.5 - across, label="x1 + x2 = 1.5")
        lines.text(0.5, 0.5, "1", ha="center", va="center", fontsize=14, color="C2")
        for name, loss in (
            ("bias for each neuron", stuck_losses),
            ("the same, other start", solved_losses),
            ("bias for each sample", sample_losses),
        ):
            losses.loglog(np.arange(1, STEPS + 1), loss, label=name)
        label(losses, "step", "half the squared error of all four", f"rate {RATE:.0f}")
        losses.legend(fontsize=7, loc="lower left")
        x1, x2 = np.meshgrid(np.linspace(-0.5, 1.5, 81), np.linspace(-0.5, 1.5, 81))
        _, plane = _forward(solution, np.stack([x1.ravel(), x2.ravel()], 1))
        answers.contourf(x1, x2, plane.reshape(x1.shape), np.linspace(0, 1, 11), cmap="Greens")
        for axes, title in (
            (lines, "two lines, set by hand"),
            (answers, "the other start's output"),
        ):
            for corner, t in zip(CORNERS, XOR[:, 0], strict=True):
                axes.plot(*corner, "ko", markersize=9, fillstyle="full" if t else "none")
            axes.set(xlim=(-0.5, 1.5), ylim=(-0.5, 1.5), aspect="equal")
            label(axes, "x1", "x2", title)
        lines.legend(fontsize=7, loc="lower left")

    return Outcome(
        numbers=[
            Number("outputs of two lines set by hand", _by_hand().tolist(), [0, 1, 1, 0], 0),
            Number(
                "the best line through XOR: w1, w2, bias", abs(line.round(12)).tolist(), [0, 0, 0.5]
            ),
            Number(
                f"outputs after {STEPS:,} steps, a bias for each neuron",
                stuck.tolist(),
                [0.010, 0.987, 0.500, 0.500],
                why="from a start that was searched for: it gives the lecture's figures",
            ),
            Number(
                "the same, a bias for each sample",
                by_sample.tolist(),
                printed="four biases in each neuron",
                why="a bias belongs to its neuron; one for each sample simply stores the answer",
            ),
            Number("the same, with all inputs 0", blind.tolist()),
            Number("a bias for each neuron, another start", solved.tolist()),
        ],
        seen="No line parts XOR, but two do: 1 is between them. From the first start the network "
        "comes to rest on a plateau, with (1, 0) and (1, 1) at 1/2; from another it finds two "
        "lines. With a bias for each sample it seems to learn from the first start too, but it "
        "answers as well when it sees nothing: the biases have learnt the table by heart.",
        draw=draw,
        height=3.8,
    )


def _by_hand() -> np.ndarray:
    """Above the lower line, and not above the upper one."""
    lower, upper = (CORNERS.sum(1) > 0.5).astype(int), (CORNERS.sum(1) > 1.5).astype(int)
    return (lower - upper > 0.5).astype(int)


def _forward(w: Weights, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    hidden = scratch.sigmoid(x @ w.first + w.first_bias)
    return hidden, scratch.sigmoid(hidden @ w.second + w.second_bias)


def _learn(w: Weights, x: np.ndarray) -> tuple[np.ndarray, list[float], Weights]:
    """The outputs (4,) after STEPS steps, half the squared error before each, the weights then."""
    losses = []
    for _ in range(STEPS):
        hidden, y = _forward(w, x)
        losses.append(float(((y - XOR) ** 2).sum() / 2))
        behind = (y - XOR) * y * (1 - y)
        before = behind @ w.second.T * hidden * (1 - hidden)
        slopes = (x.T @ before, before, hidden.T @ behind, behind)
        w = Weights(
            *(
                value - RATE * (slope.sum(0, keepdims=True) if len(value) == 1 else slope)
                for value, slope in zip(w, slopes, strict=True)
            )
        )
    return _forward(w, x)[1][:, 0], losses, w


# --- backpropagation ------------------------------------------------------------------------------

#: the worked network, no biases: inputs, kernels (a column a node), target, rate
INPUTS, TARGET, SMALL_RATE = np.array([[2.0, 3.0]]), 1.0, 0.05
HIDDEN_KERNEL, OUTPUT_KERNEL = np.array([[0.11, 0.12], [0.21, 0.08]]), np.array([[0.14], [0.15]])


def backprop(sources: Sources) -> Outcome:
    """The chain rule on (x + y) z, and one step of a network of 2, 2 and 1 linear nodes."""
    x, y, z = -2.0, 5.0, -4.0
    q = x + y
    network = scratch.Network(
        scratch.Affine(HIDDEN_KERNEL.copy()), scratch.Affine(OUTPUT_KERNEL.copy())
    )
    output = network.forward(INPUTS)
    error = output - TARGET
    network.backward(error)  # of half the squared error
    slow = [scratch.numerical_gradient(lambda: _half_square(network), w) for w in network.weights]
    apart = max(map(scratch.relative_error, network.gradients, slow))
    gradients = [g.copy() for g in network.gradients]
    network.step(scratch.GradientDescent(SMALL_RATE))
    hidden, out = (w.copy() for w in network.weights)
    after = float(network.forward(INPUTS)[0, 0])
    rounded = float((INPUTS @ hidden.round(2) @ out.round(2))[0, 0])

    def draw(figure):
        graph, nodes = figure.subplots(1, 2)
        _arrows(
            graph,
            {"x": (0, 2), "y": (0, 0.9), "+": (1.5, 1.45), "z": (0, -0.4), "*": (3, 0.6)},
            [("x", "+", x, z), ("y", "+", y, z), ("+", "*", q, z), ("z", "*", z, q)],
        )
        _arrow(graph, (3, 0.6), (4.4, 0.6), q * z, 1.0)
        graph.set(xlim=(-0.4, 4.6), ylim=(-1, 2.5))
        graph.set_title("(x + y) z: value (green), gradient (red)", fontsize=10)
        places = {"2": (0, 1), "3": (0, 0), "a": (2, 1), "b": (2, 0), "y": (4, 0.5)}
        layers: list[tuple[str, str, np.ndarray, np.ndarray]] = [
            ("23", "ab", HIDDEN_KERNEL, hidden),
            ("ab", "y", OUTPUT_KERNEL, out),
        ]
        for froms, tos, old, new in layers:
            for (i, j), value in np.ndenumerate(old):
                share = 0.3 if tos == "ab" and i != j else 0.5
                text = f"{value:.2f} > {new[i, j]:.4f}"
                _edge(nodes, places[froms[i]], places[tos[j]], text, share)
        for name, place in places.items():
            _node(nodes, name, place)
        nodes.text(4, 0.8, f"{output[0, 0]:.3f} > {after:.5f}", ha="center", fontsize=9)
        nodes.text(4, 0.22, "target 1", ha="center", fontsize=9)
        nodes.set(xlim=(-0.4, 4.6), ylim=(-0.35, 1.35))
        nodes.set_title(f"weights before > after one step, rate {SMALL_RATE}", fontsize=10)
        for axes in (graph, nodes):
            axes.axis("off")

    return Outcome(
        numbers=[
            Number("(x + y) z at (-2, 5, -4): q = x + y", q, 3, 0),
            Number("f = q z", q * z, -12, 0),
            Number("gradient by x, y, z", [z, z, q], [-4, -4, 3], 0),
            Number("network: output", float(output[0, 0]), 0.191, 1e-9),
            Number("error, output - target", float(error[0, 0]), -0.809, 1e-9),
            Number("half the squared error", float(error[0, 0] ** 2 / 2), 0.32724, 5e-6),
            Number("new weights to the output", out[:, 0].tolist(), [0.174382, 0.169416], 1e-6),
            Number(
                "new weights from the first input", hidden[0].tolist(), [0.121326, 0.132135], 1e-6
            ),
            Number(
                "new weights from the second input", hidden[1].tolist(), [0.226989, 0.098202], 1e-6
            ),
            Number("output after the step", after, 0.25575, 5e-6),
            Number(
                "the same from weights with two decimals",
                rounded,
                0.2533,
                5e-5,
                why="a step this small needs more digits than two",
            ),
            Number("farthest from the numerical gradient, relative", apart, 0.0, 1e-8),
            Number("gradient by the weights to the output", gradients[1][:, 0].tolist()),
        ],
        seen="Going back, + hands its gradient to both, and a product hands each factor the other "
        "times what comes. The same two rules give all six weights of the network, each with the "
        "weights as they were before the step; the output moves from 0.191 towards its target 1.",
        draw=draw,
        height=3.8,
    )


def _half_square(network: scratch.Network) -> float:
    return float(((network.forward(INPUTS) - TARGET) ** 2).sum() / 2)


def _node(axes: Any, name: str, place: tuple[float, float]) -> None:
    circle = dict(boxstyle="circle,pad=0.4", facecolor="white", edgecolor="black")
    axes.text(*place, name, ha="center", va="center", fontsize=11, bbox=circle, zorder=3)


def _edge(axes: Any, start, end, text: str, share: float) -> None:
    """A line with a text at a share of its length."""
    axes.plot(*zip(start, end, strict=True), color="0.6", linewidth=1, zorder=1)
    x, y = (a + share * (b - a) for a, b in zip(start, end, strict=True))
    axes.text(x, y, text, ha="center", va="center", fontsize=8, backgroundcolor="white", zorder=2)


def _arrow(axes: Any, start, end, value: float, gradient: float) -> None:
    """From node to node: the value above, the gradient by it below."""
    axes.annotate("", end, start, arrowprops=dict(arrowstyle="->", color="0.5", shrinkB=14))
    x, y = ((a + b) / 2 for a, b in zip(start, end, strict=True))
    axes.text(x, y + 0.08, f"{value:g}", ha="center", va="bottom", color="C2", fontsize=11)
    axes.text(x, y - 0.08, f"{gradient:g}", ha="center", va="top", color="C3", fontsize=11)


def _arrows(axes: Any, places: dict, edges: list) -> None:
    for start, end, value, gradient in edges:
        _arrow(axes, places[start], places[end], value, gradient)
    for name, place in places.items():
        _node(axes, name, place)


LESSONS = [
    Lesson(
        name="xor",
        title="XOR: two lines, and a bias that learns by heart",
        source="the lecture on the multilayer perceptron (XOR_Backpropagation.py); Minsky and "
        "Papert 1969",
        run=xor,
    ),
    Lesson(
        name="backprop",
        title="Backpropagation, number by number",
        source="the lecture on backpropagation; Rumelhart, Hinton and Williams 1986, CS231n",
        run=backprop,
    ),
]
