"""A state that lies is refused before the first epoch, in a line that says what to do; a sound one
goes on, whatever version of this package wrote it."""

import io
import json
import zipfile

import keras
import numpy as np
import pytest

from cifar_lab import bundles, data, ladder, training
from cifar_lab import recipe as recipes
from cifar_lab.errors import InputError
from cifar_lab.training.trainer import Trainer
from support import write_fashion

RECIPE = ladder.get("fashion-mnist-92").recipe
LINEAR = {"builder": "linear", "builder_options": {}, "batch_size": 32, "schedule": "constant"}


def begun(dataset, output, after=1, **fields):
    """The recipe, and the bytes of the state, of a training that was stopped after an epoch."""
    recipe = recipes.changed(RECIPE, {"epochs": 3, **LINEAR, **fields}, "test")

    def stop(epoch, logs=None):
        if epoch == after:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        training.train(
            recipe,
            dataset,
            output,
            rung="test",
            callbacks=[keras.callbacks.LambdaCallback(on_epoch_begin=stop)],
        )
    return recipe, bundles.state_path(output).read_bytes()


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    folder = write_fashion(tmp_path_factory.mktemp("data") / "fashion-mnist").parent
    return data.load("fashion-mnist", str(folder))


@pytest.fixture(scope="module")
def state(dataset, tmp_path_factory):
    output = tmp_path_factory.mktemp("state") / "out"
    return dataset, output, *begun(dataset, output, keep="best")


def resumed(state, content):
    """The card, and the lines, of the training that goes on from these bytes."""
    dataset, output, recipe, _ = state
    bundles.state_path(output).write_bytes(content)
    lines = []
    card, _ = training.train(recipe, dataset, output, rung="test", resume=True, notice=lines.append)
    return card, lines


def arrays_of(content):
    with np.load(io.BytesIO(content)) as file:
        return {name: file[name] for name in file.files}


def packed(arrays):
    stream = io.BytesIO()
    np.savez(stream, **arrays)
    return stream.getvalue()


def with_meta(content, change):
    arrays = arrays_of(content)
    meta = json.loads(arrays["meta"].tobytes())
    meta = change(meta) or meta
    text = meta if isinstance(meta, str) else json.dumps(meta)
    return packed({**arrays, "meta": np.frombuffer(text.encode(), np.uint8)})


def changed(**arrays):
    return lambda content: packed({**arrays_of(content), **arrays})


def each(change, *names):
    """A state some of whose arrays were changed."""

    def make(content):
        found = arrays_of(content)
        return packed({**found, **{name: change(found[name]) for name in names}})

    return make


def without(*names):
    return lambda content: packed({k: v for k, v in arrays_of(content).items() if k not in names})


def meta(change):
    return lambda content: with_meta(content, change)


def steps_of(content):
    """The name of the array that counts the optimizer's steps."""
    return next(
        name
        for name, array in arrays_of(content).items()
        if array.shape == () and array.dtype.kind == "i"
    )


def row(**changes):
    return meta(lambda found: found["history"][0].update(changes))


