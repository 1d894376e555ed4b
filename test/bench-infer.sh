#!/usr/bin/env bash
# Inference beside ONNX Runtime's on the same records: build/bench-infer.csv and a table. Skips where Python lacks what the peer needs.
# The records are the sentences of the bundled corpus, or those of DATA (test/bench/infer.py --help).
set -euo pipefail
cd "$(dirname "$0")/.."
python=${1:-python3} data=${2:-}
shift $(($# < 2 ? $# : 2))
if ! reason=$("$python" -c 'import h5py, onnx, onnxruntime, torch, transformers' 2>&1); then
	echo "bench-infer: skipped: $python: ${reason##*$'\n'}" >&2
	exit 0
fi
records=(--data "$data")
if [ -z "$data" ]; then
	mkdir -p build/bench-data
	bin/wikiextract -q test/data/tinywiki.xml | bin/segment -q | grep . >build/bench-data/sentences.txt
	records=(--text build/bench-data/sentences.txt --vocab test/data/vocab.txt)
fi
exec "$python" test/bench/infer.py "${records[@]}" "$@"
