#!/usr/bin/env bash
# Asks for a TPU slice and waits until it is there.
#
#   create.sh [--dry-run]
#
# From the environment: TPU_NAME ZONE PROJECT ACCELERATOR_TYPE (such as
# v5litepod-16) RUNTIME_VERSION (such as v2-alpha-tpuv5-lite); SPOT=1 for a
# slice that may be taken away; WAIT_SECONDS (default 86400).
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=experiments/ops/tpu_vm/common.sh
. "$here/common.sh"
need ACCELERATOR_TYPE RUNTIME_VERSION

spot=()
[ -z "${SPOT:-}" ] || spot=(--spot)
tpu queued-resources create "$TPU_NAME" --node-id="$TPU_NAME" \
  --accelerator-type="$ACCELERATOR_TYPE" \
  --runtime-version="$RUNTIME_VERSION" "${spot[@]}"

end=$((SECONDS + ${WAIT_SECONDS:-86400}))
while true; do
  now=$(state)
  echo "$TPU_NAME: ${now:-unknown}" >&2
  case "$now" in
    ACTIVE) exit 0 ;;
    FAILED | SUSPENDED) fail "the request has ended as $now." ;;
  esac
  [ "$SECONDS" -lt "$end" ] || fail "still ${now:-unknown}; try again later."
  sleep 30
done
