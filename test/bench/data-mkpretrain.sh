#!/usr/bin/env bash
# data-mkpretrain.sh BIN DATA: mkpretrain against the original create_pretraining_data.py, sentences to HDF5, sequences of 128, dupe
# factor 5, one core each. NVIDIA_BERT names the folder of the original program (PyTorch/LanguageModeling/BERT of NVIDIA's
# DeepLearningExamples) and PYTHON an interpreter with h5py, tqdm, requests, boto3 and six; without them the peer is skipped.
set -euo pipefail
bin=$1
text="$2/hdf5/wiki_seq128_pred20+seq512_pred80.input.txt"
vocab="$2/wordpiece/vocab/bert-base-uncased-vocab.txt"
python=${PYTHON:-python3}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# 28 shards of 7 MB: 200 MB in all. The original gets 1.4 MB, which takes it several seconds.
mkdir "$work/shards"
for i in 1 2 3 4 5 6 7 8 9 10; do cat "$text"; done > "$work/shards/training_0.txt"
for i in $(seq 27); do cp "$work/shards/training_0.txt" "$work/shards/training_$i.txt"; done
cat "$text" "$text" > "$work/peer_training_0.txt"

# seconds COMMAND...: how long it takes
seconds() {
	start=$(date +%s.%N)
	"$@" > "$work/out" 2>&1 || { cat "$work/out" >&2; return 1; }
	echo "$(date +%s.%N) $start" | awk '{ printf "%.3f", $1 - $2 }'
}

# rate FILES SECONDS: MB/s
rate() { cat "$1"/*training*.txt | wc -c | awk -v s="$2" '{ printf "%.3f", $1 / 1e6 / s }'; }

ours() { seconds env GOMAXPROCS=1 "$bin/mkpretrain" -q -j 1 --vocab "$vocab" --seq 128 --dupe 5 --force -o "$work/hdf5" "$work/shards"; }
mine=$(rate "$work/shards" "$(ours)")
if [ -z "${NVIDIA_BERT:-}" ]; then
	printf 'mkpretrain\tMB/s of sentences on one core, dupe 5, seq 128\t%s\tskipped: NVIDIA_BERT is not set\t-\n' "$mine"
	exit
fi
if ! "$python" -c 'import h5py, tqdm, requests, boto3, six' 2> /dev/null; then
	printf 'mkpretrain\tMB/s of sentences on one core, dupe 5, seq 128\t%s\tskipped: %s lacks h5py, tqdm, requests, boto3 or six\t-\n' "$mine" "$python"
	exit
fi
peer() {
	seconds env OMP_NUM_THREADS=1 "$python" "$NVIDIA_BERT/create_pretraining_data.py" --vocab_file "$vocab" --input_file "$work/peer_training_0.txt" \
		--output_file "$work/peer.hdf5" --max_seq_length 128 --max_predictions_per_seq 20 --dupe_factor 5 --random_seed 12345
}
theirs=$(rate "$work" "$(peer)")
mine=$(rate "$work/shards" "$(ours)")
again=$(rate "$work" "$(peer)")
echo "$mine $theirs $again" | awk '{ p = $2 > $3 ? $2 : $3; printf "mkpretrain\tMB/s of sentences on one core, dupe 5, seq 128\t%.2f\t%.3f\t%.1f\n", $1, p, $1 / p }'

# The same text gives the same arrays.
"$bin/mkpretrain" -q --vocab "$vocab" --seq 128 --dupe 5 -o "$work/same" "$work/peer_training_0.txt"
"$python" - "$work/same/peer_training_0.hdf5" "$work/peer.hdf5" <<'P' | sed 's/^/mkpretrain\t/'
import sys, h5py
a, b = (h5py.File(name, "r") for name in sys.argv[1:])
same = sorted(a) == sorted(b) and all(a[k].dtype == b[k].dtype and (a[k][:] == b[k][:]).all() for k in b)
bytes_of = lambda f: sum(f[k].id.get_storage_size() for k in f)
print("arrays equal to the original's\t%s\t-\t-" % ("yes" if same else "NO"))
print("bytes of the data sets\t%d\t%d\t%.2f" % (bytes_of(a), bytes_of(b), bytes_of(a) / bytes_of(b)))
sys.exit(not same)
P
