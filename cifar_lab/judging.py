"""Open networks and test them on the right images: what evaluate.py and `cifar_lab.evaluate` share.

A network is told by its card which images are its test images. A bundle is tested as it is saved,
without its card's temperature; what that would do to its probabilities is said beside.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from . import bundle_data, evaluation, inference
from .data import Dataset, synthetic
from .errors import InputError
from .recipe import Recipe
from .terminal import doing

Notice = Callable[[str], Any]


@dataclass(frozen=True)
class Subject:
    """A network to be tested.

    Fields:
        name: what errors and tables call it.
        source: the folder of its bundle, or its file; None for a network in memory.
        card: of the bundle or the export, {} without one.
        model: keras.Model or inference.Classifier; None where the bundle is not opened yet.
    """

    name: str
    source: Path | str | None
    card: dict[str, Any]
    model: Any = None

    @property
    def input_shape(self) -> tuple[int, int, int]:
        """(height, width, channels)."""
        is_file = isinstance(self.model, inference.Classifier)
        return tuple(self.model.input_shape if is_file else self.model.input_shape[1:])

    @property
    def outputs(self) -> int:
        if isinstance(self.model, inference.Classifier):
            return len(self.model.classes)
        count = len(getattr(self.model, "outputs", [None]))
        if count != 1 or self.model.output_shape[-1] == 1:
            raise InputError(
                f"{self.name}: has {count} {'output' if count == 1 else 'outputs'}, where a "
                "probability for each class is needed"
            )
        return self.model.output_shape[-1]

    @property
    def temperature(self) -> float | None:
        """Of a bundle's card; None where it has none, and for exports, which it is folded into."""
        return inference.temperature_of(self.card) if is_calibrated(self.card) else None

    def is_named(self) -> bool:
        """Whether a card says which classes and data it is of."""
        return isinstance(self.card.get("rung"), str) and "classes" in self.card


def is_calibrated(card: dict[str, Any]) -> bool:
    """Whether a bundle's card says how its probabilities are calibrated (an export's "calibration"
    is of its int8 scales)."""
    found = card.get("calibration")
    return isinstance(found, dict) and "temperature" in found


def look_up(name: str, data: object = None) -> Subject:
    """The network of a rung, a bundle, a file or FILE.py:NAME; a bundle's card is read, its model
    not opened.

    Args:
        name: what the user calls it.
        data: what it is to be tested on, or None: a file without a card then cannot be.

    Raises:
        InputError: there is no such network.
    """
    from . import bundles

    if inference.is_file(name) and not _is_of_bundle(name):
        has_card = inference.card_path(name).is_file()
        if Path(name).is_file() and not has_card and data is None:  # before a runtime starts
            raise InputError(
                f"{name}: has no export card ({inference.card_path(name).name}), so its classes "
                "are unknown; name what to test it on with `data`"
            )
        classifier = inference.Classifier(name)
        return Subject(name, name, classifier.card, classifier)
    folder = bundles.find(name)
    return Subject(name, folder, bundles.read_card(folder))


def with_weights(
    label: str, recipe: Recipe, file: str | Path, data: str | Dataset | None
) -> Subject:
    """A recipe's network with the weights of a plain Keras file; it needs no bundle.

    Args:
        label: what the network is called.
        recipe: whose network the file was saved from.
        file: as `model.save_weights` writes it.
        data: what it is to be tested on, whose classes its outputs are; None for the recipe's.

    Raises:
        InputError: no such data, or the weights do not fit; see `weights.network`.
    """
    from . import data as data_sets
    from . import weights

    weights.check(file)
    if isinstance(data, Dataset):
        count = len(data.classes)
    else:
        count = data_sets.num_classes(data or recipe.data)
    model = weights.network(recipe, count, file)
    return Subject(f"{label} with {file}", str(file), {"rung": label}, model)


def _is_of_bundle(name: str) -> bool:
    return Path(name).name == "model.keras" and Path(name).with_name("card.json").is_file()


def opened(subject: Subject) -> Subject:
    """The same with its model. Raises InputError."""
    if subject.model is not None:
        return subject
    from . import backend, bundles

    backend.start()
    model, card = bundles.load(subject.source)
    return replace(subject, model=model, card=card)


