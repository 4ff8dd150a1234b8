"""What each file of this package holds, as `schema` checks it where it is read.

A key that is not named here is let through: a later version may have more to say.
"""

from __future__ import annotations

from .history import FIELDS
from .schema import Each, Fields, Flag, Items, Maybe, Number, Scalar, Text, Whole

SEED = Whole(0, 2**32 - 1)
SHARE = Number(0, 1)
SECONDS = Number(0, 1e12)
TEMPERATURE = Number(0.025, 40)  # calibration looks at 0.05 to 20
COUNT = Whole()
PATH = Text(10_000, path=True)  # of this machine or another one
LINE = Text(100_000, path=True)  # a command, with paths
CLASSES = Items(Text(), least=2, distinct=True)
VERSIONS = Each(Text(), 1000)

#: The recipe that a card or a state stores, in the form of its day. `recipe.Recipe` checks more, of
#: what is to be trained.
RECIPE = Fields(
    {
        "data": PATH,
        "input_shape": Items(Whole(1, 100_000), 3, 3),
        "builder": PATH,
        "builder_options": Fields(),
        "augmentation": Fields(),
        "augmentation_engine": Text(),
        "validation_fraction": SHARE,
        "whitening": Flag(),
        "start": PATH,
        "epochs": Whole(1),
        "batch_size": Whole(1),
        "promise": SHARE,
        "idea": Text(10_000, path=True),  # it may name a file
        "small_images": Items(Items(Number(), 2, 2)),
    }
)

#: {wanted share of right answers: the threshold for it, or null}
THRESHOLDS = Each(Maybe(Fields({"threshold": SHARE, "coverage": SHARE})), 1000)

DATA = Fields(
    {
        "name": PATH,
        "limit": Maybe(COUNT),
        "train_images": COUNT,
        "validation_images": COUNT,
        "test_images": COUNT,
        "test_sha256": Text(),
        "note": Text(10_000, path=True),
        "skipped": Items(PATH),
        "train_pictures": Text(10_000_000),
    }
)

#: Of card.json, and of a row of results/RUNG.json: one run.
_RUN = {
    "rung": Text(),
    "recipe_sha256": Maybe(Text()),
    "seed": SEED,
    "epoch": Maybe(Whole(1, 10**6)),
    "val_accuracy": Maybe(SHARE),
    "test_accuracy": Maybe(SHARE),
    "test_loss": Maybe(Number()),
    "seconds": SECONDS,
    "compile_seconds": SECONDS,
    "backend": Text(),
    "device": Text(),
    "precision": Text(),
    "versions": VERSIONS,
    "date": Text(),
    "command": LINE,
    "commit": Maybe(Text()),
    "clean": Maybe(Flag()),
    "alone": Maybe(Flag()),
    "other_cores": Maybe(Number(0)),
    "processor": Maybe(Text()),
    "data_sha256": Text(),
    "model_sha256": Text(),
}

CARD_KEYS = (
    "rung",
    "recipe",
    "seed",
    "classes",
    "val_accuracy",
    "test_accuracy",
    "seconds",
    "device",
    "versions",
    "data_sha256",
    "model_sha256",
)

#: card.json of a bundle.
CARD = Fields(
    {
        **_RUN,
        "recipe": Maybe(RECIPE),
        "classes": CLASSES,
        "parameters": COUNT,
        "started": Text(),
        "network": Maybe(Text()),
        "start_sha256": Maybe(Text()),
        "callbacks": Items(PATH),
        "one_program": Flag(),
        "data": DATA,
        "calibration": Maybe(
            Fields(
                {
                    "temperature": TEMPERATURE,
                    "images": COUNT,
                    "expected_calibration_error": Fields({"before": SHARE, "after": SHARE}),
                    "thresholds": THRESHOLDS,
                }
            )
        ),
    },
    needed=CARD_KEYS,
)

#: The same beside a file model.keras that is named itself.
CARD_OF_MODEL = Fields(CARD.kinds, needed=("classes", "model_sha256"))

