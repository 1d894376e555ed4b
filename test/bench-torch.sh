#!/usr/bin/env bash
# Our training beside PyTorch's on the same shards: build/bench-torch.csv and a table. Skips where Python lacks what the peer needs.
# The shards are those of the bundled corpus, or the HDF5 files of sequences of 128 and 512 tokens found below DATA.
set -euo pipefail
cd "$(dirname "$0")/.."
python=${1:-python3} data=${2:-}
shift $(($# < 2 ? $# : 2))
if ! reason=$("$python" -c 'import h5py, numpy, torch, transformers' 2>&1); then
	echo "bench-torch: skipped: $python: ${reason##*$'\n'}" >&2
	exit 0
fi
if [ -z "$data" ]; then
	data=build/bench-data
	bin/wikiextract -q test/data/tinywiki.xml | bin/segment -q | bin/shard -q --force --train 1 --test 1 -o "$data/text"
	for sizes in "128 20" "512 80"; do
		read -r length masked <<<"$sizes"
		bin/mkpretrain -q --vocab test/data/vocab.txt --seq "$length" --max-pred "$masked" --dupe 5 --seed 12345 -o "$data/$length" "$data"/text/*training*.txt
	done
fi
unset OPENBLAS_CORETYPE OPENBLAS_L2_SIZE # they would cripple the peer where somebody set them
exec "$python" test/bench/compare.py --data "$data" "$@"
