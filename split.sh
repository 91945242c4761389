#!/usr/bin/env bash
# Splits what group.sh has grouped (deep split, 2-2-2) and finetunes the tree, with the schedule of
# 2017; docs/cifar100.md lists the differences.
# Arguments are handed on and override these; see --help.
set -euo pipefail
. "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/splitnet_tf/cli/launch.sh"
launch split \
  --train_dir=runs/split_2-2-2 \
  --basemodel=runs/group_2-2-2 \
  --batch_size=90 \
  --l2_weight=0.0005 \
  --lr_schedule=step \
  --initial_lr=0.1 \
  --lr_step_epoch=100,140 \
  --lr_decay=0.1 \
  --epochs=240 \
  --checkpoint_interval=5000 \
  --dropout_keep_prob=1 \
  "$@"
