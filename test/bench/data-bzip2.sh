#!/usr/bin/env bash
# data-bzip2.sh BIN DATA: decompression of a dump of 200 MB beside lbzip2, on one core and on two, and what bz2 input costs wikiextract: its
# speed on bz2 beside the best that can be, 1 / (1/decompressing alone + 1/extracting alone). Rows are the best of three turns.
set -euo pipefail
bin=$1
dump="$2/wiki/dumps/enwiki-latest-pages-articles1.xml-p000000010p000030302-shortened.xml.bz2"
command -v bzip2 > /dev/null || { echo 'bzip2: skipped: bzip2 is not installed' >&2; exit 0; }
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# Dumps behind each other are read as one. The file is multistream, as the real ones are: ten dumps a stream.
bzip2 -dc "$dump" > "$work/one.xml"
for _ in 1 2 3 4 5 6 7 8 9 10; do cat "$work/one.xml"; done > "$work/ten.xml"
bzip2 -k "$work/ten.xml"
for _ in 1 2 3 4; do
	cat "$work/ten.xml" >&3
	cat "$work/ten.xml.bz2"
done 3> "$work/dump.xml" > "$work/dump.xml.bz2"
rm "$work"/ten.xml* "$work/one.xml"
bytes=$(wc -c < "$work/dump.xml")
go test -c -o "$work/test" ./lib/bzip2

# rate COMMAND...: MB/s of the dump's text
rate() {
	start=$(date +%s.%N)
	"$@" > /dev/null
	echo "$(date +%s.%N) $start $bytes" | awk '{ printf "%.1f", $3 / 1e6 / ($1 - $2) }'
}
best() { awk -v a="$1" -v b="$2" 'BEGIN { print (a > b ? a : b) }'; }

ours() { # THREADS
	HPCBERT_BZIP2="$work/dump.xml.bz2" "$work/test" -test.run '^$' -test.bench "Reader/threads=$1\$" -test.benchtime 1x -test.cpu "$1" |
		awk '{ for (i = 2; i <= NF; i++) if ($i == "MB/s") print $(i - 1) }'
}

declare -A alone
for n in 1 2; do
	mine=0 theirs=0
	for _ in 1 2 3; do
		mine=$(best "$mine" "$(ours "$n")")
		if command -v lbzip2 > /dev/null; then theirs=$(best "$theirs" "$(rate lbzip2 -dc -n "$n" "$work/dump.xml.bz2")"); fi
	done
	alone[$n]=$mine
	if [ "$theirs" = 0 ]; then theirs='skipped: lbzip2 is not installed'; fi
	ratio=$(awk -v a="$mine" -v b="$theirs" 'BEGIN { if (b + 0) printf "%.2f", a / b; else print "-" }')
	printf 'bzip2\tMB/s of text, %s core(s), beside lbzip2\t%s\t%s\t%s\n' "$n" "$mine" "$theirs" "$ratio"
done

for option in --templates --no-templates; do
	options=()
	if [ "$option" = --no-templates ]; then options=("$option"); fi
	plain=0 packed=0
	for _ in 1 2 3; do
		plain=$(best "$plain" "$(rate "$bin/wikiextract" -q -j 2 "${options[@]}" "$work/dump.xml" -o "$work/out.jsonl")")
		packed=$(best "$packed" "$(rate "$bin/wikiextract" -q -j 2 "${options[@]}" "$work/dump.xml.bz2" -o "$work/out.jsonl")")
	done
	echo "$packed ${alone[2]} $plain" | awk -v what="wikiextract -j 2${options:+ ${options[*]}} on bz2" '
		{ possible = 1 / (1 / $2 + 1 / $3); printf "bzip2\t%s, MB/s of XML\t%s\t%.1f\t%.2f\n", what, $1, possible, $1 / possible }'
done
