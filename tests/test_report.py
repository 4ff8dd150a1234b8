"""Results: what may enter them, and that the README and the recipes agree with them."""

import json

import numpy as np
import pytest

from cifar_lab import bundles, paths, phases, style
from cifar_lab.errors import InputError
from cifar_lab.ladder import LADDER, famous, first_networks, get
from cifar_lab.recipe import Recipe
from cifar_lab.report import figures, results, tables
from support import ROOT

COMMITTED = [rung for rung, entry in LADDER.items() if entry.weights == "committed"]
LECTURE = [rung for rung, entry in LADDER.items() if entry.lecture]


def card_of(rung="cifar10-74", **changes):
    recipe = get(rung).recipe
    card = (
        dict.fromkeys(results.ROW_KEYS, "x")
        | dict.fromkeys(results.PROVENANCE)
        | {
            "rung": rung,
            "recipe": recipe.as_dict(),
            "recipe_sha256": recipe.sha256(),
            "seed": 0,
            "classes": ["a", "b"],
            "val_accuracy": 0.75,
            "test_accuracy": 0.74,
            "seconds": 60.0,
            "compile_seconds": 1.0,
            "epoch": 1,
            "test_loss": 0.5,
            "versions": {},
            "model_sha256": "m0",
            "data": {"name": recipe.data, "limit": None},
        }
    )
    return {**card, **changes}


def bundle_with(card, folder):
    folder.mkdir()
    (folder / "history.csv").write_text(
        "epoch,val_accuracy,seconds\n1,0.81,20\n2,0.79,20\n3,0.9,20.5\n"
    )
    (folder / "card.json").write_text(json.dumps(card))
    return str(folder)


def test_runs_are_recorded_once_each_and_summarised(tmp_path):
    for i, accuracy in enumerate((0.74, 0.75, 0.76)):
        for again in "ab":  # the same seed a second time: another file, not another run
            bundle = bundle_with(
                card_of(seed=i, test_accuracy=accuracy, model_sha256=f"m{i}{again}"),
                tmp_path / f"b{i}{again}",
            )
            results.record(bundle, tmp_path)
    s = results.summary("cifar10-74", tmp_path)
    assert s["n"] == 3 and s["mean"] == pytest.approx(0.75) and s["sd"] == pytest.approx(0.01)
    assert tables.measured(s) == "75.00 +- 1.00 % (n = 3)"
    assert "| `cifar10-74` | 74 % | 75.00 +- 1.00 (3) | 1.0* (1) |" in tables.ladder_markdown(
        tmp_path
    )
    assert not results.drifted("cifar10-74", tmp_path)
    results.record(bundle_with(card_of(device="GPU", seconds=6.0), tmp_path / "gpu"), tmp_path)
    assert results.summary("cifar10-74", tmp_path)["seconds"] == {
        "GPU": 6.0,
        "x": 60.0,
    }  # a machine's times are its own
    table = tables.ladder_markdown(tmp_path)
    assert "| 0.1* (1), 1.0* (2) |" in table and "(1) GPU; (2) x," in table
    assert results.read_results("cifar10-74", tmp_path)[0]["seconds_to"] == {
        "0.8": 20.0,
        "0.85": 60.5,
        "0.88": 60.5,
        "0.9": 60.5,
    }


def test_a_seed_has_a_row_for_each_design_that_one_name_stands_for(tmp_path):
    for i, design in enumerate((None, "family 1", "family 2", "family 2")):
        card = card_of(device="CPU: x, 2 cores", processor=design, seconds=60.0 * (i + 1))
        results.record(bundle_with(card, tmp_path / str(i)), tmp_path)
    summary = results.summary("cifar10-74", tmp_path)
    assert summary["n"] == 3
    assert summary["seconds"] == {
        "CPU: x, 2 cores": 60.0,
        "CPU: x, 2 cores (family 1)": 120.0,
        "CPU: x, 2 cores (family 2)": 240.0,
    }
    card = card_of(device="GPU: y", processor="family 1")
    assert results.machine_of(card) == "GPU: y"  # whose processor is beside the point


