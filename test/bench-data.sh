#!/usr/bin/env bash
# bench-data.sh PYTHON DATA: the speed of the data programs beside that of others, in turns on this machine: a table, and build/bench-data.tsv.
# Each test/bench/data-PART.sh or .py BIN DATA measures a part and prints lines "part, what, ours, peer, ratio" with tabs between. Peers that
# are not installed are skipped with a line that says so. PARTS names the parts to measure.
set -euo pipefail
cd "$(dirname "$0")/.."
export PYTHON=${1:-python3}
data=${2:-}
if [ -z "$data" ]; then
	echo 'bench-data: skipped: DATA is not set; make bench-data DATA=FOLDER names the folder of real data' >&2
	exit 0
fi
data=$(realpath -- "$data")
unset OPENBLAS_CORETYPE OPENBLAS_L2_SIZE # they would cripple a peer where somebody set them
table=build/bench-data.tsv
mkdir -p build

# row prints a line of the table for people, and keeps it for programs.
row() {
	printf '%s\t%s\t%s\t%s\t%s\n' "$@" >>"$table.new"
	printf '%-12s %-66s %10s %8s  %s\n' "$1" "$2" "$3" "$5" "$4" # a peer that is skipped says why, at length
}

cpu=$(sed -n 's/^model name[^:]*: *//p' /proc/cpuinfo | head -n 1)
printf '%s, %s core(s), %s\n' "${cpu:-$(uname -m)}" "$(nproc)" "$(date -u +%F)"
: >"$table.new"
row part what ours peer ratio
failed=''
for part in ${PARTS:-bzip2 wikiextract segment wordpiece mkpretrain}; do
	if [ -e "test/bench/data-$part.sh" ]; then
		run=(bash "test/bench/data-$part.sh")
	elif [ -e "test/bench/data-$part.py" ]; then
		run=("$PYTHON" "test/bench/data-$part.py")
	else
		row "$part" 'skipped: there is no script for it' - - -
		continue
	fi
	# What is no row of five columns goes to standard error, as talk does.
	if ! "${run[@]}" "$PWD/bin" "$data" | while IFS= read -r line; do
		IFS=$'\t' read -r -a columns <<<"$line"
		if [ "${#columns[@]}" = 5 ]; then row "${columns[@]}"; else printf '%s\n' "$line" >&2; fi
	done; then
		row "$part" 'failed' - - -
		failed+=" $part"
	fi
done
mv "$table.new" "$table"
[ -z "$failed" ] || { echo "bench-data: error: failed:$failed" >&2; exit 1; }
