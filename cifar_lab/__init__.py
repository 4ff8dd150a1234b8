"""cifar_lab: small-image classification from the first CNN to the edge.

Importing the package imports neither Keras nor TensorFlow. The network builders are
`cifar_lab.models`; in a checkout they lie in `models/` beside this folder, and are found there.
"""
from pathlib import Path

__version__ = "0.2.0"

_ROOT = Path(__file__).resolve().parent.parent
if not (_ROOT / "cifar_lab" / "models").exists() and (_ROOT / "models" / "__init__.py").is_file():
    __path__.append(str(_ROOT))  # a checkout: cifar_lab.models is ../models
