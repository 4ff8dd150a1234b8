"""Recipes: everything that decides a training but its seed and its machine, as plain data.

A `Recipe` is flat: one JSON object, one keyword argument a field. It is made of parts, each of
which knows its own fields, what they may be and when they mean something. This module imports
no Keras.
"""

from __future__ import annotations

import dataclasses
import hashlib
import inspect
import json
import re
import textwrap
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar

from . import documents, image_data_generator, paths, schema
from .errors import InputError, reason
from .image_data_generator import GeneratorAugmentation

SCHEDULES = ("constant", "cosine", "triangular")
OPTIMIZERS = ("adam", "sgd", "muon", "momentum", "adagrad", "rmsprop")
LOSSES = (
    "categorical_crossentropy",
    "binary_crossentropy",
    "multiclass_hinge",
    "categorical_hinge",
)
MIXED_LOSSES = LOSSES[:2]  # of mixed labels; a hinge loss is of one right class
INITIALIZERS = (
    *("zeros", "random_normal", "random_uniform", "glorot_normal", "glorot_uniform"),
    *("he_normal", "he_uniform", "lecun_normal", "lecun_uniform", "orthogonal"),
)
KEEPS = ("last", "best")
PRECISIONS = ("float32", "mixed_float16", "mixed_bfloat16")
CPU_PRECISIONS = ("float32", "mixed_bfloat16")
AUGMENTATION_ENGINES = ("compiled", image_data_generator.ENGINE)
FILL_MODES = ("nearest", "constant", "reflect", "mirror", "wrap")
WORDS = ("promise", "idea")  # fields about a recipe: they decide nothing
_OWN_BUILDER = re.compile(r"(?P<file>.+\.py):(?P<name>[^\W\d]\w*)")


def _later(default: Any, neutral: Any = None) -> Any:
    """A field that came after the first results. At its neutral value it changes nothing, and a
    digest leaves it out, so that earlier results stay those of their recipe. The neutral value is
    frozen, whatever the default becomes."""
    return field(default=default, metadata={"neutral": default if neutral is None else neutral})


def _number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_text(value: Any) -> bool:
    """Whether it is a string that can be the name of a file."""
    return isinstance(value, str) and "\0" not in value


@dataclass(frozen=True, kw_only=True)
class _Part:
    """Fields of a recipe that belong together."""

    _where: ClassVar[str] = "recipe field"
    used_by: ClassVar[dict] = {}  # {field: (another, its values that use it)}

    def _require(self, name: str, ok: Any, allowed: str, names: Iterable[str] = ()) -> None:
        """InputError where not ok. names: of which a message tells the nearest."""
        if not ok:
            value = getattr(self, name)
            told = f"{schema.told(value)}{schema.meant(value, names)}"
            raise InputError(f"{self._where} {name}: must be {allowed}, received {told}")

    def _require_between(self, name: str, low: float, high: float) -> None:
        value = getattr(self, name)
        self._require(
            name, _number(value) and low <= value <= high, f"a number from {low} to {high}"
        )

    def _require_neutral(self, name: str, used: Any, why: str) -> None:
        """A field that nothing uses must be as it is by default: else it would be ignored."""
        neutral = NEUTRAL[name]
        told = neutral if neutral != "" else '""'
        self._require(name, used or getattr(self, name) == neutral, f"{told}, since {why}")

    def _set(self, name: str, value: Any) -> None:
        object.__setattr__(self, name, value)

    def check(self) -> None:
        """InputError for what this part does not allow."""


