"""ImageDataGenerator's arguments as part of a recipe. Imports neither Keras nor TensorFlow."""

from __future__ import annotations

import dataclasses
import importlib.util
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from . import schema
from .errors import InputError

if TYPE_CHECKING:
    from .recipe import Recipe

#: The engine's name, as recipes have it.
ENGINE = "ImageDataGenerator"
_WHERE = "recipe field augmentation:"
#: SciPy's words for what lies outside an image.
_FILL_MODES = (
    *("nearest", "constant", "reflect", "mirror", "wrap"),
    *("grid-constant", "grid-mirror", "grid-wrap"),
)
#: What ImageDataGenerator applies to test images too, in its order.
_NORMALISING = (
    "rescale",
    "samplewise_center",
    "samplewise_std_normalization",
    "featurewise_center",
    "featurewise_std_normalization",
    "zca_whitening",
)
#: Values of an image, above which a matrix of their squared number is no longer reasonable.
_MOST_WHITENED = 4096
#: {argument that a recipe does not take: why}
REFUSED = {
    "preprocessing_function": "JSON cannot hold a function; make it a layer of your own network",
    "data_format": "images are channels_last here",
    "validation_split": "the recipe's validation_fraction decides what validates",
    "dtype": "images are float32 here",
}
#: {field of the compiled augmentation alone: what ImageDataGenerator has for it}
_INSTEAD = {
    "alternating_flip": "horizontal_flip",
    "crop_padding": "width_shift_range and height_shift_range",
}


