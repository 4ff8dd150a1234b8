"""The functions of the public face. Keras is imported when one is called, not before."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import callbacks as by_name
from . import data as data_sets
from . import devices as by_devices
from . import history, image_data_generator, paths, pixels, terminal
from .data import Dataset
from .errors import InputError

if TYPE_CHECKING:
    import keras

    from .inference import Classifier
    from .recipe import Recipe

Notice = Callable[[str], Any]


def _to_stderr(line: str) -> None:
    terminal.say(line)


def _silent(line: str) -> None:
    pass


def train(
    recipe_or_rung: str | Recipe | Callable[..., keras.Model],
    data: str | Path | None = None,
    *,
    classes: Sequence[str] | None = None,
    data_dir: str | Path | None = None,
    output: str | Path | None = None,
    seed: int = 0,
    limit: int | None = None,
    epochs: int | None = None,
    size: int | None = None,
    start: str | Path | None = None,
    weights: str | Path | None = None,
    freeze: int | str | None = None,
    fields: Mapping[str, Any] | None = None,
    skip_damaged: bool = False,
    data_in: str | None = None,
    overwrite: bool = False,
    resume: bool = False,
    save_weights: bool = False,
    csv_log: str | Path | None = None,
    callbacks: Sequence[keras.callbacks.Callback | str] = (),
    devices: int | str | None = None,
    notice: Notice | None = _to_stderr,
) -> dict:
    """Train a network and leave a bundle, tested from its saved file.

    Args:
        recipe_or_rung: a rung's name, a folder of one's own pictures (which is then trained as is
            best for few of them), "FILE.py:NAME", a Recipe, or a function that builds a network
            (builder(input_shape, num_classes) -> keras.Model), which the default recipe trains.
        data: a data set's name or a folder with one subfolder of images a class; by default the
            recipe's own.
        classes: train on these classes of the data set alone, in this order; None for all.
        data_dir: folder with real data as published; by default CIFAR_LAB_DATA, the Keras cache, or
            a download.
        output: folder of the bundle; by default runs/NAME in the working folder.
        seed: 0 to 2**32 - 1.
        limit: number of train images to use, stratified; None for all.
        epochs: instead of the recipe's.
        size: pixels a side that images are brought to, instead of the recipe's.
        start: a rung, a bundle's folder, or "keras:NAME[:FILE]", whose weights to begin with;
            "none" for random ones where the recipe has others.
        weights: a *.weights.h5 file of `model.save_weights`, made with this network, to begin with;
            the same as start="weights:FILE".
        freeze: with `start` or `weights`: how many of the first layers with weights stay as they
            are, or "features" for all but the last.
        fields: recipe fields that win over all else, {"learning_rate": 0.01,
            "augmentation.cutout_size": 8}.
        skip_damaged: leave out pictures that cannot be read, with a line that names them.
        data_in: where the images are: "memory", "disk" (a file that is read as they are needed,
            with the same result), or "auto", on disk what would take over a quarter of the free
            memory; None: what CIFAR_LAB_DATA_IN says, else "auto".
        overwrite: replace a bundle, or an unfinished run, that is at `output`.
        resume: go on with the unfinished run at `output`; start where there is none.
        save_weights: leave model.weights.h5 in the bundle too, for `model.load_weights`.
        csv_log: a CSV file that gets a row an epoch as soon as it is over.
        callbacks: Keras callbacks that watch, or their names, "MODULE:NAME" or "FILE.py:NAME", with
            arguments "MODULE:NAME:{...}" in JSON. They do not change the result: a stop that they
            ask for is not heard, and an error drops them with a line.
        devices: N or "all": divide each batch among so many devices (TensorFlow, JAX); "cpu:N":
            among N virtual devices of the processor, which must be the first that a program asks of
            Keras. The losses are those of one device, the default, up to the order of sums.
        notice: called with lines on the progress, by default printed on stderr; None for silence.

    Returns:
        The bundle's card: rung, recipe, classes, val_accuracy, test_accuracy, seconds, ... and
        bundle, its folder.

    Raises:
        InputError: the request, the data or the disk does not allow it.
    """
    from . import adjusting, backend, bundles, own_pictures
    from .recipe import changed

    _check_seed(seed)
    among = by_devices.of(devices)
    backend.prepare(among)
    if limit is not None and not _is_whole(limit):
        raise InputError(f"limit: must be a whole number, received {limit!r}")
    if isinstance(recipe_or_rung, (str, Path)) and adjusting.is_pictures(str(recipe_or_rung)):
        if data is not None:
            raise InputError(f"`data` {data}: {recipe_or_rung} is the folder of pictures already")
        data, label, recipe, is_rung = (
            recipe_or_rung,
            own_pictures.LABEL,
            own_pictures.RECIPE,
            False,
        )
    else:
        if isinstance(recipe_or_rung, (str, Path)):
            adjusting.refuse_no_folder(str(recipe_or_rung))
        label, recipe, is_rung = _resolved(recipe_or_rung)
    own = recipe.sha256()
    if weights is not None:
        if start is not None:
            raise InputError("`start`, `weights`: give one of the two")
        start = f"weights:{weights}"
    if epochs is not None:
        recipe = changed(recipe, {"epochs": epochs}, "epochs")
    begin = None if start is None else str(start)
    recipe = adjusting.adjusted(recipe, start=begin, freeze=freeze, size=size, fields=fields)
    image_data_generator.refuse_missing(recipe)
    name = _data_name(data, recipe)
    if classes is not None:
        name = data_sets.with_classes(name, _names(classes))
    folder = Path(os.path.abspath(output if output is not None else Path("runs") / label))
    whole = is_rung and not (limit or name != recipe.data) and recipe.sha256() == own
    _refuse_rungs_place(folder, whole, label)
    bundles.prepare(folder, bytes_needed=0)
    if not (resume or overwrite):
        bundles.refuse_existing(folder)
    if csv_log is not None:
        history.check_log(csv_log, resume, overwrite)
    watching = _watching(callbacks, seed)
    notice = notice or _silent
    where = None if data_dir is None else str(data_dir)
    dataset = data_sets.load(
        name, where, recipe.input_shape, notice, skip_damaged=skip_damaged, data_in=data_in
    )
    if limit is not None:
        data_sets.check_limit(dataset, limit, "limit")
    given = set(fields or {}) | ({"epochs"} if epochs is not None else set())
    given |= {"start"} if start is not None else set()
    ours = is_rung or label == own_pictures.LABEL
    recipe, line = adjusting.for_data(recipe, label if ours else "", dataset, limit, given)
    if line:
        notice(line)
    backend.start()
    from .training import train as run

    card, _ = run(
        recipe,
        dataset,
        folder,
        rung=label,
        seed=seed,
        limit=limit,
        overwrite=overwrite,
        resume=resume,
        notice=notice,
        command=f"cifar_lab.train({label!r})",
        save_weights=save_weights,
        csv_log=csv_log,
        watching=watching,
        devices=among,
    )
    return {**card, "bundle": str(folder)}


def _watching(
    callbacks: Sequence[keras.callbacks.Callback | str], seed: int
) -> list[tuple[str, keras.callbacks.Callback]]:
    """(label, callback) of each. Raises InputError."""
    if isinstance(callbacks, str) or not isinstance(callbacks, Sequence):
        raise InputError(f"callbacks: must be a list, received {callbacks!r}")
    found = []
    for callback in callbacks:
        if isinstance(callback, str):
            named = by_name.parse(callback)
            found.append((named.label, named.make(seed)))
        else:
            label = by_name.label_of(callback)
            by_name.refuse_deciding(callback, label)
            found.append((label, callback))
    return found


def evaluate(
    model_or_path: str
    | Path
    | keras.Model
    | Classifier
    | Sequence[str | Path | keras.Model | Classifier],
    data: str | Path | Dataset | None = None,
    *,
    weights: str | Path | None = None,
    data_dir: str | Path | None = None,
    views: int = 1,
    precision: float | None = None,
    corruptions: bool = False,
    notice: Notice | None = _to_stderr,
) -> dict:
    """Test a network, forward only; or several, alone and as an ensemble.

    Args:
        model_or_path: a rung's name, the folder of a bundle, a .keras, .tflite, .onnx, .npz or
            .html file, a Classifier, or a keras.Model (pixels 0-255 in, probabilities out); or a
            list of them, whose probabilities are averaged.
        data: a data set's name, a folder of images, or a Dataset, whose test images count; by
            default what the card names. Of the folder that a bundle was trained on, the part kept
            apart.
        weights: a *.weights.h5 file of `model.save_weights`, with which the network that
            `model_or_path` names (a rung, "FILE.py:NAME", a Recipe or a builder; it needs no
            bundle) is tested; `data` is then the recipe's by default.
        data_dir: as in `train`.
        views: 2 or 6 to also average over as many views of each image, reported apart.
        precision: 0.8, 0.9, 0.95 or 0.99, to say also what the threshold that the card has for it
            gives on the test images.
        corruptions: whether one network is also tested on 1,000 of the images, corrupted in 11 ways
            at 5 severities each.
        notice: as in `train`.

    Returns:
        dict of accuracy (0 to 1), accuracy_interval (95 %), balanced_accuracy, loss (nats),
        expected_calibration_error, images, classes {class: {precision, recall, f1, images}},
        per_class {class: recall}, confusion (rows: true class), all of the network as it is saved;
        calibrated {temperature, loss, expected_calibration_error} where the card has a temperature;
        with views views_accuracy and views_loss; with a precision confident {wanted, threshold,
        precision, coverage, images}; with corruptions as "corruptions" what
        `robustness.corruption_table` gives, for networks of the embedded set "dials" of
        `robustness.dial_table` too. Of several networks {"networks": [...], "ensemble": {...}}.

    Raises:
        InputError: no such bundle, file or data, or they do not belong together; the outputs are
            not probabilities.

    Warns:
        UserWarning: a Dataset's images are floats up to 1: pixels are 0-255.
    """
    from . import judging

    where = None if data_dir is None else str(data_dir)
    name = data if data is None or isinstance(data, Dataset) else _data_name(data, None)
    if isinstance(data, Dataset):
        pixels.warn(data.test_images, "data")
    if weights is not None:
        asked = views, precision, corruptions
        return _evaluate_weights(model_or_path, name, weights, where, asked, notice)
    several = isinstance(model_or_path, (list, tuple))
    subjects = [
        _subject(one, name)
        for one in (model_or_path if several else [model_or_path])  # type: ignore[union-attr]
    ]
    if not subjects:
        raise InputError("model_or_path: must name at least one network")
    if several and (views != 1 or precision is not None or corruptions):
        raise InputError("views, precision, corruptions: are for one network, not for several")
    if several:
        return judging.judge_together(subjects, name, where, notice or _silent)
    asked = views, precision, corruptions
    return judging.judge(subjects[0], name, where, notice or _silent, *asked)


def load(rung_or_path: str | Path, *, weights: str | Path | None = None) -> Classifier:
    """A trained network that says what is on an image.

    Args:
        rung_or_path: a rung's name, the folder of a bundle, or a .keras, .tflite, .onnx, .npz or
            .html file.
        weights: as in `evaluate`; `rung_or_path` then names a network as there.

    Raises:
        InputError: there is none, its runtime is not installed, or the weights do not fit.
    """
    from .inference import Classifier, network_file, with_weights

    paths.require_installed()
    if weights is not None:
        _, recipe = _of_weights(rung_or_path, weights, "rung_or_path")
        return with_weights(recipe, weights)
    return Classifier(network_file(str(rung_or_path)))


def load_data(
    name_or_folder: str | Path,
    data_dir: str | Path | None = None,
    input_shape: tuple[int, int, int] | None = None,
    *,
    skip_damaged: bool = False,
    data_in: str = "memory",
    notice: Notice | None = _to_stderr,
) -> Dataset:
    """Read a data set whole.

    Args:
        name_or_folder: "cifar10", "cifar100", "cifar100-coarse", "fashion-mnist", "mnist",
            "synthetic" (embedded), or a folder with one subfolder of images a class.
        data_dir: as in `train`.
        input_shape: (height, width, channels) that images are brought to; by default the set's own,
            of a folder 32 x 32 in colour.
        skip_damaged, notice: as in `train`.
        data_in: "memory", or "disk" or "auto" as in `train`: images on disk read as an array does,
            and `np.asarray` takes them all into memory.

    Returns:
        Dataset of uint8 images (N, height, width, channels) and int64 labels, in two splits.

    Raises:
        InputError: no such data, or a damaged file.
    """
    name = _data_name(name_or_folder, None)
    if input_shape is None and data_sets.is_folder(name):
        input_shape = (32, 32, 3)
    where = None if data_dir is None else str(data_dir)
    return data_sets.load(
        name, where, input_shape, notice or _silent, skip_damaged=skip_damaged, data_in=data_in
    )


def export(
    rung_or_bundle: str | Path,
    format: str,
    output: str | Path | None = None,
    *,
    data: str | Path | None = None,
    data_dir: str | Path | None = None,
    seed: int = 0,
    overwrite: bool = False,
    notice: Notice | None = _to_stderr,
) -> dict:
    """Write a bundle's network as a file for phones and boards, tested on its test images.

    Args:
        rung_or_bundle: a rung's name, or the folder of a bundle.
        format: "litert", "litert-int8", "litert-fp16", "onnx", "numpy" or "web".
        output: the file; by default model.tflite, model.int8.tflite, ... in the bundle.
        data, data_dir: as in `evaluate`.
        seed: of the choice of calibration images.
        overwrite: replace another file that is there.
        notice: as in `train`.

    Returns:
        The file's export card (format, bytes, accuracy, agreement with Keras, ...) and file, its
        path.

    Raises:
        InputError: the request, the data or the converter does not allow it; the file is then not
            kept.
    """
    from . import backend, bundle_data, bundles, exporting

    if format not in exporting.FORMATS:
        known = ", ".join(exporting.FORMATS)
        raise InputError(f"format: must be one of {known}, received {format!r}")
    folder = bundles.find(rung_or_bundle, writes=True)
    card = bundles.read_card(folder)
    default = folder / exporting.FORMATS[format].file
    if folder.parent == paths.PACKAGED:  # not among the installed files
        default = paths.home() / default.name.replace("model", folder.name)
    file = Path(output if output is not None else default)
    if file.suffix != default.suffix:
        raise InputError(f"output {file}: must end in {default.suffix}")
    if file.is_dir() or not overwrite:
        exporting.refuse_other(file, card, format)
    backend.start()
    model, card = bundles.load(folder)
    where = None if data_dir is None else str(data_dir)
    name = None if data is None else str(data)
    chosen = bundle_data.chosen(card, name, where)
    shape = tuple(model.input_shape[1:])
    dataset = bundle_data.for_export(card, chosen, where, shape, notice or _silent)
    command = f"cifar_lab.export({Path(rung_or_bundle).name!r}, {format!r})"
    written = exporting.export(model, card, format, file, dataset, seed, command)
    return {**written, "file": str(file)}


def search(
    recipe_or_rung: str,
    ranges: Mapping[str, str] | None = None,
    data: str | Path | None = None,
    *,
    output: str | Path | None = None,
    strategy: str = "narrowing",
    max_trials: int | None = 30,
    max_minutes: float | None = None,
    trial_epochs: int | None = None,
    trial_images: int | None = None,
    objective: str = "val_accuracy",
    stop_behind: bool = False,
    seed: int = 0,
    data_dir: str | Path | None = None,
    notice: Notice | None = _to_stderr,
) -> dict:
    """Search for settings: draw from ranges, train briefly, narrow them. Goes on where it was
    stopped.

    Args:
        recipe_or_rung: a rung's name, or "FILE.py:NAME"; each trial trains it in a process of its
            own.
        ranges: {name: "LOW:HIGH[:log]" or "VALUE,VALUE,..."}, as tune.py's --range; by default
            ranges that suit the recipe.
        data, data_dir, seed: as in `train`.
        output: folder of the search; by default searches/NAME in the working folder.
        strategy: "narrowing", "random", "bayesian" or "hyperband".
        max_trials, max_minutes: bounds of the whole search; either may be None.
        trial_epochs, trial_images: of a trial, instead of the recipe's and all.
        objective: "val_accuracy", "val_loss", "accuracy" or "loss".
        stop_behind: end trials that are behind the median of those before them.
        notice: as in `train`.

    Returns:
        dict of output, trials, completed, failed, unfinished, seconds and best, {"trial": ...,
        ...}; OUTPUT/best_recipe.json holds the best trial's fields.

    Raises:
        InputError: the request makes no sense, or the folder holds another search.
    """
    from . import adjusting, backend, networks
    from .searching import request as requests
    from .searching import space

    if not isinstance(recipe_or_rung, str):
        raise InputError(
            "recipe_or_rung: must be a rung's name or FILE.py:NAME, for trials' processes"
        )
    label, recipe = networks.resolve(recipe_or_rung)
    image_data_generator.refuse_missing(recipe)
    for name, value, allowed in (
        ("strategy", strategy, requests.STRATEGIES),
        ("objective", objective, requests.OBJECTIVES),
    ):
        if value not in allowed:
            raise InputError(f"{name}: must be one of {', '.join(allowed)}, received {value!r}")
    for name, number in (("max_trials", max_trials), ("trial_epochs", trial_epochs)):
        if number is not None and not (_is_whole(number) and number >= 1):
            raise InputError(f"{name}: must be a whole number of at least 1, received {number!r}")
    if max_minutes is not None and not max_minutes > 0:
        raise InputError(f"max_minutes: must be a number greater than 0, received {max_minutes!r}")
    if max_trials is None and max_minutes is None:
        raise InputError("max_trials, max_minutes: one of the two must bound the search")
    _check_seed(seed)
    texts = [f"{name}={text}" for name, text in (ranges or {}).items()]
    found = space.parse_ranges(texts, recipe) or space.default_ranges(recipe)
    data_name = _data_name(data, recipe)
    folder = Path(os.path.abspath(output if output is not None else Path("searches") / label))
    where = None if data_dir is None else os.path.abspath(data_dir)
    dataset = data_sets.load(data_name, where, recipe.input_shape, notice or _silent)
    if trial_images is not None:
        data_sets.check_limit(dataset, trial_images, "trial_images")
    given = {"epochs", *found}
    line = adjusting.for_data(recipe, label, dataset, trial_images, given)[1]
    if line and notice:
        notice(line)
    request = requests.Request(
        networks.portable(recipe_or_rung),
        strategy,
        found,
        objective,
        seed,
        trial_epochs,
        trial_images,
        stop_behind,
        data_name,
        dataset.train_sha256(),
        recipe.sha256(),
    )
    del dataset
    requests.refuse_changes(folder, request)
    backend.start()
    from .searching.search import Search

    command = f"cifar_lab.search({label!r})"
    return Search(request, folder, where, max_trials, max_minutes, notice or _silent, command).run()


def build_model(
    hp: Any,
    rung: str | Recipe | Callable[..., keras.Model] = "cifar10-74",
    *,
    ranges: Mapping[str, str] | None = None,
    num_classes: int | None = None,
    input_shape: tuple[int, int, int] | None = None,
) -> keras.Model:
    """A rung's network, compiled, for KerasTuner's own tuners.

        build = functools.partial(cifar_lab.build_model, rung="cifar10-88")
        tuner = keras_tuner.RandomSearch(build, "val_accuracy", max_trials=20)
        tuner.search(x_train, y_train, batch_size=64, epochs=5, validation_data=(x_val, y_val))

    Pixels are 0-255, uint8 or float (N, height, width, channels), and must not be divided by 255;
    labels are whole numbers, (N,) or (N, 1). The optimizer is the recipe's, with its momentum and
    weight decay, and so are the loss, label smoothing and first weights.

    The rest of a recipe is no part of a plain `fit`: the schedule of the rate, augmentation, small
    images, sharpness-aware steps, averaged weights, DropConnect, a first layer that whitens and
    pixels standardized by the train images, trained weights to begin with, weights of classes,
    lower precision. `batch_size` and `epochs` are given to `tuner.search`. (`cifar_lab.search`
    trains recipes whole.)

    Args:
        hp: keras_tuner.HyperParameters, of which only the methods Float, Int and Choice are used.
            Its defaults are the rung's own settings.
        rung: a rung's name, "FILE.py:NAME", a Recipe, or a builder.
        ranges: {name: "LOW:HIGH[:log]" or "VALUE,VALUE,..."}, as in `search`, of learning_rate,
            weight_decay, momentum, kernel_rate, bias_rate_factor, label_smoothing, optimizer, and
            what the builder declares. By default learning_rate, from a hundredth to 30 times the
            rung's; what the builder declares with a usual range, if the rung's own value is in it;
            and width, 0.5 to 2, a factor on all of its widths. A list, such as a rate for each
            stage, is NAME_1, NAME_2, ...
        num_classes: outputs; by default the classes of the recipe's data set.
        input_shape: (height, width, channels); by default the recipe's.

    Returns:
        keras.Model, compiled: pixels 0-255 in, float32 probabilities (N, num_classes) out.

    Raises:
        InputError: a wrong argument, or the builder does not allow what was drawn.
    """
    from dataclasses import replace

    from .searching import building

    building.require_hyperparameters(hp)
    _, recipe, _ = _resolved(rung, "rung")
    if num_classes is None:
        num_classes = data_sets.num_classes(_data_name(None, recipe))
    elif not (_is_whole(num_classes) and num_classes >= 2):
        raise InputError(
            f"num_classes: must be a whole number of at least 2, received {num_classes!r}"
        )
    if input_shape is not None:
        recipe = replace(recipe, input_shape=input_shape, small_images=())
    recipe = replace(recipe, **building.OF_TRAINING)
    recipe = building.drawn(hp, recipe, building.ranges_of(recipe, ranges))
    return building.compiled(recipe, num_classes)


def _evaluate_weights(
    what: Any,
    data: str | Dataset | None,
    file: str | Path,
    where: str | None,
    asked: tuple[int, float | None, bool],
    notice: Notice | None,
) -> dict:
    """`evaluate` with `weights`. asked: views, precision, corruptions."""
    from . import judging

    label, recipe = _of_weights(what, file, "model_or_path")
    data = _data_name(None, recipe) if data is None else data
    subject = judging.with_weights(label, recipe, file, data)
    return judging.judge(subject, data, where, notice or _silent, *asked)


def _of_weights(what: Any, file: str | Path, argument: str) -> tuple[str, Recipe]:
    """(label, recipe) of the network that a weights file is of. Raises InputError, for the file
    too."""
    from . import weights

    if not isinstance(file, (str, os.PathLike)):
        raise InputError(f"`weights`: must be a file's path, received {file!r}")
    weights.check(file)
    if hasattr(what, "predict") or hasattr(what, "probabilities"):
        raise InputError(
            f"`weights`: are for a network that is built: {argument} must be a rung's name, "
            f"FILE.py:NAME, a Recipe or a builder, is a {type(what).__name__}"
        )
    if isinstance(what, (str, Path)):
        return weights.named(str(what))
    label, recipe, _ = _resolved(what, argument)
    return label, recipe


def _resolved(
    what: str | Recipe | Callable, argument: str = "recipe_or_rung"
) -> tuple[str, Recipe, bool]:
    """(label, recipe, whether it is a rung of the ladder) of what `train` is given."""
    from . import networks
    from .recipe import Recipe

    paths.require_installed()
    if isinstance(what, str):
        label, recipe = networks.resolve(what)
        return label, recipe, not networks.is_own(what)
    if isinstance(what, Recipe):
        return what.builder_name.rpartition(":")[2], what, False
    if callable(what):
        recipe = Recipe(builder=what)
        return recipe.builder_name.rpartition(":")[2], recipe, False
    kind = type(what).__name__
    raise InputError(f"{argument}: must be a rung's name, a Recipe or a builder, is a {kind}")


def _data_name(data: str | Path | None, recipe: Recipe | None) -> str:
    """A data set's name, or the absolute path of a folder. InputError for what is neither."""
    if data is not None and not isinstance(data, (str, os.PathLike)):
        raise InputError(
            f"`data`: must be a data set's name or a folder, received a {type(data).__name__}"
        )
    name = str(data) if data is not None else recipe.data if recipe else ""
    return os.path.abspath(name) if data_sets.is_folder(name) else name


