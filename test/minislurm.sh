#!/usr/bin/env bash
# minislurm.sh start|stop|env FOLDER [NODES]: a real Slurm whose nodes n1, n2... all live on this host; everything it writes is in FOLDER.
# minislurm.sh kill|boot FOLDER NODE: what a node does that loses its power, and gets it back.
# Each slurmd has a host name and a /dev/shm of its own: else Open MPI takes the nodes for one and mixes up their shared memory.
# Needs root and Debian's slurmctld, slurmd, slurm-client, munge; neither systemd nor cgroups.
set -euo pipefail
: "${PORT:=26817}" # of slurmctld; the nodes take the following ones
: "${CPUS:=2}"     # that each node claims to have
usage() { echo "usage: minislurm.sh start|stop|env FOLDER [NODES], kill|boot FOLDER NODE" >&2; exit 2; }
[ $# -ge 2 ] || usage
command=$1 folder=$2 nodes=${3:-4} node=${3:-}
export SLURM_CONF=$folder/slurm.conf

configure() {
	local host
	host=$(hostname -s)
	cat >"$SLURM_CONF" <<-EOF
		ClusterName=mini
		SlurmctldHost=$host(127.0.0.1)
		SlurmctldPort=$PORT
		SlurmUser=root
		AuthType=auth/munge
		# cred_expire is also how long a requeued job waits, 120 seconds on other machines
		AuthInfo=socket=$folder/munge.sock,cred_expire=10
		StateSaveLocation=$folder/state
		SlurmdSpoolDir=$folder/spool.%n
		# else PMIx finds the folder of another node
		TmpFS=$folder/tmp.%n
		SlurmctldPidFile=$folder/slurmctld.pid
		SlurmdPidFile=$folder/slurmd.%n.pid
		SlurmctldLogFile=$folder/slurmctld.log
		SlurmdLogFile=$folder/slurmd.%n.log
		ProctrackType=proctrack/linuxproc
		TaskPlugin=task/none
		SelectType=select/cons_tres
		SelectTypeParameters=CR_Core
		SlurmdParameters=config_overrides
		SchedulerParameters=sched_interval=2,batch_sched_delay=0,bf_interval=2
		MpiDefault=pmix
		ReturnToService=2
		KillWait=5
		# how soon a node that does not answer is down, 300 seconds on other machines
		SlurmdTimeout=20
		NodeName=n[1-$nodes] NodeHostname=$host NodeAddr=127.0.0.1 Port=[$((PORT + 1))-$((PORT + nodes))] CPUs=$CPUS RealMemory=4000 State=UNKNOWN
		PartitionName=batch Nodes=ALL Default=YES MaxTime=INFINITE State=UP
	EOF
}

start() {
	mkdir -p "$folder/state"
	chmod 755 "$folder" # munged refuses a socket in a folder that others may write
	configure
	(umask 077 && head -c 128 /dev/urandom >"$folder/munge.key")
	munged --force --key-file="$folder/munge.key" --socket="$folder/munge.sock" --pid-file="$folder/munged.pid" \
		--log-file="$folder/munged.log" --seed-file="$folder/munge.seed"
	slurmctld -f "$SLURM_CONF"
	local i
	for i in $(seq "$nodes"); do
		boot "n$i"
	done
	for i in $(seq 60); do
		[ "$(sinfo --noheader --Node --states=idle 2>/dev/null | wc -l)" != "$nodes" ] || return 0
		sleep 0.5
	done
	echo "minislurm: error: the nodes did not come up: see $folder/*.log" >&2
	return 1
}

boot() {
	mkdir -p "$folder/spool.$1" "$folder/tmp.$1"
	# shellcheck disable=SC2016 # the inner shell expands them
	unshare --uts --mount sh -c 'hostname "$1" && mount -t tmpfs shm /dev/shm && exec slurmd -f "$SLURM_CONF" -N "$1"' - "$1"
}

# power_off kills all that runs on a node: the processes with the host name of its slurmd.
power_off() {
	local name signal process
	name=$(readlink "/proc/$(cat "$folder/slurmd.$1.pid")/ns/uts")
	[ "$name" != "$(readlink /proc/self/ns/uts)" ] || exit 1
	for signal in STOP KILL; do # stopped first: nobody there may act on the end of another
		for process in /proc/[0-9]*; do
			[ "$(readlink "$process/ns/uts")" != "$name" ] || kill "-$signal" "${process#/proc/}" 2>/dev/null || :
		done
	done
}

# stop ends what start started, by the process numbers that the daemons left.
stop() {
	timeout 10 scancel --user=root 2>/dev/null || :
	sleep 1
	local file pid
	for file in "$folder"/slurmd.n*.pid "$folder"/slurmctld.pid "$folder"/munged.pid; do
		[ -s "$file" ] || continue
		pid=$(cat "$file")
		kill "$pid" 2>/dev/null || continue
		for _ in $(seq 50); do
			[ -e "/proc/$pid/exe" ] || break
			sleep 0.2
		done
	done
}

case $command in
start) start ;;
stop) stop ;;
kill) power_off "$node" ;;
boot) boot "$node" ;;
env) # Open MPI cannot see that the nodes share cores, and that they reach each other only by the loopback device
	echo "export SLURM_CONF=$SLURM_CONF OMPI_MCA_mpi_yield_when_idle=1 OMPI_MCA_btl_tcp_if_include=lo OMPI_MCA_oob_tcp_if_include=lo" ;;
*) usage ;;
esac
