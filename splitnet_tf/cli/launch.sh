# Sourced by group.sh, split.sh and eval.sh: `launch <program> <flags>` runs a program of this
# checkout from any folder, with the checkout's .venv or else python3; PYTHON names another one.
launch() {
  local here python=${PYTHON:-} program=$1
  here=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
  [ -n "$python" ] || python=$here/.venv/bin/python
  [ -x "$(command -v "$python")" ] || python=python3
  export TF_CPP_MIN_LOG_LEVEL="${TF_CPP_MIN_LOG_LEVEL:-3}"
  export PYTHONPATH="$here${PYTHONPATH:+:$PYTHONPATH}"
  if ! "$python" -c '
from importlib.util import find_spec
raise SystemExit(None in map(find_spec, ("absl", "keras", "tensorflow")))' >/dev/null 2>&1; then
    echo "$(basename "$0"): $python has no TensorFlow and Keras; run \`make venv\` in $here first." >&2
    exit 1
  fi
  shift
  exec "$python" -m "splitnet_tf.cli.$program" "$@"
}