@schema.strict(f"{_WHERE} unknown field")
@dataclass(frozen=True, kw_only=True)
class GeneratorAugmentation:
    """Arguments of `tf.keras.preprocessing.image.ImageDataGenerator`, under their names and with
    their defaults; Keras' own code does what they say, `keras.src.legacy.preprocessing.image`.

    Fields:
        rotation_range: degrees; an angle from -range to range.
        width_shift_range, height_shift_range: a float below 1 is a fraction of the size, from 1 on
            pixels, from -range to range; a whole number n shifts by whole pixels from -(n - 1) to
            n - 1; of a list one is drawn, and its sign: a fraction where all are below 1. (Keras
            exchanges the two: width_shift_range moves images up and down.)
        brightness_range: [low, high], factors; None for none.
        shear_range: degrees; from -range to range.
        zoom_range: z for factors from 1 - z to 1 + z, or [low, high]; drawn for width and height
            apart.
        channel_shift_range: 0-255; what is added to all channels, from -range to range, clipped to
            the image's own darkest and brightest value.
        fill_mode, cval: what lies outside the image, as scipy.ndimage has it.
        interpolation_order: of SciPy's splines, 0 to 5.
        horizontal_flip, vertical_flip: mirrored with a chance of one half.
        rescale: a factor of all values; None for none.
        samplewise_center, samplewise_std_normalization: each image less its mean, divided by its
            standard deviation; the second has the first.
        featurewise_center, featurewise_std_normalization: the same with each channel's figures of
            the train part; the second has the first.
        zca_whitening, zca_epsilon: images times the matrix that whitens the train part's; has
            featurewise_center.

    The last four lines change what the network is given, so they are part of the saved model.

    Raises InputError, which names the field.
    """

    mixes: ClassVar[bool] = False  # images with one another, as `Augmentation` may

    featurewise_center: bool = False
    samplewise_center: bool = False
    featurewise_std_normalization: bool = False
    samplewise_std_normalization: bool = False
    zca_whitening: bool = False
    zca_epsilon: float = 1e-6
    rotation_range: float = 0.0
    width_shift_range: float | tuple = 0.0
    height_shift_range: float | tuple = 0.0
    brightness_range: tuple | None = None
    shear_range: float = 0.0
    zoom_range: float | tuple = 0.0
    channel_shift_range: float = 0.0
    fill_mode: str = "nearest"
    cval: float = 0.0
    horizontal_flip: bool = False
    vertical_flip: bool = False
    rescale: float | None = None
    interpolation_order: int = 1

    def __post_init__(self) -> None:
        for name in (
            *("horizontal_flip", "vertical_flip", "zca_whitening"),
            *("samplewise_center", "samplewise_std_normalization"),
            *("featurewise_center", "featurewise_std_normalization"),
        ):
            self._require(name, isinstance(getattr(self, name), bool), "true or false")
        for name, high, unit in (
            ("rotation_range", 360, "degrees"),
            ("shear_range", 89, "degrees"),
            ("channel_shift_range", 255, "a number"),
            ("cval", 255, "a number"),
        ):
            value = getattr(self, name)
            self._require(name, _within(value, 0, high), f"{unit} from 0 to {high}")
            self._set(name, float(value))
        self._check_shifts()
        if _is_list(self.zoom_range):
            ok = _low_to_high(self.zoom_range, 0.01, 100)
            self._set("zoom_range", tuple(self.zoom_range))
        else:
            ok = _within(self.zoom_range, 0, 0.99)
        allowed = "a number from 0 to 0.99, or [low, high] with 0.01 <= low <= high <= 100"
        self._require("zoom_range", ok, allowed)
        factors = self.brightness_range
        ok = factors is None or _is_list(factors) and _low_to_high(factors, 0, 100)
        allowed = "[low, high] with 0 <= low <= high <= 100, or null"
        self._require("brightness_range", ok, allowed)
        if factors is not None:
            self._set("brightness_range", tuple(map(float, factors)))
        self._require(
            "fill_mode", self.fill_mode in _FILL_MODES, f"one of {', '.join(_FILL_MODES)}"
        )
        order = self.interpolation_order
        ok = isinstance(order, int) and _within(order, 0, 5)
        self._require("interpolation_order", ok, "a whole number from 0 to 5")
        ok = self.rescale is None or _within(self.rescale, 1e-12, 1e12)
        self._require("rescale", ok, "a number greater than 0, or null")
        self._check_whitening()
        for name, more in (
            ("samplewise_std_normalization", "samplewise_center"),
            ("featurewise_std_normalization", "featurewise_center"),
            ("zca_whitening", "featurewise_center"),
        ):
            if getattr(self, name):  # so it is in Keras, with a warning
                self._set(more, True)

    def _check_shifts(self) -> None:
        for name in ("width_shift_range", "height_shift_range"):
            value = getattr(self, name)
            if _is_list(value):
                ok = value and all(_within(v, -10_000, 10_000) for v in value)
                self._set(name, tuple(value))
            else:
                ok = _within(value, 0, 10_000)
            allowed = "a fraction from 0 to below 1, pixels up to 10,000, or a list of such"
            self._require(name, ok, allowed)
            still = isinstance(value, int) and value == 1
            allowed = "1.0 for shifts of up to a pixel: the whole number 1 shifts by none"
            self._require(name, not still, allowed)
            if value == 0:
                self._set(name, 0.0)

    def _check_whitening(self) -> None:
        both = self.zca_whitening and self.featurewise_std_normalization
        allowed = "false beside zca_whitening, which would override it"
        self._require("featurewise_std_normalization", not both, allowed)
        self._require("zca_epsilon", _within(self.zca_epsilon, 1e-12, 1e6), "greater than 0")
        used = self.zca_whitening or self.zca_epsilon == 1e-6
        self._require("zca_epsilon", used, "1e-06, since zca_whitening is false")
        self._set("zca_epsilon", float(self.zca_epsilon))

    def _require(self, name: str, ok: Any, allowed: str) -> None:
        if not ok:
            value = schema.told(getattr(self, name))
            raise InputError(f"{_WHERE} {name}: must be {allowed}, received {value}")

    def _set(self, name: str, value: Any) -> None:
        object.__setattr__(self, name, value)

    def check_shape(self, shape: tuple) -> None:
        """InputError for images, (height, width, channels), that are too large to be whitened."""
        if self.zca_whitening and math.prod(shape) > _MOST_WHITENED:
            raise InputError(
                f"{_WHERE} zca_whitening: needs images of at most {_MOST_WHITENED} values, has a "
                f"matrix of {math.prod(shape)} x {math.prod(shape)}"
            )

    @property
    def affine(self) -> bool:
        """Whether images are resampled, for which Keras needs SciPy."""
        zoomed = self.zoom_range not in (0, (1, 1))
        moved = self.width_shift_range or self.height_shift_range or self.shear_range
        return bool(self.rotation_range or moved or zoomed)

    @property
    def normalises(self) -> tuple[str, ...]:
        """The arguments that change test images too, in the order in which they do."""
        return tuple(name for name in _NORMALISING if getattr(self, name))

    def as_dict(self) -> dict:
        """What is not as it is by default, as JSON types."""
        return {
            name: list(value) if isinstance(value, tuple) else value
            for name, value in self.arguments().items()
            if value != _DEFAULTS[name]
        }

    def arguments(self) -> dict:
        """All fields, as ImageDataGenerator takes them."""
        return {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}

    def scaled(self, factor: float, side: int) -> GeneratorAugmentation:
        """The same for images so many times as large, side x side pixels: shifts counted in pixels
        grow with them. What is then less than a pixel is told as a fraction."""

        def larger(value: Any) -> Any:
            if isinstance(value, tuple):
                largest = max(value)  # decides for all of them whether they are pixels
                ratio = scaled_shift(largest, factor, side) / largest if largest >= 1 else 1
                return tuple(v * ratio for v in value)
            if isinstance(value, int):  # n moves by up to n - 1
                return 1 + max(1, round((value - 1) * factor))
            return scaled_shift(value, factor, side)

        names = "width_shift_range", "height_shift_range"
        return dataclasses.replace(self, **{name: larger(getattr(self, name)) for name in names})


