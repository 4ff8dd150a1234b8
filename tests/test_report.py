"""Results: what may enter them, and that the README and the recipes agree with them."""
import json

import pytest
from conftest import NOT_COMMITTED, NOT_REACHED, ROOT

from cifar_lab import bundles, recipes, reporting
from cifar_lab.errors import InputError

RUNGS = [rung for rung in recipes.LADDER if rung not in NOT_COMMITTED]


def card_of(rung="cifar10-74", **changes):
    recipe = recipes.get(rung)
    card = {k: "x" for k in reporting.ROW_KEYS} | {
        "rung": rung, "recipe": recipe.as_dict(), "recipe_sha256": recipe.sha256(), "seed": 0, "classes": ["a", "b"],
        "val_accuracy": 0.75, "test_accuracy": 0.74, "seconds": 60.0, "model_sha256": "m0",
        "data": {"name": recipe.data, "limit": None}}
    return {**card, **changes}


def bundle_with(card, folder):
    folder.mkdir()
    (folder / "history.csv").write_text("epoch,val_accuracy,seconds\n1,0.81,20\n2,0.79,20\n3,0.9,20.5\n")
    (folder / "card.json").write_text(json.dumps(card))
    return str(folder)


def test_runs_are_recorded_once_each_and_summarised(tmp_path):
    for i, accuracy in enumerate((0.74, 0.75, 0.76)):
        for again in "ab":  # the same seed a second time: another file, not another run
            bundle = bundle_with(card_of(seed=i, test_accuracy=accuracy, model_sha256=f"m{i}{again}"), tmp_path / f"b{i}{again}")
            reporting.record(bundle, tmp_path)
    s = reporting.summary("cifar10-74", tmp_path)
    assert s["n"] == 3 and s["mean"] == pytest.approx(0.75) and s["sd"] == pytest.approx(0.01)
    assert reporting.measured(s) == "75.00 +- 1.00 % (n = 3)"
    assert "| `cifar10-74` | 74 % | 75.00 +- 1.00 % (n = 3) | 1.0 min (1) |" in reporting.ladder_markdown(tmp_path)
    assert not reporting.drifted("cifar10-74", tmp_path)
    reporting.record(bundle_with(card_of(device="GPU", seconds=6.0), tmp_path / "gpu"), tmp_path)
    assert reporting.summary("cifar10-74", tmp_path)["seconds"] == {"GPU": 6.0, "x": 60.0}  # a machine's times are its own
    table = reporting.ladder_markdown(tmp_path)
    assert "| 0.1 min (1), 1.0 min (2) |" in table and "(1) GPU; (2) x." in table
    assert reporting.read_results("cifar10-74", tmp_path)[0]["seconds_to"] == {"0.8": 20.0, "0.85": 60.5, "0.88": 60.5, "0.9": 60.5}


@pytest.mark.parametrize("changes, words", [
    ({"recipe_sha256": "other"}, "its recipe is not that of cifar10-74"),
    ({"data": {"name": "cifar10", "limit": 100}}, "not trained on the whole"),
    ({"data": {"name": "synthetic", "limit": None}}, "not trained on the whole")])
def test_departed_runs_are_not_results(tmp_path, changes, words):
    with pytest.raises(InputError, match=words):
        reporting.record(bundle_with(card_of(**changes), tmp_path / "b"), tmp_path)
    assert not list(tmp_path.glob("*.json"))


def test_a_card_of_another_kind_is_no_result(tmp_path):
    card = card_of()
    del card["epoch"], card["data"]
    with pytest.raises(InputError, match="its card lacks epoch, data"):
        reporting.record(bundle_with(card, tmp_path / "b"), tmp_path)


def test_another_copy_of_the_data_is_no_result_of_the_same_rung(tmp_path):
    reporting.record(bundle_with(card_of(), tmp_path / "a"), tmp_path)
    with pytest.raises(InputError, match="another copy of cifar10"):
        reporting.record(bundle_with(card_of(seed=1, data_sha256="y"), tmp_path / "b"), tmp_path)


def test_a_changed_recipe_is_noticed(tmp_path):
    reporting.record(bundle_with(card_of(), tmp_path / "b"), tmp_path)
    rows = json.loads((tmp_path / "cifar10-74.json").read_text())
    rows[0]["recipe_sha256"] = "another"
    (tmp_path / "cifar10-74.json").write_text(json.dumps(rows))
    assert reporting.drifted("cifar10-74", tmp_path)


def test_readme_needs_its_marks(tmp_path):
    (tmp_path / "README.md").write_text("nothing")
    with pytest.raises(InputError, match="lacks the marks"):
        reporting.update_readme(tmp_path / "README.md")


def test_the_readme_agrees_with_the_results():
    """If this fails: python -m cifar_lab record"""
    text = (ROOT / "README.md").read_text()
    table = text.partition(reporting.BEGIN)[2].partition(reporting.END)[0].strip()
    assert table == reporting.ladder_markdown()


