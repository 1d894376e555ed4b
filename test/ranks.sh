#!/usr/bin/env bash
# ranks.sh DATA: 2 ranks with a thread each beside 1 rank with 2 threads, in turns: BERT base, sequences of 128, 8 micro-batches of 16 an update.
# The ranks must reach 95 % of the throughput of the threads. DATA is the folder of real data (README.md); the programs are those of ../bin.
#
# Variables: ROUNDS (2) in turns; UPDATES (2) of each run, of which the first, which touches its memory for the first time, is left out where there
# are more; WITH, a command before each run, as nice or taskset. A run takes about a minute an update on two cores, and 3 GB a rank.
set -euo pipefail
cd "$(dirname "$0")/.."
[ $# = 1 ] || { echo "usage: test/ranks.sh DATA" >&2; exit 2; }
shard=$1/hdf5/wiki_seq128_pred20.hdf5 vocab=$1/wordpiece/vocab/bert-base-uncased-vocab.txt
for needed in "$shard" "$vocab"; do
	[ -r "$needed" ] || { echo "ranks: skipped: $needed is not there"; exit 0; }
done
command -v mpirun >/dev/null || { echo "ranks: skipped: no mpirun on this machine"; exit 0; }

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir "$work/data"
ln -s "$(realpath "$shard")" "$work/data/wiki_training_0.hdf5"
export PATH=$PWD/bin:$PATH OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1

# train RANKS THREADS prints sequences a second: the median of the updates.
train() {
	# shellcheck disable=SC2086 # WITH is a command
	${WITH:-} mpirun -np "$1" --bind-to none bertrain -q -j "$2" --config configs/model/base.json --vocab "$vocab" --data "$work/data" -o "$work/$1" \
		--global-batch 128 --micro-batch 16 --steps "${UPDATES:-2}" --skip-checkpoint >&2
	python3 - "$work/$1/metrics.jsonl" <<-'END'
		import json, statistics, sys
		steps = [s for s in map(json.loads, open(sys.argv[1])) if "step" in s]
		print(round(statistics.median(s["sequences_per_s"] for s in steps[len(steps) > 1:]), 4))
	END
	rm -r "${work:?}/$1"
}

for round in $(seq "${ROUNDS:-2}"); do
	threads=$(train 1 2)
	ranks=$(train 2 1)
	echo "ranks: round $round: 1 rank x 2 threads $threads sequences/s, 2 ranks x 1 thread $ranks"
	echo "$threads $ranks" >>"$work/rounds"
done
awk '{ threads += $1; ranks += $2 } END { printf "ranks: %.1f %% of the throughput of one rank\n", 100 * ranks / threads; exit ranks < 0.95 * threads }' "$work/rounds" ||
	{ echo "ranks: error: below 95 %" >&2; exit 1; }
