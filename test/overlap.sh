#!/usr/bin/env bash
# Measures how well the sum of gradients hides behind the backward pass: two ranks in two network namespaces of this machine, joined by a link
# that is throttled so that the transfer takes half as long as the computing. An update must not take longer than the longer of the two and a
# tenth. Computing is what the slower rank does in an update over the open link with --allreduce after, where no transfer takes of its cores;
# the transfer is the gradients' bytes at the rate that a plain TCP stream gets from the throttled link.
#
# Only the last backward pass of an update hides transfers: two thirds of the computing where there is one micro-batch, as here. Nothing hides
# what becomes final last: the attention of the first layer, the positions, and the rows of the words that the last micro-batches hold.
#
# Both are measured in turns, in rounds, and their updates taken together: what slows the machine for a while slows both.
#
# Each rank keeps to a core of its own, as on a node of one core: a core of the other node would not be there to move to.
#
# Needs root, ip and tc; says so otherwise. The programs are those of ../bin.
set -euo pipefail
cd "$(dirname "$0")/.."

skip() { echo "overlap: skipped: $*"; exit 0; }
[ "$(id -u)" = 0 ] || skip "network namespaces need root"
for needed in ip tc unshare taskset mpirun; do
	command -v "$needed" >/dev/null || skip "no $needed on this machine"
done

[ "$(nproc)" -ge 2 ] || skip "two nodes need two cores"
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

# throttle limits both directions to so many bytes a second; open takes the limit away.
throttle() {
	local space
	for space in "$left" "$right"; do
		tc -n "$space" qdisc replace dev ends root tbf rate "$(($1 * 8))bit" burst 256kb latency 100ms
	done
}

open() {
	local space
	for space in "$left" "$right"; do
		tc -n "$space" qdisc del dev ends root
	done
}

# Open MPI's way to other nodes: the first word is the node, the others a command line.
cat >"$work/agent" <<END
#!/bin/sh
shift
exec ip netns exec $right unshare --uts sh -c 'hostname overlap2 && eval "\$1"' - "\$*"
END
cat >"$work/on-its-core" <<'END'
#!/bin/sh
exec taskset -c "$OMPI_COMM_WORLD_RANK" "$@"
END
chmod +x "$work/agent" "$work/on-its-core"

export PATH=$PWD/bin:$PATH OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 OMPI_MCA_mpi_yield_when_idle=1 OMPI_MCA_pml=ob1 OMPI_MCA_btl=self,tcp
export OMPI_MCA_btl_tcp_if_include=10.213.77.0/30 OMPI_MCA_oob_tcp_if_include=10.213.77.0/30 OMPI_MCA_plm=rsh OMPI_MCA_plm_rsh_agent=$work/agent

echo '{"hidden_size": 256, "num_hidden_layers": 12, "num_attention_heads": 4, "intermediate_size": 1024, "max_position_embeddings": 64}' >"$work/model.json"
wikiextract -q test/data/tinywiki.xml | segment -q | shard -q --train 2 --test 1 -o "$work/shards"
mkpretrain -q --vocab test/data/vocab.txt --seq 64 --max-pred 10 --dupe 1 -o "$work/hdf5" "$work"/shards/*.txt

# train NAME OPTION... adds to the file NAME.updates a line for each update but the first: seconds in all, and computing of the slower rank.
train() {
	local name=$1
	shift
	# shellcheck disable=SC2016 # the inner shell expands them
	ip netns exec "$left" unshare --uts sh -c 'hostname overlap1 && exec "$@"' - \
		mpirun --host 10.213.77.1,10.213.77.2 -np 2 --bind-to none -x PATH "$work/on-its-core" bertrain -q -j 1 --config "$work/model.json" --data "$work/hdf5" -o "$work/$name" \
		--global-batch 48 --micro-batch 24 --steps 7 --skip-checkpoint "$@" 2>"$work/told" || { cat "$work/told" >&2; exit 1; }
	python3 - "$work/$name/metrics.jsonl" >>"$work/$name.updates" <<-'END'
		import json, sys
		for s in map(json.loads, open(sys.argv[1])):
		    if s.get("step", 0) > 1:
		        mean, over = s["seconds"] * (1 - s["wait_share"]), s["slowest_over_median"]  # the median of two is the lower
		        print(s["seconds"], mean * 2 * over / (1 + over))
	END
}

# median FILE COLUMN [LINES] prints the median of a column, of the last lines alone where their number is given.
median() {
	tail -n "${3:-+1}" "$1" | awk -v c="$2" '{ print $c }' | sort -g | awk '{ v[NR] = $1 } END { print (v[int((NR + 1) / 2)] + v[int(NR / 2) + 1]) / 2 }'
}

# stream prints the bytes a second that a plain TCP stream gets from one end of the link to the other in two seconds.
stream() {
	ip netns exec "$right" python3 - <<-'END' &
		import socket, time
		with socket.create_server(("10.213.77.2", 7777)) as server:
		    peer, _ = server.accept()
		    begin, got = time.monotonic(), 0
		    while data := peer.recv(1 << 20):
		        got += len(data)
		    print(round(got / (time.monotonic() - begin)))
	END
	ip netns exec "$left" python3 - <<-'END'
		import socket, time
		end = time.monotonic() + 20
		while True:
		    try:
		        peer = socket.create_connection(("10.213.77.2", 7777))
		        break
		    except ConnectionRefusedError:
		        if time.monotonic() > end:
		            raise
		        time.sleep(0.05)
		end = time.monotonic() + 2
		while time.monotonic() < end:
		    peer.sendall(bytes(1 << 18))
	END
	wait
}

for round in 1 2 3 4 5; do
	rm -rf "$work/after" "$work/overlap"
	train after --allreduce after
	if [ "$round" = 1 ]; then
		bytes=$((4 * $(sed -n 's/.*"parameters":\([0-9]*\).*/\1/p' "$work/after/metrics.jsonl")))
		limit=$(awk -v b="$bytes" -v c="$(median "$work/after.updates" 2)" 'BEGIN { printf "%d", b / (c / 2) }')
	fi
	throttle "$limit"
	stream >>"$work/stream"
	train overlap --allreduce overlap
	open
	printf 'overlap: round %d: an update computes %.2f s; a stream gets %.1f MB/s; overlapped an update takes %.2f s\n' "$round" \
		"$(median "$work/after.updates" 2 6)" "$(tail -n 1 "$work/stream" | awk '{ print $1 / 1e6 }')" "$(median "$work/overlap.updates" 1 6)"
done
awk -v bytes="$bytes" -v compute="$(median "$work/after.updates" 2)" -v rate="$(median "$work/stream" 1)" -v after="$(median "$work/after.updates" 1)" \
	-v both="$(median "$work/overlap.updates" 1)" -v updates="$(wc -l <"$work/overlap.updates")" -v cpu="$(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | sort | uniq -c | sed 's/^ *//; s/ / x /')" 'BEGIN {
	transfer = bytes / rate
	most = compute > transfer ? compute : transfer
	printf "overlap: %s: an update computes %.2f s and transfers %.1f MB in %.2f s at %.1f MB/s; overlapped it takes %.2f s, %.1f %% above the longer (%.2f s with no limit on the link, nothing overlapped); medians of %d updates\n",
		cpu, compute, bytes / 1e6, transfer, rate / 1e6, both, 100 * (both / most - 1), after, updates
	exit both > 1.1 * most
}' || { echo "overlap: error: more than 10 % above" >&2; exit 1; }