@pytest.mark.parametrize("rung", recipes.LADDER)
def test_every_rung_was_measured_with_the_recipe_it_has(rung):
    assert reporting.read_results(rung), f"{rung} has no results"
    assert not reporting.drifted(rung), "recipe changed since measured: rerun or revert"


@pytest.mark.parametrize("rung", recipes.LADDER)
def test_every_rung_keeps_its_promise_or_says_that_it_does_not(rung):
    assert reporting.reached(rung) is (rung not in NOT_REACHED)
    assert (f"| `{rung}` | {100 * recipes.get(rung).promise:g} %, not reached |" in (ROOT / "README.md").read_text()) is (rung in NOT_REACHED)


@pytest.mark.parametrize("rung, mean, reached", [
    ("cifar10-74", 0.7349, False), ("cifar10-74", 0.7351, True), ("fashion-mnist-92", 0.9194, False), ("fashion-mnist-92", 0.9196, True)])
def test_what_is_a_promise_kept(tmp_path, rung, mean, reached):
    assert reporting.reached(rung, tmp_path) is None
    reporting.record(bundle_with(card_of(rung, test_accuracy=mean), tmp_path / "b"), tmp_path)
    assert reporting.reached(rung, tmp_path) is reached
    table = reporting.ladder_markdown(tmp_path)
    assert (f"{100 * recipes.get(rung).promise:g} %, not reached |" in table) is not reached and table.count("not reached") <= 1


@pytest.mark.parametrize("rung", RUNGS)
def test_committed_bundles_are_the_first_seeds_recorded_runs(rung):
    folder = ROOT / "saved_models" / rung
    card = bundles.read_card(folder)
    row = reporting.read_results(rung)[0]
    assert card["seed"] == 0 == row["seed"]
    assert {k: card[k] for k in reporting.ROW_KEYS} == {k: row[k] for k in reporting.ROW_KEYS}
    assert row["seconds_to"] == reporting.seconds_to(reporting.read_history(folder))
    assert bundles.file_sha256(folder / "model.keras") == card["model_sha256"]
    # a card keeps the words of its day, and lacks the fields that came later
    assert recipes.Recipe(**card["recipe"]).sha256() == recipes.get(rung).sha256() == card["recipe_sha256"]
    history = (folder / "history.csv").read_text().splitlines()
    assert len(history) == 1 + recipes.get(rung).epochs and (folder / "learning_curve.png").is_file()


@pytest.mark.parametrize("rung", NOT_COMMITTED)
def test_a_rung_without_committed_weights_has_its_history(rung):
    history = reporting.read_history(reporting.results_folder() / f"{rung}.history.csv")
    row = reporting.read_results(rung)[0]
    assert len(history) == recipes.get(rung).epochs and row["seconds_to"] == reporting.seconds_to(history)
    assert history[-1]["val_accuracy"] == row["val_accuracy"]
    assert not (ROOT / "saved_models" / rung).exists()


def test_a_history_is_kept_where_no_bundle_is_committed(tmp_path, monkeypatch):
    monkeypatch.setattr(bundles, "CHECKOUT", tmp_path / "checkout")
    for seed in (0, 1):
        bundle = bundle_with(card_of(seed=seed), tmp_path / f"b{seed}")
        (tmp_path / f"b{seed}" / "history.csv").write_text(f"epoch,val_accuracy,seconds\n1,0.8{seed},20\n")
        reporting.record(bundle, tmp_path)
    assert reporting.read_history(tmp_path / "cifar10-74.history.csv") == [{"epoch": 1, "val_accuracy": 0.8, "seconds": 20}]
    (tmp_path / "checkout" / "saved_models" / "cifar10-79").mkdir(parents=True)
    reporting.record(bundle_with(card_of("cifar10-79"), tmp_path / "c"), tmp_path)
    assert not (tmp_path / "cifar10-79.history.csv").exists()


def test_the_progression_shows_the_rungs_that_were_measured(tmp_path):
    assert reporting.draw_progression(tmp_path / "p.png") == list(reporting.LECTURE)
    assert reporting.draw_progression(tmp_path / "none.png", tmp_path, tmp_path) == []
    from PIL import Image
    with Image.open(tmp_path / "p.png") as picture:
        assert picture.size == (900, 380)
    assert (tmp_path / "p.png").read_bytes() != (tmp_path / "none.png").read_bytes()
    history = reporting.read_history(ROOT / "saved_models" / "cifar10-84")
    assert [row["epoch"] for row in history] == list(range(1, 25)) and max(row["val_accuracy"] for row in history) > 0.84


def test_the_picture_of_minutes(tmp_path):
    assert reporting.draw_minutes(tmp_path / "m.png") == list(recipes.LADDER)
    assert reporting.draw_minutes(tmp_path / "none.png", tmp_path, tmp_path) == []
    from PIL import Image
    with Image.open(tmp_path / "m.png") as picture:
        assert picture.size == (900, 420)


def test_committed_models_stay_small():
    assert sum(p.stat().st_size for p in (ROOT / "saved_models").rglob("*")) < 36e6
