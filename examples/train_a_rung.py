"""Train a rung of the ladder, then test the saved model forward only.

    python examples/train_a_rung.py                       # the embedded pictures, in seconds
    python examples/train_a_rung.py cifar10-90 cifar10    # a rung on its own data, in minutes
    python examples/train_a_rung.py cifar10-90 cifar10 DIR   # where the data are already in DIR

The bundle is written into runs/ in the working folder.
"""

import sys

import cifar_lab


def main(rung="cifar10-74", data="synthetic", data_dir=None):
    # A few images and epochs for a first look; None leaves the rung's recipe whole
    short = {"limit": 500, "epochs": 2} if data == "synthetic" else {"limit": None, "epochs": None}
    output = f"runs/{rung}-example"
    print(f"{rung}: {cifar_lab.LADDER[rung].idea}")
    cifar_lab.train(
        rung, data=data, data_dir=data_dir, output=output, overwrite=True, notice=print, **short
    )
    figures = cifar_lab.evaluate(output, data_dir=data_dir)
    print(f"test accuracy {figures['accuracy']:.2%} on {figures['images']:,} images")


if __name__ == "__main__":  # data loaders may start this file again in another process
    main(*sys.argv[1:])