def scaled_shift(shift: float, factor: float, side: int) -> float:
    """A shift_range for images `factor` times as large, side x side pixels. From 1 on it counts
    pixels, which grow with the images; below 1 it is a fraction, which stays."""
    if shift < 1:
        return shift
    pixels = shift * factor
    return pixels if pixels >= 1 else pixels / side


_DEFAULTS = {f.name: f.default for f in dataclasses.fields(GeneratorAugmentation)}


def of_fields(given: dict, compiled: dict) -> GeneratorAugmentation:
    """GeneratorAugmentation of {argument: value}.

    compiled: {field: its default} of the compiled augmentation: a field that ImageDataGenerator
        does not have may be there at that value, where it does nothing.
    Raises InputError for what it does not take, with the reason.
    """
    taken = {}
    for name, value in given.items():
        if name in _DEFAULTS:
            taken[name] = value
        elif name in REFUSED:
            raise InputError(f"{_WHERE} {name}: cannot be set: {REFUSED[name]}")
        elif name not in compiled:
            raise InputError(
                f"{_WHERE} unknown field {schema.told(name)}{schema.meant(name, _DEFAULTS)}: "
                f"must be one of {', '.join(_DEFAULTS)}"
            )
        elif (tuple(value) if _is_list(value) else value) != compiled[name]:
            instead = f"; it has {_INSTEAD[name]}" if name in _INSTEAD else ""
            neutral = compiled[name]
            neutral = list(neutral) if isinstance(neutral, tuple) else neutral
            raise InputError(
                f"{_WHERE} {name}: must be {neutral!r} with augmentation_engine {ENGINE}, "
                f"which has no such argument{instead}; received {schema.told(value)}"
            )
    return GeneratorAugmentation(**taken)


def stored_normalises(recipe: Any) -> bool:
    """Whether a network whose card has this recipe standardises what it is given."""
    if not isinstance(recipe, dict) or recipe.get("augmentation_engine") != ENGINE:
        return False
    return bool(set(_NORMALISING) & set(recipe.get("augmentation") or {}))


def refuse_missing(recipe: Recipe) -> None:
    """InputError where a recipe needs ImageDataGenerator and it, or SciPy where it uses that, is
    not installed. Imports neither."""
    settings = recipe.augmentation
    if not isinstance(settings, GeneratorAugmentation):
        return
    for package, used in (("TensorFlow", True), ("SciPy", settings.affine)):
        if used and not _installed(package.lower()):
            raise InputError(
                f"recipe field augmentation_engine: {ENGINE} needs {package}, which is not "
                f"installed: pip install {package.lower()}, or set the field to compiled"
            )


def _installed(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is not None
    except (ImportError, ValueError):
        return False


def _is_list(value: Any) -> bool:
    return isinstance(value, (list, tuple))


def _within(value: Any, low: float, high: float) -> bool:
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return number and low <= value <= high


def _low_to_high(pair: Any, low: float, high: float) -> bool:
    """Whether it is [a, b] with low <= a <= b <= high."""
    return len(pair) == 2 and all(_within(v, low, high) for v in pair) and pair[0] <= pair[1]