_TENSOR = Fields({"dtype": Text(), "shape": Items(Maybe(Whole(-1))), "scale": Number()})

#: FILE.card.json of an exported file.
EXPORT_CARD = Fields(
    {
        "format": Text(),
        "rung": Text(),
        "classes": CLASSES,
        "bytes": COUNT,
        "sha256": Text(),
        "images": COUNT,
        "accuracy": SHARE,
        "keras_accuracy": SHARE,
        "agreement": SHARE,
        "largest_difference": Number(),
        "expected_calibration_error": SHARE,
        "temperature": TEMPERATURE,
        "thresholds": Maybe(THRESHOLDS),
        "data": DATA,
        "tested_on": DATA,
        "input": _TENSOR,
        "output": _TENSOR,
        "operations": Items(Text()),
        "peak_activation_bytes": Maybe(COUNT),
        "preprocessing": Text(10_000),
        "parameters": COUNT,
        "multiply_adds": COUNT,
        "calibration": Maybe(Fields({"images": COUNT, "seed": SEED, "train_sha256": Text()})),
        "source_sha256": Text(),
        "source_test_accuracy": Maybe(SHARE),
        "versions": VERSIONS,
        "command": LINE,
        "date": Text(),
    },
    needed=("classes", "sha256"),
)

_ROW_NEEDS = ("recipe_sha256", "data_sha256", "backend", "device", "seed", "seconds")

#: results/RUNG.json: what a card lacked is null in its row.
ROWS = Items(
    Fields(
        {name: kind if name in _ROW_NEEDS else Maybe(kind) for name, kind in _RUN.items()}
        | {"test_accuracy": SHARE, "recipe_sha256": Text(), "seconds_to": Each(SECONDS)},
        needed=(*_ROW_NEEDS, "test_accuracy"),
    )
)

#: A file of rows that somebody measured.
MEASURED = Items(Fields({**_RUN, "test_accuracy": SHARE}, needed=("test_accuracy",)), least=1)

HISTORY = Items(
    Fields(
        {name: Number() for name in FIELDS} | {"epoch": Whole(1, 10**6), "seconds": SECONDS},
        needed=FIELDS,
    ),
    most=10**6,
)

#: What identifies a run, in its state file.
RUN = Fields(
    {
        "rung": Text(),
        "recipe": RECIPE,
        "seed": SEED,
        "limit": Maybe(COUNT),
        "data_sha256": Text(),
        "backend": Text(),
        "precision": Text(),
        "version": Text(),
        "network": Text(),
        "start_sha256": Text(),
        "started": Text(),
        "commit": Maybe(Text()),
        "clean": Maybe(Flag()),
        "callbacks": Items(PATH),
        "one_program": Flag(),
    },
    needed=(
        *("rung", "recipe", "seed", "limit", "data_sha256", "backend", "precision"),
        *("version", "started"),
    ),
)

#: The array "meta" of a state file.
STATE = Fields(
    {
        "run": Fields(),
        "history": HISTORY,
        "compile_seconds": SECONDS,
        "arrays": Items(Whole(0, 10**6), 2, 2),
    },
    needed=("run", "history", "compile_seconds", "arrays"),
)

# --- searches -------------------------------------------------------------------------------------

#: {what a trial may be scored by: whether the highest or the lowest is the best}
OBJECTIVES = {"val_accuracy": "max", "val_loss": "min", "accuracy": "max", "loss": "min"}
TRIAL_ID = Text(9)
_IDS = Items(TRIAL_ID)
#: {name: a range of a round}: [low, high], or the options that are left
_ROUND = Fields(
    {"first_trial": COUNT, "ranges": Each(Items(Scalar(), 1, 1000), 1000)},
    needed=("first_trial", "ranges"),
)
_ROUNDS = Items(_ROUND)

