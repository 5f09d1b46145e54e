# shellcheck shell=bash
# Settings and helpers of the scripts beside it; sourced, never run.

usage() {
  # The comment at the top of the script that was called.
  sed -n '2,/^[^#]/s/^# \{0,1\}//p' "$0"
}

fail() {
  echo "$(basename "$0"): $1" >&2
  exit 2
}

DRY_RUN=
while [ $# -gt 0 ]; do
  case "$1" in
    --dry-run) DRY_RUN=1 ;;
    -h | --help)
      usage
      exit 0
      ;;
    --)
      shift
      break
      ;;
    *) fail "unknown argument '$1'; the command to run comes after --." ;;
  esac
  shift
done

need() {
  local name
  for name in "$@"; do
    [ -n "${!name:-}" ] || fail "$name is not set; see README.md beside it."
  done
}

# Prints a command, and runs it unless this is a dry run.
run() {
  { printf '+'; printf ' %q' "$@"; printf '\n'; } >&2
  [ -n "$DRY_RUN" ] || "$@"
}

tpu() {
  run gcloud compute tpus "$@" --zone="$ZONE" --project="$PROJECT"
}

# On all hosts of the slice, or on the one that $2 names.
on_hosts() {
  tpu tpu-vm ssh "$TPU_NAME" --worker="${2:-all}" --command="$1"
}

# ACTIVE, SUSPENDED, …; nothing where there is no such request.
state() {
  if [ -n "$DRY_RUN" ]; then
    tpu queued-resources describe "$TPU_NAME" --format='value(state.state)'
    echo "${DRY_RUN_STATE:-ACTIVE}"
  else
    tpu queued-resources describe "$TPU_NAME" \
      --format='value(state.state)' 2>/dev/null || true
  fi
}

need TPU_NAME ZONE PROJECT
