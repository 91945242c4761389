#!/usr/bin/env bash
# Evaluates the tree that split.sh has made, beside the unsplit network.
# Arguments are handed on and override these; see --help.
set -euo pipefail
. "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/splitnet_tf/cli/launch.sh"
launch evaluate \
  --basemodel=runs/split_2-2-2 \
  --batch_size=100 \
  "$@"
