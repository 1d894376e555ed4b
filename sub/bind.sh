#!/usr/bin/env bash
# bind.sh gives a rank its part of a node (cores, memory, GPU, InfiniBand device) and runs a command there:
#
#   mpirun --map-by ppr:8:node --bind-to none bind.sh --cpu=exclusive --ib=single -- bertrain ...
#   srun --ntasks-per-node=8 --cpu-bind=none bind.sh -- bertrain ...
#
#   --cpu=MODE  node (default): all CPUs of the rank's NUMA node; exclusive: the rank's share of its cores, with their hardware threads;
#               exclusive,nosmt: one hardware thread of each; FILE.sh: the array bind_cpu_cores or bind_cpu_nodes of that file, a list for each
#               rank of the node; off
#   --mem=MODE  node (default): memory of the rank's NUMA node; FILE.sh: its array bind_mem; off
#   --gpu=MODE  single (default): CUDA_VISIBLE_DEVICES is the rank's GPU, where there are any; off
#   --ib=MODE   off (default); single: the rank's share of the devices of ibstat; or a list of devices, a,b,c, to share
#
# An option may also be followed by its value. Ranks of a node are spread evenly over its NUMA nodes, in order; where there are fewer ranks than
# NUMA nodes, each gets several. Without numactl cores and memory are left as they are, with a warning. Exit status: 1 cannot bind, 2 wrong
# usage, else the command's.
set -euo pipefail

say() { printf 'bind: %s: %s\n' "$1" "$2" >&2; }
die() { say error "$1"; say hint "$2"; exit 1; }
usage() { say error "$1"; exit 2; }

cpu=node mem=node gpu=single ib=off
while [ $# -gt 0 ]; do
	case $1 in
	-h | --help) sed -n '2,/^set/{/^set/d; s/^# \{0,1\}//; p}' "$0"; exit ;;
	--) shift; break ;;
	--cpu=* | --mem=* | --gpu=* | --ib=*) option=${1%%=*} value=${1#*=}; shift ;;
	--cpu | --mem | --gpu | --ib) [ $# -ge 2 ] || usage "$1 needs a value"; option=$1 value=$2; shift 2 ;;
	-*) usage "unknown option \"$1\"" ;;
	*) break ;;
	esac
	printf -v "${option#--}" %s "$value"
