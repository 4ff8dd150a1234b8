"""Where on a picture a trained network sees its answer: a sheet of the picture and two maps.

python examples/what_it_sees.py [PICTURE]
"""

import sys

import numpy as np
from PIL import Image

import cifar_lab
from cifar_lab.data import read_image, synthetic

network = cifar_lab.load("cifar10-tiny-88")
if sys.argv[1:]:
    pictures = read_image(sys.argv[1], network.input_shape)[None]
else:
    pictures, _ = synthetic.generate(1, seed=0)

(((name, probability),),) = network.classify(pictures)
by_gradient = cifar_lab.grad_cam(network, pictures)
by_covering = cifar_lab.occlusion(network, pictures)

sheet = np.concatenate(
    [pictures[0], by_gradient.over(pictures)[0], by_covering.over(pictures)[0]], 1
)
Image.fromarray(sheet).resize((768, 256), Image.Resampling.NEAREST).save("what-it-sees.png")
print(f"{name} {probability:.0%}: what-it-sees.png (layer {by_gradient.layer})")