@pytest.mark.parametrize(
    "changes, words",
    [
        ({"recipe_sha256": "other"}, "its recipe is not that of cifar10-74"),
        ({"data": {"name": "cifar10", "limit": 100}}, "not trained on the whole"),
        ({"data": {"name": "synthetic", "limit": None}}, "not trained on the whole"),
    ],
)
def test_departed_runs_are_not_results(tmp_path, changes, words):
    with pytest.raises(InputError, match=words):
        results.record(bundle_with(card_of(**changes), tmp_path / "b"), tmp_path)
    assert not list(tmp_path.glob("*.json"))


def test_a_card_of_another_kind_is_no_result(tmp_path):
    card = card_of()
    del card["epoch"], card["data"]
    with pytest.raises(InputError, match="its card lacks epoch, data"):
        results.record(bundle_with(card, tmp_path / "b"), tmp_path)


def test_two_copies_of_the_data_stand_side_by_side(tmp_path):
    a, b = "a" * 64, "b" * 64
    for name, changes in {
        "a0": {"data_sha256": a, "test_accuracy": 0.74},
        "b0": {"data_sha256": b, "test_accuracy": 0.75},
        "b1": {"data_sha256": b, "test_accuracy": 0.76, "seed": 1},
        "again": {"data_sha256": a, "test_accuracy": 0.73},
    }.items():
        results.record(bundle_with(card_of(**changes), tmp_path / name), tmp_path)
    found = [
        [(r["data_sha256"], r["seed"]) for r in g] for g in results.groups("cifar10-74", tmp_path)
    ]
    assert found == [
        [(b, 0), (b, 1)],
        [(a, 0)],
    ]  # the larger first; the second run of a replaced it
    s = results.summary("cifar10-74", tmp_path)
    assert (s["n"], s["mean"], s["data_sha256"]) == (2, pytest.approx(0.755), b)
    assert s["other_data"] == [{"n": 1, "mean": 0.73, "sd": None, "data_sha256": a}]
    table = tables.ladder_markdown(tmp_path)
    assert "| 75.50 +- 0.71 (2) on data bbbbbbbb, 73.00 (1) on data aaaaaaaa |" in table
    assert "start of their digest" in table
    (line,) = (x for x in tables.list_lines(tmp_path) if x.startswith("cifar10-74 "))
    assert "75.50 +- 0.71 % (n = 2) on data bbbbbbbb, 73.00 % (n = 1) on data aaaaaaaa" in line
    row = tables.list_rows(tmp_path)[list(LADDER).index("cifar10-74")]
    assert row["rung"] == "cifar10-74" and row["n"] == 2 and row["other_data"] == s["other_data"]
    json.dumps(row)


def test_the_committed_bundles_copy_of_the_data_comes_first(tmp_path, monkeypatch):
    monkeypatch.setattr(paths, "CHECKOUT", tmp_path / "checkout")
    committed = tmp_path / "checkout" / "saved_models" / "cifar10-74"
    committed.parent.mkdir(parents=True)
    bundle_with(card_of(data_sha256="a"), committed)
    for name, seed, digest in (("b0", 0, "b"), ("b1", 1, "b"), ("a7", 7, "a")):
        card = card_of(seed=seed, data_sha256=digest)
        results.record(bundle_with(card, tmp_path / name), tmp_path)
    assert [r["data_sha256"] for r in results.read_results("cifar10-74", tmp_path)] == [
        "a",
        "b",
        "b",
    ]
    assert results.summary("cifar10-74", tmp_path)["n"] == 1


