#!/usr/bin/env bash
# Shrinks what sparsify.sh has trained, and finetunes the smaller network.
# Arguments are handed on and override these; see --help.
set -euo pipefail
. "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/splitnet_tf/cli/launch.sh"
launch shrink \
  --train_dir=runs/shrunk_lenet \
  --basemodel=runs/sparse_lenet \
  --dataset=mnist \
  --batch_size=64 \
  --l2_weight=0 \
  --initial_lr=0.05 \
  --noaugment \
  --epochs=6 \
  "$@"