done
[ $# -gt 0 ] || usage 'no command'
[[ $cpu =~ ^(node|exclusive|exclusive,nosmt|off|.*\.sh)$ ]] || usage "--cpu \"$cpu\": must be node, exclusive, exclusive,nosmt, off or FILE.sh"
[[ $mem =~ ^(node|off|.*\.sh)$ ]] || usage "--mem \"$mem\": must be node, off or FILE.sh"
[[ $gpu =~ ^(single|off)$ ]] || usage "--gpu \"$gpu\": must be single or off"
[[ $ib =~ ^[A-Za-z0-9_:]+(,[A-Za-z0-9_:]+)*$ ]] || usage "--ib \"$ib\": must be single, off or a list of devices"

# Open MPI's variables come before Slurm's: in a job script mpirun's ranks inherit the script's SLURM_LOCALID, which is 0.
rank=${LOCAL_RANK:-${OMPI_COMM_WORLD_LOCAL_RANK:-${MPI_LOCALRANKID:-${SLURM_LOCALID:-}}}}
[[ $rank =~ ^[0-9]+$ ]] || die 'no number of this rank on its node' 'start it by mpirun or srun, or set LOCAL_RANK'

# local_ranks prints how many ranks this node has, as the launcher that set rank says; nothing if it does not.
local_ranks() {
	local count
	if [ -n "${LOCAL_RANK:-}" ]; then
		echo "${LOCAL_WORLD_SIZE:-}"
	elif [ -n "${OMPI_COMM_WORLD_LOCAL_RANK:-}" ]; then
		echo "${OMPI_COMM_WORLD_LOCAL_SIZE:-}"
	elif [ -n "${MPI_LOCALRANKID:-}" ]; then
		echo "${MPI_LOCALNRANKS:-}"
	else # "2(x3),1" is 2, 2, 2, 1
		local seen=0
		for count in $(tr , ' ' <<<"${SLURM_STEP_TASKS_PER_NODE:-}" | sed -E 's/([0-9]+)\(x([0-9]+)\)/\1:\2/g'); do
			seen=$((seen + $([[ $count = *:* ]] && echo "${count#*:}" || echo 1)))
			if [ "$seen" -gt "${SLURM_NODEID:-0}" ]; then
				echo "${count%:*}"
				return
			fi
		done
	fi
}

# shares is into how many parts the node is cut: its GPUs, as many of them as this rank can see, or else its ranks.
shares=$(local_ranks)
gpus=()
if [ "$gpu" = single ] && command -v nvidia-smi >/dev/null; then
	if [ -n "${CUDA_VISIBLE_DEVICES:-}" ]; then
		IFS=, read -ra gpus <<<"$CUDA_VISIBLE_DEVICES"
	else
		mapfile -t gpus < <(nvidia-smi -L 2>/dev/null | sed -n 's/^GPU \([0-9]*\):.*/\1/p')
	fi
fi
if [[ ${#gpus[@]} = 1 && ${shares:-1} -gt 1 && -n ${CUDA_VISIBLE_DEVICES:-} ]]; then
	: # the launcher has given each rank its own
elif [ "${#gpus[@]}" -gt 0 ]; then
	shares=${#gpus[@]}
	[ "$rank" -lt "$shares" ] || die "rank $rank of this node has no GPU: there are $shares" 'start as many ranks a node as it has GPUs, or say --gpu=off'
	export CUDA_VISIBLE_DEVICES=${gpus[rank]}
fi
[[ $shares =~ ^[1-9][0-9]*$ ]] || die 'no number of the ranks on this node' 'start it by mpirun or srun, or set LOCAL_WORLD_SIZE'
[ "$rank" -lt "$shares" ] || die "rank $rank of $shares on this node" 'LOCAL_RANK counts from 0 to below LOCAL_WORLD_SIZE'

# cpus prints the CPUs of the rank in its NUMA nodes. The ranks that share a node get a run of its cores each.
cpus() {
	awk -F, -v wanted=" ${mine[*]} " -v mode="$cpu" -v rank="$rank" -v shares="$shares" -v nodes="${#nodes[@]}" -v allowed=" $allowed " '
		/^#/ || index(wanted, " " $3 " ") == 0 || (allowed !~ /^ *$/ && index(allowed, " " $1 " ") == 0) { next }
		!(($2) in cpus) { core[n++] = $2 }
		mode ~ /nosmt/ && ($2 in cpus) { next }
		{ cpus[$2] = cpus[$2] " " $1 }
		END {
			first = 0; behind = n
			if (mode != "node" && shares > nodes) { # sharers of this node: the ranks that are placed on it, from low on
				node = int(rank * nodes / shares)
				for (i = 0; i < shares; i++) if (int(i * nodes / shares) == node) { if (i < rank) before++; count++ }
				first = int(before * n / count); behind = int((before + 1) * n / count)
				if (behind == first) behind++
			}
			for (i = first; i < behind; i++) list = list cpus[core[i]]
			print list
		}' <<<"$topology" | tr -s ' ' '\n' | sed '/^$/d' | sort -n | paste -sd,
}

bound=()
if ! command -v numactl >/dev/null; then
	[ "$cpu,$mem" = off,off ] || say warning 'numactl not found: cores and memory are not bound'
else
	topology=$(lscpu -p=CPU,CORE,NODE | sed '/^#/d; s/,$/,0/') # no NUMA: one node
	mapfile -t nodes < <(cut -d, -f3 <<<"$topology" | sort -nu)
	allowed=$(numactl --show 2>/dev/null | sed -n 's/^physcpubind: *//p') # a job may have a part of the node
	first=$((rank * ${#nodes[@]} / shares)) behind=$(((rank + 1) * ${#nodes[@]} / shares))
	mine=("${nodes[@]:first:behind>first?behind-first:1}")
	near=$(IFS=,; echo "${mine[*]}")
	case $cpu in
	node | exclusive*)
		list=$(cpus)
		[ -n "$list" ] || die "none of the CPUs of NUMA node $near may be used" 'give the job whole nodes (sbatch --exclusive), or say --cpu=off'
		bound+=(--physcpubind="$list")
		;;
	esac
	[ "$mem" != node ] || bound+=(--membind="$near")
	unset -v bind_cpu_cores bind_cpu_nodes bind_mem
	for file in "$cpu" "$mem"; do
		# shellcheck disable=SC1090 # the user's own
		[[ $file != *.sh ]] || source "$(realpath -- "$file")" # without a / it would be looked for on PATH
	done
	[[ $cpu != *.sh || -n ${bind_cpu_cores[rank]-}${bind_cpu_nodes[rank]-} ]] || die "$cpu: neither bind_cpu_cores nor bind_cpu_nodes has an element $rank" 'they hold a list for each rank of a node, as in bind_cpu_cores=(0-7 8-15)'
	[[ $mem != *.sh || -n ${bind_mem[rank]-} ]] || die "$mem: bind_mem has no element $rank" 'it holds a list of NUMA nodes for each rank of a node, as in bind_mem=(0 0 1 1)'
	if [[ $cpu = *.sh ]]; then
		[ -z "${bind_cpu_cores[rank]-}" ] || bound+=(--physcpubind="${bind_cpu_cores[rank]}")
		[ -z "${bind_cpu_nodes[rank]-}" ] || bound+=(--cpunodebind="${bind_cpu_nodes[rank]}")
	fi
	[[ $mem != *.sh ]] || bound+=(--membind="${bind_mem[rank]}")
fi

if [ "$ib" != off ]; then
	if [ "$ib" = single ]; then
		mapfile -t devices < <({ ibstat -l 2>/dev/null || :; } | sort -V)
	else
		IFS=, read -ra devices <<<"$ib"
	fi
	if [ "${#devices[@]}" = 0 ]; then
		say warning 'no InfiniBand device'
	else
		device=${devices[rank * ${#devices[@]} / shares]}
		# for Open MPI's own transport, for UCX and for NCCL
		export OMPI_MCA_btl_openib_if_include=$device UCX_NET_DEVICES=$device:1 NCCL_IB_HCA="=$device"
	fi
fi

say info "rank $rank of $shares: ${bound[*]:-not bound}${gpus:+, GPU $CUDA_VISIBLE_DEVICES}${device:+, $device}"
[ "${#bound[@]}" -gt 0 ] || exec "$@"
exec numactl "${bound[@]}" -- "$@"
