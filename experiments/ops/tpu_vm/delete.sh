#!/usr/bin/env bash
# Gives the slice back. What is in REMOTE stays.
#
#   delete.sh [--dry-run]
#
# From the environment: TPU_NAME ZONE PROJECT.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=experiments/ops/tpu_vm/common.sh
. "$here/common.sh"

tpu queued-resources delete "$TPU_NAME" --force --quiet