@schema.strict("recipe field augmentation: unknown field")
@dataclass(frozen=True, kw_only=True)
class Augmentation(_Part):
    """What is done to a training image, drawn anew each time it is seen; by default nothing.

    In this order, and in the words of ImageDataGenerator as far as it has them:

    Fields:
        rotation_range: degrees; an angle from -range to range.
        width_shift_range, height_shift_range: below 1 a fraction of the width or height, else
            pixels; from -range to range, not only whole pixels. (ImageDataGenerator exchanges the
            two; where they are equal, so is it.)
        shear_range: degrees; from -range to range.
        zoom_range: z for factors from 1 - z to 1 + z, or [low, high]; drawn for width and height
            apart.
        fill_mode, cval: what lies outside the image, see augment.transform.
        horizontal_flip, vertical_flip: mirrored with a chance of one half.
        alternating_flip: in the first epoch half of the images, drawn, are mirrored left to right,
            in the second the other half, and so on (Jordan 2024); instead of horizontal_flip.
        crop_padding: pixels; padded by so many on each side and cropped to the old size anywhere.
        crop_fill_mode: what the padding holds, see augment.shifted_crop.
        rand_augment_ops, rand_augment_factor: so many operations, drawn for each image out of 14,
            one after the other, of this strength, 0 to 1 (RandAugment; Cubuk et al. 2020, whose
            N, and M / 30; see rand_augment.apply). Geometry is filled by fill_mode.
        brightness_factor: b from 0 to 1; up to 255 b is added or taken.
        contrast_factor: c from 0 to 1; the distance from each channel's mean times 1 - c to 1 + c.
        saturation_factor: s from 0 to 1; the distance from grey times 1 - s to 1 + s.
        hue_factor: h from 0 to 1; colours are turned by up to h half turns, either way.
        gaussian_blur_factor: the chance, 0 to 1, that an image is blurred, with a standard
            deviation drawn from gaussian_blur_sigma, [low, high] in pixels, 0.01 to 10.
        jpeg_quality: [low, high]; saved as JPEG and read again at a quality drawn from the whole
            numbers of libjpeg's scale, 1 to 100, as Pillow does by default, see jpeg.compressed;
            jpeg_share of the images, 0 to 1. () for none.
        erasing_factor: the chance, 0 to 1, that a rectangle is erased (random erasing; Zhong et al.
            2020): erasing_scale is its share of the image, [low, high] of 0 to 1, its sides are as
            1 to 0.3 at most, and erasing_fill_value is what it holds (0-255), noise where None.
        cutout_size: pixels; a square of this side, anywhere, painted with cutout_value (0-255).
        mixup_alpha: each image of a batch is mixed with another, and so are their labels; the share
            is drawn from Beta(alpha, alpha) for each batch (Zhang et al. 2018); 0 for none.
        cutmix_alpha: a rectangle of each image is replaced by another's, and its share of the
            label is the other's; the share is drawn so for each batch (Yun et al. 2019); 0 for
            none. Of both, one is drawn for each batch.
        mixing_share: the chance, 0 to 1, that a batch is mixed. See mixing.drawn.
    """

    _where: ClassVar[str] = "recipe field augmentation:"
    #: {field: fields of which one must be on}: without, it would do nothing
    needs: ClassVar[dict[str, tuple[str, ...]]] = {
        "rand_augment_factor": ("rand_augment_ops",),
        "gaussian_blur_sigma": ("gaussian_blur_factor",),
        "jpeg_share": ("jpeg_quality",),
        "erasing_scale": ("erasing_factor",),
        "erasing_fill_value": ("erasing_factor",),
        "mixing_share": ("mixup_alpha", "cutmix_alpha"),
    }

    rotation_range: float = 0.0
    width_shift_range: float = 0.0
    height_shift_range: float = 0.0
    shear_range: float = 0.0
    zoom_range: float | tuple = 0.0
    fill_mode: str = "nearest"
    cval: float = 0.0
    horizontal_flip: bool = False
    vertical_flip: bool = False
    alternating_flip: bool = False
    crop_padding: int = 0
    crop_fill_mode: str = "mirror"
    cutout_size: int = 0
    cutout_value: float = 127.5
    rand_augment_ops: int = _later(0)
    rand_augment_factor: float = _later(0.3)
    brightness_factor: float = _later(0.0)
    contrast_factor: float = _later(0.0)
    saturation_factor: float = _later(0.0)
    hue_factor: float = _later(0.0)
    gaussian_blur_factor: float = _later(0.0)
    gaussian_blur_sigma: tuple = _later((0.1, 2.0))
    jpeg_quality: tuple = _later(())
    jpeg_share: float = _later(1.0)
    erasing_factor: float = _later(0.0)
    erasing_scale: tuple = _later((0.02, 0.4))
    erasing_fill_value: float | None = _later(None)
    mixup_alpha: float = _later(0.0)
    cutmix_alpha: float = _later(0.0)
    mixing_share: float = _later(1.0)

    def __post_init__(self) -> None:
        def within(value: Any, low: float, high: float) -> bool:
            return _number(value) and low <= value <= high

        require = self._require
        require("rotation_range", within(self.rotation_range, 0, 180), "degrees from 0 to 180")
        for name in ("width_shift_range", "height_shift_range"):
            value = getattr(self, name)
            require(name, within(value, 0, 10_000), "a fraction below 1, or pixels")
        require("shear_range", within(self.shear_range, 0, 89), "degrees from 0 to 89")
        if isinstance(self.zoom_range, (list, tuple)):
            self._set("zoom_range", tuple(self.zoom_range))
            ok = (
                len(self.zoom_range) == 2
                and all(within(z, 0.01, 100) for z in self.zoom_range)
                and self.zoom_range[0] <= self.zoom_range[1]
            )
        else:
            ok = within(self.zoom_range, 0, 0.99)
        allowed = "a number from 0 to 0.99, or [low, high] with 0.01 <= low <= high <= 100"
        require("zoom_range", ok, allowed)
        for name in ("fill_mode", "crop_fill_mode"):
            require(name, getattr(self, name) in FILL_MODES, f"one of {', '.join(FILL_MODES)}")
        for name in ("cval", "cutout_value"):
            require(name, within(getattr(self, name), 0, 255), "a number from 0 to 255")
        for name in ("horizontal_flip", "vertical_flip", "alternating_flip"):
            require(name, isinstance(getattr(self, name), bool), "true or false")
        both = self.alternating_flip and self.horizontal_flip
        require("alternating_flip", not both, "false beside horizontal_flip")
        for name in ("crop_padding", "cutout_size"):
            value = getattr(self, name)
            require(name, _whole(value) and 0 <= value <= 10_000, "a whole number of pixels")
        ok = _whole(self.rand_augment_ops) and 0 <= self.rand_augment_ops <= 10
        require("rand_augment_ops", ok, "a whole number from 0 to 10")
        for name in (
            *("rand_augment_factor", "brightness_factor", "contrast_factor", "saturation_factor"),
            *("hue_factor", "gaussian_blur_factor", "jpeg_share", "erasing_factor"),
            "mixing_share",
        ):
            self._require_between(name, 0, 1)
        for name in ("mixup_alpha", "cutmix_alpha"):
            self._require_between(name, 0, 100)
        self._require_range("gaussian_blur_sigma", 0.01, 10)
        self._require_range("erasing_scale", 0, 1)
        if self.jpeg_quality not in ((), []):
            self._require_range("jpeg_quality", 1, 100, whole=True, none=", or [] for none")
        self._set("jpeg_quality", tuple(self.jpeg_quality))
        if self.erasing_fill_value is not None:
            ok = within(self.erasing_fill_value, 0, 255)
            require("erasing_fill_value", ok, "a number from 0 to 255, or null for noise")
        for f in dataclasses.fields(self):
            if "neutral" in f.metadata and f.type in ("float", "float | None"):
                value = getattr(self, f.name)  # 1 and 1.0 are one recipe
                self._set(f.name, None if value is None else float(value))
            switches = self.needs.get(f.name, ())
            idle = switches and not any(getattr(self, switch) for switch in switches)
            if idle and getattr(self, f.name) != f.default:
                told = json.dumps(f.default)
                why = " and ".join(f"{s} is {json.dumps(getattr(self, s))}" for s in switches)
                require(f.name, False, f"{told}, since {why}")

    def _require_range(
        self, name: str, low: float, high: float, whole: bool = False, none: str = ""
    ) -> None:
        """Of [low, high], which becomes a tuple. none: what is allowed beside it, in words."""
        value = getattr(self, name)
        ok = (
            isinstance(value, (list, tuple))
            and len(value) == 2
            and all((_whole if whole else _number)(v) and low <= v <= high for v in value)
            and value[0] <= value[1]
        )
        kind = " of whole numbers" if whole else ""
        self._require(name, ok, f"[low, high]{kind} with {low} <= low <= high <= {high}{none}")
        self._set(name, tuple(value if whole else map(float, value)))

    @property
    def mixes(self) -> bool:
        """Whether images, and their labels, are mixed with others."""
        return bool((self.mixup_alpha or self.cutmix_alpha) and self.mixing_share)

    @property
    def zoom_bounds(self) -> tuple:
        """(low, high) of the zoom factors."""
        if isinstance(self.zoom_range, tuple):
            return self.zoom_range
        return 1 - self.zoom_range, 1 + self.zoom_range

    @property
    def affine(self) -> bool:
        """Whether images are resampled."""
        moved = self.width_shift_range or self.height_shift_range or self.shear_range
        return bool(self.rotation_range or moved or self.zoom_bounds != (1, 1))

    def as_dict(self) -> dict:
        """All fields as JSON types, or {} where nothing is done to the images.

        Fields that came after the first results are left out at their neutral value: recipes that
        those were measured with keep their digests.
        """
        if self == Augmentation():
            return {}
        values = {f.name: (getattr(self, f.name), f.metadata) for f in dataclasses.fields(self)}
        return {
            name: list(value) if isinstance(value, tuple) else value
            for name, (value, metadata) in values.items()
            if not ("neutral" in metadata and value == metadata["neutral"])
        }