def test_times_say_whether_the_machine_was_the_runs_own(tmp_path):
    def cell():
        table = tables.ladder_markdown(tmp_path)
        (row,) = (x for x in table.splitlines() if x.startswith("| `cifar10-74` "))
        return row.split(" | ")[3], tables.NOT_ALONE in table

    unchecked = bundle_with(card_of(alone=False, seconds=120.0), tmp_path / "b0")
    results.record(unchecked, tmp_path)
    assert cell() == ("2.0* (1)", True) and tables.list_lines(tmp_path)[-1].startswith("* ")
    card = card_of(seed=1, seconds=60.0, alone=False)
    measured = bundle_with(card, tmp_path / "b1")
    results.record(measured, tmp_path, alone=True)
    assert cell() == ("1.0 (1)", False)  # what was measured alone counts, where there is such
    assert "*" not in "".join(tables.list_lines(tmp_path))
    rows = results.read_results("cifar10-74", tmp_path)
    assert [row["alone"] for row in rows] == [False, True]
    assert bundles.read_card(measured)["alone"] is True  # so that recording it elsewhere keeps it
    results.record(measured, tmp_path)
    assert results.summary("cifar10-74", tmp_path)["alone"] == {"x": True}
    results.record(measured, tmp_path, alone=False)
    assert cell() == ("1.5* (1)", True)


def test_cards_and_rows_of_earlier_days_say_nothing_of_where_they_come_from(tmp_path):
    card = {k: v for k, v in card_of().items() if k not in results.PROVENANCE}
    results.record(bundle_with(card, tmp_path / "b"), tmp_path)
    path = tmp_path / "cifar10-74.json"
    (stored,) = json.loads(path.read_text())
    path.write_text(json.dumps([{k: v for k, v in stored.items() if k not in results.PROVENANCE}]))
    (row,) = results.read_results("cifar10-74", tmp_path)
    assert [row[k] for k in results.PROVENANCE] == [None] * len(results.PROVENANCE)
    assert results.summary("cifar10-74", tmp_path)["alone"] == {"x": False}


def test_a_picture_that_fails_is_one_line(tmp_path, monkeypatch):
    lines = []

    def broken(path):
        raise OSError(28, "No space left on device")

    def lacking(path):
        raise ModuleNotFoundError("No module named 'matplotlib'", name="matplotlib")

    assert not figures.attempt(lines.append, broken, tmp_path / "a.png")
    assert not figures.attempt(lines.append, lacking, tmp_path / "b.png")
    assert lines == ["no a.png: No space left on device", "matplotlib is not installed: no b.png"]
    others = ("draw_dials", "draw_augmentations", "draw_ladder", "draw_progression", "draw_depth")
    for name in (*others, "draw_corruptions"):
        monkeypatch.setattr(figures, name, broken)
    assert figures.draw_all(tmp_path, lines.append) == ["minutes.png"] and len(lines) == 8
    assert [p.name for p in tmp_path.iterdir()] == ["minutes.png"]


def test_the_picture_of_corruptions(tmp_path):
    """A row each, named, and a column for the drawing and each severity."""
    figures.draw_corruptions(tmp_path / "c.png")
    from PIL import Image

    with Image.open(tmp_path / "c.png") as picture:
        pixels = np.asarray(picture.convert("RGB"))
    assert pixels.shape == (18 + 11 * 68, 72 + 6 * 68, 3)
    for row in range(11):
        drawn = [pixels[18 + 68 * row :, 72 + 68 * column :][:64:2, :64:2] for column in range(6)]
        assert len({picture.tobytes() for picture in drawn}) == 6  # no severity like another
        assert (pixels[18 + 68 * row :, :68][:64] < 128).any()  # its name
    assert (tmp_path / "c.png").stat().st_size < 150_000


def test_the_learning_curve(tmp_path):
    keys = ("accuracy", "loss", "val_accuracy", "val_loss")
    history = [{"epoch": i, **dict.fromkeys(keys, i / 4)} for i in (1, 2, 3)]
    path = tmp_path / "curve.png"
    assert figures.attempt(pytest.fail, figures.draw_learning_curve, path, history, "title", 2)
    from PIL import Image

    with Image.open(path) as picture:
        assert picture.size == (900, 360) and picture.mode == "P"


