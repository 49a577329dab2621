#!/usr/bin/env bash
# Runs a suite on the nodes of a Slurm job; docs/cluster.md says what they need.
#
#   source .venv/bin/activate                     # of all nodes, such as one in a shared folder
#   export SHOTBOARD_HOME=s3://bucket/benchmark   # or a folder that all nodes share
#   sbatch docs/cluster/slurm.sh nightly          # then options of `shotboard run`, if any
#
# Nodes get the environment that sbatch is called with: credentials of the store (AWS_..), and
# PREFECT_API_URL and MLFLOW_TRACKING_URI, where these servers are.
#SBATCH --job-name=shotboard
#SBATCH --nodes=3
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=8
#SBATCH --mem-per-cpu=3G
#SBATCH --exclusive
#SBATCH --no-kill
#SBATCH --time=08:00:00
#SBATCH --signal=B:TERM@180
#SBATCH --output=shotboard-%j.log
# With GPUs: `sbatch --gpus-per-node=1 docs/cluster/slurm.sh nightly --gpus-per-worker 1`
set -euo pipefail

: "${SHOTBOARD_HOME:?is not set: a URL such as s3://bucket/benchmark, or a folder of all nodes}"
suite=${1:-nightly}
patience=${SHOTBOARD_WAIT_SECONDS:-600} # for nodes; then those that are there begin
port=$((20000 + SLURM_JOB_ID % 10000))
folder=/tmp/ray-$SLURM_JOB_ID # /tmp/ray may be another user's
mapfile -t nodes < <(scontrol show hostnames "$SLURM_JOB_NODELIST")

# Who asks a port of Ray has to know this word, which is of this job alone.
export RAY_AUTH_MODE=token
RAY_AUTH_TOKEN=$(head -c 32 /dev/urandom | od -An -vtx1 | tr -d ' \n')
export RAY_AUTH_TOKEN RAY_USAGE_STATS_ENABLED=0
# Homes are often shared, and working copies should be of their node.
export SHOTBOARD_CACHE=${SHOTBOARD_CACHE:-/tmp/shotboard-$(id -u)}

# Prints the address of a node, from `name: address:port`.
address_of() {
  local line
  line=$(scontrol getaddrs "$1" | head -n 1)
  line=${line#*: }
  echo "${line%:*}"
}
cluster=$(address_of "${nodes[0]}"):$port

# Runs a command on a node, and waits for it; ends it when this process is told to end.
on() {
  local node=$1
  shift
  srun --nodes=1 --ntasks=1 --nodelist="$node" --cpus-per-task="$SLURM_CPUS_PER_TASK" "$@" &
  step=$!
  wait "$step" || true
}

# Keeps Ray up on a node, and starts it again where it has ended or the node was away.
keep_ray() {
  local node=$1
  shift
  trap 'kill "$step" 2> /dev/null; wait; exit' TERM
  while true; do
    on "$node" ray start --block --node-ip-address="$(address_of "$node")" \
      --num-cpus="$SLURM_CPUS_PER_TASK" --num-gpus="${SLURM_GPUS_ON_NODE:-0}" \
      --object-store-memory=200000000 --disable-usage-stats "$@"
    sleep 10 &
    step=$!
    wait "$step" || true
  done
}

# Runs a command; a signal that this script gets is passed on to it, and its end waited for.
front='' told=''
in_front() {
  local code=0
  "$@" &
  front=$!
  wait "$front" || code=$?
  while kill -0 "$front" 2> /dev/null; do
    code=0
    wait "$front" || code=$?
  done
  front=''
  return "$code"
}

pass_on() {
  told=yes
  if [[ -n $front ]]; then kill -TERM "$front" 2> /dev/null || true; fi
}

end() {
  local left
  trap '' TERM INT
  left=$(jobs -p)
  # shellcheck disable=SC2086  # one word a process
  if [[ -n $left ]]; then kill -TERM $left 2> /dev/null || true; fi
  wait
  for node in "${nodes[@]}"; do
    srun --nodes=1 --ntasks=1 --nodelist="$node" rm -rf "$folder" || true
  done
}
trap pass_on TERM INT
trap end EXIT

keep_ray "${nodes[0]}" --head --port="$port" --temp-dir="$folder" --include-dashboard=false &
for node in "${nodes[@]:1}"; do
  keep_ray "$node" --address="$cluster" &
done

in_front python -c '
import sys, time, ray
address, wanted, ends = sys.argv[1], int(sys.argv[2]), time.monotonic() + float(sys.argv[3])
there = 0
while there < wanted and time.monotonic() < ends:
    time.sleep(1)
    try:
        ray.init(address, ignore_reinit_error=True, log_to_driver=False, logging_level="ERROR")
        there = sum(node["Alive"] for node in ray.nodes())
    except (ConnectionError, RuntimeError):  # the head is not there yet
        pass
print(f"{there} of {wanted} nodes are there", flush=True)
sys.exit(not there)
' "$cluster" "${#nodes[@]}" "$patience"
if [[ -n $told ]]; then exit 143; fi

in_front shotboard run "$suite" "${@:2}" --ray-address "$cluster" --home "$SHOTBOARD_HOME"