@dataclass(frozen=True, kw_only=True)
class _Words(_Part):
    """
    promise: test accuracy, a fraction, of the mean over seeds; see report.reached.
    idea: the one thing that separates this recipe from the one that it builds on.
    """

    promise: float = 0.0
    idea: str = ""

    def check(self) -> None:
        self._require_between("promise", 0, 1)
        self._require("idea", isinstance(self.idea, str), "a string")


@dataclass(frozen=True, kw_only=True)
class _Images(_Part):
    """
    data: the name of the data set, or a folder of images.
    input_shape: (height, width, channels) that images are brought to.
    augmentation_engine: "compiled", layers in the compiled step; or "ImageDataGenerator", Keras'
        own, on the processor (needs TensorFlow, and SciPy for what resamples images).
    augmentation: what is done to the training images, an Augmentation, of ImageDataGenerator a
        GeneratorAugmentation; a dict of its fields in JSON.
    validation_fraction: the stratified share of the train split that is not trained on.
    """

    data: str = "cifar10"
    input_shape: tuple = (32, 32, 3)
    augmentation_engine: str = _later("compiled")
    augmentation: Augmentation | GeneratorAugmentation = _later(Augmentation(), {})
    validation_fraction: float = 0.1

    def check(self) -> None:
        self._require("data", _is_text(self.data), "a string")
        shape = self.input_shape
        ok = isinstance(shape, (list, tuple)) and len(shape) == 3
        ok = ok and all(_whole(n) and 1 <= n <= 10_000 for n in shape) and shape[2] in (1, 3)
        self._require(
            "input_shape", ok, "[height, width, channels] with 1 or 3 channels, sides of 1 to 10000"
        )
        self._set("input_shape", tuple(shape))
        engines = AUGMENTATION_ENGINES
        ok = self.augmentation_engine in engines
        self._require("augmentation_engine", ok, f"one of {', '.join(engines)}", engines)
        self._set("augmentation", self._augmentation())
        for name in ("saturation_factor", "hue_factor"):
            value = getattr(self.augmentation, name, 0)
            if value and shape[2] == 1:
                raise InputError(
                    f"{Augmentation._where} {name}: must be 0, since input_shape has 1 channel, "
                    f"received {value!r}"
                )
        share = self.validation_fraction
        ok = _number(share) and 0 < share < 1
        self._require("validation_fraction", ok, "a number between 0 and 1")

    def _augmentation(self) -> Augmentation | GeneratorAugmentation:
        """What the field says, of the class that the engine takes."""
        generated = self.augmentation_engine == image_data_generator.ENGINE
        given: Any = self.augmentation
        defaults = {f.name: f.default for f in dataclasses.fields(Augmentation)}
        wanted = GeneratorAugmentation if generated else Augmentation
        if not isinstance(given, wanted):
            if isinstance(given, Augmentation):
                fields = {name: getattr(given, name) for name in defaults}
                given = {name: v for name, v in fields.items() if v != defaults[name]}
                for name in ("width_shift_range", "height_shift_range"):
                    if _whole(given.get(name)):  # whole pixels are another thing there
                        given[name] = float(given[name])
            elif isinstance(given, GeneratorAugmentation):
                given = given.as_dict()
            self._require("augmentation", isinstance(given, dict), "an object")
            if generated:
                given = image_data_generator.of_fields(given, defaults)
            else:
                for name in given:
                    self._require_known(name, list(defaults))
                given = Augmentation(**given)
        if isinstance(given, GeneratorAugmentation):
            given.check_shape(self.input_shape)
        return given

    def _require_known(self, name: str, names: list[str]) -> None:
        theirs = [f.name for f in dataclasses.fields(GeneratorAugmentation)]
        if name not in names and name in theirs:
            raise InputError(
                f"recipe field augmentation: {name}: needs augmentation_engine "
                f"{image_data_generator.ENGINE}, which is {self.augmentation_engine}"
            )
        if name not in names:
            raise InputError(
                f"recipe field augmentation: unknown field {schema.told(name)}"
                f"{schema.meant(name, names)}: must be one of {', '.join(names)}"
            )


