"""No flag of any program takes what it cannot mean: each is found here by itself."""

import importlib

import pytest
from absl import flags

from splitnet_tf.cli.define import Amount, Augmentation, Items, NewFile, Number, Parsed, Text
from tests.conftest import ROOT

PROGRAMS = sorted(
    p.stem for p in (ROOT / "splitnet_tf" / "cli").glob("*.py") if "\ndef cli(" in p.read_text()
)
NO_NUMBER = ("", " ", "x", "nan", "-nan", "1,5", "--", "None", "9" * 5000)
NOT_WHOLE = ("0.5", "1e3", "1.0", "inf")
OUTSIDE = ("inf", "-inf", "1e400", "-1", "1e30", str(10**30), "-0.001")

# Program, flag, value, and what is said of it; the program itself never starts.
WRONG = [
    ("group", "batch_size", "x", "a whole number from 1 to 1,000,000"),
    ("group", "batch_size", "1.5", "a whole number from 1 to 1,000,000"),
    ("group", "batch_size", "-1", "a whole number from 1 to 1,000,000"),
    ("group", "batch_size", "1e9", "a whole number from 1 to 1,000,000"),
    ("group", "epochs", "inf", "a number from 0 to 1,000,000"),
    ("group", "epochs", "nan", "a number from 0 to 1,000,000"),
    ("group", "epochs", "1e30", "a number from 0 to 1,000,000"),
    ("group", "epochs", "eight", "a number from 0 to 1,000,000"),
    ("group", "max_steps", "1000000000000", "a whole number from 0 to 99,999,999"),
    ("group", "initial_lr", "nan", "a number from 0 to 1,000"),
    ("group", "initial_lr", "-0.1", "a number from 0 to 1,000"),
    ("split", "final_lr", "inf", "a number from 0 to 1,000"),
    ("split", "lr_step_epoch", "80,x", "'x' in a list with commas: it must be a number from 0"),
    ("split", "lr_step_epoch", "80,nan", "'nan' in a list with commas: it must be a number from"),
    ("split", "lr_step_epoch", "-80", "'-80' in a list with commas: it must be a number from 0"),
    ("split", "lr_step_epoch", "80,,120", "'' in a list with commas: it must be a number from 0"),
    ("split", "lr_decay", "10", "a number from 0 to 1"),
    ("split", "lr_warmup_epochs", "-1", "a number from 0 to 1,000,000"),
    ("split", "momentum", "nan", "a number from 0 to 0.9999"),
    ("split", "l2_weight", "inf", "a number from 0 to 0.99"),
    ("split", "label_smoothing", "1", "a number from 0 to 0.99"),
    ("split", "display", "0", "a whole number from 1 to 99,999,999"),
    ("split", "val_interval", "-5", "a whole number from 0 to 99,999,999"),
    ("split", "checkpoint_interval", "1e3", "a whole number from 0 to 99,999,999"),
    ("split", "recalibrate_batches", "-1", "a whole number from 0 to 1,000,000"),
    ("split", "patience", "often", "a whole number from 0 to 1,000,000"),
    ("split", "worker_wait", "nan", "a number from 0 to 10,000,000"),
    ("split", "method", "random", "value should be one of <file|argmax|balanced>"),
    ("split", "train_dir", "", "it must not be empty"),
    ("group", "seed", "-1", "a whole number from 0 to 2,147,483,647"),
    ("group", "num_residual_units", "1000000", "a whole number from 1 to 100"),
    ("group", "num_residual_units", "0", "a whole number from 1 to 100"),
    ("group", "k", "1000000", "a whole number from 1 to 100"),
    ("group", "k", "-8", "a whole number from 1 to 100"),
    ("group", "ngroups1", "0", "a whole number from 1 to 10,000"),
    ("group", "ngroups2", "9" * 5000, "a whole number from 1 to 10,000"),
    ("group", "gamma1", "-1", "a number from 0 to 1,000,000"),
    ("group", "gamma2", "nan", "a number from 0 to 1,000,000"),
    ("group", "gamma3", "inf", "a number from 0 to 1,000,000"),
    ("group", "gamma1_growth", "0", "a number from 1 to 1,000,000"),
    ("group", "warmup_epochs", "nan", "a number from 0 to 1,000,000"),
    ("group", "assignment_lr_scale", "1e9", "a number from 0 to 10,000"),
    ("group", "dropout_keep_prob", "0", "a number from 0.01 to 1"),
    ("group", "converged_p", "nan", "a number from 0 to 1"),
    ("group", "converged_hold", "-1", "a whole number from 0 to 1,000,000"),
    ("group", "converged_off_block", "2", "a number from 0 to 1"),
    ("group", "group_summary_interval", "-1", "a whole number from 0 to 99,999,999"),
    ("group", "scaling", "none", "value should be one of <unit|paper>"),
    ("group", "nesterov", "2", "Non-boolean argument to boolean flag"),
    ("evaluate", "speed_batches", "2", "a whole number from 3 to 1,000,000"),
    ("evaluate", "images", "all", "value should be one of <train|valid|test>"),
    ("evaluate", "worker_timeout", "0", "a number from 0.1 to 86,400"),
    ("evaluate", "devices", "/CPU:0,", "'' in a list with commas: it must not be empty"),
    ("evaluate", "figure", "blocks.doc", "a file name that ends in .pdf, .png, .svg"),
    ("evaluate", "output_file", "/", "it is a folder; name a file in it"),
    ("cost", "num_classes", "-1", "a whole number from 0 to 100,000"),
    ("cost", "num_classes", "1000000000", "a whole number from 0 to 100,000"),
    ("cost", "image_size", "100000", "a whole number from 0 to 1,024"),
    ("cost", "table", "5", "value should be one of <2|3|4>"),
    ("cost", "splits", "", "it must not be empty"),
    ("benchmark", "workers", "1", "a whole number from 2 to 65,536"),
    ("benchmark", "batches", "0", "a whole number from 1 to 100,000"),
    ("benchmark", "repeats", "2", "a whole number from 3 to 100,000"),
    ("benchmark", "image_size", "4", "a whole number from 8 to 1,024"),
    ("benchmark", "num_classes", "1", "a whole number from 2 to 100,000"),
    ("worker", "port", "0", "a whole number from 1 to 65,535"),
    ("worker", "port", "70000", "a whole number from 1 to 65,535"),
    ("worker", "cores", "0,x", "'x' in a list with commas: it must be a whole number from 0"),
    ("worker", "cores", "-1", "'-1' in a list with commas: it must be a whole number from 0"),
    ("worker", "threads", "1000000", "a whole number from 0 to 4,096"),
    ("export", "export_dir", " ", "it must not be empty"),
    ("export", "format", "yaml", "value should be one of <table|json>"),
]


