"""Searches for a recipe's settings, on KerasTuner's engine.

A trial is a recipe with some fields replaced, trained by the one training path in a process of its
own (trial.py); the score is measured on validation images.

    space.py     what can be searched of a recipe, and a trial's values as recipe fields
    ranges.py    a range: drawing from it, narrowing it
    request.py   what decides a search, and what may be in its folder
    search.py    a search at work: alone, as the chief of workers, or as one of these
    chief.py     the service of a search with workers; signing.py: its messages, signed
    oracles.py   which values to try next; narrowing.py: our own rule; surviving.py: outlives kills
    tuner.py     the loop over trials; process.py runs one in a process, which is trial.py
    building.py  a rung's network for a person's own KerasTuner script, and Keras' plain `fit`
    table.py     trials.csv, search.json, best_recipe.json; picture.py: search.png

Nothing but oracles, narrowing, surviving and tuner imports KerasTuner; `space` and `request`
import no Keras.
"""
