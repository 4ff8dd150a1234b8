"""The one path by which every network is trained, on every backend.

`train` takes a recipe to a bundle: a Plan is resolved once, a Trainer does its epochs, and after
each everything that a later epoch depends on goes into one state file, so that a killed run goes on
exactly where it was.
"""

from .plan import Plan
from .run import train
from .trainer import Trainer

__all__ = ["Plan", "Trainer", "train"]