def images_for(
    subject: Subject, data: str | Dataset | None, data_dir: str | None, notice: Notice
) -> tuple[np.ndarray, np.ndarray, Sequence[str], str]:
    """(images, labels, classes, where they are from) to test an opened network on.

    Args:
        subject: of `opened`.
        data: a name or a folder, a Dataset whose test images count, or None for the card's own.
        data_dir: folder with real data as published, or None.
        notice: called with lines for the user.

    Raises:
        InputError: no such data, or they do not belong to the network.
    """
    shape = subject.input_shape
    if isinstance(data, Dataset):
        classes: Sequence[str] = subject.card.get("classes") or data.classes
        found = data.test_images, data.test_labels, classes, data.name
        if tuple(data.test_images.shape[1:]) != shape:
            given = data.test_images.shape[1:]
            raise InputError(f"data: has images of {given}, the network takes {shape}")
        if len(classes) != len(data.classes):
            raise InputError(
                f"data: has {len(data.classes)} classes, the network {subject.outputs} outputs"
            )
    elif subject.is_named():
        name = bundle_data.chosen(subject.card, data, data_dir)
        images, labels, source = bundle_data.test_images(
            subject.card, name, data_dir, shape, notice
        )
        found = images, labels, subject.card["classes"], source
    elif data is None:
        raise InputError(f"{subject.name}: has no card; name what to test it on with `data`")
    else:
        images, labels, classes, source = bundle_data.without_card(data, data_dir, shape, notice)
        found = images, labels, subject.card.get("classes") or classes, source
        notice(
            f"note: {subject.name} has no card: its outputs are taken for the classes of {data}, "
            "in their order"
        )
    if len(found[2]) != subject.outputs:
        raise InputError(
            f"data: has {len(found[2])} classes, the network {subject.outputs} outputs"
        )
    return found


def judge(
    subject: Subject,
    data: str | Dataset | None,
    data_dir: str | None,
    notice: Notice,
    views: int = 1,
    precision: float | None = None,
    corruptions: bool = False,
) -> dict[str, Any]:
    """Test one network.

    Args:
        subject, data, data_dir, notice: as for `images_for`.
        views: as for `evaluation.evaluate`.
        precision: wanted share of right answers, of which the card's threshold is tested, or None.
        corruptions: whether it is tested on corrupted images too.

    Returns:
        As `evaluation.evaluate`, `confident` with "wanted", the precision; `data`, where the images
        are from; and where corruptions are asked for, as "corruptions" what
        `robustness.corruption_table` gives, for all ten classes of the embedded set as "dials" what
        `robustness.dial_table` does.

    Raises:
        InputError: as `images_for`, or the card has no threshold for the precision.
    """
    card, name = subject.card, subject.name
    threshold = None if precision is None else inference.threshold_of(card, precision, name)
    with doing(notice, f"opening {name}"):
        subject = opened(subject)
    images, labels, classes, source = images_for(subject, data, data_dir, notice)
    with doing(notice, f"testing on {len(images):,} images"):
        result = evaluation.evaluate(
            subject.model, images, labels, classes, views, subject.temperature, threshold
        )
    if precision is not None:
        result["confident"] = {"wanted": precision, **result["confident"]}
    if corruptions:
        from . import robustness

        result["corruptions"] = robustness.corruption_table(
            subject.model, images, labels, robustness.LIMIT, notice=notice
        )
        if tuple(classes) == synthetic.CLASSES:
            count = robustness.DIAL_COUNT
            result["dials"] = robustness.dial_table(subject.model, count, notice=notice)
    return {"data": source, **result}


def on_the_same(
    subjects: Sequence[Subject],
    data: str | Dataset | None,
    data_dir: str | None,
    notice: Notice,
) -> tuple[list[tuple[Subject, np.ndarray]], np.ndarray, list[str], str]:
    """Several networks, opened, each with the test images in its own input shape.

    Args:
        subjects: one or more.
        data, data_dir, notice: as for `images_for`.

    Returns:
        ([(subject, images)], labels, classes, where the images are from).

    Raises:
        InputError: as `images_for`; their classes or their test images differ.
    """
    said: set[str] = set()

    def once(line: str) -> None:
        if line not in said:
            said.add(line)
            notice(line)

    first, known = subjects[0], None
    networks = []
    for subject in subjects:
        with doing(notice, f"opening {subject.name}"):
            subject = opened(subject)
        images, labels, classes, source = images_for(subject, data, data_dir, once)
        networks.append((subject, images))
        if known is None:
            known = labels, list(classes), source
        elif list(classes) != known[1]:
            raise InputError(f"{subject.name}: has other classes than {first.name}")
        elif source != known[2] or not np.array_equal(labels, known[0]):
            raise InputError(
                f"{subject.name}: has other test images ({source}) than {first.name} ({known[2]}); "
                "networks are tested together on images that none of them was trained on"
            )
    assert known is not None
    return networks, *known


def judge_together(
    subjects: Sequence[Subject],
    data: str | Dataset | None,
    data_dir: str | None,
    notice: Notice,
) -> dict[str, Any]:
    """Test several networks alone, and as an ensemble that averages their probabilities.

    Args, Raises: as `on_the_same`.

    Returns:
        {"data", "networks": [{"name", ... scores}], "ensemble": scores}, as `evaluation.scores`.
    """
    found, labels, classes, source = on_the_same(subjects, data, data_dir, notice)
    networks = [(subject.model, images) for subject, images in found]
    with doing(notice, f"testing {len(networks)} networks on {len(labels):,} images"):
        result = evaluation.ensemble(networks, labels, classes)
    alone = [{"name": s.name, **scores} for s, scores in zip(subjects, result["networks"])]
    return {"data": source, "networks": alone, "ensemble": result["ensemble"]}
