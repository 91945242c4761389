"""Wrong flags: one sentence and an exit code each."""

import numpy as np

from splitnet_tf import models
from splitnet_tf.data import Dataset, Split, save_arrays
from splitnet_tf.parallel.network import free_port
from splitnet_tf.stages.preprocessing import notes_of
from splitnet_tf.storage.models import save_model
from tests.cli.forked import run_programs

PLANTED = ("--train_dir=t", "--dataset=planted")
WRONG_USAGE = [
    ("group", [], 2, "train_dir"),
    ("group", ["--train_dir=t", "--batch_size=x"], 2, "--batch_size=x"),
    ("group", ["--train_dir=t", "--batch_size=0"], 2, "batch_size"),
    ("group", ["--train_dir=t", "--seed=99999999999"], 2, "seed"),
    (
        "group",
        ["--train_dir=t", "--momentum=1"],
        2,
        "--momentum=1: it must be a number from 0 to 0.9999",
    ),
    (
        "group",
        [*PLANTED, "--model=wrn-10-1", "--warmup_epochs=99"],
        2,
        "--warmup_epochs=99 leaves no step",
    ),
    (
        "group",
        [*PLANTED, "--model=wrn-10-1", "--max_steps=20"],
        2,
        "leaves no step of 20 to group in; lower it or raise --max_steps",
    ),
    (
        "group",
        [*PLANTED, "--model=wrn-10-1", "--initial_lr=0.1", "--final_lr=0.2"],
        2,
        "--final_lr=0.2 is above --initial_lr=0.1; the rate falls",
    ),
    (
        "group",
        ["--train_dir=t", "--dataset=planted", "--batch_size=99999"],
        1,
        "batch_size must be from 1 to the 4000 training images; got 99999",
    ),
    (
        "group",
        ["--train_dir=/proc/t", "--dataset=planted", "--model=wrn-10-1"],
        1,
        "Run folder /proc/t cannot be written",
    ),
    ("cost", ["--output_file=/proc/none/x.json"], 1, "/proc/none: No such file or directory"),
    *(
        ("group", ["--train_dir=t", "--dataset=planted", "--model=wrn-10-1", *more], code, sentence)
        for more, code, sentence in (
            (["--features=even"], 2, "--features has no effect with --grouping=learned; leave it"),
            (
                ["--grouping=random", "--clusters_of=confusion"],
                2,
                "--clusters_of has no effect with",
            ),
            (["--grouping=random", "--assignment_init=random"], 2, "--assignment_init has no eff"),
            (["--grouping=random", "--method=balanced"], 2, "--method=balanced would change given"),
            (["--grouping=random", "--splits=1-1-1"], 2, "--grouping=random has no effect: --spl"),
            (["--splits=auto"], 2, "--splits=auto needs a budget: give --max_params or --max_fl"),
            (["--max_flops=0.5x"], 2, "--max_flops has no effect without --splits=auto; leave"),
            (
                ["--splits=auto", "--max_params=9"],
                2,
                "--max_params=9: no cut in 2 groups keeps the budget; the smallest tree has",
            ),
            (["--grouping=nonsense"], 2, "--grouping must be one of learned, semantic, clustering"),
            (["--grouping=none.json"], 1, "Grouping file none.json does not exist"),
            (["--grouping=wordnet"], 1, "--grouping=wordnet needs nltk: pip install nltk"),
        )
    ),
    ("compare", ["--train_dir=t", "--group_flags=--seed=3"], 2, "--seed=3 is given by this prog"),
    ("compare", ["--train_dir=t", "--seeds=1,1"], 2, "--seeds must name one or more, each once"),
    ("compare", ["--train_dir=t", "--groupings=random,x/random.json"], 2, "two have the same name"),
    ("compare", ["--train_dir=t", "--groupings=random,x/plain.json"], 2, "one is 'plain'"),
    (
        "compare",
        ["--train_dir=t", "--plain_flags=--model=mlp --splits=2-2"],
        2,
        "--plain_flags must train a plain network",
    ),
    ("group", ["--train_dir=t", "surplus"], 2, "Unexpected argument 'surplus'"),
    ("group", ["--train_dir=t", "--nosuch=1"], 2, "nosuch"),
    ("cost", ["--splits=2-2"], 2, "--splits=2-2: wrn-16-8 takes 3 numbers"),
    ("cost", ["--model=vgg"], 2, "--model=vgg: model must be one of"),
    ("cost", ["--splits=2-2-1"], 1, "'logits' has 1 groups, fewer than the 2"),
    ("cost", ["--model=none.keras"], 1, "none.keras does not exist"),
    ("cost", ["--model=old.h5"], 1, "old.h5 must be a .keras file; load it with Keras and save"),
    ("cost", ["--model=InceptionV3", "--image_size=40"], 2, "Input size must be at least 75x75"),
    ("cost", ["--table=2", "--model=mlp"], 2, "--model has no effect with --table"),
    ("cost", ["--model=mlp", "--suggest", "--splits=2-2"], 2, "--splits has no effect with --s"),
    ("cost", ["--model=resnet-19"], 2, "depth must be one of 18, 34, 50; got 19"),
    ("cost", ["--model=VGG16", "--splits=2-2"], 2, "'VGG16' has no short form; name the layers"),
    (
        "split",
        ["--basemodel=x", "--train_dir=t", "--devices=/CPU:0", "--jit_compile"],
        2,
        "--jit_compile does not work across --devices",
    ),
    (
        "group",
        ["--train_dir=t", "--distribute=multiworker"],
        2,
        "--distribute=multiworker needs --cluster",
    ),
    ("evaluate", ["--basemodel=x", "--cluster=nonsense"], 1, "'nonsense' is no worker's address"),
    (
        "evaluate",
        ["--basemodel=x", "--cluster=a:1,a:1", "--on_worker_loss=local"],
        1,
        "each once",
    ),
    ("worker", ["--port=70000"], 2, "--port"),
    (
        "worker",
        ["--port=4601", "--cores=x"],
        2,
        "'x' in a list with commas: it must be a whole number",
    ),
    ("worker", ["--port=4601", "--cores=4097"], 1, "Cores 4097 cannot be used"),
    (
        "worker",
        [f"--port={free_port()}", "--interface=none0"],
        1,
        "cannot be kept to interface 'none0'",
    ),
    ("benchmark", ["--cases=devices,conversion"], 2, "--cases=devices is measured by itself"),
    ("benchmark", ["--model=mlp"], 2, "Table 5 is of wide residual networks"),
    ("benchmark", ["--workers=4097"], 1, "4097 workers need a core each; there are"),
    ("evaluate", ["--basemodel=x", "--devices=nonsense"], 1, "'nonsense' is no device; a name is"),
    ("export", ["--basemodel=none.keras", "--export_dir=e"], 1, "none.keras does not exist"),
    (
        "group",
        ["--train_dir=t", "--data_dir=/nowhere"],
        1,
        "CIFAR-100 is not in /nowhere; run: python download_cifar100.py",
    ),
    ("evaluate", ["--basemodel=/nowhere/x.h5", "--dataset=planted"], 1, "must be a .keras"),
    ("download_cifar100.py", ["--data_dir=/proc/none"], 1, "could not be downloaded"),
    ("download_cifar100.py", ["cifar-100.tar.gz"], 2, "Unexpected argument 'cifar-100.tar.gz'"),
    ("cost", ["--model=mlp", "--splits=logits:²"], 2, "'logits:²' must be <layer>:<groups>"),
    ("cost", ["--model=mlp", f"--splits=2-{'9' * 5000}"], 2, "must be numbers such as 2-2-2"),
    ("cost", ["--model=wrn-6000004-8"], 2, "depth must be 6n + 4"),
    ("cost", ["--model=wrn-10-0"], 2, "width must be from 0.05 to 100; got 0"),
    ("cost", ["--model=resnet-18x1000"], 2, "width must be from 0.02 to 100; got 1000"),
    ("cost", ["--model=alexnet", "--image_size=16"], 2, "output size would be zero or negative"),
    ("cost", ["--model=mlp", f"--output_file={'x' * 300}"], 1, "File name too long"),
    ("cost", ["--model=mlp", "--grouping=none.json"], 1, "Grouping file none.json does not exist"),
    ("cost", ["--model=other.keras", "--num_classes=9"], 2, "it has classes: 5, the data 9"),
    ("benchmark", ["--cases="], 2, "--cases must name one of devices, grouping_step"),
    ("benchmark", ["--splits=2-2-2"], 2, "--splits has no effect with --cases=devices; it is for"),
    *(
        ("benchmark", [f"--cases={cases}", "--model=mlp", flag], 2, sentence)
        for cases, flag, sentence in (
            ("conversion", "--workers=2", "--workers has no effect with --cases=conversion; it"),
            ("grouping_step", "--batches=4", "no effect with --cases=grouping_step; it is for --c"),
            ("split_forward", "--rows=deep", "it is for --cases=devices."),
            ("input_pipeline", "--figure=x.png", "--figure has no effect with --cases=input_pip"),
            ("input_pipeline", "--devices=/CPU:0", "--devices has no effect with --cases=input"),
            (
                "input_pipeline",
                "--splits=2-2",
                "is for --cases=grouping_step,split_forward,take_forward,conver",
            ),
            ("conversion", "--batch_size=100", "--batch_size has no effect with --cases=convers"),
        )
    ),
    (
        "benchmark",
        ["--devices=/CPU:0,/CPU:1", "--workers=2"],
        2,
        "--workers has no effect with the devices /CPU:0, /CPU:1; leave it out",
    ),
    ("benchmark", ["--rows=none"], 2, "--rows: 'none' begins no row of Table 5; there are unsplit"),
    ("benchmark", ["--devices=/CPU:0"], 2, "--devices=/CPU:0: Table 5 needs two devices or more"),
    ("benchmark", ["--devices=/CPU:-1,/CPU:0"], 1, "'/CPU:-1' is no device; a name is such as"),
    ("benchmark", ["--devices=/GPU:700,/GPU:701"], 1, "'/GPU:700' is not there; of GPU there are"),
    (
        "split",
        ["--basemodel=x", "--train_dir=t", "--method=argmax", "--grouping=g.json"],
        2,
        "--grouping has no effect with --method=argmax",
    ),
    (
        "split",
        ["--basemodel=other.keras", "--train_dir=t", "--dataset=planted"],
        1,
        "--basemodel=other.keras has inputs and outputs [(None, 4, 4, 3), (None, 5)], but --",
    ),
    (
        "split",
        ["--basemodel=plain.keras", "--train_dir=t", "--dataset=planted"],
        1,
        "Grouping file grouping.json does not exist",
    ),
    (
        "split",
        ["--basemodel=plain.keras", "--train_dir=t", "--dataset=planted", "--method=argmax"],
        1,
        "'mlp' has no grouped layers",
    ),
    (
        "split",
        ["--basemodel=none", "--train_dir=t", "--dataset=planted"],
        1,
        "Run folder --basemodel=none does not exist; group first",
    ),
    (
        "group",
        [*PLANTED, "--model=wrn-10-1", "--basemodel=none"],
        1,
        "Run folder --basemodel=none does not exist; train the plain model first",
    ),
    (
        "evaluate",
        ["--basemodel=none", "--dataset=planted"],
        1,
        "Run folder --basemodel=none does not exist; make it first",
    ),
    (
        "evaluate",
        ["--basemodel=plain.keras", "--dataset=planted", "--compare=none"],
        1,
        "Run folder --compare=none does not exist; make it first",
    ),
    (
        "export",
        ["--basemodel=none", "--export_dir=e"],
        1,
        "Run folder --basemodel=none does not exist; split first",
    ),
    (
        "evaluate",
        ["--basemodel=other.keras", "--dataset=planted"],
        1,
        "other.keras has inputs and outputs [(None, 4, 4, 3), (None, 5)], but --dataset=planted",
    ),
    (
        "evaluate",
        ["--basemodel=plain.keras", "--dataset=planted", "--compare=none.keras"],
        1,
        "Model file --compare=none.keras does not exist",
    ),
    (
        "evaluate",
        ["--basemodel=.", "--dataset=planted"],
        1,
        "Run folder . holds no finished model; run its program to the end",
    ),
    ("export", ["--basemodel=plain.keras", "--export_dir=.", "--nocheck"], 1, "is not empty"),
    (
        "sparsify",
        [*PLANTED, "--model=plain.keras"],
        2,
        "A plan needs a strength above 0 for one of filters, channels, shapes",
    ),
    (
        "sparsify",
        [*PLANTED, "--model=plain.keras", "--spaces=0.1", "--ramp_epochs=99"],
        2,
        "--warmup_epochs=0 and --ramp_epochs=99 leave no step of",
    ),
    ("sparsify", [*PLANTED, "--model=plain.keras", "--spaces=fc9:1"], 2, "--spaces: 'fc9' is no"),
    *(
        ("sparsify", [*PLANTED, "--model=plain.keras", f"--spaces={text}"], 2, sentence)
        for text, sentence in (
            ("fc1:x", "'fc1:x' must be a number from 0 to 1,000,000, or <layer>:<number>"),
            ("fc1", "it must be a number from 0 to 1,000,000, or <layer>:<number>"),
        )
    ),
    (
        "shrink",
        [*PLANTED, "--basemodel=none"],
        1,
        "Run folder --basemodel=none does not exist; train it first, with splitnet-sparsify say",
    ),
    *(
        (program, [*more, "--dataset=planted", f"--{flag}=notmodel.keras"], 1, sentence)
        for program, flag, more, sentence in (
            ("shrink", "basemodel", ["--train_dir=t"], "--basemodel=notmodel.keras: Model file"),
            ("divide", "models", [], "--models=notmodel.keras: Model file"),
        )
    ),
    ("divide", ["--models=nope.keras"], 1, "Model file --models=nope.keras does not exist"),
    (
        "shrink",
        [*PLANTED, "--basemodel=plain.keras", "--method=random"],
        2,
        "--method=random needs --keep or --selection, one of them",
    ),
    (
        "shrink",
        [*PLANTED, "--basemodel=plain.keras", "--selection=none.json"],
        1,
        "none.json does not exist",
    ),
    (
        "group",
        [*PLANTED, "--model=wrn-10-1", "--epochs=0"],
        2,
        "--epochs and --max_steps give no training step",
    ),
    (
        "group",
        [
            "--train_dir=t",
            "--dataset=planted",
            "--model=wrn-10-1",
            "--epochs=1e6",
            "--batch_size=1",
        ],
        2,
        "--epochs=1e+06 is more than 99,999,999 steps; lower it",
    ),
    (
        "group",
        [*PLANTED, "--model=wrn-10-1", "--lr_warmup_epochs=99"],
        2,
        "--lr_warmup_epochs=99 is all of the training",
    ),
    ("group", ["--train_dir=t", "--dataset=SVHN"], 1, "dataset must be one of cifar100, planted"),
    (
        "group",
        [*PLANTED, "--model=wrn-10-1", "--splits=1-1-9"],
        1,
        "Space 'logits' has 8 channels, fewer than the 9 groups asked for",
    ),
    (
        "group",
        [*PLANTED, "--model=wrn-10-1", "--splits=none:2"],
        1,
        "No layer or block of the model is called 'none'",
    ),
    (
        "group",
        [*PLANTED, "--model=wrn-10-1", "--basemodel=other.keras"],
        1,
        "its layer 'init_conv' does not fit the model",
    ),
    *(
        ("group", ["--train_dir=t", "--dataset=tiny.npz", *more], code, sentence)
        for more, code, sentence in (
            (["--model=mlp", "--splits=2-2", "--batch_size=4"], 1, "Images of 4x4 pixels are too"),
            (
                ["--model=mlp", "--splits=2-2", "--bn_no_scale"],
                2,
                "does not take --bn_no_scale; add --bn_no_scale=false at",
            ),
            (
                [
                    "--model=plain.keras",
                    "--splits=logits:2",
                    "--bn_no_scale",
                    "--dropout_keep_prob=0.5",
                ],
                2,
                "--model=plain.keras does not take --dropout_keep_prob=0.5 and --bn_no_scale; add",
            ),
        )
    ),
    (
        "group",
        [*PLANTED, "--model=other.keras", "--splits=logits:2"],
        2,
        "it has inputs of shape (4, 4, 3), the data (16, 16, 3)",
    ),
]


def test_wrong_usage_gets_one_sentence(tmp_path):
    save_model(models.mlp((8, 6), 5, (4, 4, 3)), tmp_path / "other.keras", notes_of("whiten"))
    save_model(models.mlp((8, 6), 8, (16, 16, 3)), tmp_path / "plain.keras", notes_of("whiten"))
    (tmp_path / "notmodel.keras").write_text("no model")
    tiny = Split(np.zeros((8, 4, 4, 3), np.uint8), np.arange(8) % 4)
    save_arrays(Dataset("tiny", tiny, tiny, tiny, tuple("abcd")), tmp_path / "tiny.npz")
    found = run_programs(
        [(program, arguments) for program, arguments, _, _ in WRONG_USAGE], tmp_path
    )
    for (program, arguments, code, sentence), (ended, err) in zip(WRONG_USAGE, found, strict=True):
        about = f"{program} {arguments}: exit {ended}, {err[-500:]}"
        assert ended == code and "Traceback" not in err, about
        assert sentence in [line for line in err.splitlines() if "error:" in line][-1], about
    assert not (tmp_path / "t").exists()  # nothing is left that a right command would trip over
