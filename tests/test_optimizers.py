"""FusedAdam is Adam."""
import keras
import numpy as np
import pytest

from cifar_lab.optimizers import FusedAdam


@pytest.mark.parametrize("schedule", [False, True])
def test_the_same_steps_as_keras_adam(schedule):
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(64, 20)).astype("float32"), rng.integers(0, 3, 64)

    def weights(optimizer):
        keras.utils.set_random_seed(0)
        model = keras.Sequential([keras.Input((20,)), keras.layers.Dense(30, "tanh"), keras.layers.Dense(3, "softmax")])
        rate = keras.optimizers.schedules.CosineDecay(0.01, 40) if schedule else 0.01
        model.compile(optimizer(rate), "sparse_categorical_crossentropy", jit_compile=False)
        model.fit(x, y, batch_size=16, epochs=10, shuffle=False, verbose=0)
        return [*model.get_weights(), *(np.asarray(keras.ops.convert_to_numpy(v)) for v in model.optimizer.variables)]
    ours, keras_own = weights(FusedAdam), weights(keras.optimizers.Adam)
    assert len(ours) == len(keras_own)
    for a, b in zip(ours, keras_own):
        np.testing.assert_allclose(a, b, rtol=2e-4, atol=2e-6)
