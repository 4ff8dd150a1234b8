"""The ladder: every rung is a frozen Recipe; each of the lecture's is the one below with something changed.

Recipes are plain data: this module imports no Keras, and a card stores a recipe as JSON.
"""
import dataclasses
import hashlib
import json
from dataclasses import dataclass, field, replace

from .errors import InputError

BUILDERS = ("airbench", "cifar10_cnn", "edge", "fashion_mnist_cnn", "vgg")  # the functions of cifar_lab.models
SCHEDULES = ("constant", "cosine", "triangular")
OPTIMIZERS = ("adam", "sgd", "muon")
KEEPS = ("last", "best")
# Fields that came after the first results, with the value under which nothing changes: a digest leaves them out there,
# so that results measured before them stay those of their recipe. These values are frozen, whatever the defaults become.
LATER = {"augmentation": {}, "cpu_precision": "float32", "optimizer": "adam", "momentum": 0.9, "weight_decay": 0.0,
         "bias_rate_factor": 1.0, "warmup_fraction": 0.2, "label_smoothing": 0.0, "whitening": False,
         "dirac": False, "small_images": [], "kernel_rate": 0.1, "sharpness_radius": 0.0, "sharpness_share": 0.2,
         "swa_share": 0.0, "swa_epochs": 3, "swa_rate": 0.25}
# Fields that some choices of another field alone use: {field: (the other, its values)}
USED_BY = {"momentum": ("optimizer", ("sgd", "muon")),
           "bias_rate_factor": ("optimizer", ("sgd", "muon")), "kernel_rate": ("optimizer", ("muon",)),
           "warmup_fraction": ("schedule", ("triangular",))}
PRECISIONS = ("float32", "mixed_float16", "mixed_bfloat16")
CPU_PRECISIONS = ("float32", "mixed_bfloat16")
FILL_MODES = ("nearest", "constant", "reflect", "mirror", "wrap")


def _check(owner, prefix, name, ok, allowed):
    if not ok:
        raise InputError(f"{prefix} {name}: must be {allowed}, received {getattr(owner, name)!r}")


def _number(value):
    return isinstance(value, (int, float)) and not isinstance(value, bool)


