#!/usr/bin/env bash
# A SLURM cluster of one node on this machine, apart from any other: own configuration, ports, key, state and logs.
#
#   cluster.sh install        the programs by apt, when missing: as root, or with sudo that asks for no password
#   cluster.sh start FOLDER   munged, slurmctld, slurmd; then export SLURM_CONF=FOLDER/slurm.conf PATH=FOLDER/bin:$PATH
#   cluster.sh slurmd FOLDER  slurmd alone, after it was killed
#   cluster.sh stop FOLDER    all of them, and the jobs
set -euo pipefail
PATH=$PATH:/usr/sbin:/sbin

install() {
    local program as_root=() missing=0
    for program in munged slurmctld slurmd sbatch; do
        command -v "$program" >/dev/null || missing=1 # one call for all would be content with any of them
    done
    ((missing)) || return 0
    if ((EUID)); then
        sudo -n true 2>/dev/null || cannot "expected SLURM, or root to install it, got neither"
        as_root=(sudo -n)
    fi
    command -v apt-get >/dev/null || cannot "expected SLURM, or apt-get to install it, got neither"
    "${as_root[@]}" apt-get -qq update
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive \
        apt-get -qq install --yes --no-install-recommends slurm-wlm munge
}

start() {
    local folder=$1 host ports
    host=$(uname -n)
    host=${host%%.*}
    ports=$(python3 -c 'import socket
sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(2)]
print(*(s.getsockname()[1] for s in sockets))')
    mkdir -p "$folder"/{bin,state,spool}
    chmod 755 "$folder"
    (umask 077 && head -c 1024 /dev/urandom >"$folder/munge.key")
    # More CPUs than there may be, so that jobs run side by side. Memory is watched, not walled in: that needs no
    # cgroups. Waits are short, or tests would be long.
    cat >"$folder/slurm.conf" <<EOF
ClusterName=inril
SlurmctldHost=$host(127.0.0.1)
SlurmctldPort=${ports% *}
SlurmdPort=${ports#* }
SlurmUser=$(id -un)
SlurmdUser=$(id -un)
AuthInfo=socket=$folder/munge.socket
StateSaveLocation=$folder/state
SlurmdSpoolDir=$folder/spool
SlurmctldPidFile=$folder/slurmctld.pid
SlurmdPidFile=$folder/slurmd.pid
SlurmctldLogFile=$folder/slurmctld.log
SlurmdLogFile=$folder/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
ReturnToService=2
SchedulerParameters=batch_sched_delay=0,sched_interval=5,sched_min_interval=0
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=task=1
JobAcctGatherParams=OverMemoryKill
SlurmdParameters=config_overrides
KillWait=5
NodeName=$host NodeAddr=127.0.0.1 CPUs=4 RealMemory=16000 State=UNKNOWN
PartitionName=all Nodes=ALL Default=YES MaxTime=INFINITE State=UP
EOF
    export SLURM_CONF=$folder/slurm.conf
    # Snakemake's job step hides the variable from its srun, which would look for another cluster.
    printf '#!/bin/sh\nSLURM_CONF=%q exec %q "$@"\n' "$SLURM_CONF" "$(command -v srun)" >"$folder/bin/srun"
    chmod +x "$folder/bin/srun"
    munged --socket="$folder/munge.socket" --key-file="$folder/munge.key" --pid-file="$folder/munged.pid" \
        --log-file="$folder/munged.log" --seed-file="$folder/munge.seed" --force
    slurmctld -f "$SLURM_CONF"
    slurmd "$folder"
    for _ in {1..100}; do
        timeout 5 sinfo --noheader --format=%T 2>/dev/null | grep -q idle && return
        sleep 0.2
    done
    tail -n 5 "$folder"/*.log >&2
    fail "expected an idle node within 20 s, got none; see above"
}

slurmd() {
    command slurmd -f "$1/slurm.conf"
}

stop() {
    export SLURM_CONF=$1/slurm.conf
    timeout 10 scancel --user="$(id -un)" --full || true
    for _ in {1..50}; do
        [[ -z $(timeout 5 squeue --noheader 2>/dev/null) ]] && break
        sleep 0.2
    done
    for daemon in slurmd slurmctld munged; do
        # shellcheck disable=SC2046 # one process id, or none
        kill $(cat "$1/$daemon.pid" 2>/dev/null) 2>/dev/null || true
    done
}

fail() {
    echo "error: $1" >&2
    exit "${2:-1}"
}

cannot() {
    fail "$1" 77 # as test programs tell that they are to be skipped
}

"$@"
