# make venv: .venv, with all that is needed. make demo: the whole chain on data it makes itself. make test: lint and tests.
PYTHON ?= python3
unexport PYTHON  # .venv is made with it; the scripts take .venv's
VENV := .venv
READY := $(VENV)/.ready

.PHONY: venv demo test test-slow test-kill test-damage test-fuzz test-long test-backends applications after-split pictures lint format clean

$(READY): setup.py
	@$(PYTHON) -c "import ensurepip, venv" 2>/dev/null || { echo "$(PYTHON) cannot make a virtual \
	environment: install python3-venv (apt install python3-venv)." >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/python -m pip install --quiet --upgrade pip
	$(VENV)/bin/python -m pip install --quiet --editable '.[test]'
	touch $@

venv: $(READY)

demo: $(READY)
	./group.sh $(DEMO) --model=wrn-10-1 --train_dir=runs/demo/group \
	  --dropout_keep_prob=1 --epochs=8 --warmup_epochs=3
	./split.sh $(DEMO) --basemodel=runs/demo/group --train_dir=runs/demo/split --epochs=4
	./eval.sh --dataset=planted --seed=$(SEED) --basemodel=runs/demo/split \
	  --figure=runs/demo/blocks.png --output_file=runs/demo/split/evaluation.json
	$(VENV)/bin/python -m splitnet_tf.cli.report runs/demo/split -o runs/demo/report.html

SEED ?= 0
DEMO = --dataset=planted --batch_size=64 --lr_schedule=cosine \
  --checkpoint_interval=0 --seed=$(SEED) --restart

# Two processes; the tests of one file stay together, long ones early.
SIDE_BY_SIDE = -n 2 --dist loadfile --no-loadscope-reorder --durations=25

# The losses and a layer of each kind on another backend than TensorFlow; channels first, as
# TensorFlow has no such convolutions on some processors. The rest: make test-backends.
GROUPED_LAYERS = tests/grouping/test_grouped_layers.py
ON_JAX = tests/grouping/test_regularizers.py \
  $(GROUPED_LAYERS)::test_model_losses_are_the_equations \
  $(GROUPED_LAYERS)::test_grouped_convolutions_of_every_kind \
  $(GROUPED_LAYERS)::test_layers_can_be_put_together_by_hand \
  tests/splitting/test_any_layers.py::test_channels_first

test: $(READY) lint
	$(VENV)/bin/python -m pytest $(SIDE_BY_SIDE)
	KERAS_BACKEND=jax $(VENV)/bin/python -m pytest $(SIDE_BY_SIDE) $(ON_JAX)

test-slow: $(READY)
	$(VENV)/bin/python -m pytest -m slow

# Twenty SIGKILLs; every file of a run folder damaged, one at a time; fuzzing for ten minutes.
test-kill: $(READY)
	$(VENV)/bin/python -m pytest -m slow -s tests/cli/test_kills.py tests/cli/test_kills_on_pictures.py

test-damage: $(READY)
	$(VENV)/bin/python -m pytest -m slow -s tests/cli/test_damage.py

test-fuzz: $(READY)
	FUZZ_SECONDS=600 $(VENV)/bin/python -m pytest -s tests/test_fuzz_loaders.py

# Every property test with 200 examples, 200 random graphs among them.
test-long: $(READY)
	HYPOTHESIS_PROFILE=long $(VENV)/bin/python -m pytest tests/graph tests/grouping tests/splitting

# The method on JAX and on PyTorch; the latter must be installed in $(VENV) for this.
METHOD_TESTS = tests/models tests/graph tests/grouping tests/splitting tests/analysis \
  tests/fitting tests/recipe
test-backends: $(READY)
	$(VENV)/bin/python -m pytest $(METHOD_TESTS) tests/test_backends.py
	KERAS_BACKEND=jax $(VENV)/bin/python -m pytest $(METHOD_TESTS)
	KERAS_BACKEND=torch $(VENV)/bin/python -m pytest $(METHOD_TESTS)

# Splits every model of keras.applications and writes the table of docs/.
applications: $(READY)
	$(VENV)/bin/python -m tests.applications docs/applications.md

# Measures what Keras does with a tree, and writes the page of docs/.
after-split: $(READY)
	$(VENV)/bin/python -m tests.after_split docs/after_split.md

# docs/'s pictures of TensorBoard and the report, from short runs on CIFAR-100; needs chromium.
PICTURES = --dataset=cifar100 --data_dir=$(DATA_DIR) --batch_size=128 --lr_schedule=cosine \
  --checkpoint_interval=0
GAMMA3 = $(PICTURES) --model=wrn-10-1 --dropout_keep_prob=1 --bn_no_scale=False \
  --weighted_group_loss=False
DATA_DIR ?= $(HOME)/tensorflow_datasets
pictures: $(READY)
	./group.sh $(PICTURES) --model=wrn-10-2 --splits=2-2-2 --epochs=2 --warmup_epochs=1.25 \
	  --dropout_keep_prob=1 --bn_no_scale=False --weighted_group_loss=False --l2_weight=0.0005 \
	  --val_interval=88 --group_summary_interval=1 --train_dir=runs/pictures/group
	./split.sh $(PICTURES) --epochs=1 --basemodel=runs/pictures/group --train_dir=runs/pictures/split
	./eval.sh --dataset=cifar100 --data_dir=$(DATA_DIR) --basemodel=runs/pictures/split \
	  --output_file=runs/pictures/split/evaluation.json
	$(VENV)/bin/python -m splitnet_tf.cli.report runs/pictures/split \
	  --output_file=runs/pictures/report.html
	./group.sh $(GAMMA3) --splits=1-1-1 --epochs=3 --final_lr=0.05 --seed=0 \
	  --train_dir=runs/pictures/plain
	for gamma3 in 0.1 1 3 10; do ./group.sh $(GAMMA3) --splits=2-2-2 --epochs=1.5 --seed=1 \
	  --warmup_epochs=0 --initial_lr=0.05 --assignment_init=random --assignment_lr_scale=16 \
	  --gamma1_growth=1 --gamma3=$$gamma3 --val_interval=44 --basemodel=runs/pictures/plain \
	  --l2_weight=0.0005 --train_dir=runs/pictures/gamma3-$$gamma3; done  # a group may come out empty
	$(VENV)/bin/python -m tests.screenshots runs/pictures docs

lint: $(READY)
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .

format: $(READY)
	$(VENV)/bin/ruff check --fix .
	$(VENV)/bin/ruff format .

clean:
	rm -rf runs
