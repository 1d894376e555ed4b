#!/usr/bin/env bash
# The demo on real input: the English dump and the uncased vocabulary below the folder given.
set -euo pipefail
cd "$(dirname "$0")/.."
data=${1:?usage: make real DATA=FOLDER (holds wiki/dumps and wordpiece/vocab)}
dumps=("$data"/wiki/dumps/enwiki-latest-pages-articles1*.xml.bz2)
[ -e "${dumps[0]}" ] || { echo "real: error: no enwiki dump in $data/wiki/dumps" >&2; exit 1; }
export OUT="${OUT:-real}" DUMP="${dumps[0]}" VOCAB="$data/wordpiece/vocab/bert-base-uncased-vocab.txt"
export STEPS="${STEPS:-600}"
exec test/demo.sh
