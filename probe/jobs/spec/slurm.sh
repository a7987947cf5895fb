#!/usr/bin/env bash
# A Twinprobe job on a SLURM cluster:   sbatch slurm.sh spec.yaml
#
# It begins a Ray cluster on the nodes that SLURM grants and hands it the job. The run folder (`output` in the spec) and
# the models have to lie on a disk that all nodes see. Submitted again, after a time limit or a lost node, it goes on
# from what is there. Change what follows to what your cluster has.
#SBATCH --job-name=twinprobe
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=8
#SBATCH --gpus-per-node=1
#SBATCH --time=12:00:00
#SBATCH --signal=B:TERM@120

set -euo pipefail
spec=${1:?"usage: sbatch slurm.sh spec.yaml"}

# source /path/to/your/venv/bin/activate

first=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)
port=$((20000 + SLURM_JOB_ID % 20000))
each=(--num-cpus "$SLURM_CPUS_PER_TASK" --num-gpus "${SLURM_GPUS_ON_NODE:-0}" --disable-usage-stats --block)

srun --nodes=1 --ntasks=1 --nodelist="$first" \
  ray start --head --node-ip-address="$first" --port="$port" --include-dashboard=false "${each[@]}" &
until ray status --address "$first:$port" > /dev/null 2>&1; do sleep 2; done
if ((SLURM_JOB_NUM_NODES > 1)); then
  srun --nodes=$((SLURM_JOB_NUM_NODES - 1)) --ntasks=$((SLURM_JOB_NUM_NODES - 1)) --exclude="$first" \
    ray start --address="$first:$port" "${each[@]}" &
fi

# The signal that announces the time limit ends the job cleanly; what is done stays done.
twinprobe run "$spec" --on ray --address "$first:$port" &
job=$!
trap 'kill -TERM $job' TERM
wait $job || wait $job
