#!/usr/bin/env bash
# The whole road on the bundled corpus: a MediaWiki dump becomes text, sentences, shards and HDF5; two ranks train a small BERT on it.
# Ends with a picture of the loss and a line that compares it with the best constant prediction.
set -euo pipefail
cd "$(dirname "$0")/.."
: "${OUT:=demo}"                       # folder for everything the demo makes; removed first
: "${DUMP:=test/data/tinywiki.xml}"    # MediaWiki dump
: "${VOCAB:=test/data/vocab.txt}"      # WordPiece vocabulary
: "${RANKS:=2}"                        # MPI ranks
: "${STEPS:=500}"                      # updates
: "${CONFIG:=configs/model/tiny.json}" # model shape
: "${BATCH:=32}"                       # sequences of an update
: "${RATE:=1e-2}"                       # base learning rate
: "${DROPOUT:=0.1}"                    # probability

say() { printf '\n== %s\n' "$*"; }
if [ "$(id -u)" = 0 ]; then
	export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
fi

rm -rf "$OUT"
mkdir -p "$OUT"
say "1 of 4: dump to sentences to shards"
bin/wikiextract "$DUMP" | bin/segment | bin/shard --train 4 --test 1 -o "$OUT/shards"
say "2 of 4: shards to HDF5"
bin/mkpretrain --vocab "$VOCAB" --seq 128 --max-pred 20 --dupe 5 --seed 12345 -o "$OUT/hdf5" "$OUT"/shards/*.txt
say "3 of 4: $RANKS ranks train"
mpirun --oversubscribe --bind-to none -np "$RANKS" bin/bertrain --config "$CONFIG" --data "$OUT/hdf5" -o "$OUT/model" --global-batch "$BATCH" --micro-batch 8 \
	--steps "$STEPS" --save-every 100 --learning-rate "$RATE" --dropout "$DROPOUT" --seed 42 2>&1 | tee "$OUT/bertrain.log"
say "4 of 4: loss curve"
bin/bertplot -o "$OUT/loss.png" "$OUT/model/metrics.jsonl"

line=$(grep 'best constant prediction' "$OUT/bertrain.log")
say "demo: ${line#*info: }; picture in $OUT/loss.png"
awk '{ gsub(",", "") } { exit !($(NF - 5) + 0 < $NF) }' <<<"$line" || { echo "demo: error: the model does not beat the best constant prediction" >&2; exit 1; }
