"""JSON and CSV that parse and lie: a line that names the file, the key and what it holds."""

import json
import math
import os
import shutil

import pytest

from campaigns import documents as campaign
from cifar_lab import Augmentation, Recipe, bundles, documents, inference, schema
from cifar_lab import recipe as recipes
from cifar_lab.errors import InputError
from cifar_lab.ladder import LADDER
from cifar_lab.recipe import GeneratorAugmentation
from cifar_lab.report import results
from support import ROOT, assert_refused, run_here

CARD = ROOT / "saved_models" / "cifar10-tiny-88" / "card.json"
EXPORT = ROOT / "saved_models" / "cifar10-tiny-88" / "model.int8.tflite"
DEEP = 100_000


def written(path, text):
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


# --- reading ---


@pytest.mark.parametrize(
    "text, words",
    [
        ("", "is not JSON"),
        ('{"a"', "is not JSON"),
        ("[1]", "must be a JSON object, is a list of 1"),
        ('{"a": NaN}', "holds NaN, which is not JSON"),
        ('{"a": -Infinity}', "holds -Infinity"),
        ('{"a": 1e400}', "holds 1e400, which is too large a number"),
        ('{"a": 1' + 400 * "0" + "}", "holds a number of 401 digits, may have 19"),
        ('{"a": 1' + 5000 * "0" + "}", "holds a number of 5,001 digits"),
        ('{"a": 1, "b": {"c": 1, "c": 2}}', 'names "c" twice'),
        (DEEP * "[" + DEEP * "]", "is nested too deeply: may be 64 deep"),
        (DEEP * '{"a":' + "1" + DEEP * "}", "is nested too deeply"),
        (DEEP * "[", "is nested too deeply"),
        (65 * "[" + 65 * "]", "is nested too deeply"),
        ('{"a": "\\ud800"}', "holds half a character, U+D800"),
        ('{"\\ud800": 1}', "holds half a character"),
        ('{"a": 1}'.encode("utf-16"), "must be UTF-8, is UTF-16: save it as UTF-8"),
        (b'{"a": "\xff"}', "is not UTF-8 (byte 7)"),
        ("[" + "1," * schema.MOST_VALUES + "1]", "must hold at most 1,000,000 values"),
        (b" " * (schema.MOST_BYTES + 1), "must have at most 16 MB, has more"),
    ],
)
def test_what_is_no_json_for_us(text, words, tmp_path):
    path = written(tmp_path / "a.json", text)
    with pytest.raises(InputError) as caught:
        schema.read_json(path, schema.Fields(), "; try again")
    assert str(caught.value).startswith(f"{path}: {words[:10]}")
    assert words in str(caught.value) and str(caught.value).endswith("; try again")


def test_what_is_json_for_us(tmp_path):
    assert schema.read_json(written(tmp_path / "a", b'\xef\xbb\xbf{"a": 64}')) == {"a": 64}
    assert schema.parse("[" * 64 + "]" * 64)
    assert schema.parse(b'["\\udcff", "\\ud83d\\ude00"]') == ["\udcff", "\U0001f600"]
    assert schema.parse(str(2**63 - 1)) == 2**63 - 1
    assert math.copysign(1, schema.parse("-0.0")) == 1


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="the system has no pipes")
def test_no_reader_waits_for_a_pipe(tmp_path):
    os.mkfifo(tmp_path / "card.json")
    with pytest.raises(InputError, match="is a pipe, must be a file"):
        bundles.read_card(tmp_path)


@pytest.mark.parametrize(
    "kind, value, words",
    [
        (schema.Text(3), "abcd", "x must be a string of at most 3 characters, has 4"),
        (schema.Text(), 3, "x must be a string, is 3"),
        (schema.Text(), "a\0b", "x must be a string of characters alone"),
        (schema.Text(), "\udcff", "x must be a string of characters alone"),
        (schema.Text(words=("a", "b")), ["a"], "x must be one of a, b, is a list of 1"),
        (schema.Number(0, 1), True, "x must be a number from 0 to 1, is true"),
        (schema.Number(0, 1), 1.5, "x must be a number from 0 to 1, is 1.5"),
        (schema.Number(), "1", 'x must be a number, is "1"'),
        (schema.Whole(1), 0, "x must be a whole number of at least 1, is 0"),
        (schema.Whole(1, 5), 2.0, "x must be a whole number from 1 to 5, is 2.0"),
        (schema.Whole(), False, "x must be a whole number of at least 0, is false"),
        (schema.Flag(), 1, "x must be true or false, is 1"),
        (schema.Scalar(), None, "x must be a number, a string, true or false, is null"),
        (schema.Maybe(schema.Flag()), 0, "x must be true or false, is 0"),
        (schema.Items(schema.Flag(), 1, 2), [], "x must be a list of 1 to 2, is a list of 0"),
        (schema.Items(schema.Flag(), 1, 2), [True, 3], "x[1] must be true or false, is 3"),
        (schema.Items(schema.Flag(), 3, 3), {}, "x must be a list of 3, is an empty object"),
        (schema.Each(schema.Flag()), {"a": {}}, "x.a must be true or false, is an empty object"),
        (schema.Fields({"a": schema.Flag()}), {"a": "b" * 99}, "x.a must be true or false"),
        (schema.Fields(needed=("a", "b", "c")), {"b": 1}, "x lacks a, c"),
    ],
)
def test_kinds_say_what_is_wrong(kind, value, words):
    with pytest.raises(schema.Wrong) as caught:
        kind.check(value, "x")
    assert words in str(caught.value) and len(str(caught.value)) < 150