@dataclass(frozen=True)
class Augmentation:
    """What is done to a training image, drawn anew each time it is seen; by default nothing.

    In this order, and in the words of ImageDataGenerator as far as it has them:

    Fields:
        rotation_range: degrees; an angle from -range to range.
        width_shift_range, height_shift_range: below 1 a fraction of the width or height, else pixels; from -range to
            range, not only whole pixels. (ImageDataGenerator exchanges the two; where they are equal, so is it.)
        shear_range: degrees; from -range to range.
        zoom_range: z for factors from 1 - z to 1 + z, or [low, high]; drawn for width and height apart.
        fill_mode, cval: what lies outside the image, see augment.transform.
        horizontal_flip, vertical_flip: mirrored with a chance of one half.
        alternating_flip: in the first epoch half of the images, drawn, are mirrored left to right, in the second the
            other half, and so on (Jordan 2024); instead of horizontal_flip.
        crop_padding: pixels; padded by so many on each side and cropped to the old size anywhere.
        crop_fill_mode: what the padding holds, see augment.shifted_crop.
        cutout_size: pixels; a square of this side, anywhere, painted with cutout_value (0-255).
    """

    rotation_range: float = 0.0
    width_shift_range: float = 0.0
    height_shift_range: float = 0.0
    shear_range: float = 0.0
    zoom_range: float = 0.0
    fill_mode: str = "nearest"
    cval: float = 0.0
    horizontal_flip: bool = False
    vertical_flip: bool = False
    alternating_flip: bool = False
    crop_padding: int = 0
    crop_fill_mode: str = "mirror"
    cutout_size: int = 0
    cutout_value: float = 127.5

    def __post_init__(self):
        def check(name, ok, allowed):
            _check(self, "recipe field augmentation:", name, ok, allowed)

        def finite(value, low, high):
            return _number(value) and low <= value <= high

        check("rotation_range", finite(self.rotation_range, 0, 180), "degrees from 0 to 180")
        for name in ("width_shift_range", "height_shift_range"):
            check(name, finite(getattr(self, name), 0, 10_000), "a fraction below 1, or pixels")
        check("shear_range", finite(self.shear_range, 0, 89), "degrees from 0 to 89")
        if isinstance(self.zoom_range, (list, tuple)):
            object.__setattr__(self, "zoom_range", tuple(self.zoom_range))
            ok = len(self.zoom_range) == 2 and all(finite(z, 0.01, 100) for z in self.zoom_range) and (
                self.zoom_range[0] <= self.zoom_range[1])
        else:
            ok = finite(self.zoom_range, 0, 0.99)
        check("zoom_range", ok, "a number from 0 to 0.99, or [low, high] with 0.01 <= low <= high <= 100")
        for name in ("fill_mode", "crop_fill_mode"):
            check(name, getattr(self, name) in FILL_MODES, f"one of {', '.join(FILL_MODES)}")
        for name in ("cval", "cutout_value"):
            check(name, finite(getattr(self, name), 0, 255), "a number from 0 to 255")
        for name in ("horizontal_flip", "vertical_flip", "alternating_flip"):
            check(name, isinstance(getattr(self, name), bool), "true or false")
        check("alternating_flip", not (self.alternating_flip and self.horizontal_flip), "false beside horizontal_flip")
        for name in ("crop_padding", "cutout_size"):
            check(name, isinstance(getattr(self, name), int) and finite(getattr(self, name), 0, 10_000),
                  "a whole number of pixels")

    @property
    def zoom_bounds(self):
        """(low, high) of the zoom factors."""
        if isinstance(self.zoom_range, tuple):
            return self.zoom_range
        return 1 - self.zoom_range, 1 + self.zoom_range

    @property
    def affine(self):
        """Whether images are resampled."""
        return bool(self.rotation_range or self.width_shift_range or self.height_shift_range or self.shear_range
                    or self.zoom_bounds != (1, 1))

    def as_dict(self):
        """All fields as JSON types, or {} where nothing is done to the images. (A field that is added some day must be left
        out at its neutral value: recipes that results were measured with keep their digests.)"""
        if self == Augmentation():
            return {}
        return {k: list(v) if isinstance(v, tuple) else v for k, v in dataclasses.asdict(self).items()}


