#!/usr/bin/env bash
# Measures how well the sum of gradients hides behind the backward pass: two ranks in two network namespaces of this machine, joined by a link
# that is throttled so that the transfer takes about half as long as the computing. An update must not take longer than the longer of the two and a
# tenth. (Only the last backward pass of an update hides transfers: two thirds of the computing where there is one micro-batch, as here.)
#
# Needs root, ip and tc; says so otherwise. The programs are those of ../bin.
set -euo pipefail
cd "$(dirname "$0")/.."

skip() { echo "overlap: skipped: $*"; exit 0; }
[ "$(id -u)" = 0 ] || skip "network namespaces need root"
for needed in ip tc unshare mpirun; do
	command -v "$needed" >/dev/null || skip "no $needed on this machine"
done

work=$(mktemp -d)
left=hpcbert$$l right=hpcbert$$r
trap 'ip netns del "$left" 2>/dev/null || :; ip netns del "$right" 2>/dev/null || :; rm -rf "$work"' EXIT
if ! { ip netns add "$left" && ip netns add "$right" && ip link add name ends netns "$left" type veth peer name ends netns "$right"; } 2>"$work/refused"; then
	skip "$(cat "$work/refused")"
fi
host=1
for space in "$left" "$right"; do
	ip -n "$space" address add "10.213.77.$host/30" dev ends
	ip -n "$space" link set lo up
	ip -n "$space" link set ends up
	host=2
done

# throttle limits both directions to so many bytes a second.
throttle() {
	local space
	for space in "$left" "$right"; do
		tc -n "$space" qdisc replace dev ends root tbf rate "$(($1 * 8))bit" burst 256kb latency 100ms
	done
}

# Open MPI's way to other nodes: the first word is the node, the others a command line.
cat >"$work/agent" <<END
#!/bin/sh
shift
exec ip netns exec $right unshare --uts sh -c 'hostname overlap2 && eval "\$1"' - "\$*"
END
chmod +x "$work/agent"

export PATH=$PWD/bin:$PATH OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 OMPI_MCA_mpi_yield_when_idle=1 OMPI_MCA_pml=ob1 OMPI_MCA_btl=self,tcp
export OMPI_MCA_btl_tcp_if_include=10.213.77.0/30 OMPI_MCA_oob_tcp_if_include=10.213.77.0/30 OMPI_MCA_plm=rsh OMPI_MCA_plm_rsh_agent=$work/agent

echo '{"hidden_size": 256, "num_hidden_layers": 12, "num_attention_heads": 4, "intermediate_size": 1024, "max_position_embeddings": 64}' >"$work/model.json"
wikiextract -q test/data/tinywiki.xml | segment -q | shard -q --train 2 --test 1 -o "$work/shards"
mkpretrain -q --vocab test/data/vocab.txt --seq 64 --max-pred 10 --dupe 1 -o "$work/hdf5" "$work"/shards/*.txt

# train NAME OPTION... prints seconds of an update, medians: whole, without waiting, waiting.
train() {
	local name=$1
	shift
	# shellcheck disable=SC2016 # the inner shell expands them
	ip netns exec "$left" unshare --uts sh -c 'hostname overlap1 && exec "$@"' - \
		mpirun --host 10.213.77.1,10.213.77.2 -np 2 --bind-to none -x PATH bertrain -q -j 1 --config "$work/model.json" --data "$work/hdf5" -o "$work/$name" \
		--global-batch 48 --micro-batch 24 --steps 5 --skip-checkpoint "$@" >&2
	python3 - "$work/$name/metrics.jsonl" <<-'END'
		import json, statistics, sys
		steps = [s for s in map(json.loads, open(sys.argv[1])) if s.get("step", 0) > 1]
		print(*(round(statistics.median(f(s) for s in steps), 3) for f in (
		    lambda s: s["seconds"], lambda s: s["seconds"] * (1 - s["wait_share"]), lambda s: s["seconds"] * s["wait_share"])))
	END
}

parameters() { sed -n 's/.*"parameters":\([0-9]*\).*/\1/p' "$work/$1/metrics.jsonl"; }

read -r _ compute _ < <(train open --allreduce after)
bytes=$((4 * $(parameters open)))
# Open MPI uses about half of what a link of this kind carries.
throttle "$(awk -v b="$bytes" -v c="$compute" 'BEGIN { printf "%d", b / (c / 4) }')"
read -r after compute transfer < <(train after --allreduce after)
read -r both _ _ < <(train both)
awk -v bytes="$bytes" -v compute="$compute" -v transfer="$transfer" -v after="$after" -v both="$both" 'BEGIN {
	most = compute > transfer ? compute : transfer
	printf "overlap: an update computes %.2f s and transfers %.1f MB in %.2f s; one after the other %.2f s, overlapped %.2f s: %.1f %% above the longer\n",
		compute, bytes / 1e6, transfer, after, both, 100 * (both / most - 1)
	exit both > 1.1 * most
}' || { echo "overlap: error: more than 10 % above" >&2; exit 1; }