@dataclass(frozen=True, kw_only=True)
class _Network(_Part):
    """
    builder: a function of cifar_lab.models by its name, "FILE.py:NAME" for one of a file, or a
        function: builder(input_shape, num_classes, **builder_options) -> keras.Model.
    builder_options: its keyword arguments.
    whitening: begin with a first layer that whitens train patches (Page 2019; see
        initialisation.whiten); the network needs a layer "whiten", as airbench has.
    dirac: begin with convolutions that pass on what they are given (Zagoruyko and Komodakis 2017,
        Jordan 2024; see initialisation.dirac).
    initializer: the name of a Keras initializer from which all kernels are drawn, instead of those
        that the builder names; "" for the builder's.
    drop_connect: the share of the weights of each dense layer but the last that are left out, drawn
        anew for each batch (DropConnect; Wan et al. 2013); 0 for none.
    """

    builder: str | Callable = "cifar10_cnn"
    builder_options: dict = field(default_factory=dict)
    whitening: bool = _later(False)
    dirac: bool = _later(False)
    initializer: str = _later("")
    drop_connect: float = _later(0.0)

    def check(self) -> None:
        names = _builders()
        ok = (
            callable(self.builder)
            or _is_text(self.builder)
            and (self.builder in names or _OWN_BUILDER.fullmatch(self.builder))
        )
        self._require("builder", ok, f"one of {', '.join(names)}, or FILE.py:NAME", names)
        self._require("builder_options", isinstance(self.builder_options, dict), "an object")
        for name in ("whitening", "dirac"):
            self._require(name, isinstance(getattr(self, name), bool), "true or false")
        known = self.initializer in ("", *INITIALIZERS)
        self._require(
            "initializer", known, f'one of {", ".join(INITIALIZERS)}, or ""', INITIALIZERS
        )
        self._require_between("drop_connect", 0, 0.95)

    @property
    def builder_name(self) -> str:
        """The builder in a word: of a file without its folder, which is this machine's business."""
        if isinstance(self.builder, str):
            own = split_own(self.builder)
            return f"{own[0].name}:{own[1]}" if own else self.builder
        code = getattr(self.builder, "__code__", None)
        file = Path(code.co_filename).name if code else ""
        name = getattr(self.builder, "__name__", type(self.builder).__name__)
        return f"{file if file.endswith('.py') else 'notebook'}:{name}"