def _names(classes: Sequence[str]) -> list[str]:
    if not isinstance(classes, (list, tuple)) or not all(isinstance(c, str) for c in classes):
        raise InputError(f"`classes`: must be a list of names, received {classes!r}")
    return list(classes)


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _check_seed(seed: Any) -> None:
    if not (_is_whole(seed) and 0 <= seed < 2**32):
        raise InputError(f"seed: must be a whole number from 0 to 2**32 - 1, received {seed!r}")


def _refuse_rungs_place(folder: Path, whole: bool, label: str) -> None:
    if folder.parent == (paths.home() / "saved_models").resolve():
        if not whole or folder.name != label:
            raise InputError(
                f"output {folder}: is a rung's own place, for runs of that rung's whole recipe and "
                "data; name another folder"
            )


def _subject(what: Any, data: Any) -> Any:
    """judging.Subject of what `evaluate` is given."""
    from . import judging
    from .inference import Classifier

    paths.require_installed()
    if isinstance(what, Classifier):
        return judging.Subject(str(what.path), what.path, what.card, what)
    if isinstance(what, (str, Path)):
        return judging.look_up(str(what), data)
    if not hasattr(what, "predict") or not hasattr(what, "input_shape"):
        kind = type(what).__name__
        raise InputError(
            f"model_or_path: must be a name, a path, a model or a Classifier, is {kind}"
        )
    return judging.Subject(what.name, None, {}, what)
