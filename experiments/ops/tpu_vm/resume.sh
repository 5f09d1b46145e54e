#!/usr/bin/env bash
# Keeps a run going until it has ended: a slice that was taken away is asked for
# again, installed, and the same command goes on from the last snapshot.
#
#   resume.sh [--dry-run] -- python -m experiments.NAME --workdir=run …
#
# From the environment: what create.sh, install.sh and run.sh need; POLL_SECONDS
# (default 60). Ends with the status of the command. With --dry-run, it prints
# what it would do in the state that DRY_RUN_STATE names (default ACTIVE).
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=experiments/ops/tpu_vm/common.sh
. "$here/common.sh"
need REMOTE ACCELERATOR_TYPE RUNTIME_VERSION
[ $# -gt 0 ] || fail 'no command after --.'

dry=()
[ -z "$DRY_RUN" ] || dry=(--dry-run)

start() {
  bash "$here/run.sh" "${dry[@]}" -- "$@"
}

# Status of the command; `running` while it runs, `bare` where nothing has been
# installed, `gone` if it just is not there.
# shellcheck disable=SC2016
progress='if [ -f run.status ]; then cat run.status;
elif pgrep -f "[o]n_host.sh" > /dev/null; then echo running;
elif [ -f sleepjax.installed ]; then echo gone; else echo bare; fi'

while true; do
  now=$(state)
  echo "$(date -u +%H:%M:%S) $TPU_NAME: ${now:-no slice}" >&2
  case "$now" in
    ACTIVE)
      status=$(on_hosts "$progress" 0 || echo unreachable)
      case "$status" in
        running | unreachable) ;;
        0) exit 0 ;;
        143 | gone | '') start "$@" ;;
        bare)
          bash "$here/install.sh" "${dry[@]}"
          start "$@"
          ;;
        *) fail "the command has ended with status $status; see run.log." ;;
      esac
      ;;
    '' | SUSPENDED | FAILED)
      if [ -n "$now" ]; then
        tpu queued-resources delete "$TPU_NAME" --force --quiet
      fi
      DRY_RUN_STATE=ACTIVE bash "$here/create.sh" "${dry[@]}"
      bash "$here/install.sh" "${dry[@]}"
      start "$@"
      ;;
    *) ;; # Waiting for the slice, or for its end.
  esac
  [ -z "$DRY_RUN" ] || exit 0
  sleep "${POLL_SECONDS:-60}"
done
