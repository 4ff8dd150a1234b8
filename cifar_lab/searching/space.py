"""What can be searched of a recipe: its numbers, its choices, and what its builder declares.

Imports neither Keras nor KerasTuner: a range that makes no sense is refused before they start.
"""

import inspect
import math

from .. import networks, schema
from .. import recipe as recipes
from ..errors import InputError
from ..models.searchable import Choice, Number, Widths
from .ranges import Range, told

# A recipe's numbers; their bounds are the recipe's own to check
NUMBERS = (
    "learning_rate",
    "weight_decay",
    "momentum",
    "kernel_rate",
    "bias_rate_factor",
    "warmup_fraction",
    "label_smoothing",
    "validation_fraction",
    "sharpness_radius",
)
WHOLE = ("batch_size", "epochs")
CHOICES = {"optimizer": Choice(recipes.OPTIMIZERS), "schedule": Choice(recipes.SCHEDULES)}
AUGMENTATIONS = (
    "rotation_range",
    "width_shift_range",
    "height_shift_range",
    "shear_range",
    "zoom_range",
    "channel_shift_range",
    "rand_augment_factor",
    "brightness_factor",
    "contrast_factor",
    "saturation_factor",
    "hue_factor",
    "gaussian_blur_factor",
    "jpeg_share",
    "erasing_factor",
    "mixup_alpha",
    "cutmix_alpha",
    "mixing_share",
)
WHOLE_AUGMENTATIONS = ("crop_padding", "cutout_size", "rand_augment_ops")
_ANY, _ANY_WHOLE = Number(-math.inf, math.inf), Number(-math.inf, math.inf, whole=True)
_FACTOR = Number(0.01, 100)  # of all widths


# --- what there is ---


def _builder(recipe):
    """The recipe's builder, a function."""
    return networks.builder_of(recipe)


def _declared(recipe):
    """{argument: kind} that the builder says can be searched; {} where it says nothing."""
    return getattr(_builder(recipe), "searchable", {})


def _current(recipe, name):
    """What a builder's argument is in the recipe, given or by default."""
    default = inspect.signature(_builder(recipe)).parameters[name].default
    return recipe.builder_options.get(name, default)


def _widths(recipe):
    """{argument: what it is in the recipe} of the widths that `width` scales."""
    kinds = _declared(recipe).items()
    return {name: _current(recipe, name) for name, kind in kinds if isinstance(kind, Widths)}


def kinds_of(recipe, chosen=None):
    """{name: Number, Widths or Choice} of all that can be searched for a recipe.

    chosen: {name: the words of its range} of what the search itself tries: what only counts with
    another optimizer, schedule or augmentation can be searched beside it.
    """
    chosen = chosen or {}

    def used(name):
        other, values = recipes.USED_BY.get(name, (None, ()))
        return other is None or any(
            v in values for v in chosen.get(other, [getattr(recipe, other)])
        )

    def needed(name):
        switches = recipes.Augmentation.needs.get(name, ())
        on = any(s in chosen or getattr(recipe.augmentation, s, 0) for s in switches)
        return hasattr(recipe.augmentation, name) and (on or not switches)

    declared = _declared(recipe)
    return {
        **dict.fromkeys(filter(used, NUMBERS), _ANY),
        **dict.fromkeys(WHOLE, _ANY_WHOLE),
        **CHOICES,
        **({"width": _FACTOR} if _widths(recipe) else {}),
        **dict.fromkeys(filter(needed, AUGMENTATIONS), _ANY),
        **dict.fromkeys(filter(needed, WHOLE_AUGMENTATIONS), _ANY_WHOLE),
        **declared,
    }


# --- ranges ---