@dataclass(frozen=True)
class Recipe:
    """Everything that decides a run but its seed and its machine.

    Fields:
        promise: test accuracy, a fraction, of the mean over seeds; see reporting.reached.
        idea: the one thing that separates this rung from the one below.
        data: the name of the data set.
        input_shape: (height, width, channels) that images are brought to.
        builder: a function of cifar_lab.models; builder_options are its keyword arguments.
        augmentation: what is done to the training images, an Augmentation; a dict of its fields in JSON.
        small_images: ((share, side), ...): the first share of the epochs, 0 to 1, with images, validation's too, resized
            to side x side pixels, which cost less (progressive resizing; Howard 2018), and so on; shares are rounded down
            to whole epochs together, and at least the last epoch has input_shape.
        batch_size: images a step.   epochs: passes over the training part.
        learning_rate: the highest of the schedule.
        schedule: "constant"; "cosine": from learning_rate to 0 at the last step (Loshchilov and Hutter 2017);
            "triangular": from a fifth of it up to learning_rate within the first warmup_fraction of the steps, then down to 0,
            both linear (Smith and Topin 2018). With swa_share it spans the steps before the cycles.
        optimizer: "adam" (Kingma and Ba 2015), "sgd" with Nesterov's momentum, or "muon" (Jordan et al. 2024), which is that
            but for the kernels of convolutions; see optimizers.Muon.
        momentum: of "sgd" and "muon".
        kernel_rate: of "muon"; the highest rate of the convolutions' kernels, whose steps are that share of their norm.
        weight_decay: decoupled (Loshchilov and Hutter 2019): each step takes rate * weight_decay of every
            kernel from it; biases and normalisation have none.
        bias_rate_factor: of "sgd" and "muon"; biases and normalisation offsets learn at so many times the rate (Jordan 2024).
        label_smoothing: the share of the target that is spread over all classes (Szegedy et al. 2016).
        whitening: begin with a first layer that whitens train patches (Page 2019; see initialisation.whiten); the
            network needs a layer "whiten", as airbench has.
        dirac: begin with convolutions that pass on what they are given (Zagoruyko and Komodakis 2017, Jordan 2024; see
            initialisation.dirac).
        sharpness_radius: of sharpness-aware minimization (Foret et al. 2021; see sharpness.SharpnessAware), a share of each kernel's
            norm; 0 for none.
        sharpness_share: the last share of the epochs, rounded to whole ones, at least one, is trained so.
        swa_share: the last share of the epochs, rounded to whole ones, is spent on short cycles, as many as fit, and the network that is
            saved is the mean of the weights at the end of each and of those before the first (stochastic weight averaging;
            Izmailov et al. 2018), its normalisation's statistics taken anew; 0 for none. Validation figures at a
            cycle's end are those of the mean so far.
        swa_epochs: epochs of a cycle.
        swa_rate: a cycle's highest learning rate as a share of learning_rate; in all else a cycle is `schedule` once more,
            over its own steps.
        validation_fraction: the stratified share of the train split that is not trained on.
        keep: whose weights are saved: those of the "last" epoch (with swa_share their mean), or of the "best", the one with
            the highest validation accuracy (the first of equals).
        gpu_precision: the dtype policy on a GPU; what is saved is float32.
        cpu_precision: the dtype policy on a CPU that has bfloat16 instructions, under TensorFlow; elsewhere float32.

    A field that is added to these goes into LATER too.
    """

    promise: float
    idea: str
    data: str
    input_shape: tuple
    builder: str
    builder_options: dict = field(default_factory=dict)
    augmentation: Augmentation = Augmentation()
    small_images: tuple = ()
    batch_size: int = 32
    epochs: int = 25
    learning_rate: float = 0.001
    schedule: str = "constant"
    warmup_fraction: float = 0.2
    optimizer: str = "adam"
    momentum: float = 0.9
    kernel_rate: float = 0.1
    weight_decay: float = 0.0
    bias_rate_factor: float = 1.0
    label_smoothing: float = 0.0
    whitening: bool = False
    dirac: bool = False
    sharpness_radius: float = 0.0
    sharpness_share: float = 0.2
    swa_share: float = 0.0
    swa_epochs: int = 3
    swa_rate: float = 0.25
    validation_fraction: float = 0.1
    keep: str = "best"
    gpu_precision: str = "mixed_float16"
    cpu_precision: str = "float32"

    def __post_init__(self):
        def check(name, ok, allowed):
            _check(self, "recipe field", name, ok, allowed)

        def number(name):
            return _number(getattr(self, name))

        def whole(value):
            return isinstance(value, int) and not isinstance(value, bool) and value >= 1

        check("promise", number("promise") and 0 <= self.promise <= 1, "a number from 0 to 1")
        for name in ("idea", "data"):
            check(name, isinstance(getattr(self, name), str), "a string")
        check("input_shape", isinstance(self.input_shape, (list, tuple)) and len(self.input_shape) == 3
              and all(map(whole, self.input_shape)) and self.input_shape[2] in (1, 3),
              "[height, width, channels] with 1 or 3 channels")
        object.__setattr__(self, "input_shape", tuple(self.input_shape))
        check("builder", self.builder in BUILDERS, f"one of {', '.join(BUILDERS)}")
        check("builder_options", isinstance(self.builder_options, dict), "an object")
        if isinstance(self.augmentation, dict):
            names = [f.name for f in dataclasses.fields(Augmentation)]
            for name in self.augmentation:
                if name not in names:
                    raise InputError(f"recipe field augmentation: unknown field {name!r}: must be one of {', '.join(names)}")
            object.__setattr__(self, "augmentation", Augmentation(**self.augmentation))
        check("augmentation", isinstance(self.augmentation, Augmentation), "an object")
        check("small_images", isinstance(self.small_images, (list, tuple)) and all(
            isinstance(phase, (list, tuple)) and len(phase) == 2 and _number(phase[0]) and 0 < phase[0] < 1 and whole(phase[1])
            and 8 <= phase[1] < min(self.input_shape[:2]) for phase in self.small_images)
            and sum(share for share, _ in self.small_images) < 1,
            "[[share, side], ...], shares together below 1, sides from 8 to below those of input_shape")
        object.__setattr__(self, "small_images", tuple((float(share), side) for share, side in self.small_images))
        for name in ("batch_size", "epochs", "swa_epochs"):
            check(name, whole(getattr(self, name)) and getattr(self, name) <= 10**6, "a whole number from 1 to 1000000")
        check("learning_rate", number("learning_rate") and 0 < self.learning_rate <= 1e30, "a number greater than 0")
        check("schedule", self.schedule in SCHEDULES, f"one of {', '.join(SCHEDULES)}")
        check("optimizer", self.optimizer in OPTIMIZERS, f"one of {', '.join(OPTIMIZERS)}")
        for name, low, high in (("warmup_fraction", 0, 1), ("momentum", 0, 0.9999), ("weight_decay", 0, 10), ("kernel_rate", 0, 10),
                                ("bias_rate_factor", 0, 1000), ("label_smoothing", 0, 0.99),
                                ("sharpness_radius", 0, 1), ("sharpness_share", 0, 1), ("swa_share", 0, 0.9), ("swa_rate", 0, 1)):
            check(name, number(name) and low <= getattr(self, name) <= high, f"a number from {low} to {high}")
        for name, (other, values) in USED_BY.items():
            check(name, getattr(self, other) in values or getattr(self, name) == LATER[name],
                  f"{LATER[name]}, since {other} is {getattr(self, other)!r}")
        check("sharpness_share", self.sharpness_radius > 0 or self.sharpness_share == LATER["sharpness_share"],
              f"{LATER['sharpness_share']}, since sharpness_radius is 0")
        check("sharpness_share", self.sharpness_radius == 0 or self.sharpness_share > 0,
              f"greater than 0, since sharpness_radius is {self.sharpness_radius}")
        for name in ("swa_epochs", "swa_rate"):
            check(name, self.swa_share > 0 or getattr(self, name) == LATER[name], f"{LATER[name]}, since swa_share is 0")
        check("swa_rate", self.swa_rate > 0, "greater than 0")
        check("small_images", sum(share for share, _ in self.small_images) + self.swa_share < 1,
              "of shares that are, they and swa_share, together below 1")
        for name in ("promise", "learning_rate", "validation_fraction", "warmup_fraction", "momentum", "weight_decay",
                     "kernel_rate", "bias_rate_factor", "label_smoothing", "sharpness_radius", "sharpness_share", "swa_share",
                     "swa_rate"):
            if number(name):  # 1 and 1.0 are one recipe, and Keras wants floats
                object.__setattr__(self, name, float(getattr(self, name)))
        for name in ("whitening", "dirac"):
            check(name, isinstance(getattr(self, name), bool), "true or false")
        check("validation_fraction", number("validation_fraction") and 0 < self.validation_fraction < 1,
              "a number between 0 and 1")
        check("keep", self.keep in KEEPS, f"one of {', '.join(KEEPS)}")
        for name in ("small_images", "swa_share"):
            check("keep", self.keep == "last" or not getattr(self, name), f"\"last\" with {name}")
        check("gpu_precision", self.gpu_precision in PRECISIONS, f"one of {', '.join(PRECISIONS)}")
        check("cpu_precision", self.cpu_precision in CPU_PRECISIONS, f"one of {', '.join(CPU_PRECISIONS)}")

    @property
    def swa_cycles(self):
        """How many cycles come at the end."""
        return min(round(self.swa_share * self.epochs), self.epochs - 1) // self.swa_epochs

    @property
    def main_epochs(self):
        """Epochs before the first of the cycles; all, where there are none."""
        return self.epochs - self.swa_cycles * self.swa_epochs

    def as_dict(self):
        """The fields as JSON types."""
        return {**dataclasses.asdict(self), "input_shape": list(self.input_shape),
                "small_images": [list(phase) for phase in self.small_images], "augmentation": self.augmentation.as_dict()}

    def sha256(self):
        """Hex digest of what decides a run (promise and idea are words about it, and left out; so is what LATER says)."""
        decides = {k: v for k, v in self.as_dict().items()
                   if k not in ("promise", "idea") and not (k in LATER and v == LATER[k])}
        return hashlib.sha256(json.dumps(decides, sort_keys=True).encode()).hexdigest()


