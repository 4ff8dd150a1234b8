"""One network, studied: what every section of its report is made of, computed once.

The test images are those that evaluate.py tests on, and the figures are evaluate.py's.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import bundle_data, bundles, calibration, evaluation, inference, judging
from ..errors import InputError
from . import page as html
from . import results, words

if TYPE_CHECKING:
    from ..data import Dataset
    from ..recipe import Recipe

SAMPLE = 2_000  # train images, and validation images, that the network is run on
Notice = Callable[[str], Any]


@dataclass(frozen=True)
class Learnt:
    """The data that a network was trained on.

    Fields:
        dataset: its train images.
        train, val: indices of the train images that it learnt from, and of those that validated;
            without a card of the training, all of them and none.
        doubt: why `train` and `val` may not be the training's, "" where they are.
        same: whether all that it learnt from is among the train images, as far as a card tells.
    """

    dataset: Dataset
    train: np.ndarray
    val: np.ndarray
    doubt: str = ""
    same: bool = True


@dataclass(frozen=True)
class Sample:
    """Images that the network was run on.

    Fields:
        images: uint8 (N, height, width, channels).
        labels: int (N,).
        probabilities: float64 (N, classes), brought to the temperature.
        whole: of how many they were drawn.
    """

    images: np.ndarray
    labels: np.ndarray
    probabilities: np.ndarray
    whole: int

    @property
    def right(self) -> int:
        """How many are classified correctly."""
        return int((self.probabilities.argmax(1) == self.labels).sum())


@dataclass(frozen=True)
class Study:
    """What is known of a network.

    Fields:
        name: of the report.
        subject: judging.Subject, opened.
        card: of the training; {} where there is none. An export's is its bundle's.
        classes: names as the page shows them.
        images, labels: the test images, uint8 (N, height, width, channels), and int (N,).
        source: where they are from.
        plain: float64 (N, classes), probabilities as the file gives them.
        probabilities: the same at the card's temperature, as predict.py says them.
        result: the figures, as evaluate.py --json has them.
        learnt: what it was trained on, or why that is not known.
        train, validation: what it makes of such images, or why that is not known.
        history: a dict an epoch, or why there is none.
        recipe: as it was trained, or why that is not known.
        folder: of the bundle, or of the one that an export was made from; None where unknown.
        pictures: whether the report may show pictures of the data.
        command: that makes the report, "" for none.
        notices: what the user was told of the test images.
    """

    name: str
    subject: judging.Subject
    card: dict[str, Any]
    classes: list[str]
    images: np.ndarray
    labels: np.ndarray
    source: str
    plain: np.ndarray
    probabilities: np.ndarray
    result: dict[str, Any]
    learnt: Learnt | str
    train: Sample | str
    validation: Sample | str
    history: list[dict[str, float]] | str
    recipe: Recipe | str
    folder: Path | None = None
    pictures: bool = True
    command: str = ""
    notices: list[str] = field(default_factory=list)

    @property
    def predicted(self) -> np.ndarray:
        """int (N,): the likeliest class of each test image."""
        return self.plain.argmax(1)

    @property
    def worst(self) -> np.ndarray:
        """Indices of the test images that are taken for another class, the highest loss first."""
        wrong = np.flatnonzero(self.predicted != self.labels)
        return wrong[np.argsort(self.probabilities[wrong, self.labels[wrong]], kind="stable")]

    @property
    def is_export(self) -> bool:
        """Whether the network is a file of another runtime than Keras."""
        model = self.subject.model
        return isinstance(model, inference.Classifier) and model.kind != ".keras"

    def asked(self, images: np.ndarray) -> np.ndarray:
        """float64 (N, classes), at the card's temperature, of uint8 images of the network's
        shape."""
        return _asked(self.subject, images)

    def answer(self, i: int) -> html.Html:
        """What is said of a test image, how surely, and the truth: "cat 93 % (dog)", in the colour
        of right or wrong."""
        said, true = self.predicted[i], self.labels[i]
        share = words.percent(self.probabilities[i, said], 0)
        line = f"{self.classes[said]} {share} ({self.classes[true]})"
        return html.element("span", line, class_="good" if said == true else "bad")

    def alt(self, i: int) -> str:
        """A test image for those who cannot see it."""
        said, true = self.classes[self.predicted[i]], self.classes[self.labels[i]]
        what = f"test image of class {true}"
        return f"{what}, taken for {said}" if said != true else f"{what}, recognised"

    @property
    def temperature(self) -> float | None:
        """What the card would bring the probabilities to; None where it says nothing."""
        return self.subject.temperature


def of(
    name: str,
    data: str | None,
    data_dir: str | None,
    notice: Notice,
    pictures: bool = True,
    command: str = "",
) -> Study:
    """Open a network, test it, and find what else is known of it.

    Args:
        name: a rung, the folder of a bundle, a file, or FILE.py:NAME.
        data: a data set's name or a folder to test on, or None for the card's own.
        data_dir: folder with real data as published, or None.
        notice: called with lines for the user.
        pictures: whether the report may show pictures of the data.
        command: that makes the report.

    Raises:
        InputError: there is no such network, or nothing to test it on.
    """
    subject = judging.look_up(name, data)
    if subject.is_named():  # what is wrong with the data, before Keras takes seconds to start
        bundle_data.chosen(subject.card, data, data_dir)
    folder, card = _training_of(subject)
    notices: list[str] = []

    said: set[str] = set()

    def once(line: str) -> None:
        if line not in said:
            said.add(line)
            notice(line)

    def noted(line: str) -> None:
        notices.append(_of_folder(line, card or subject.card))
        once(line)

    subject = judging.opened(subject)
    images, labels, classes, source = judging.images_for(subject, data, data_dir, noted)
    if not len(images):
        raise InputError("there are no images to test")
    plain = evaluation.probabilities(subject.model, images)
    temperature = subject.temperature
    learnt = _learnt(card or subject.card, data_dir, subject.input_shape, len(classes), once)
    train, validation = _samples(subject, learnt)
    return Study(
        name=title(name, subject),
        subject=subject,
        card=card,
        classes=words.labels(classes),
        images=images,
        labels=labels,
        source=source,
        plain=plain,
        probabilities=calibration.scaled(plain, temperature or 1),
        result=evaluation.judged(plain, labels, classes, temperature),
        learnt=learnt,
        train=train,
        validation=validation,
        history=_history(folder),
        recipe=_recipe(card),
        folder=folder,
        pictures=pictures,
        command=command,
        notices=notices,
    )


def title(name: str, subject: judging.Subject) -> str:
    """What a report is called: the rung or the folder of a bundle, the name of a file; a file that
    is called "model" after its folder."""
    if not inference.is_file(name) or Path(name).name == "model.keras":
        return Path(str(subject.source)).name
    path = Path(name).absolute()
    stem, dot, ending = path.name.partition(".")
    return f"{path.parent.name}{dot}{ending}" if stem == "model" else path.name


def _training_of(subject: judging.Subject) -> tuple[Path | None, dict[str, Any]]:
    """(folder of the bundle, its card) of the training that left a network: of an export that of
    the bundle it was made from, where that is still there. (None, {}) where nothing is known."""
    if subject.source is None:
        return None, {}
    if Path(subject.source).is_dir():
        return Path(subject.source), subject.card
    folder = Path(subject.source).absolute().parent
    origin = subject.card.get("source_sha256")
    if origin is None:
        return None, {}
    places = [lambda: folder, lambda: bundles.find(str(subject.card.get("rung")))]
    for place in places:
        with contextlib.suppress(InputError, OSError):
            card = bundles.read_card(found := place())
            if card["model_sha256"] == origin:
                return found, card
    return None, {}


def _of_folder(line: str, card: dict[str, Any]) -> str:
    """A line for the page: the folder of the data by its name alone."""
    place = str(bundle_data.own(card).get("name"))
    if Path(place).is_absolute():
        line = line.replace(place, Path(place).name)
    return words.placeless(line)


def _learnt(
    card: dict[str, Any],
    data_dir: str | None,
    shape: tuple[int, int, int],
    count: int,
    notice: Notice,
) -> Learnt | str:
    if not bundle_data.own(card).get("name"):
        return "No card says what the network was trained on."
    try:
        name = bundle_data.chosen(card, None, data_dir)
        dataset = bundle_data.load(card, name, data_dir, shape, notice)
    except InputError as error:
        return f"What the network was trained on cannot be read: {_of_folder(str(error), card)}."
    if len(dataset.classes) != count:
        return "What the network was trained on has other classes by now."
    everything = np.arange(len(dataset.train_labels))
    if "recipe" not in card:  # of an export whose bundle is not there
        doubt = "Which of the train images validated is not known."
        return Learnt(dataset, everything, everything[:0], doubt)
    try:
        return Learnt(*bundle_data.trained_part(card, dataset))
    except InputError as error:
        doubt = f"What it learnt from cannot be told: {_of_folder(str(error), card)}."
        return Learnt(dataset, everything, everything[:0], doubt, False)


def _asked(subject: judging.Subject, images: np.ndarray) -> np.ndarray:
    found = evaluation.probabilities(subject.model, images)
    return calibration.scaled(found, subject.temperature or 1)


def _samples(subject: judging.Subject, learnt: Learnt | str) -> tuple[Sample | str, Sample | str]:
    if isinstance(learnt, str):
        return learnt, learnt
    if not learnt.same:
        return learnt.doubt, learnt.doubt
    dataset = learnt.dataset

    def sample(indices: np.ndarray) -> Sample | str:
        if not len(indices):
            return learnt.doubt or "No images validated."
        rng = np.random.default_rng(0)
        taken = np.sort(rng.permutation(indices)[:SAMPLE])
        images, labels = dataset.train_images[taken], dataset.train_labels[taken]
        return Sample(images, labels, _asked(subject, images), len(indices))

    return sample(learnt.train), sample(learnt.val)


def _history(folder: Path | None) -> list[dict[str, float]] | str:
    if folder is None:
        return "The file has no history of its training beside it."
    try:
        rows = results.read_history(folder)
    except (OSError, ValueError, TypeError, AttributeError):
        return f"{folder.name} has no history of its training (history.csv) that can be read."
    needed = "epoch", "loss", "accuracy", "val_loss", "val_accuracy"
    if not rows or any(key not in row for row in rows for key in needed):
        return f"The history of {folder.name} holds no epochs."
    return rows


def _recipe(card: dict[str, Any]) -> Recipe | str:
    from .. import recipe as recipes

    if not isinstance(card.get("recipe"), dict):
        return "No card says how the network was trained."
    try:
        return recipes.changed(recipes.Recipe(), card["recipe"], "the card")
    except (InputError, TypeError) as error:
        return f"The card's recipe cannot be read ({error})."
