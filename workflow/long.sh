#!/usr/bin/env bash
# The runs of budget `long`, a day on two cores, in a work tree of their own: at the commit that workflow/long.commit
# names, with an environment of its own, so that nothing that is edited or tested here reaches them.
#
#   workflow/long.sh start     go on in the background from whatever is left: the first time, after a kill, after a reboot
#   workflow/long.sh status    where every run stands
#   workflow/long.sh stop      end; unfinished runs keep their states
#   workflow/long.sh collect   bring here what is complete, as if it had been pulled, and renew results/ledger.csv
#   workflow/long.sh targets   what is computed, in this order
#
# CORES=2: jobs side by side. TREE=build/long: where the work tree lies.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
export PATH="$PWD/.venv/bin:$PATH"

CORES=${CORES:-2}
TREE=${TREE:-build/long}

# The two arms of the headline come first, on all seeds, then the sweep seed by seed: a line is one call of Snakemake.
targets() {
    local seed m runs=results/long/finetune/hopper
    for seed in 0 1 2; do
        echo "$runs/dppo/none/minf/seed$seed/metrics.csv $runs/dppo/surgery/m10/seed$seed/metrics.csv"
    done
    for seed in 0 1 2; do
        for m in 2 30 5 15 3 20; do
            printf '%s ' "$runs/dppo/surgery/m$m/seed$seed/metrics.csv"
        done
        echo "$runs/dppo_il_only/network/m2/seed$seed/metrics.csv"
    done
}

# In the work tree itself, under a lock.
work() {
    # Else nice counts for nothing against other sessions.
    { echo 19 >/proc/self/autogroup; } 2>/dev/null || true
    ps -o pgid= $$ >logs/long.group
    snakemake --unlock --config budget=long
    while read -r group; do
        # shellcheck disable=SC2086 # names of files, one per word
        snakemake --cores "$CORES" --keep-going --rerun-incomplete --config budget=long -- $group </dev/null || true
    done < <(targets)
}

start() {
    if [[ ! -e $TREE/.git ]]; then
        git worktree prune
        git worktree add --detach "$TREE" "$(<workflow/long.commit)"
    fi
    make -C "$TREE" env
    mkdir -p "$TREE/logs"
    cd "$TREE"
    CORES=$CORES setsid nice -n 19 flock --nonblock logs/long.lock workflow/long.sh work >>logs/long.txt 2>&1 </dev/null &
    echo "$TREE/logs/long.txt tells how it goes on"
}

collect() {
    local phase
    for phase in demos pretrain finetune weights; do
        (cd "$TREE" && PATH="$PWD/.venv/bin:$PATH" python -m inril record long "$phase")
    done
    mkdir -p results/published
    cp -r "$TREE/results/published/long" results/published/
    python -c 'from inril.publishing.mirror import adopt; print(f"{adopt()} files put into place")'
    python -m inril ledger --budget long --results "$TREE" --out results/ledger.csv
}

case ${1:-} in
    start | work | collect | targets) "$1" ;;
    status) python -m inril status fig8 --budget long --results "$TREE" ;;
    stop) kill -TERM -- "-$(tr -d ' ' <"$TREE/logs/long.group")" ;;
    *) sed -n '/^#   /s/^# *//p' "$0" ;;
esac