# As the lecture has it: Adam at its default rate, batches of 32, 25 epochs, a tenth for validation.
# The weights kept are those of the best validation epoch, because from about the tenth epoch on
# the network learns its train images by heart. Promises 74 %.
CIFAR10_74 = Recipe(
    promise=0.74, idea="the first CNN: three convolutions, pooling, dropout",
    data="cifar10", input_shape=(32, 32, 3), builder="cifar10_cnn")

# + batch normalisation, which learns faster and so overfits sooner: at a constant rate and dropout
# 0.2 it stays near 77 %. What it took, chosen on validation accuracy: no normalisation after the
# flattening (it speeds up the overfitting of the hidden layer), a cosine to zero over 24 epochs, and
# dropout 0.35. The trials are in docs/log.md. Promises 79 %.
CIFAR10_79 = replace(
    CIFAR10_74, promise=0.79, idea="batch normalisation (and a rate that falls to zero, dropout 0.35)",
    builder_options={"batch_normalization": True, "dropout": 0.35}, epochs=24, schedule="cosine")

# + more layers and L2. What the lecture leaves open: two convolutions a stage, no hidden layer (the 74
# network has 98 % of its parameters there, and they learn by heart), lambda 1e-4 with dropout 0.2, 0.3, 0.4;
# Adam from 0.002 down a cosine over 24 epochs, batches of 64, which keep the processor busier than 32. This was
# the first setting tried; at 87.4 % on validation there was nothing to search for. Trained in bfloat16 where
# the processor has it, 1.5 times as fast (docs/log.md has the accuracies). Promises 84 %.
CIFAR10_84 = replace(
    CIFAR10_79, promise=0.84, idea="two convolutions a stage, 32 - 64 - 128, and L2 kernel regularisation",
    builder="vgg", builder_options={"dropout": [0.2, 0.3, 0.4], "l2": 1e-4},
    batch_size=64, learning_rate=0.002, cpu_precision="mixed_bfloat16")

