"""From a bundle to the file that a phone, a board or a browser runs: LiteRT (float32, float16,
int8), ONNX, numpy, a page.

Every file is tested on the whole test set before it is kept, and has an export card beside it,
FILE.card.json. A format is a file of this package that writes it, and its entry in `FORMATS`.
"""

from .card import is_export_of, refuse_other
from .check import compare
from .formats import FORMATS, Format
from .run import export

__all__ = ["FORMATS", "Format", "compare", "export", "is_export_of", "refuse_other"]