def pictured(draw, *args):
    """The figure that a function of `figures` would write."""
    found = []
    with pytest.MonkeyPatch.context() as patch, style.style():
        patch.setattr(style, "save", lambda figure, path, **options: found.append(figure))
        draw("nowhere", *args)
    return found[0]


def test_the_learning_curve_marks_and_names_the_phases():
    recipe = get("cifar10-94").recipe
    keys = ("accuracy", "loss", "val_accuracy", "val_loss")
    history = [{"epoch": i + 1, **dict.fromkeys(keys, i / 40)} for i in range(recipe.epochs)]
    named = phases.phases(recipe)
    figure = pictured(figures.draw_learning_curve, history, "title", 21, named)
    (legend,) = figure.legends
    told = [text.get_text() for text in legend.get_texts()]
    assert [line.partition(":")[0] for line in told] == [name for _, _, name in named]
    assert told[-1].endswith("train figures are those of the worst weights nearby, so they jump")
    accuracy, loss = figure.axes
    assert accuracy.get_ylabel() == "accuracy, %" and max(accuracy.lines[0].get_ydata()) == 50
    for axes in figure.axes:
        last = axes.patches[-1].get_window_extent().transformed(axes.transData.inverted())
        assert (round(last.x0, 2), round(last.x1, 2)) == (18.5, 21.5)
    # of a training that stopped before them, and of one without any
    figure = pictured(figures.draw_learning_curve, history[:6], "title", 6, named)
    assert len(figure.legends[0].get_texts()) == 2
    assert pictured(figures.draw_learning_curve, history, "title", 21).legends == []


def test_a_rung_has_one_colour_and_no_two_have_the_same():
    assert set(LADDER) <= set(style.COLOURS), "give the new rung a colour in cifar_lab/style.py"
    assert len(set(style.COLOURS.values())) == len(style.COLOURS)
    minutes, progression = pictured(figures.draw_minutes), pictured(figures.draw_progression)
    for text in (t for axes in minutes.axes for t in axes.texts):
        assert text.get_color() == style.colour(text.get_text())
    for line in progression.axes[0].lines:
        assert line.get_color() == style.colour(line.get_label())


def test_names_of_curves_do_not_cover_each_other():
    minutes = pictured(figures.draw_minutes)
    minutes.canvas.draw()
    for axes in minutes.axes:
        boxes = sorted((t.get_window_extent() for t in axes.texts), key=lambda box: box.y0)
        assert boxes and all(b.y0 >= a.y0 + 8 for a, b in zip(boxes, boxes[1:]))
        assert all(box.x1 <= minutes.bbox.x1 for box in boxes)


def test_a_sheet_has_its_images_pixel_by_pixel_and_names(tmp_path):
    from PIL import Image

    images = np.random.default_rng(0).integers(0, 256, (2, 3, 4, 4, 3)).astype(np.uint8)
    style.sheet(tmp_path / "s.png", images, ["one", "two", "three\nlines"], ["a", "bcd"], scale=3)
    with Image.open(tmp_path / "s.png") as picture:
        pixels = np.asarray(picture.convert("RGB"))
    left, height = pixels.shape[1] - 6 - 3 * 18, pixels.shape[0]
    for row in range(2):
        for column in range(3):
            top = height - 6 - 18 * (2 - row) + 3
            at = left + 18 * column + 3
            tile = pixels[top : top + 12 : 3, at : at + 12 : 3]
            assert np.array_equal(tile, images[row, column])
    assert pixels[:, : left - 6].min() < 100 and pixels[: height - 42].min() < 100  # names