# + augmentation, each image drawn anew every epoch, and more epochs. With it the network no longer learns its
# train images by heart, and needs less dropout: with that of cifar10-84 (and 15 degrees) it underfitted, 87.9 %
# on validation after 50 epochs; with this, 88.7 % after 26 and 90.3 % after 50 (docs/log.md). 10 degrees, a tenth of the
# sides, mirrored. The last epoch is kept: the rate ends at zero, and the best of 50 flatters. Promises 88 %.
CIFAR10_88 = replace(
    CIFAR10_84, promise=0.88, idea="images turned, shifted and mirrored (and less dropout)", epochs=50, keep="last",
    builder_options={"dropout": [0.0, 0.1, 0.2], "l2": 1e-4},
    augmentation=Augmentation(rotation_range=10, width_shift_range=0.1, height_shift_range=0.1, horizontal_flip=True))

# Beyond the lecture: what Jordan's "94% on CIFAR-10 in 3.29 Seconds" (2024) does to a network of its shape, at half the
# width (a quarter of the arithmetic). Chosen on validation accuracy over 5 to 8 epochs (docs/log.md): batches
# of 256, relu (gelu costs a quarter of the speed at this width), the first half of the epochs at 24 x 24 pixels.
# Promises 90 % in less than ten minutes on two CPU cores.
CIFAR10_90 = Recipe(
    promise=0.90, idea="a whitened network, one short triangular cycle of Nesterov SGD, small images first",
    data="cifar10", input_shape=(32, 32, 3), builder="airbench",
    builder_options={"widths": [32, 128, 128], "activation": "relu"},
    augmentation=Augmentation(alternating_flip=True, crop_padding=2), small_images=((0.5, 24),),
    batch_size=256, epochs=12, learning_rate=0.4, schedule="triangular", optimizer="sgd", momentum=0.85, weight_decay=0.0088,
    bias_rate_factor=8.0, label_smoothing=0.2, whitening=True, dirac=True, keep="last", cpu_precision="mixed_bfloat16")

