"""Rates at each step by hand, for the loop and for ``fit`` alike."""

import keras
import numpy as np
import pytest

from splitnet_tf.errors import ArgumentError
from splitnet_tf.grouping.recipe import GroupingRecipe
from splitnet_tf.recipe import cosine, ramp, step_decay
from splitnet_tf.recipe.phase import Phase
from splitnet_tf.recipe.schedules import Rate, rate_of


def test_schedules_by_hand():
    rate = step_decay(0.1, [10, 20], 0.5, warmup=4)
    assert [rate(s) for s in (0, 3, 9, 10, 19, 20)] == pytest.approx(
        [0.025, 0.1, 0.1, 0.05, 0.05, 0.025]
    )
    rate = cosine(0.2, 100, warmup=2, hold=20, final=0.04)
    assert [rate(s) for s in (0, 1, 20, 60, 100, 120)] == pytest.approx(
        [0.1, 0.2, 0.2, 0.12, 0.04, 0.04]
    )
    grow = ramp(10, 20, 1.0, 16.0)
    assert [grow(s) for s in (0, 10, 15, 20, 30)] == pytest.approx([1, 1, 4, 16, 16])
    assert [ramp(3, 3, 1.0, 16.0)(s) for s in (3, 4)] == [1.0, 16.0]
    assert ramp(0, 0.5, 1.0, 16.0)(0.25) == 4.0


def test_a_phase_says_what_its_rate_is():
    rate = rate_of(Phase(4, 0.1, 0.02), 10, 40)
    expected = [0.02 + 0.08 * (1 + np.cos(np.pi * min(s / 40, 1))) / 2 for s in range(42)]
    assert [rate(s) for s in range(42)] == pytest.approx(expected)
    rate = rate_of(Phase(4, 0.1, schedule="step", drops=(1, 3), decay=0.2), 10, 40)
    found = [rate(s) for s in (0, 9, 10, 29, 30, 40)]
    assert found == pytest.approx([0.1, 0.1, 0.02, 0.02, 0.004, 0.004])
    with pytest.raises(ArgumentError, match="`rate_warmup_epochs=4` is all of the training, 40"):
        rate_of(Phase(4, rate_warmup_epochs=4), 10, 40)


PHASES = [
    Phase(4, 0.1, 0.02),
    Phase(4, 0.1, rate_warmup_epochs=0.5),
    Phase(4, 0.1, schedule="step", drops=(1, 3), rate_warmup_epochs=0.5),
    Phase(4, 0.1, schedule="step", drops=()),
    GroupingRecipe(4, 0.1),
]


@pytest.mark.parametrize("phase", PHASES, ids=str)
@pytest.mark.parametrize("hold", [0, 12])
def test_fit_has_the_rate_of_the_loop(phase, hold):
    schedule = Rate(phase, 10, 40, hold)
    loop = rate_of(phase, 10, 40, hold)
    steps = range(0, 44, 3)
    found = [float(schedule(keras.ops.convert_to_tensor(s, "int32"))) for s in steps]
    np.testing.assert_allclose(found, [loop(s) for s in steps], rtol=1e-5, atol=1e-8)
    # As an optimizer's configuration has it, in JSON.
    text = keras.saving.serialize_keras_object(schedule)
    again = keras.saving.deserialize_keras_object(text)
    assert [float(again(s)) for s in steps] == found