@dataclass(frozen=True, kw_only=True)
class _Transfer(_Part):
    """
    start: whose weights training begins with, all but the last layer's where the classes differ: a
        rung, the folder of a bundle, "weights:FILE" for a *.weights.h5 file of this network (where
        their numbers of outputs differ), or "keras:NAME" for a network of keras.applications with
        its ImageNet weights ("keras:NAME:FILE": those of a file); "" for none.
        `networks.begun_from` gives the recipe a network that they fit.
    freeze: how many of the first layers that have weights stay as they are, or "features" for all
        but the last: a linear classifier alone is trained ("linear probing").
    head_share: the first share of the epochs, rounded to whole ones, at least one, trains the last
        layer alone (Kumar et al. 2022, "LP-FT"); 0 for none.
    fine_rate: the epochs after them have this share of learning_rate.
    """

    start: str = _later("")
    freeze: int | str = _later(0)
    head_share: float = _later(0.0)
    fine_rate: float = _later(1.0)

    def check(self) -> None:
        self._require("start", _is_text(self.start), "a string")
        layers = self.freeze
        ok = layers == "features" or isinstance(layers, int) and _whole(layers) and layers >= 0
        self._require("freeze", ok, 'a whole number of layers, or "features"')
        self._require_between("head_share", 0, 0.9)
        self._require_neutral("initializer", not self.start, f"start is {self.start!r}")
        self._require_between("fine_rate", 0, 1)
        self._require("fine_rate", self.fine_rate > 0, "greater than 0")
        self._require_neutral("freeze", self.start, "start is empty")
        staged = self.start and self.freeze != "features"
        why = "start is empty" if not self.start else 'freeze is "features"'
        self._require_neutral("head_share", staged, why)
        self._require_neutral("fine_rate", self.head_share > 0, "head_share is 0")

    @property
    def head_epochs(self) -> int:
        """Epochs that train the last layer alone, before the others."""
        epochs: int = self.epochs  # type: ignore[attr-defined]
        if not self.head_share or epochs == 1:
            return 0
        return min(max(1, round(self.head_share * epochs)), epochs - 1)


@dataclass(frozen=True, kw_only=True)
class _Optimizer(_Part):
    """
    batch_size: images a step.
    learning_rate: the highest of the schedule.
    optimizer: "adam" (Kingma and Ba 2015); "sgd" with Nesterov's momentum, plain gradient descent
        where `momentum` is 0; "muon" (Jordan et al. 2024), which is that but for the kernels of
        convolutions, see optimizers.Muon; "momentum" (Polyak 1964), "adagrad" (Duchi et al. 2011)
        or "rmsprop" (Tieleman and Hinton 2012), as Keras has them.
    momentum: of "sgd", "momentum" and "muon".
    kernel_rate: of "muon"; the highest rate of the convolutions' kernels, whose steps are that
        share of their norm.
    weight_decay: decoupled (Loshchilov and Hutter 2019): each step takes rate * weight_decay of
        every kernel from it; biases and normalisation have none.
    bias_rate_factor: of "sgd" and "muon"; biases and normalisation offsets learn at so many times
        the rate (Jordan 2024).
    loss: "categorical_crossentropy"; "binary_crossentropy", the mean over the classes of each
        one's own; "multiclass_hinge", the sum over the wrong classes of max(0, 1 + their score -
        the right one's) (Weston and Watkins 1999), of the scores before the softmax; or
        "categorical_hinge", which is Keras' own of the probabilities; see losses.
    label_smoothing: the share of the target that is spread over all classes (Szegedy et al. 2016);
        of the cross-entropies.
    class_weight: "balanced": an image's loss counts the more the rarer its class is, so that all
        classes together count alike (train images / (classes * those of its class), as in
        scikit-learn); "" for images that count alike.
    """

    batch_size: int = 32
    learning_rate: float = 0.001
    optimizer: str = _later("adam")
    momentum: float = _later(0.9)
    kernel_rate: float = _later(0.1)
    weight_decay: float = _later(0.0)
    bias_rate_factor: float = _later(1.0)
    label_smoothing: float = _later(0.0)
    class_weight: str = _later("")
    loss: str = _later("categorical_crossentropy")

    used_by: ClassVar[dict] = {
        "label_smoothing": ("loss", ("categorical_crossentropy", "binary_crossentropy")),
        "momentum": ("optimizer", ("sgd", "momentum", "muon")),
        "bias_rate_factor": ("optimizer", ("sgd", "muon")),
        "kernel_rate": ("optimizer", ("muon",)),
    }

    def check(self) -> None:
        ok = _whole(self.batch_size) and 1 <= self.batch_size <= 10**6
        self._require("batch_size", ok, "a whole number from 1 to 1000000")
        ok = _number(self.learning_rate) and 0 < self.learning_rate <= 1e30
        self._require("learning_rate", ok, "a number greater than 0")
        self._require(
            "optimizer", self.optimizer in OPTIMIZERS, f"one of {', '.join(OPTIMIZERS)}", OPTIMIZERS
        )
        self._require("loss", self.loss in LOSSES, f"one of {', '.join(LOSSES)}", LOSSES)
        self._require("class_weight", self.class_weight in ("", "balanced"), '"balanced" or ""')
        for name, low, high in (
            ("momentum", 0, 0.9999),
            ("weight_decay", 0, 10),
            ("kernel_rate", 0, 10),
            ("bias_rate_factor", 0, 1000),
            ("label_smoothing", 0, 0.99),
        ):
            self._require_between(name, low, high)