#: search.json.
SEARCH = Fields(
    {
        "request": Fields(
            {
                "rung": PATH,
                "strategy": Text(),
                "ranges": Each(Text(100_000), 1000),
                "objective": Text(words=tuple(OBJECTIVES)),
                "seed": SEED,
                "trial_epochs": Maybe(Whole(1)),
                "trial_images": Maybe(Whole(1)),
                "stop_behind": Flag(),
                "data": PATH,
                "data_sha256": Text(),
                "recipe_sha256": Text(),
            },
            needed=("rung", "ranges", "objective", "data"),
        ),
        "seconds": SECONDS,
        "rounds": Maybe(_ROUNDS),
        "command": LINE,
    },
    needed=("request",),
)

#: result.json of a trial.
RESULT = Fields(
    {
        "status": Text(words=("completed", "stopped early", "failed")),
        "reason": Text(100_000, path=True),
        "machines": Flag(),
        "epochs": COUNT,
        "seconds": SECONDS,
        "compile_seconds": SECONDS,
        **dict.fromkeys(OBJECTIVES, Number()),
    },
    needed=("status",),
)
COMPLETED = Fields(needed=(*OBJECTIVES, "epochs", "seconds"))
FAILED = Fields(needed=("reason",))

#: request.json of a trial: what its process trains.
TRIAL_REQUEST = Fields(
    {
        "rung": PATH,
        "fields": Fields(),
        "data": PATH,
        "data_dir": Maybe(PATH),
        "seed": SEED,
        "limit": Maybe(Whole(1)),
        "objective": Text(words=tuple(OBJECTIVES)),
        "direction": Text(words=("max", "min")),
        "stop_behind": Flag(),
    },
    needed=(
        *("rung", "fields", "data", "data_dir", "seed", "limit", "objective", "direction"),
        "stop_behind",
    ),
)

#: trial.json, as KerasTuner's Trial.get_state has it. Its `space` is the search's own.
TRIAL = Fields(
    {
        "trial_id": TRIAL_ID,
        "hyperparameters": Fields({"values": Each(Maybe(Scalar()), 1000)}, needed=("values",)),
        "metrics": Fields(
            {
                "metrics": Each(
                    Fields(
                        {
                            "direction": Text(words=("max", "min")),
                            "observations": Items(
                                Fields(
                                    {"value": Items(Number(), 1), "step": COUNT},
                                    needed=("value", "step"),
                                )
                            ),
                        },
                        needed=("direction", "observations"),
                    ),
                    1000,
                )
            },
            needed=("metrics",),
        ),
        "score": Maybe(Number()),
        "best_step": Maybe(COUNT),
        "status": Text(words=("RUNNING", "IDLE", "INVALID", "STOPPED", "COMPLETED", "FAILED")),
        "message": Maybe(Text(1_000_000, path=True)),
    },
    needed=(
        *("trial_id", "hyperparameters", "metrics", "score", "best_step", "status", "message"),
    ),
)

#: oracle.json, as KerasTuner's Oracle.get_state has it, but for what the search knows itself.
ORACLE = Fields(
    {
        "ongoing_trials": Each(TRIAL_ID),
        "start_order": _IDS,
        "end_order": _IDS,
        "run_times": Each(COUNT),
        "retry_queue": _IDS,
        "seed": SEED,
        "seed_state": COUNT,
        "tried_so_far": Items(Text()),
        "id_to_hash": Each(Maybe(Text())),
        "rounds": _ROUNDS,  # of a narrowing search; what follows, of hyperband
        "current_bracket": Whole(0, 1000),
        "current_iteration": COUNT,
        "brackets": Items(
            Fields(
                {
                    "bracket_num": Whole(0, 1000),
                    "rounds": Items(
                        Items(
                            Fields(
                                {"past_id": Maybe(TRIAL_ID), "id": TRIAL_ID},
                                needed=("past_id", "id"),
                            )
                        ),
                        least=1,
                    ),
                },
                needed=("bracket_num", "rounds"),
            )
        ),
    },
    needed=("ongoing_trials", "start_order", "end_order", "retry_queue"),
)