def test_kinds_let_through_what_they_do_not_name():
    kind = schema.Fields({"a": schema.Maybe(schema.Text(path=True))}, needed=("a",))
    kind.check({"a": None, "later": [1]})
    kind.check({"a": "\udcff"})


# --- tables ---


@pytest.mark.parametrize(
    "text, words",
    [
        (b"epoch,val_accuracy,seconds\n1,x,3\n", 'row 1: val_accuracy must be a number, is "x"'),
        (b"epoch,val_accuracy,seconds\n1,2,3\n2,nan,3\n", "row 2: val_accuracy must be a number"),
        (b"epoch,val_accuracy,seconds\n1,1e400,3\n", "must be a number"),
        (b"epoch,val_accuracy,seconds\n1,2\n", 'seconds must be a number, is ""'),
        (b"epoch,val_accuracy,seconds\n1,2,3,4\n", "row 1 has more cells than columns"),
        (b"epoch,seconds\n1,2\n", "lacks the column val_accuracy"),
        (b"epoch,val_accuracy,seconds\n1,\xff,3\n", "is not UTF-8"),
        (b"epoch,val_accuracy,seconds\n1," + b"1" * 200_000 + b",3\n", "field larger than"),
        (b",\n" * 600_000, "must hold at most 1,000,000 values"),
        (b"a," * 400_000 + b"\n" + b"1\n" * 400_000, "must hold at most 1,000,000 values"),
    ],
)
def test_a_history_that_is_none(text, words, tmp_path):
    with pytest.raises(InputError, match="history.csv: ") as caught:
        results.read_history(written(tmp_path / "history.csv", text))
    assert words in str(caught.value)


def test_a_table_without_columns_is_bounded_too(tmp_path, monkeypatch):
    monkeypatch.setattr(schema, "MOST_VALUES", 100)
    path = written(tmp_path / "trials.csv", "\r" + "a\r" * 101)  # neither a comma nor a line feed
    with pytest.raises(InputError, match="trials.csv: must hold at most 100 values"):
        schema.read_csv(path)


# --- what is committed ---


def test_every_committed_document_is_read():
    """Golden: documents of all versions. If one is refused, a description in `documents` is too
    narrow: no card that was ever written may be lost."""
    cards = sorted(ROOT.glob("saved_models/*/card.json"))
    assert len(cards) > 20
    for path in cards:
        assert bundles.read_card(path.parent) == json.loads(path.read_text())
        assert results.read_history(path.parent)
    exports = sorted(ROOT.glob("saved_models/*/*.card.json"))
    exports += sorted(ROOT.glob("docs/**/*.card.json"))
    assert len(exports) > 1
    for path in exports:
        assert schema.read_json(path, documents.EXPORT_CARD) == json.loads(path.read_text())
    for rung in LADDER:
        assert len(results.read_results(rung)) == len(
            json.loads((ROOT / "results" / f"{rung}.json").read_text())
        )
    for path in ROOT.glob("results/*.history.csv"):
        assert results.read_history(path)


# --- cards ---


