"""Group: trains a classifier while it learns which classes and features belong together."""

from __future__ import annotations

import logging

import keras
from absl import flags

from splitnet_tf.cli.class_weight_flag import class_weights
from splitnet_tf.cli.data_flags import (
    data_settings,
    define_data_flags,
    given_preprocessing,
    load_data,
    split_feeds,
)
from splitnet_tf.cli.device_flags import (
    RELAUNCH,
    chosen_devices,
    define_worker_flags,
    run_on_devices,
)
from splitnet_tf.cli.distribute_flags import (
    check_distribute_flags,
    define_distribute_flags,
    over_devices,
)
from splitnet_tf.cli.grouping_flags import (
    check_budget_flags,
    check_grouping_flags,
    define_learning_flags,
    define_model_flags,
    define_split_flags,
    model_name,
    sections_for,
)
from splitnet_tf.cli.teaching_flags import define_teaching_flags, teacher, teaching
from splitnet_tf.cli.training_flags import (
    define_training_flags,
    loop,
    make_run,
    phase_values,
    set_seeds,
    settings,
    several_loss,
    take_recipe,
)
from splitnet_tf.data import Dataset, superclass_taxonomy
from splitnet_tf.grouping import SplitPlan, group_model
from splitnet_tf.grouping.recipe import GroupingRecipe
from splitnet_tf.recipe.phase import Phase
from splitnet_tf.recipe.preprocessing import Preprocessing
from splitnet_tf.runs import RunDirectory
from splitnet_tf.runs.start_files import check_start_files
from splitnet_tf.stages.auto_splits import AUTO, SECTIONS, as_text
from splitnet_tf.stages.base import own_keep_probability, start_model, start_settings
from splitnet_tf.stages.finetune import Finetuned, finetune
from splitnet_tf.stages.given import GivenClasses, given_classes
from splitnet_tf.stages.learn_groups import LearnedGroups, learn_groups, warmup_steps
from splitnet_tf.stages.loop import Loop, check_phase
from splitnet_tf.stages.teaching import teacher_settings
from splitnet_tf.storage.digests import digest_arrays

FLAGS = flags.FLAGS


def define_flags() -> None:
    define_data_flags()
    define_training_flags(epochs=8, initial_lr=0.1, final_lr=0.02)
    define_model_flags()
    define_split_flags()
    define_learning_flags()
    define_teaching_flags(before=False)
    define_distribute_flags()
    define_worker_flags("Divide each batch, with --distribute, over")


def main() -> None:
    take_recipe()
    teaching()
    check_budget_flags()
    check_distribute_flags(places=False)
    files = {"model": FLAGS.model, "grouping": FLAGS.grouping, "teacher": FLAGS.teacher}
    check_start_files(FLAGS.train_dir, FLAGS.basemodel, **files)
    devices = chosen_devices()  # before TensorFlow begins
    set_seeds()
    dataset = load_data()
    sections = sections_for(dataset)
    plain, preprocessing = start_model(
        *(model_name(), dataset, given_preprocessing(dataset)),
        base=FLAGS.basemodel,
        sections=sections,
        dropout_keep_prob=FLAGS.dropout_keep_prob,
        bn_no_scale=FLAGS.bn_no_scale,
    )
    weights = class_weights(dataset)
    plan = SplitPlan.from_sections(plain, sections)
    check_grouping_flags(plan)
    if FLAGS.splits == AUTO:
        logging.info("--splits=auto takes %s.", as_text(sections))
    if plan.kernels and FLAGS.teacher:
        raise flags.Error(
            "--teacher has no effect while groups are learned; give it to split, or to a network "
            "of which no kernel is split."
        )
    program = learn if plan.kernels else train
    found = program(dataset, plain, plan, preprocessing, weights, over_devices(loop(), devices))
    logging.info("%s Written to %s.", found, FLAGS.train_dir)


