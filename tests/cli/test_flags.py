"""No flag of any program takes what it cannot mean: each is found here by itself."""

import importlib

import pytest
from absl import flags

from splitnet_tf.cli.define import Items, NewFile, Number, Text

PROGRAMS = ("group", "split", "evaluate", "cost", "benchmark", "worker", "export")
NO_NUMBER = ("", " ", "x", "nan", "-nan", "1,5", "--", "None", "9" * 5000)
NOT_WHOLE = ("0.5", "1e3", "1.0", "inf")
OUTSIDE = ("inf", "-inf", "1e400", "-1", "1e30", str(10**30), "-0.001")


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
    if isinstance(parser, flags.BooleanParser):
        return ["", "2", "maybe"]
    assert isinstance(parser, Text), f"{parser}: define the flag by splitnet_tf.cli.define"
    folder = ["/", "."] if isinstance(parser, NewFile) else []
    return ["", " ", *folder, *(["x.xyz"] if getattr(parser, "suffixes", ()) else [])]


@pytest.mark.parametrize("program", PROGRAMS)
def test_every_flag_refuses_what_it_cannot_mean(program):
    found = flags_of(program)
    assert len(found) >= 4
    for name, flag in found.items():
        for text in wrong_texts(flag.parser):
            try:
                flag.parse(text)
            except flags.IllegalFlagValueError as error:
                assert str(error).startswith(f"flag --{name}={text}: ")
            else:
                pytest.fail(f"--{name}={text} is accepted")
        if isinstance(flag.parser, Number):  # both bounds can be meant
            for value in (flag.parser.low, flag.parser.high):
                flag.parse(repr(flag.parser.kind(value)))