def test_a_users_own_settings_change_no_picture(tmp_path):
    import matplotlib

    drawn = []
    for size in (10, 30):
        with matplotlib.rc_context({"font.size": size, "axes.grid": size == 30}):
            assert figures.attempt(pytest.fail, figures.draw_ladder, tmp_path / "l.png")
        drawn.append((tmp_path / "l.png").read_bytes())
    assert drawn[0] == drawn[1]


def test_a_changed_recipe_is_noticed(tmp_path):
    results.record(bundle_with(card_of(), tmp_path / "b"), tmp_path)
    rows = json.loads((tmp_path / "cifar10-74.json").read_text())
    rows[0]["recipe_sha256"] = "another"
    (tmp_path / "cifar10-74.json").write_text(json.dumps(rows))
    assert results.drifted("cifar10-74", tmp_path)


def test_readme_needs_its_marks(tmp_path):
    (tmp_path / "README.md").write_text("nothing")
    with pytest.raises(InputError, match="lacks the marks"):
        tables.update_page(tmp_path / "README.md", "| a |")


def test_the_table_has_room_in_the_readme():
    assert len(tables.readme_markdown().encode()) < 2900


def test_the_pages_agree_with_the_results():
    """If this fails: python -m cifar_lab record"""
    pages = {
        "README.md": tables.readme_markdown(),
        "docs/measurements/ladder.md": tables.ladder_markdown(),
    }
    for page, expected in pages.items():
        text = (ROOT / page).read_text()
        table = text.partition(tables.BEGIN)[2].partition(tables.END)[0].strip()
        assert table == expected, page


def test_neighbours_stand_below_the_rungs_of_their_data(tmp_path, monkeypatch):
    monkeypatch.setattr(paths, "CHECKOUT", tmp_path)
    row = {"data": "cifar10", "k": 7, "norm": 1, "test_accuracy": 0.345}
    (tmp_path / "docs").mkdir()
    (tmp_path / tables.NEIGHBOURS).write_text(json.dumps(row) + "\n")
    lines = tables.readme_markdown(tmp_path).splitlines()
    (place,) = (i for i, line in enumerate(lines) if "nearest neighbours" in line)
    assert "| 34.50 (1) | 7 nearest neighbours, L1 distance |" in lines[place]
    assert lines[place + 1].startswith("| `cifar10-softmax` ")


def test_the_picture_of_the_ladder_goes_from_the_lowest_rung_to_the_highest(tmp_path):
    drawn = figures.draw_ladder(tmp_path / "l.png")
    means = [results.summary(rung)["mean"] for rung in drawn]
    assert means == sorted(means) and means[0] < 0.42 and means[-1] > 0.96
    assert drawn[-1] == "cifar10-96" and len(drawn) >= 12
    assert figures.draw_ladder(tmp_path / "none.png", tmp_path) == []


@pytest.mark.parametrize("rung", LADDER)
def test_every_rung_was_measured_with_the_recipe_it_has(rung):
    assert results.read_results(rung), f"{rung} has no results"
    assert not results.drifted(rung), "recipe changed since measured: rerun or revert"


@pytest.mark.parametrize("rung", LADDER)
def test_every_rung_keeps_its_promise_or_says_that_it_does_not(rung):
    kept = results.reached(rung)
    assert kept is get(rung).reached
    broken = f"| `{rung}` | {100 * get(rung).promise:g} %, not reached |"
    assert (broken in (ROOT / "README.md").read_text()) is not kept


@pytest.mark.parametrize(
    "rung, mean, reached",
    [
        ("cifar10-74", 0.7349, False),
        ("cifar10-74", 0.7351, True),
        ("fashion-mnist-92", 0.9194, False),
        ("fashion-mnist-92", 0.9196, True),
    ],
)
def test_what_is_a_promise_kept(tmp_path, rung, mean, reached):
    assert results.reached(rung, tmp_path) is None
    results.record(bundle_with(card_of(rung, test_accuracy=mean), tmp_path / "b"), tmp_path)
    assert results.reached(rung, tmp_path) is reached
    table = tables.ladder_markdown(tmp_path)
    assert (
        f"{100 * get(rung).promise:g} %, not reached |" in table
    ) is not reached and table.count("not reached") <= 1