def parse_ranges(texts, recipe):
    """{name: Range} of texts as parse_range takes them. InputError also for two that clash."""
    chosen = {}
    for text in texts:
        name, _, given = text.partition("=")
        if name in (*CHOICES, *AUGMENTATIONS, *WHOLE_AUGMENTATIONS):
            chosen[name] = given.split(",")
    found = {}
    for text in texts:
        name, parsed = parse_range(text, recipe, chosen)
        if name in found:
            raise InputError(f"{text}: {name} has a range already")
        found[name] = parsed
        both = [n for n in _widths(recipe) if n in found]
        if both and "width" in found and "width" not in _declared(recipe):
            raise InputError(
                f"{text}: width scales {both[0]}, so only one of the two can be searched"
            )
    return found


def parse_range(text, recipe, chosen=None):
    """(name, Range) of NAME=LOW:HIGH[:log] or NAME=VALUE,VALUE,...

    chosen: as in kinds_of.

    Raises:
        InputError: the line begins with the text and says what is allowed.
    """
    name, _, given = text.partition("=")
    kinds = kinds_of(recipe, chosen)
    if name not in kinds:
        if name == "width":
            raise InputError(
                f"{text}: {recipe.builder_name} declares no widths that could be scaled"
            )
        near = schema.meant(name, kinds)
        raise InputError(f"{text}: {name!r}{near} must be one of {', '.join(kinds)}")
    if not given:
        raise InputError(
            f"{text}: must be NAME=LOW:HIGH, NAME=LOW:HIGH:log or NAME=VALUE,VALUE,..."
        )
    kind = kinds[name]
    if isinstance(kind, Choice) and ":" in given:
        listed = ", ".join(map(told, kind.options))
        raise InputError(f"{text}: must be {name}=VALUE,VALUE,... of {listed}")
    if ":" not in given:
        options = tuple(_value(word, kind, name, text) for word in given.split(","))
        if len(options) < 2 or len(set(options)) < len(options):
            raise InputError(f"{text}: needs at least two different values")
        found = Range(options=options)
    else:
        found = _low_to_high(given, kind, name, text)
    for value in found.options or (found.low, found.high):
        _check(recipe, name, kind, value, chosen or {}, text)
    return name, found


def _low_to_high(given, kind, name, text):
    parts = given.split(":")
    if len(parts) > 3 or len(parts) == 3 and parts[2] not in ("log", "linear"):
        raise InputError(f"{text}: must be LOW:HIGH, LOW:HIGH:log or LOW:HIGH:linear")
    low, high = (_value(word, kind, name, text) for word in parts[:2])
    log = parts[2:] == ["log"]
    if not low < high:
        raise InputError(f"{text}: {parts[0]} must be less than {parts[1]}")
    if log and low <= 0:
        raise InputError(f"{text}: a logarithmic range must begin above 0")
    return Range(low, high, log, _is_whole(kind))


def _is_whole(kind):
    return isinstance(kind, Widths) or isinstance(kind, Number) and kind.whole


def _value(word, kind, name, text):
    """A word of a range as a value of the kind."""
    if isinstance(kind, Choice):
        for option in kind.options:
            if told(option) == word:
                return option
        listed = ", ".join(map(told, kind.options))
        raise InputError(f"{text}: {name} must be one of {listed}, received {word!r}")
    try:
        value = int(word) if _is_whole(kind) else float(word)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise InputError(f"{text}: {word!r} must be a {'whole ' if _is_whole(kind) else ''}number")
    return value


def _check(recipe, name, kind, value, chosen, text):
    """InputError where a value is out of bounds, or the recipe does not take it."""
    if not isinstance(kind, Choice) and not kind.low <= value <= kind.high:
        raise InputError(
            f"{text}: {name} must be from {kind.low:g} to {kind.high:g}, received {value:g}"
        )
    if kind is _FACTOR:
        for argument, now in _widths(recipe).items():
            bounds, scaled = _declared(recipe)[argument], scale(now, value)
            for width in _flat(scaled):
                if not bounds.low <= width <= bounds.high:
                    raise InputError(
                        f"{text}: {argument} must be from {bounds.low} to {bounds.high}, "
                        f"and {value:g} makes it {scaled}"
                    )
    other, values = recipes.USED_BY.get(name, (None, ()))
    using = [v for v in chosen.get(other, ()) if v in values]  # a choice under which it counts
    switches = [s for s in recipes.Augmentation.needs.get(name, ()) if s in chosen]
    try:
        beside = {other: using[0]} if using else dict.fromkeys(switches, 1)
        with_fields(recipe, {name: value, **beside})
    except InputError as error:
        raise InputError(f"{text}: {error}") from None


