"""Train on a folder of your own pictures, one subfolder a class, and name what is on others.

    python examples/own_pictures.py photos/ new.jpg other.jpg
    python examples/own_pictures.py          # draws pictures of its own first, to show how it goes

The bundle is written into runs/ in the working folder.
"""

import sys
from pathlib import Path

from PIL import Image

import cifar_lab


def draw_pictures(folder):
    """Write 20 pictures for each of three shapes of the embedded data set."""
    data = cifar_lab.load_data("synthetic")
    for label in range(3):
        (folder / data.classes[label]).mkdir(parents=True, exist_ok=True)
        for i, image in enumerate(data.train_images[data.train_labels == label][:20]):
            Image.fromarray(image).save(folder / data.classes[label] / f"{i}.png")


def main(folder="photos-example", *pictures):
    if len(sys.argv) == 1:
        draw_pictures(Path(folder))
    output = "runs/own-pictures-example"
    # small and quick for the drawn pictures; photos need neither
    quick = {"size": 32, "epochs": 20} if len(sys.argv) == 1 else {}
    cifar_lab.train(folder, output=output, overwrite=True, notice=print, **quick)
    pictures = pictures or sorted(map(str, Path(folder).glob("*/*")))[::20]
    for picture, best in zip(pictures, cifar_lab.load(output).classify(pictures, top=2)):
        print(f"{picture}: " + ", ".join(f"{name} {share:.1%}" for name, share in best))


if __name__ == "__main__":
    main(*sys.argv[1:])