@pytest.mark.parametrize("rung", COMMITTED)
def test_committed_bundles_are_the_first_seeds_recorded_runs(rung):
    folder = ROOT / "saved_models" / rung
    card = bundles.read_card(folder)
    row = results.read_results(rung)[0]
    assert card["seed"] == 0 == row["seed"]
    assert {k: card.get(k) for k in results.ROW_KEYS} == {k: row[k] for k in results.ROW_KEYS}
    assert row["seconds_to"] == results.seconds_to(results.read_history(folder))
    assert bundles.file_sha256(folder / "model.keras") == card["model_sha256"]
    # a card keeps the words of its day, and lacks the fields that came later
    assert Recipe(**card["recipe"]).sha256() == get(rung).recipe.sha256() == card["recipe_sha256"]
    history = (folder / "history.csv").read_text().splitlines()
    assert len(history) == 1 + get(rung).recipe.epochs and (folder / "learning_curve.png").is_file()


@pytest.mark.parametrize("rung", sorted({*LADDER} - {*COMMITTED}))
def test_a_rung_without_committed_weights_has_its_history(rung):
    history = results.read_history(paths.results_folder() / f"{rung}.history.csv")
    row = results.read_results(rung)[0]
    assert len(history) == get(rung).recipe.epochs and row["seconds_to"] == results.seconds_to(
        history
    )
    assert history[-1]["val_accuracy"] == row["val_accuracy"]
    assert not (ROOT / "saved_models" / rung).exists()


def test_a_history_is_kept_where_no_bundle_is_committed(tmp_path, monkeypatch):
    monkeypatch.setattr(paths, "CHECKOUT", tmp_path / "checkout")
    for seed in (0, 1):
        bundle = bundle_with(card_of(seed=seed), tmp_path / f"b{seed}")
        (tmp_path / f"b{seed}" / "history.csv").write_text(
            f"epoch,val_accuracy,seconds\n1,0.8{seed},20\n"
        )
        results.record(bundle, tmp_path)
    assert results.read_history(tmp_path / "cifar10-74.history.csv") == [
        {"epoch": 1, "val_accuracy": 0.8, "seconds": 20}
    ]
    (tmp_path / "checkout" / "saved_models" / "cifar10-79").mkdir(parents=True)
    results.record(bundle_with(card_of("cifar10-79"), tmp_path / "c"), tmp_path)
    assert not (tmp_path / "cifar10-79.history.csv").exists()


def test_the_progression_shows_the_rungs_that_were_measured(tmp_path):
    assert figures.draw_progression(tmp_path / "p.png") == LECTURE
    assert figures.draw_progression(tmp_path / "none.png", tmp_path, tmp_path) == []
    from PIL import Image

    with Image.open(tmp_path / "p.png") as picture:
        assert picture.size == (900, 380)
    assert (tmp_path / "p.png").read_bytes() != (tmp_path / "none.png").read_bytes()
    history = results.read_history(ROOT / "saved_models" / "cifar10-84")
    assert [row["epoch"] for row in history] == list(range(1, 25)) and max(
        row["val_accuracy"] for row in history
    ) > 0.84


def test_the_picture_of_minutes(tmp_path):
    apart = {**first_networks.RUNGS, **famous.RUNGS}
    shown = [rung for rung in LADDER if rung not in apart]
    assert figures.draw_minutes(tmp_path / "m.png") == shown
    assert figures.draw_minutes(tmp_path / "none.png", tmp_path, tmp_path) == []
    from PIL import Image

    with Image.open(tmp_path / "m.png") as picture:
        assert picture.size == (900, 520)


def test_committed_models_stay_small():
    assert sum(p.stat().st_size for p in (ROOT / "saved_models").rglob("*")) < 60e6