LIES = {
    "a shape": (each(lambda a: a[:-1], "v0000"), "values: array 0 must be float32 "),
    "a kept shape": (each(lambda a: a.T, "k0000"), "kept weights: array 0 must be float32 "),
    "a type": (each(lambda a: a.astype("float64"), "v0000"), "is float64 "),
    "a kept type": (each(lambda a: a.astype(str), "k0001"), "kept weights: array 1 must be"),
    "an empty array": (each(lambda a: a[:0], "v0001"), "values: array 1 must be float32 "),
    "NaN": (each(lambda a: a * np.float32("nan"), "v0000"), "values: array 0 holds NaN"),
    "infinite weights": (each(lambda a: a + np.float32("inf"), "v0000"), "infinite value"),
    "kept NaN": (each(lambda a: a * np.float32("nan"), "k0000"), "kept weights: array 0 holds NaN"),
    "infinite kept": (each(lambda a: a + np.float32("inf"), "k0000"), "infinite value"),
    "an array less": (without("v0000"), "are not those that it lists: 'v0000'"),
    "a kept one less": (without("k0001"), "are not those that it lists: 'k0001'"),
    "an array more": (changed(x=np.zeros(3)), "are not those that it lists: 'x'"),
    "another count": (meta(lambda m: m.update(arrays=[1, 0])), "are not those that it lists"),
    "a huge count": (meta(lambda m: m.update(arrays=[10**12, 0])), "arrays[0] must be a whole"),
    "no history": (meta(lambda m: m.pop("history") and None), "lacks history"),
    "no run": (meta(lambda m: m.pop("run") and None), "lacks run"),
    "no kept weights": (
        lambda content: meta(lambda m: m.update(arrays=[m["arrays"][0], 0]))(
            without("k0000", "k0001")(content)
        ),
        "kept weights: must be 2 arrays, are 0",
    ),
    "rows that are none": (meta(lambda m: m.update(history=["x"])), "history[0] must be a JSON"),
    "a row too many": (
        meta(lambda m: m["history"].append(dict(m["history"][0]))),
        "history[1].epoch must be 2, is 1",
    ),
    "too many epochs": (
        meta(lambda m: m.update(history=[{**m["history"][0], "epoch": i + 1} for i in range(9)])),
        "history must have at most 3 epochs, has 9",
    ),
    "a figure that is text": (row(val_loss="0"), "history[0].val_loss must be a number"),
    "a figure that is null": (row(val_accuracy=None), "history[0].val_accuracy must be a number"),
    "seconds that are negative": (row(seconds=-1), "history[0].seconds must be a number"),
    "seconds of text": (meta(lambda m: m.update(compile_seconds="1")), "compile_seconds must be"),
    "no beginning": (meta(lambda m: m["run"].pop("started") and None), "run lacks started"),
    "no limit": (meta(lambda m: m["run"].pop("limit", 0)), "run lacks limit"),
    "a recipe of text": (meta(lambda m: m["run"].update(recipe="x")), "run.recipe must be a JSON"),
    "callbacks of text": (meta(lambda m: m["run"].update(callbacks="x")), "run.callbacks must be"),
    "deep meta": (meta(lambda m: "[" * 10**5), "is nested too deeply"),
    "meta NaN": (row(loss=float("nan")), "holds NaN"),
    "no JSON": (meta(lambda m: "{"), "is not JSON"),
    "cut off": (lambda content: content[: len(content) // 2], "damaged state file"),
    "no archive": (lambda content: b"poem", "damaged state file"),
    "nothing": (lambda content: b"", "damaged state file"),
    "steps": (lambda c: each(lambda a: a - 10**4, steps_of(c))(c), "counts the optimizer's steps"),
    "more steps": (lambda c: each(lambda a: a + 10**4, steps_of(c))(c), "counts the optimizer's"),
}


@pytest.mark.parametrize("kind", LIES)
def test_a_state_that_lies_is_refused_before_the_first_epoch(kind, state, monkeypatch):
    make, words = LIES[kind]
    path = bundles.state_path(state[1])
    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "fit", None)  # nothing may be trained
        with pytest.raises(InputError) as caught:
            resumed(state, make(state[3]))
    said = str(caught.value)
    assert said.startswith(f"{path}: ") and words in said, said
    assert "`overwrite` starts over" in said and "\n" not in said


def test_a_sound_state_of_any_version_goes_on(state):
    """Golden: the file as versions 0.2.0 and 0.3.0 wrote it, byte by byte of its parts. If this
    fails, trainings that are under way cannot go on after an update."""
    content = state[3]
    arrays = arrays_of(content)
    found = json.loads(arrays["meta"].tobytes())
    assert set(found) == {"run", "history", "compile_seconds", "arrays"}
    values, kept = found["arrays"]
    names = [f"v{i:04d}" for i in range(values)] + [f"k{i:04d}" for i in range(kept)]
    assert list(arrays) == ["meta", *names]
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for name, array in arrays.items():
            one = io.BytesIO()
            np.lib.format.write_array(one, array, allow_pickle=False)
            archive.writestr(f"{name}.npy", one.getvalue())
    card, lines = resumed(state, stream.getvalue())
    assert "resuming after epoch 1 of 3" in lines and card["epoch"] >= 1


@pytest.mark.parametrize(
    "fields",
    [
        {"keep": "last"},
        {"keep": "last", "swa_share": 0.5, "swa_epochs": 1},
        {"keep": "last", "optimizer": "sgd", "momentum": 0.0},
    ],
)
def test_what_is_kept_is_what_the_recipe_keeps(fields, dataset, tmp_path):
    output = tmp_path / "out"
    recipe, content = begun(dataset, output, after=2, **fields)
    kept = [name for name in arrays_of(content) if name.startswith("k")]
    assert len(kept) == (2 if "swa_share" in fields else 0)
    wrong = meta(lambda m: m.update(arrays=[m["arrays"][0], 1]))
    content_with = {**arrays_of(wrong(content)), "k0000": np.zeros(3, "float32")}
    if not kept:
        with pytest.raises(InputError, match="kept weights: must be 0 arrays, are 1"):
            resumed((dataset, output, recipe, content), packed(content_with))
    card, _ = resumed((dataset, output, recipe, content), content)
    assert card["epoch"] >= 1


def test_a_finished_bundle_whose_card_lacks_figures_is_one_line(state, tmp_path):
    dataset, _, recipe, _ = state
    output = tmp_path / "out"
    one = recipes.changed(recipe, {"epochs": 1}, "test")
    training.train(one, dataset, output, rung="test")
    card = json.loads((output / "card.json").read_text())
    for key in ("epoch", "test_accuracy"):
        (output / "card.json").write_text(json.dumps({k: v for k, v in card.items() if k != key}))
        with pytest.raises(InputError, match=f"lacks {key}"):
            training.train(one, dataset, output, rung="test", resume=True)
