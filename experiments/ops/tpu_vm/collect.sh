#!/usr/bin/env bash
# Fetches the work directory and the logs of a run.
#
#   collect.sh [--dry-run] -- DESTINATION
#
# From the environment: TPU_NAME ZONE PROJECT REMOTE. The latest snapshot comes
# from REMOTE, which outlives the slice; the logs of all hosts from there.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=experiments/ops/tpu_vm/common.sh
. "$here/common.sh"
need REMOTE
[ $# -eq 1 ] || fail 'expected one folder after --.'

run mkdir -p "$1"
latest=000001
[ -n "$DRY_RUN" ] || latest=$(gcloud storage cat "$REMOTE/LATEST")
run gcloud storage rsync -r "$REMOTE/snapshots/$latest" "$1/run"
hosts=1
if [ "$(state)" = ACTIVE ]; then
  [ -n "$DRY_RUN" ] || hosts=$(tpu tpu-vm describe "$TPU_NAME" \
    --format='value(networkEndpoints.len())')
  for ((host = 0; host < hosts; host++)); do
    tpu tpu-vm scp "$TPU_NAME:run.log" "$1/run.$host.log" --worker="$host"
  done
fi