def default_ranges(recipe):
    """{name: Range} that suits a recipe: rates, decay, the batch, and its builder's usual ones."""
    rate = recipe.learning_rate
    found = {"learning_rate": Range(rate / 100, rate * 30, log=True)}
    if recipe.optimizer == "muon":
        kernel = recipe.kernel_rate
        found["kernel_rate"] = Range(kernel / 30, min(kernel * 30, 10.0), log=True)
    decay = recipe.weight_decay
    low, high = (decay / 30, min(decay * 30, 10.0)) if decay else (1e-7, 1e-1)
    found["weight_decay"] = Range(low, high, log=True)
    sizes = tuple(max(1, round(recipe.batch_size * f)) for f in (0.5, 1, 2, 4))
    found["batch_size"] = Range(options=tuple(dict.fromkeys(sizes)))
    for name, kind in _declared(recipe).items():
        if isinstance(kind, Choice) and kind.usual:
            found[name] = Range(options=tuple(kind.usual))
        elif isinstance(kind, Number) and kind.usual:
            found[name] = Range(*kind.usual, kind.log, kind.whole)
    return found


# --- a trial's recipe ---


def with_fields(recipe, values):
    """`recipe` with {name: value} of a trial; InputError where it does not allow one."""
    return recipes.changed(recipe, recipe_fields(recipe, values), "search")


def recipe_fields(recipe, values):
    """The recipe fields, as --recipe takes them, of a trial's {name: value}: plain JSON."""
    fields, declared = {}, _declared(recipe)
    options, augmentation = dict(recipe.builder_options), dict(recipe.augmentation.as_dict())
    for name, value in values.items():
        if name in declared:
            now = _current(recipe, name)
            options[name] = [value] * len(now) if isinstance(now, (list, tuple)) else value
            fields["builder_options"] = options
        elif name == "width":
            options.update({n: scale(now, value) for n, now in _widths(recipe).items()})
            fields["builder_options"] = options
        elif name in AUGMENTATIONS or name in WHOLE_AUGMENTATIONS:
            augmentation[name] = value
            fields["augmentation"] = augmentation
        else:
            fields[name] = value
    for name, switches in recipes.Augmentation.needs.items():
        if name in augmentation and not any(augmentation.get(switch) for switch in switches):
            del augmentation[name]  # any combination is a recipe
    return {**fields, **_neutral(recipe, fields)}


def _flat(widths):
    """The numbers of a list of lists, or the one."""
    return [n for part in widths for n in _flat(part)] if isinstance(widths, list) else [widths]


def scale(widths, factor):
    """Channels times a factor, each a whole multiple of 4 and at least 4: of a number or a list."""
    if isinstance(widths, (list, tuple)):
        return [scale(width, factor) for width in widths]
    return 4 * max(1, math.floor(widths * factor / 4 + 0.5))


def used(recipe, values):
    """A trial's values without those that its own optimizer and schedule do not use."""
    idle = _idle(recipe, values)
    return {name: value for name, value in values.items() if name not in idle}


def _idle(recipe, fields):
    """Names of the recipe fields that the optimizer and schedule of `fields` do not use."""
    return [
        name
        for name, (other, values) in recipes.USED_BY.items()
        if fields.get(other, getattr(recipe, other)) not in values
    ]


def _neutral(recipe, fields):
    """{name: neutral value} of idle fields that have another one: any combination is a recipe."""
    neutral = {name: recipes.NEUTRAL[name] for name in _idle(recipe, fields)}
    return {
        name: value
        for name, value in neutral.items()
        if fields.get(name, getattr(recipe, name)) != value
    }
