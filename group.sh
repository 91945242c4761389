#!/usr/bin/env bash
# Groups WRN-16-8 on CIFAR-100 for the paper's deep split (2-2-2), with the schedule, the weights of
# the losses and the dropout of 2017; docs/cifar100.md lists the differences.
# Arguments are handed on and override these; see --help.
set -euo pipefail
. "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/splitnet_tf/cli/launch.sh"
launch group \
  --train_dir=runs/group_2-2-2 \
  --batch_size=90 \
  --num_residual_units=2 \
  --k=8 \
  --ngroups1=2 \
  --ngroups2=2 \
  --ngroups3=2 \
  --l2_weight=0.0001 \
  --gamma1=1.0 \
  --gamma2=1.0 \
  --gamma3=10.0 \
  --dropout_keep_prob=0.5 \
  --lr_schedule=step \
  --initial_lr=0.1 \
  --lr_step_epoch=240,300 \
  --lr_decay=0.1 \
  --bn_no_scale \
  --weighted_group_loss \
  --epochs=400 \
  --checkpoint_interval=5000 \
  "$@"
