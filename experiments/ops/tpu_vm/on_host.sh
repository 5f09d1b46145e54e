#!/usr/bin/env bash
# Runs a command on a host until it ends or the host is about to be taken away.
#
#   on_host.sh REMOTE COMMAND…
#
# A preemption or a maintenance that ends the host is announced by its metadata
# server; the command then gets SIGTERM, saves and ends with status 143. The
# status of the command is left in run.status.
set -euo pipefail
url=${METADATA_URL:-http://metadata.google.internal/computeMetadata/v1/instance}
every=${METADATA_SECONDS:-5}
remote=$1
shift

metadata() {
  curl -sf -m 5 -H 'Metadata-Flavor: Google' "$url/$1" || true
}

upload=()
# Host 0 is process 0, which writes what people read.
[ "$(metadata attributes/agent-worker-number)" = 0 ] || upload=(--no_upload)
rm -f run.status
PYTHONPATH=sleepjax python -m experiments.mirror --remote="$remote" --local=run \
  "${upload[@]}" -- "$@" &
child=$!
trap 'kill -TERM "$child" 2>/dev/null || true' TERM INT

watch() {
  while sleep "$every"; do
    if [ "$(metadata preempted)" = TRUE ] ||
      [[ "$(metadata maintenance-event)" == TERMINATE* ]]; then
      echo 'on_host.sh: this host is about to go; telling the run.' >&2
      kill -TERM "$child" 2>/dev/null || true
      return
    fi
  done
}
watch &
watcher=$!

# A trapped signal ends `wait`, not the child.
status=0
while true; do
  wait "$child" && status=0 || status=$?
  kill -0 "$child" 2>/dev/null || break
done
kill "$watcher" 2>/dev/null || true
echo "$status" > run.status
exit "$status"
