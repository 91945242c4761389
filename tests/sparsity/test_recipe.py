"""The recipe of sparse training: a phase and a plan in one, checked."""

import pytest

from splitnet_tf.errors import ArgumentError
from splitnet_tf.recipe.phase import Phase
from splitnet_tf.sparsity import SparsityPlan, SparsityRecipe, sparse_model, strength_at
from tests.conftest import small_alexnet


def test_a_recipe_is_a_phase_and_a_plan():
    recipe = SparsityRecipe(spaces={"conv1": 0.1}, epochs=3, rate=0.05, target_flops=0.3)
    assert isinstance(recipe, Phase) and isinstance(recipe, SparsityPlan)
    assert (recipe.epochs, recipe.rate, recipe.momentum) == (3, 0.05, 0.9)
    assert recipe.structures == ("spaces",) and recipe.targets == {"target_flops": 0.3}
    assert len(sparse_model(small_alexnet(), recipe).losses) == 1


def test_strength_over_time():
    assert [strength_at(step, 0, 0) for step in (0, 5)] == [1.0, 1.0]
    assert [strength_at(step, 3, 0) for step in (2, 3)] == [0.0, 1.0]
    assert [strength_at(step, 3, 2) for step in (2, 3, 4, 5, 6)] == [0, 0, 0.5, 1, 1]


@pytest.mark.parametrize(
    "settings, sentence",
    [
        ({"spaces": 0.0}, "A plan needs a strength above 0"),
        ({"rate": -1}, "`rate` must be a number of 0 or more"),
        ({"warmup_epochs": -1}, "`warmup_epochs` must be a number of 0 or more; got -1"),
        ({"ramp_epochs": float("nan")}, "`ramp_epochs` must be a number of 0 or more; got nan"),
        ({"target_flops": 0}, "`target_flops` must be a number above 0 and at most 1; got 0"),
        ({"target_params": 1.5}, "`target_params` must be a number above 0 and at most 1; got 1.5"),
        ({"growth": 1.0}, "`growth` must be a number above 1; got 1.0"),
        ({"warmup_epochs": "2"}, "`warmup_epochs` must be a number of 0 or more; got '2'"),
        ({"target_flops": "0.3"}, "`target_flops` must be a number above 0 and .*got '0.3'"),
        ({"growth": "2"}, "`growth` must be a number above 1; got '2'"),
        ({"epochs": "3"}, "`epochs` must be a number of 0 or more; got '3'"),
        ({"momentum": None}, "`momentum` must be a number from 0 to below 1; got None"),
        ({"update": "subgradient", "ramp_epochs": 1}, "or take `update=proximal`"),
        ({"update": "subgradient", "target_flops": 0.5}, "With `update=subgradient` the strength"),
    ],
)
def test_wrong_recipes(settings, sentence):
    with pytest.raises(ArgumentError, match=sentence):
        SparsityRecipe(**{"spaces": 0.1, **settings})