def flags_of(program):
    """What the program defines."""
    before = set(flags.FLAGS)
    importlib.import_module(f"splitnet_tf.cli.{program}").define_flags()
    made = {name: flags.FLAGS[name] for name in set(flags.FLAGS) - before}
    for name in made:
        delattr(flags.FLAGS, name)
    return made


def wrong_texts(parser):
    """What a parser must refuse."""
    if isinstance(parser, Items):
        return [f"{text}," for text in wrong_texts(parser.item) if "," not in text]
    if isinstance(parser, Number):
        above = parser.high + 1 if parser.kind is int else 1.001 * parser.high
        outside = (*OUTSIDE, repr(above), repr(parser.low - 1))
        return [*NO_NUMBER, *outside, *(NOT_WHOLE if parser.kind is int else ())]
    if isinstance(parser, flags.EnumParser):
        return ["", "nosuch"]
    if isinstance(parser, flags.BooleanParser | Augmentation):
        return ["", "2", "maybe"]
    if isinstance(parser, Amount):
        return [*NO_NUMBER, "-1", "0x", "x"]
    if isinstance(parser, Parsed):
        return ["", " ", "nosuch"]
    assert isinstance(parser, Text), f"{parser}: define the flag by splitnet_tf.cli.define"
    folder = ["/", "."] if isinstance(parser, NewFile) else []
    return ["", " ", *folder, *(["x.xyz"] if getattr(parser, "suffixes", ()) else [])]


def refused(flag, text):
    """The sentence with which a flag refuses a text."""
    try:
        flag.parse(text)
    except flags.IllegalFlagValueError as error:
        assert str(error).startswith(f"flag --{flag.name}={text}: ")
        return str(error)
    pytest.fail(f"--{flag.name}={text} is accepted")


@pytest.mark.parametrize("program", PROGRAMS)
def test_every_flag_refuses_what_it_cannot_mean(program):
    found = flags_of(program)
    assert found
    for flag in found.values():
        for text in wrong_texts(flag.parser):
            refused(flag, text)
        if isinstance(flag.parser, Number):  # both bounds can be meant
            for value in (flag.parser.low, flag.parser.high):
                flag.parse(repr(flag.parser.kind(value)))


@pytest.mark.parametrize("program", PROGRAMS)
def test_what_is_wrong_is_said(program):
    found = flags_of(program)
    for _, name, value, sentence in (row for row in WRONG if row[0] == program):
        assert sentence in refused(found[name], value)