# The same at the widths that half an hour on two cores affords and three convolutions a stage, residual, with Muon for the convolutions,
# batches of 512, silu (whose cost hardly shows beside these convolutions), crops of 4 pixels and cutout, the last three epochs
# sharpness-aware (docs/log.md). Promises 94.0 % without test-time views, within 64 epochs' time of the 74 network.
CIFAR10_94 = replace(
    CIFAR10_90, promise=0.94, idea="64, 256, 192 channels, three convolutions a stage, Muon, cutout, sharpness-aware at the end",
    builder_options={"widths": [64, 256, 192], "convolutions": 3, "residual": True, "activation": "silu"}, epochs=21,
    validation_fraction=0.02, batch_size=512, learning_rate=0.8, optimizer="muon", kernel_rate=0.06, momentum=0.8,
    dirac=False, sharpness_radius=0.02, sharpness_share=0.15, small_images=((0.25, 20), (0.35, 24)),
    augmentation=Augmentation(alternating_flip=True, crop_padding=4, cutout_size=8))

# The network of Jordan's airbench96_faster (without its filtering of easy images), and cifar10-94's training for nearly twice the
# epochs, every whole one sharpness-aware, and the mean of the weights over six short cycles after them: four and a half hours on
# two cores. Promises 96.0 %.
CIFAR10_96 = replace(
    CIFAR10_94, promise=0.96, idea="128, 384, 512 channels, 38 epochs and six short cycles whose ends are averaged, sharpness-aware, stronger cutout",
    builder_options={"widths": [128, 384, 512], "convolutions": 3, "residual": True, "activation": "silu"},
    epochs=56, small_images=((0.143, 20), (0.25, 24)), sharpness_share=0.607, swa_share=0.321, swa_epochs=3, swa_rate=0.25,
    kernel_rate=0.05, dirac=True,
    augmentation=Augmentation(alternating_flip=True, crop_padding=4, cutout_size=12))

# For boards: depthwise separable residual networks that fit, as int8 files, into 98 and 40 KB. Muon had 80.4 % on validation
# after five epochs where Adam had 76.5 %; its kernel_rate of then, 0.08, is too high for many epochs: at the peak the networks
# stayed at 62 and 63 % of their train images (docs/log.md). Most epochs see small images, which makes half as many again in the
# same time. The promises are those of the int8 files.
CIFAR10_TINY_91 = Recipe(
    promise=0.91, idea="a 98 KB file: depthwise separable residual blocks, Muon, small images first",
    data="cifar10", input_shape=(32, 32, 3), builder="edge",
    builder_options={"stem": 16, "widths": [16, 64, 120], "blocks": [1, 7, 3]},
    augmentation=Augmentation(alternating_flip=True, crop_padding=3), small_images=((0.25, 20), (0.35, 24)),
    batch_size=128, epochs=80, learning_rate=0.1, schedule="triangular", warmup_fraction=0.1, optimizer="muon", momentum=0.9,
    kernel_rate=0.02, weight_decay=0.0005, label_smoothing=0.05, validation_fraction=0.05, keep="last")

CIFAR10_TINY_88 = replace(
    CIFAR10_TINY_91, promise=0.88, idea="a 40 KB file: fewer and narrower blocks, more epochs", epochs=120,
    builder_options={"stem": 16, "widths": [16, 40, 72], "blocks": [1, 4, 3]})

