#!/usr/bin/env bash
# Starts a command on every host of the slice, detached.
#
#   run.sh [--dry-run] -- python -m experiments.NAME --workdir=run …
#
# From the environment: TPU_NAME ZONE PROJECT; REMOTE=gs://BUCKET/RUN, where
# experiments.mirror keeps the work directory, which is `run` in the home of
# every host. Output goes to run.log there, the status to run.status.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=experiments/ops/tpu_vm/common.sh
. "$here/common.sh"
need REMOTE
[ $# -gt 0 ] || fail 'no command after --.'
[[ " $* " == *' --workdir=run '* ]] ||
  fail 'the command needs --workdir=run: that folder is what is kept.'

quoted=$(printf ' %q' "$@")
on_hosts "rm -f run.status; cd ~ && . ~/venv/bin/activate &&
nohup bash sleepjax/experiments/ops/tpu_vm/on_host.sh $(printf '%q' "$REMOTE")$quoted >> run.log 2>&1 < /dev/null &"