def learn(
    dataset: Dataset,
    plain: keras.Model,
    plan: SplitPlan,
    preprocessing: Preprocessing,
    weights: dict[int, float] | None,
    how: Loop,
) -> LearnedGroups:
    """Learns the groups of a network, as the flags say."""
    data, recipe = split_feeds(dataset, FLAGS.seed, preprocessing), grouping_recipe()
    given = classes_given(dataset, plan)
    # What the flags make wrong is found before they are written into the run folder.
    check_phase(recipe, how, data[0].steps_per_epoch)
    warmup_steps(recipe, how, data[0].steps_per_epoch)
    grouped = make_grouped(plain, plan)
    logging.info("%s", plan)
    config = run_settings(dataset, plain, plan, given, preprocessing)
    return learn_groups(
        *(grouped, *data[:2], recipe),
        run=begin_run(config),
        test=data[2],
        loop=how,
        method=FLAGS.method,
        given=given,
        class_names=dataset.class_names,
        superclasses=dataset.superclasses,
        class_weight=weights,
        seed=FLAGS.seed,
        split_pace=10.0 if FLAGS.finetune else 1.0,
        picture_interval=FLAGS.group_summary_interval,
        measure_start="start_digest" in config,
        loss=several_loss(dataset, grouped, recipe),
        trained=plain,
        preprocessing=preprocessing,
        settings=settings(),
    )


def train(
    dataset: Dataset,
    plain: keras.Model,
    plan: SplitPlan,
    preprocessing: Preprocessing,
    weights: dict[int, float] | None,
    how: Loop,
) -> Finetuned:
    """Trains a network of which no kernel is split, to compare with."""
    data, phase = split_feeds(dataset, FLAGS.seed, preprocessing), Phase(**phase_values())
    check_phase(phase, how, data[0].steps_per_epoch)
    taught = {"teacher": teacher(plain, preprocessing), "teaching": teaching()}
    config = run_settings(dataset, plain, plan, classes_given(dataset, plan), preprocessing)
    config.update(teacher_settings(taught["teacher"]))
    logging.info("No kernel is split: training the plain model.")
    return finetune(
        *(plain, *data[:2], phase),
        run=begin_run(config),
        test=data[2],
        loop=how,
        class_weight=weights,
        loss=several_loss(dataset, plain, phase),
        **taught,
        measure_start="start_digest" in config,
        preprocessing=preprocessing,
        settings=settings(),
    )


def begin_run(config: dict) -> RunDirectory:
    """The run folder; after a lost worker the run goes on in it."""
    run = make_run(config)
    RELAUNCH.append("--restart=false")
    return run


def run_settings(
    dataset: Dataset,
    plain: keras.Model,
    plan: SplitPlan,
    given: GivenClasses | None,
    preprocessing: Preprocessing,
) -> dict:
    """The settings of the run; files that it starts from may not change under it."""
    keep = FLAGS.dropout_keep_prob
    config = {
        **settings(),
        **data_settings(dataset, preprocessing),
        "dropout_keep_prob": own_keep_probability(model_name()) if keep is None else keep,
        "given_digest": None,
    }
    if FLAGS.splits == AUTO:
        config[SECTIONS] = as_text(plan.sections)
    if given is not None and given.labels is not None:
        config["given_digest"] = digest_arrays([given.labels])
    return config | start_settings(plain, model_name(), FLAGS.basemodel)


def classes_given(
    dataset: Dataset, plan: SplitPlan, values: flags.FlagValues = FLAGS
) -> GivenClasses | None:
    """Groups of the classes that flags give; None where the groups are learned."""
    return given_classes(
        values.grouping,
        plan,
        dataset.class_names,
        taxonomy=superclass_taxonomy(dataset) if values.grouping == "semantic" else None,
        seed=values.seed,
        features=values.features,
        clusters_of=values.clusters_of,
        equal=values.equal_clusters,
    )


def grouping_recipe() -> GroupingRecipe:
    """The recipe that the flags make."""
    names = "warmup_epochs gamma1_growth growth_share gamma2_delay start_p "
    names += "converged_p converged_hold converged_off_block"
    return GroupingRecipe(
        **phase_values(),
        **{name: FLAGS[name].value for name in names.split()},
        pace=FLAGS.assignment_lr_scale,
        assignment_start=FLAGS.assignment_init,
    )


def make_grouped(plain: keras.Model, plan: SplitPlan) -> keras.Model:
    """The grouped model; a plan that does not split the classes is an error."""
    plan.classes  # noqa: B018, found before a run folder is made
    return group_model(
        plain,
        plan,
        FLAGS.gamma1,
        FLAGS.gamma2,
        FLAGS.gamma3,
        scaling=FLAGS.scaling,
        reduction="weighted" if FLAGS.weighted_group_loss else "mean",
        gates=FLAGS.gates,
        seed=FLAGS.seed,
    )


def cli() -> None:
    """Entry point of ``splitnet-group``."""
    define_flags()
    run_on_devices(main)


if __name__ == "__main__":
    cli()
