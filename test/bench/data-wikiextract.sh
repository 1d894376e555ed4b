#!/usr/bin/env bash
# data-wikiextract.sh BIN DATA: wikiextract against WikiExtractor, decompressed XML to documents, in turns: ours on all cores, the peer as it
# comes, which is a process less than there are cores, ours, the peer with a process for each core, ours. PYTHON names an interpreter that has
# wikiextractor (3.1.0); without it the peer is skipped. The text is real pages repeated: English ones without templates of their own, and a
# small whole wiki with its templates; ENGLISH_COPIES (35) and TEMPLATE_COPIES (20) say how often.
set -euo pipefail
bin=$1
dumps=$2/wiki/dumps
python=${PYTHON:-python3}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# repeat TIMES < DUMP: the dump with its pages as often as that
repeat() {
	cat > "$work/dump"
	sed '/<page>/,$d' "$work/dump"
	sed -n '/<page>/,$p' "$work/dump" | grep -v '</mediawiki>' > "$work/pages"
	for _ in $(seq "$1"); do cat "$work/pages"; done
	echo '</mediawiki>'
	rm "$work/dump" "$work/pages"
}

# seconds COMMAND...: how long it takes
seconds() {
	start=$(date +%s.%N)
	"$@" > "$work/out" 2>&1 || { tail -5 "$work/out" >&2; return 1; }
	echo "$(date +%s.%N) $start" | awk '{ printf "%.3f", $1 - $2 }'
}

# rate SECONDS...: MB/s of the text, mean over the runs
rate() { stat -c %s "$work/text.xml" | awk -v s="$*" '{ n = split(s, t, " "); for (i in t) sum += t[i]; printf "%.1f", n * $1 / 1e6 / sum }'; }

ours() { seconds "$bin/wikiextract" -q -o "$work/ours.jsonl" "$work/text.xml"; }
peer() { # [OPTION...]
	rm -rf "$work/peer"
	seconds "$python" -m wikiextractor.WikiExtractor -q -b 100M -o "$work/peer" "$@" "$work/text.xml"
}

# row WHAT OURS PEER
row() { printf 'wikiextract\t%s\t%s\t%s\t%s\n' "$1" "$2" "$3" "$(echo "$2 $3" | awk '{ printf "%.1f", $1 / $2 }')"; }

# compare WHAT: a line for each of the peer's ways
compare() {
	first=$(ours)
	if ! "$python" -c 'import wikiextractor' 2> /dev/null; then
		printf 'wikiextract\t%s\t%s\tskipped: %s has no wikiextractor\t-\n' "$1" "$(rate "$first")" "$python"
		return
	fi
	usual=$(rate "$(peer)")
	second=$(ours)
	full=$(rate "$(peer --processes "$(nproc)")")
	mine=$(rate "$first" "$second" "$(ours)")
	row "$1; the peer's default" "$mine" "$usual"
	row "$1; the peer with $(nproc) process(es)" "$mine" "$full"
}

bzcat "$dumps"/enwiki-latest-pages-articles1.xml-*-shortened.xml.bz2 | repeat "${ENGLISH_COPIES:-35}" > "$work/text.xml"
compare 'MB/s of XML, English pages'
repeat "${TEMPLATE_COPIES:-20}" < "$dumps/ltgwiki-smallwiki-latest-pages-articles.xml" > "$work/text.xml"
compare 'MB/s of XML, a whole small wiki with its templates'
