"""An entry of the ladder."""

from __future__ import annotations

from dataclasses import dataclass

from ..recipe import Recipe


@dataclass(frozen=True, kw_only=True)
class Rung:
    """A named recipe, and all that a table, a test or a search must know of it.

    Fields:
        recipe: what is trained. Its promise is the test accuracy of the mean over seeds, its idea
            what separates it from the rung that it builds on.
        parameters: of its network with `num_classes` classes, a literal that a test holds against
            it.
        accuracies: (low, high), within which the test accuracy of any one seed must lie.
        weights: "committed" where saved_models/RUNG has the bundle of seed 0, else why it has not.
        lecture: whether it is one of the lecture's; these promise whole per cents, the others
            tenths.
        reached: whether the mean of its runs keeps the promise; a test holds it against them.
        runs: how many seeds its accuracy should rest on.
        times: of how many runs that had the machine for themselves its time should be the median.
    """

    recipe: Recipe
    parameters: int
    accuracies: tuple[float, float]
    weights: str = "committed"
    lecture: bool = False
    reached: bool = True
    runs: int = 5
    times: int = 0

    @property
    def promise(self) -> float:
        """Test accuracy, a fraction."""
        return self.recipe.promise

    @property
    def idea(self) -> str:
        """In a line."""
        return self.recipe.idea

    @property
    def num_classes(self) -> int:
        """Of the network that `parameters` counts: those that its data keep, else ten."""
        kept = self.recipe.data.partition(":")[2]
        return len(kept.split(",")) if kept else 10

    @property
    def committed(self) -> bool:
        """Whether its weights are in the repository."""
        return self.weights == "committed"