@dataclass(frozen=True, kw_only=True)
class _Schedule(_Part):
    """
    epochs: passes over the training part.
    schedule: "constant"; "cosine": from learning_rate to 0 at the last step (Loshchilov and Hutter
        2017); "triangular": from a fifth of it up to learning_rate within the first warmup_fraction
        of the steps, then down to 0, both linear (Smith and Topin 2018). With swa_share it spans
        the steps before the cycles.
    warmup_fraction: of "triangular".
    keep: whose weights are saved: those of the "last" epoch (with swa_share their mean), or of the
        "best", the one with the highest validation accuracy (the first of equals; of fewer than
        1,000 images the one with the lowest validation loss).
    patience: training stops early ("early stopping"; Prechelt 1998) where none of so many epochs
        was the best, as `keep` tells it; 0 for never.
    """

    epochs: int = 25
    schedule: str = "constant"
    warmup_fraction: float = _later(0.2)
    keep: str = "best"
    patience: int = _later(0)

    used_by: ClassVar[dict] = {
        "warmup_fraction": ("schedule", ("triangular",)),
        "patience": ("keep", ("best",)),
    }

    def check(self) -> None:
        ok = _whole(self.epochs) and 1 <= self.epochs <= 10**6
        self._require("epochs", ok, "a whole number from 1 to 1000000")
        self._require(
            "schedule", self.schedule in SCHEDULES, f"one of {', '.join(SCHEDULES)}", SCHEDULES
        )
        self._require_between("warmup_fraction", 0, 1)
        self._require("keep", self.keep in KEEPS, f"one of {', '.join(KEEPS)}")
        ok = _whole(self.patience) and 0 <= self.patience <= 10**6
        self._require("patience", ok, "a whole number of epochs, 0 for none")


@dataclass(frozen=True, kw_only=True)
class _SmallImages(_Part):
    """
    small_images: ((share, side), ...): the first share of the epochs, 0 to 1, with images,
        validation's too, resized to side x side pixels, which cost less (progressive resizing;
        Howard 2018), and so on; shares are rounded down to whole epochs together, and at least the
        last epoch has input_shape.
    """

    small_images: tuple = _later((), [])

    def check(self) -> None:
        phases = self.small_images
        ok = isinstance(phases, (list, tuple)) and all(
            isinstance(phase, (list, tuple))
            and len(phase) == 2
            and _number(phase[0])
            and 0 < phase[0] < 1
            and _whole(phase[1])
            and 8 <= phase[1] < min(self.input_shape[:2])  # type: ignore[attr-defined]
            for phase in phases
        )
        ok = ok and sum(share for share, _ in phases) < 1
        allowed = (
            "[[share, side], ...], shares together below 1, sides from 8 to below those of "
            "input_shape"
        )
        self._require("small_images", ok, allowed)
        self._set("small_images", tuple((float(share), side) for share, side in phases))


@dataclass(frozen=True, kw_only=True)
class _Sharpness(_Part):
    """
    sharpness_radius: of sharpness-aware minimization (Foret et al. 2021; see
        sharpness.SharpnessAware), a share of each kernel's norm; 0 for none.
    sharpness_share: the last share of the epochs, rounded to whole ones, at least one, is trained
        so.
    """

    sharpness_radius: float = _later(0.0)
    sharpness_share: float = _later(0.2)

    def check(self) -> None:
        self._require_between("sharpness_radius", 0, 1)
        self._require_between("sharpness_share", 0, 1)
        aware = self.sharpness_radius > 0
        self._require_neutral("sharpness_share", aware, "sharpness_radius is 0")
        ok = not aware or self.sharpness_share > 0
        why = f"greater than 0, since sharpness_radius is {self.sharpness_radius}"
        self._require("sharpness_share", ok, why)


