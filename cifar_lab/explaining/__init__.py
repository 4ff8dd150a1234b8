"""What a network sees: arrays to draw, of a network and of pictures.

`grad_cam` and `occlusion` say which places of a picture speak for a class, `feature_maps` what the
layers make of it, `first_filters` what the first convolution looks for, `likest_edges` how near
that is to Sobel's and Scharr's filters, `templates` the pictures that a linear network compares
with.

What a network does not have is an InputError, whose line says why. Grad-CAM and all that looks into
layers needs a network that Keras opens; occlusion needs nothing but probabilities, so it takes
exported files too.
"""

from .activation import grad_cam
from .covering import occlusion
from .features import FeatureMaps, feature_maps
from .filters import Edge, Filters, cosines, first_filters, likest_edges, scharr, sobel, stretched
from .heat import Heat
from .linear import Templates, templates

__all__ = [
    "Edge",
    "FeatureMaps",
    "Filters",
    "Heat",
    "Templates",
    "cosines",
    "feature_maps",
    "first_filters",
    "grad_cam",
    "likest_edges",
    "occlusion",
    "scharr",
    "sobel",
    "stretched",
    "templates",
]
