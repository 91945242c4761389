#!/usr/bin/env bash
# Trains LeNet on MNIST with group lasso on its channels (SSL): four epochs without the penalty,
# eight with it; docs/sparsity.md lists the differences from the paper.
# Arguments are handed on and override these; see --help.
set -euo pipefail
. "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/splitnet_tf/cli/launch.sh"
launch sparsify \
  --train_dir=runs/sparse_lenet \
  --dataset=mnist \
  --model=lenet \
  --spaces=conv1:0.04,conv2:0.08,fc1:0.028 \
  --batch_size=64 \
  --l2_weight=0 \
  --initial_lr=0.05 \
  --noaugment \
  --epochs=12 \
  --warmup_epochs=4 \
  "$@"
