"""Search: the smallest tree of a trained network within a loss of accuracy."""

from __future__ import annotations

from pathlib import Path

from absl import flags

from splitnet_tf.cli.class_weight_flag import class_weights
from splitnet_tf.cli.data_flags import (
    define_data_flags,
    given_preprocessing,
    load_data,
    split_feeds,
)
from splitnet_tf.cli.define import (
    MAX_EPOCHS,
    MODEL_HELP,
    PICTURES,
    define_budget,
    define_float,
    define_integer,
    define_new_file,
    define_text,
)
from splitnet_tf.cli.grouping_flags import define_gamma_flags, define_pace_flag
from splitnet_tf.cli.output import define_output_flags, show
from splitnet_tf.cli.program import run_program
from splitnet_tf.cli.training_flags import (
    define_training_flags,
    loop,
    phase_values,
    set_seeds,
    take_recipe,
)
from splitnet_tf.grouping.recipe import GroupingRecipe
from splitnet_tf.recipe.phase import Phase
from splitnet_tf.stages.base import start_model
from splitnet_tf.stages.search import search_cuts
from splitnet_tf.storage.json_files import write_json

FLAGS = flags.FLAGS


def define_flags() -> None:
    define_data_flags()
    define_training_flags(epochs=2, initial_lr=0.02, final_lr=0.0)
    define_text("model", None, f"Trained network: {MODEL_HELP}", required=True)
    define_text(
        "basemodel", None, "Run folder or .keras file with the weights of a --model by name."
    )
    define_float(
        "max_accuracy_drop", 1.0, "Points of validation accuracy that a tree may lose.", 0, 100
    )
    define_budget("max_params", "Most parameters of a tree")
    define_budget("max_flops", "Most FLOPs of a tree for one image")
    define_integer("num_groups", 2, "Groups of each cut.", 2, 10_000)
    define_float(
        "group_epochs", 1.0, "Epochs of learning the groups of each cut.", 0.001, MAX_EPOCHS
    )
    define_gamma_flags()
    define_pace_flag()
    flags.DEFINE_boolean(
        "exhaustive",
        False,
        "Try all cuts. By default the search ends with the first that loses too much.",
    )
    define_new_file(
        "figure", "File for a picture of accuracy against parameters, FLOPs and time.", *PICTURES
    )
    define_output_flags()


def main() -> None:
    take_recipe()
    recipe = grouping_recipe()
    set_seeds()
    dataset = load_data()
    if dataset.multi_label or dataset.classifiers is not None:
        raise flags.Error("--dataset: a search needs data with one class an example, one output.")
    model, preprocessing = start_model(
        FLAGS.model, dataset, given_preprocessing(dataset), base=FLAGS.basemodel
    )
    train, valid, _ = split_feeds(dataset, FLAGS.seed, preprocessing)
    phase = Phase(**phase_values())
    found = search_cuts(
        model,
        train,
        valid,
        max_accuracy_drop=FLAGS.max_accuracy_drop / 100,
        max_params=FLAGS.max_params,
        max_flops=FLAGS.max_flops,
        num_groups=FLAGS.num_groups,
        gammas=(FLAGS.gamma1, FLAGS.gamma2, FLAGS.gamma3),
        recipe=recipe,
        class_weight=class_weights(dataset),
        phase=phase,
        run=FLAGS.train_dir,
        loop=loop(),
        exhaustive=FLAGS.exhaustive,
        seed=FLAGS.seed,
        preprocessing=preprocessing,
        restart=FLAGS.restart,
    )
    write_json(Path(FLAGS.train_dir) / "search.json", found.to_document())
    show(found)
    if FLAGS.figure:
        found.draw(FLAGS.figure)


def grouping_recipe() -> GroupingRecipe:
    """The recipe by which the groups of each cut are learned.

    Raises:
      flags.Error: two lengths.
    """
    if FLAGS.max_steps and FLAGS.group_epochs != FLAGS["group_epochs"].default:
        raise flags.Error(
            "--group_epochs has no effect with --max_steps, the length of each training; leave one "
            "out."
        )
    values = phase_values()
    # That of the finetuning but for the length: trained weights need no warm-up, the rate stays.
    values |= {"epochs": FLAGS.group_epochs, "warmup_epochs": 0, "rate_warmup_epochs": 0}
    values |= {"schedule": "cosine", "final_rate": values["rate"]}
    return GroupingRecipe(**values, pace=FLAGS.assignment_lr_scale)


def cli() -> None:
    """Runs ``splitnet-search``."""
    define_flags()
    run_program(main)


if __name__ == "__main__":
    cli()