@dataclass(frozen=True, kw_only=True)
class _FreezeOut(_Part):
    """
    freezeout_layers: how many of the first layers that have weights stop learning before the others
        (FreezeOut; Brock et al. 2017), so that steps cost less; 0 for none.
    freezeout_share: the last share of the epochs, rounded to whole ones, at least one, in which
        they no longer learn.
    """

    freezeout_layers: int = _later(0)
    freezeout_share: float = _later(0.3)

    def check(self) -> None:
        ok = _whole(self.freezeout_layers) and self.freezeout_layers >= 0
        self._require("freezeout_layers", ok, "a whole number of layers, 0 for none")
        self._require_between("freezeout_share", 0, 0.9)
        self._require("freezeout_share", self.freezeout_share > 0, "greater than 0")
        used = self.freezeout_layers > 0
        self._require_neutral("freezeout_share", used, "freezeout_layers is 0")
        averaged = self.swa_share > 0  # type: ignore[attr-defined]
        self._require_neutral("freezeout_layers", not averaged, "swa_share is not 0")

    @property
    def freezeout_epochs(self) -> int:
        """The last epochs, in which the first layers no longer learn."""
        if not self.freezeout_layers:
            return 0
        return max(1, round(self.freezeout_share * self.epochs))  # type: ignore[attr-defined]


@dataclass(frozen=True, kw_only=True)
class _Averaging(_Part):
    """
    swa_share: the last share of the epochs, rounded to whole ones, is spent on short cycles, as
        many as fit, and the network that is saved is the mean of the weights at the end of each and
        of those before the first (stochastic weight averaging; Izmailov et al. 2018), its
        normalisation's statistics taken anew; 0 for none. Validation figures at a cycle's end are
        those of the mean so far.
    swa_epochs: epochs of a cycle.
    swa_rate: a cycle's highest learning rate as a share of learning_rate; in all else a cycle is
        `schedule` once more, over its own steps.
    """

    swa_share: float = _later(0.0)
    swa_epochs: int = _later(3)
    swa_rate: float = _later(0.25)

    def check(self) -> None:
        ok = _whole(self.swa_epochs) and 1 <= self.swa_epochs <= 10**6
        self._require("swa_epochs", ok, "a whole number from 1 to 1000000")
        self._require_between("swa_share", 0, 0.9)
        self._require_between("swa_rate", 0, 1)
        for name in ("swa_epochs", "swa_rate"):
            self._require_neutral(name, self.swa_share > 0, "swa_share is 0")
        self._require("swa_rate", self.swa_rate > 0, "greater than 0")

    @property
    def swa_cycles(self) -> int:
        """How many cycles come at the end."""
        epochs: int = self.epochs  # type: ignore[attr-defined]
        return min(round(self.swa_share * epochs), epochs - 1) // self.swa_epochs

    @property
    def main_epochs(self) -> int:
        """Epochs before the first of the cycles; all, where there are none."""
        return self.epochs - self.swa_cycles * self.swa_epochs  # type: ignore[attr-defined]


@dataclass(frozen=True, kw_only=True)
class _Precision(_Part):
    """
    gpu_precision: the dtype policy on a GPU; what is saved is float32.
    cpu_precision: the dtype policy on a CPU that has bfloat16 instructions, under TensorFlow;
        elsewhere float32.
    """

    gpu_precision: str = "mixed_float16"
    cpu_precision: str = _later("float32")

    def check(self) -> None:
        for name, allowed in (("gpu_precision", PRECISIONS), ("cpu_precision", CPU_PRECISIONS)):
            self._require(name, getattr(self, name) in allowed, f"one of {', '.join(allowed)}")


# the last is the first in the order of the fields
@schema.strict("unknown recipe field")
@dataclass(frozen=True, kw_only=True)
class Recipe(
    _Precision,
    _Averaging,
    _FreezeOut,
    _Sharpness,
    _SmallImages,
    _Schedule,
    _Optimizer,
    _Transfer,
    _Network,
    _Images,
    _Words,
):
    """Everything that decides a run but its seed and its machine; immutable.

    Raises InputError, a ValueError that names the field, for values that are wrong or would do
    nothing. Fields (all keyword arguments, all with defaults):
    """

    def __post_init__(self) -> None:
        for part in PARTS:
            part.check(self)
        for name, (other, values) in USED_BY.items():
            chosen = getattr(self, other)
            self._require_neutral(name, chosen in values, f"{other} is {chosen!r}")
        if self.augmentation.mixes and self.loss not in MIXED_LOSSES:
            raise InputError(
                f"recipe field loss: must be one of {', '.join(MIXED_LOSSES)} with augmentation's "
                f"mixup_alpha or cutmix_alpha, received {self.loss!r}"
            )
        shares = sum(share for share, _ in self.small_images) + self.swa_share
        allowed = "of shares that are, they and swa_share, together below 1"
        self._require("small_images", shares < 1, allowed)
        for name in ("small_images", "swa_share"):
            ok = self.keep == "last" or not getattr(self, name)
            self._require("keep", ok, f'"last" with {name}')
        if isinstance(self.augmentation, GeneratorAugmentation) and self.augmentation.normalises:
            why = f"augmentation's {self.augmentation.normalises[0]} changes what the network sees"
            for name in ("whitening", "start"):
                self._require_neutral(name, False, why)
        for f in dataclasses.fields(self):
            if f.type == "float":  # 1 and 1.0 are one recipe, and Keras wants floats
                self._set(f.name, float(getattr(self, f.name)))
        free = {"idea": self.idea, "builder_options": self.builder_options}
        try:
            schema.parse(json.dumps(free), documents.RECIPE)
        except (TypeError, ValueError, RecursionError) as error:
            raise InputError(f"recipe: no card can hold it: {reason(error)[:200]}") from None

    def as_dict(self) -> dict:
        """The fields as JSON types."""
        return {
            **dataclasses.asdict(self),
            "input_shape": list(self.input_shape),
            "small_images": [list(phase) for phase in self.small_images],
            "augmentation": self.augmentation.as_dict(),
            "builder": self.builder_name,
        }

    def sha256(self) -> str:
        """Hex digest of what decides a run: all fields but the words about it, and those that came
        later and are at their neutral value."""
        decides = {
            name: value
            for name, value in self.as_dict().items()
            if name not in WORDS and not (name in NEUTRAL and value == NEUTRAL[name])
        }
        return hashlib.sha256(json.dumps(decides, sort_keys=True).encode()).hexdigest()