@pytest.mark.parametrize(
    "changes, words",
    [
        ({"classes": ["a", 3]}, "classes[1] must be a string, is 3"),
        ({"classes": ["a"]}, "classes must be a list of 2 to 100,000, is a list of 1"),
        ({"classes": "abc"}, "classes must be a list"),
        ({"classes": ["a", "b", "a"]}, 'classes must not hold "a" twice'),
        ({"seed": "0"}, 'seed must be a whole number from 0 to 4,294,967,295, is "0"'),
        ({"seed": True}, "seed must be a whole number"),
        ({"recipe": [1]}, "recipe must be a JSON object, is a list of 1"),
        ({"recipe": {"input_shape": [32, 32]}}, "recipe.input_shape must be a list of 3"),
        ({"data": "cifar10"}, "data must be a JSON object"),
        ({"data": {"name": 5}}, "data.name must be a string, is 5"),
        ({"calibration": {"temperature": "hot"}}, "calibration.temperature must be a number"),
        ({"calibration": {"temperature": 0}}, "temperature must be a number from 0.025 to 40"),
        ({"calibration": {"thresholds": {"0.9": 3}}}, "calibration.thresholds.0.9 must be"),
        ({"test_accuracy": 74.0}, "test_accuracy must be a number from 0 to 1, is 74.0"),
        ({"versions": {"keras": None}}, "versions.keras must be a string, is null"),
        ({"model_sha256": 12}, "model_sha256 must be a string, is 12"),
        ({"command": {}}, "command must be a string, is an empty object"),
    ],
)
def test_a_card_that_lies_is_one_line(changes, words, tmp_path):
    card = {**json.loads(CARD.read_text()), **changes}
    written(tmp_path / "card.json", json.dumps(card))
    (tmp_path / "model.keras").touch()
    for script, more in (("evaluate.py", ()), ("predict.py", ("x.png",)), ("report.py", ())):
        done = run_here(script, tmp_path, *more)
        assert_refused(done, "card.json: ", words)


def test_a_deep_card_is_one_line(tmp_path):
    written(tmp_path / "card.json", DEEP * "[" + DEEP * "]")
    assert_refused(run_here("evaluate.py", tmp_path), "card.json: is nested too deeply")


def test_the_root_of_all_folders_is_no_bundle():
    assert_refused(run_here("evaluate.py", os.path.abspath(os.sep)), "card.json: cannot be read")
    done = run_here("train.py", "cifar10-74", "--set", f"start={os.path.abspath(os.sep)}", "--show")
    assert_refused(done, "card.json: cannot be read")


def test_an_export_card_that_lies_is_one_line(tmp_path):
    shutil.copy(EXPORT, tmp_path / "m.tflite")
    card = json.loads(inference.card_path(EXPORT).read_text())
    place = inference.card_path(tmp_path / "m.tflite")
    for changes, words in (
        ({"thresholds": []}, "thresholds must be an object"),
        ({"temperature": [1]}, "temperature must be a number"),
        ({"operations": [{}]}, "operations[0] must be a string, is an empty object"),
        ({"sha256": None}, "sha256 must be a string, is null"),
    ):
        written(place, json.dumps({**card, **changes}))
        assert_refused(run_here("predict.py", tmp_path / "m.tflite", "x.png"), words)
    written(place, json.dumps({**card, "later": {"more": [None]}}))
    assert inference.Classifier(tmp_path / "m.tflite").card["later"] == {"more": [None]}


def test_a_bundle_without_a_recipe_begins_nothing(tmp_path):
    card = {**json.loads(CARD.read_text()), "recipe": None}
    written(tmp_path / "card.json", json.dumps(card))
    done = run_here("train.py", "cifar10-74", "--from", tmp_path, "--show")
    assert_refused(done, "its card does not say which network it is")


def test_rows_that_lie_are_one_line(tmp_path):
    rows = json.loads((ROOT / "results" / "cifar10-74.json").read_text())
    for changes, words in (
        ({"seconds": "1"}, '[0].seconds must be a number of at least 0, is "1"'),
        ({"test_accuracy": None}, "[0].test_accuracy must be a number from 0 to 1, is null"),
        ({"versions": []}, "[0].versions must be an object"),
    ):
        written(tmp_path / "cifar10-74.json", json.dumps([{**rows[0], **changes}]))
        with pytest.raises(InputError, match="cifar10-74.json: ") as caught:
            results.read_results("cifar10-74", tmp_path)
        assert words in str(caught.value)
        assert_refused(run_here("report.py", tmp_path / "cifar10-74.json"), words)


# --- recipes ---


