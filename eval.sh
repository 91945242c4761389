#!/usr/bin/env bash
# Evaluates the tree that split.sh has made, beside the unsplit network.
# Arguments are handed on and override these; see --help.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
python=${PYTHON:-$here/.venv/bin/python}
[ -x "$python" ] || python=python3
export TF_CPP_MIN_LOG_LEVEL="${TF_CPP_MIN_LOG_LEVEL:-3}"
export PYTHONPATH="$here${PYTHONPATH:+:$PYTHONPATH}"
exec "$python" -m splitnet_tf.cli.evaluate \
  --basemodel=runs/split_2-2-2 \
  --batch_size=100 \
  "$@"