PARTS: tuple[type[_Part], ...] = tuple(
    part for part in reversed(Recipe.__mro__[1:]) if issubclass(part, _Part) and part is not _Part
)
Recipe.__doc__ = "\n\n".join(
    [
        inspect.cleandoc(Recipe.__doc__ or ""),
        *(textwrap.indent(inspect.cleandoc(part.__doc__ or ""), "    ") for part in PARTS),
    ]
)
#: {field: the value at which it changes nothing} of the fields that came after the first results.
NEUTRAL: dict[str, Any] = {
    f.name: f.metadata["neutral"] for f in dataclasses.fields(Recipe) if "neutral" in f.metadata
}


#: {field: (another, its values that use it)}; under other values it must be neutral.
USED_BY: dict[str, tuple[str, tuple]] = {
    name: rule for part in PARTS for name, rule in part.used_by.items()
}


def _builders() -> list[str]:
    """Names of the builders of cifar_lab.models."""
    try:
        from . import models
    except ImportError:
        paths.require_installed()
        raise
    return models.__all__


def resized(recipe: Recipe, side: int) -> Recipe:
    """`recipe` for images of side x side pixels; what it counts in pixels grows or shrinks with
    them. InputError for a side that is too small."""
    if not (_whole(side) and 8 <= side <= 1024):
        raise InputError(
            f"`size`: must be a whole number of pixels from 8 to 1024, received {side!r}"
        )
    factor = side / max(recipe.input_shape[:2])
    augmentation = recipe.augmentation
    if isinstance(augmentation, GeneratorAugmentation):
        augmentation = augmentation.scaled(factor, side)
    else:
        scaled: dict[str, Any] = {
            name: round(getattr(augmentation, name) * factor)
            for name in ("crop_padding", "cutout_size")
        }
        for name in ("width_shift_range", "height_shift_range"):
            shift = getattr(augmentation, name)
            scaled[name] = image_data_generator.scaled_shift(shift, factor, side)
        if augmentation.gaussian_blur_factor:
            sigma = augmentation.gaussian_blur_sigma
            scaled["gaussian_blur_sigma"] = tuple(min(max(s * factor, 0.01), 10) for s in sigma)
        augmentation = replace(augmentation, **scaled)
    phases = [(share, round(small * factor)) for share, small in recipe.small_images]
    return replace(
        recipe,
        input_shape=(side, side, recipe.input_shape[2]),
        augmentation=augmentation,
        small_images=tuple(phase for phase in phases if 8 <= phase[1] < side),
    )


def split_own(name: str) -> tuple[Path, str] | None:
    """(file, name in it) of "FILE.py:NAME"; None for another form."""
    match = _OWN_BUILDER.fullmatch(name)
    return (Path(match["file"]), match["name"]) if match else None


def split_start(name: str) -> tuple[str, str]:
    """(NAME, FILE) of "keras:NAME:FILE", FILE "" where there is none; ("", "") for another form."""
    kind, _, rest = name.partition(":")
    network, _, file = rest.partition(":")
    return (network, file) if kind == "keras" else ("", "")


def weights_file(start: str) -> str:
    """FILE of a start "weights:FILE"; "" for another form."""
    kind, _, file = start.partition(":")
    return file if kind == "weights" else ""


def changed(recipe: Recipe, fields: Any, source: str) -> Recipe:
    """`recipe` with `fields` replaced, a dict; `source` names where they came from in an error."""
    if not isinstance(fields, dict):
        raise InputError(f"{source}: must hold a JSON object of recipe fields")
    names = [f.name for f in dataclasses.fields(Recipe)]
    unknown = sorted(set(fields) - set(names), key=str)
    if unknown:
        raise InputError(
            f"{source}: unknown recipe field {schema.told(unknown[0])}"
            f"{schema.meant(unknown[0], names)}: must be one of {', '.join(names)}"
        )
    try:
        return replace(recipe, **fields)
    except InputError as error:
        raise InputError(f"{source}: {error}") from None


def completed(stored: dict) -> dict:
    """The fields of a recipe that a card or a state file stores, with those that came later."""
    return {**NEUTRAL, **stored}
