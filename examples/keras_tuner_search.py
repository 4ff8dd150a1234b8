"""Search a rung's settings with KerasTuner's own tuner (pip install -e '.[tune]').

    python examples/keras_tuner_search.py                       # a few of the embedded pictures
    python examples/keras_tuner_search.py cifar10-88 cifar10    # a rung on its own data

The trials are written into searches/ in the working folder.
"""

import functools
import sys

import keras_tuner

import cifar_lab


def main(rung="cifar10-88", data="synthetic", data_dir=None):
    trials, images, epochs = (2, 300, 1) if data == "synthetic" else (20, 10_000, 5)
    found = cifar_lab.load_data(data, data_dir, cifar_lab.LADDER[rung].recipe.input_shape)
    x, y, part = found.train_images[:images], found.train_labels[:images], images // 5
    build = functools.partial(cifar_lab.build_model, rung=rung, num_classes=len(found.classes))
    tuner = keras_tuner.RandomSearch(
        build, "val_accuracy", trials, seed=0, directory="searches", project_name=f"keras-{rung}"
    )
    tuner.search(
        x[part:], y[part:], batch_size=64, epochs=epochs, validation_data=(x[:part], y[:part])
    )
    print(f"best: {tuner.get_best_hyperparameters()[0].values}")


if __name__ == "__main__":
    main(*sys.argv[1:])