@pytest.mark.parametrize(
    "fields, words",
    [
        (DEEP * '{"a":' + "1" + DEEP * "}", "is nested too deeply"),
        ('{"learning_rate": 1' + "0" * 400 + "}", "a number of 401 digits"),
        ('{"learning_rate": 1e400}', "holds 1e400"),
        ('{"learning_rate": "0.1"}', "learning_rate: must be a number greater than 0"),
        ('{"learning_rate": true}', "learning_rate: must be a number greater than 0"),
        ('{"epochs": 2.0}', "epochs: must be a whole number"),
        ('{"epochs": [3]}', "epochs: must be a whole number"),
        ('{"input_shape": "32"}', "input_shape: must be [height, width, channels]"),
        ('{"input_shape": [1000000, 32, 3]}', "input_shape: must be [height, width, channels]"),
        ('{"optimizer": ["adam"]}', "optimizer: must be one of"),
        ('{"optimizer": "adm"}', "received 'adm' (adam?)"),
        ('{"builder": "resnt"}', "received 'resnt' (resnet?)"),
        ('{"loss": ' + "9" * 19 + "}", "loss: must be one of"),
        ('{"builder_options": [1]}', "builder_options: must be an object"),
        ('{"builder": "a\\u0000.py:net"}', "builder: must be one of"),
        ('{"data": "a\\u0000b"}', "data: must be a string"),
        ('{"start": "a\\u0000b"}', "start: must be a string"),
        ('{"augmentation": {"zoom_range": {}}}', "zoom_range: must be a number"),
        ('{"augmentation": {"jpeg_quality": false}}', "jpeg_quality: must be [low, high]"),
        ('{"augmentation": {"a": 1}}', "augmentation: unknown field 'a'"),
        ('{"small_images": [[1]]}', "small_images: must be"),
        ('{"epochs": 1, "epochs": 2}', 'names "epochs" twice'),
        ("[]", "must be a JSON object, is a list of 0"),
        ('{"nonsense": 1}', "unknown recipe field 'nonsense'"),
    ],
)
def test_a_recipe_that_lies_is_one_line(fields, words, tmp_path):
    file = written(tmp_path / "r.json", fields)
    done = run_here("train.py", "cifar10-74", "--recipe", file, "--show")
    assert_refused(done, "r.json", words)


@pytest.mark.parametrize(
    "fields, words",
    [
        ({"builder_options": {"a": math.inf}}, "holds Infinity"),
        ({"builder_options": {"a": 10**30}}, "a number of 31 digits"),
        ({"builder_options": {"a": print}}, "not JSON serializable"),
        ({"idea": "x" * 20_000}, "idea must be a string of at most 10,000 characters"),
    ],
)
def test_a_recipe_that_no_card_can_hold_is_refused_before_it_is_trained(fields, words):
    with pytest.raises(InputError, match=f"recipe: no card can hold it: .*{words}"):
        Recipe(**fields)


def test_a_file_may_have_a_name_that_is_not_utf_8():
    name = os.fsdecode(b"caf\xe9.py")
    recipe = Recipe(builder=f"{name}:net", idea=f"net of {name}")
    documents.RECIPE.check(recipe.as_dict())
    documents.CARD.kinds["callbacks"].check([f"{name}:Log"])


def test_options_that_a_builder_does_not_take_are_one_line(tmp_path):
    file = written(tmp_path / "r.json", '{"builder_options": {"filters": "x"}}')
    done = run_here("train.py", "cifar10-74", "--recipe", file, "--show")
    assert_refused(done, "recipe: cifar10_cnn")


def test_deep_settings_of_the_command_line_are_one_line():
    done = run_here("train.py", "cifar10-74", "--set", f"epochs={'[' * DEEP}", "--show")
    assert_refused(done, "epochs: must be a whole number")
    argument = 'keras.callbacks:CSVLogger:{"filename": ' + "[" * DEEP
    done = run_here("train.py", "cifar10-74", "--callback", argument)
    assert_refused(done, "--callback", "is nested too deeply")


def test_a_field_that_is_none_is_an_input_error():
    for kind in (Recipe, Augmentation, GeneratorAugmentation):
        with pytest.raises(InputError, match="unknown .*'nonsense': must be one of "):
            kind(nonsense=1)
        assert kind() == kind()
    with pytest.raises(TypeError):
        Recipe(3)  # of the program, not of what it was given
    huge = Recipe.__init__.__wrapped__  # the dataclass' own
    assert huge is not Recipe.__init__
    for value in (10**5000, float("nan"), [[]] * 10**5):
        with pytest.raises(InputError, match="learning_rate: must be") as caught:
            recipes.changed(Recipe(), {"learning_rate": value}, "test")
        assert len(str(caught.value)) < 400


# --- the campaign ---


def campaigned(capsys, *flags):
    code = campaign.main([*map(str, flags)])
    found = json.loads(capsys.readouterr().out)
    assert code == 0, found
    return found


def test_mutated_documents_are_answered_in_a_line(tmp_path, capsys):
    """A few of each kind."""
    pytest.importorskip("keras_tuner", reason="keras-tuner is not installed (the tune extra)")
    log = tmp_path / "log.jsonl"
    campaigned(capsys, "--count", 20, "--log", log)
    found = campaigned(capsys, "--count", 400, "--log", log)  # goes on
    assert (found["inputs"], found["line"] + found["accepted"]) == (400, 400), log.read_text()
    assert found["line"] > 200 and found["accepted"] > 30


@pytest.mark.slow
def test_20_000_mutated_documents_are_answered_in_a_line(tmp_path, capsys):
    pytest.importorskip("keras_tuner", reason="keras-tuner is not installed (the tune extra)")
    found = campaigned(capsys, "--count", 20_000, "--log", tmp_path / "log.jsonl")
    assert found["line"] + found["accepted"] == found["inputs"] == 20_000
