#!/usr/bin/env bash
#SBATCH --job-name=sleepjax
#SBATCH --gpus-per-node=8
#SBATCH --ntasks-per-node=1
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --signal=TERM@120
# Runs a command under SLURM, one process a node, and requeues it when its time
# is up or the nodes are needed.
#
#   sbatch --nodes=2 --time=4:00:00 experiments/ops/slurm/run.sh \
#     python -m experiments.NAME --workdir=/shared/run --config.mesh.fsdp=-1 …
#
# SLURM sends SIGTERM 120 s before the end and when a job of higher priority
# comes; the command saves and ends with 143. The work directory has to be on a
# file system that all nodes share.
set -euo pipefail
if [ $# -eq 0 ]; then
  echo 'run.sh: no command; see the comment at its top.' >&2
  exit 2
fi
# The batch script itself must outlive the signal to see the status.
trap ':' TERM
status=0
srun --kill-on-bad-exit=1 "$@" &
child=$!
while true; do
  wait "$child" && status=0 || status=$?
  kill -0 "$child" 2>/dev/null || break
done
if [ "$status" -eq 143 ]; then
  echo 'run.sh: interrupted; it goes on when the job runs again.' >&2
  scontrol requeue "$SLURM_JOB_ID"
fi
exit "$status"
