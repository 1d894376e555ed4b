#!/usr/bin/env bash
# glueft beside Hugging Face's BERT with PyTorch: sequences a second of MRPC and SST-2 in turns, or with "accuracy" the results of five seeds.
# DATA/glue has both tasks, MODEL is a folder of Hugging Face's with a BERT. Skips where Python lacks what the peer needs.
set -euo pipefail
cd "$(dirname "$0")/.."
python=${1:-python3} data=${2:-} model=${3:-} what=${4:-speed}
shift $(($# < 4 ? $# : 4))
if ! reason=$("$python" -c 'import torch, transformers' 2>&1); then
	echo "bench-finetune: skipped: $python: ${reason##*$'\n'}" >&2
	exit 0
fi
if [ ! -d "$data/glue/MRPC" ] || [ ! -f "$model/config.json" ]; then
	echo "bench-finetune: skipped: give DATA=FOLDER with glue/MRPC and glue/SST-2 and MODEL=FOLDER with a BERT of Hugging Face's" >&2
	exit 0
fi
exec "$python" test/bench/finetune.py "$what" bin "$model" "$data/glue" "$@"