# The lecture's second data set and network. It does not give the epochs: at a constant rate ten give
# 90.8 %; chosen on validation data: 40 epochs of a cosine to zero, batches of 64. Promises 92.0 %.
FASHION_MNIST_92 = Recipe(
    promise=0.92, idea="grey images of clothes, small kernels, strong dropout",
    data="fashion-mnist", input_shape=(28, 28, 1), builder="fashion_mnist_cnn",
    batch_size=64, epochs=40, schedule="cosine")

# The same network trained as well as we know how: mirrored images, with them less dropout in the convolutions, smoothed labels,
# Adam from 0.002 down a cosine, 60 epochs. With shifted images too (2 pixels, dropout 0.1 and 0.4, 45 epochs) it underfitted:
# 92.7 % on validation, 92.5 % on test; with this 93.2 and 93.4 %. Promises 93 %.
FASHION_MNIST_93 = replace(
    FASHION_MNIST_92, promise=0.93, idea="the same 412,778 parameters, images mirrored, labels smoothed, 60 epochs",
    builder_options={"conv_dropout": 0.15, "hidden_dropout": 0.5}, batch_size=128, epochs=60, learning_rate=0.002,
    label_smoothing=0.1, augmentation=Augmentation(horizontal_flip=True), validation_fraction=0.05, keep="last",
    cpu_precision="mixed_bfloat16")

# Fashion-MNIST with the means of cifar10-90, Muon, cutout, many epochs, and at most 800,000 parameters: two stages of four convolutions,
# residual, so that half of them see 13 x 13 pixels. Promises 95.0 %.
FASHION_MNIST_95 = replace(
    CIFAR10_90, promise=0.95, idea="two residual stages of four convolutions, Muon, images mirrored, shifted, cut out, 70 epochs",
    data="fashion-mnist", input_shape=(28, 28, 1),
    builder_options={"widths": [64, 128], "convolutions": 4, "residual": True, "activation": "silu"},
    epochs=70, small_images=((0.4, 20),), validation_fraction=0.03, optimizer="muon", kernel_rate=0.04,
    augmentation=Augmentation(alternating_flip=True, crop_padding=2, cutout_size=8))

LADDER = {
    "cifar10-74": CIFAR10_74,
    "cifar10-79": CIFAR10_79,
    "cifar10-84": CIFAR10_84,
    "cifar10-88": CIFAR10_88,
    "cifar10-90": CIFAR10_90,
    "cifar10-94": CIFAR10_94,
    "cifar10-96": CIFAR10_96,
    "cifar10-tiny-88": CIFAR10_TINY_88,
    "cifar10-tiny-91": CIFAR10_TINY_91,
    "fashion-mnist-92": FASHION_MNIST_92,
    "fashion-mnist-93": FASHION_MNIST_93,
    "fashion-mnist-95": FASHION_MNIST_95,
}


def get(rung):
    """The recipe of a rung. Raises InputError naming the rungs there are."""
    try:
        return LADDER[rung]
    except KeyError:
        raise InputError(f"unknown rung {rung!r}: must be one of {', '.join(LADDER)}") from None


def changed(recipe, fields, source):
    """`recipe` with `fields` replaced; `source` names where they came from in an error."""
    if not isinstance(fields, dict):
        raise InputError(f"{source}: must hold a JSON object of recipe fields")
    names = [f.name for f in dataclasses.fields(Recipe)]
    unknown = sorted(set(fields) - set(names))
    if unknown:
        raise InputError(f"{source}: unknown recipe field {unknown[0]!r}: must be one of {', '.join(names)}")
    try:
        return replace(recipe, **fields)
    except InputError as error:
        raise InputError(f"{source}: {error}") from None


def completed(stored):
    """The fields of a recipe that a card or a state file stores, with those that came later: dict."""
    return {**LATER, **stored}


def build(recipe, num_classes):
    """The bare network of a recipe, keras.Model (imports Keras). InputError for options it refuses."""
    from . import models
    try:
        return getattr(models, recipe.builder)(recipe.input_shape, num_classes, **recipe.builder_options)
    except (TypeError, ValueError) as error:
        raise InputError(f"recipe: {recipe.builder}({recipe.input_shape}, {num_classes}, "
                         f"{recipe.builder_options}): {' '.join(str(error).split())[:300]}") from None
