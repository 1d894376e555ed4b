#!/usr/bin/env bash
# tune.sh is what the job scripts of fine-tuning share. They set the variables of their task, read it by ". tune.sh JOB PROGRAM", and call tune with
# what their variables mean to the program.
job=$1 program=$2

: "${INIT:=pretrain/phase2}"                       # checkpoint or run to start from: bertrain's, Hugging Face's, NVIDIA's .pt, TensorFlow's
: "${CONFIG:=}"                                    # model shape; empty = beside the checkpoint
: "${VOCAB:=}"                                     # vocabulary; empty = beside the checkpoint
: "${MODE:=train eval}"                            # what to do, any of: train, eval (metrics), predict (files of predictions)
: "${LAUNCHER:=}"                                  # mpirun or srun; empty = mpirun, with pyxis srun
: "${RANKS_PER_NODE:=${SLURM_NTASKS_PER_NODE:-1}}" # at least 1; they share the node's cores
: "${IMAGE:=}"                                     # container image that holds the programs (sub/image.sh makes one); empty = this machine's
: "${CONTAINER:=${IMAGE:+pyxis}}"                  # pyxis or apptainer: what runs IMAGE; empty = pyxis if there is one
: "${MOUNTS:=}"                                    # FOLDER:FOLDER,... that the container sees besides this folder
: "${SEEDS:=}"                                     # 1..5: train with each of these seeds, tell mean and deviation; empty = SEED alone
: "${MAX_STEPS:=-1}"                               # updates; -1 = those of EPOCHS
: "${RECIPE:=}"                                    # a file below configs/glue or configs/squad: defaults of what is not set below
: "${DRYRUN:=0}"                                   # 1 = start nothing
if [ -z "$RECIPE" ]; then
	: "${PRECISION:=fp32}"                     # fp32, tf32 (on a CPU the same), bf16 or fp16
	: "${WARMUP:=0.1}"                         # share of the updates with rising learning rate, 0 to below 1
fi

say() { printf '%s: info: %s\n' "$job" "$*" >&2; }
die() { printf '%s: error: %s\n%s: hint: %s\n' "$job" "$1" "$job" "$2" >&2; exit 1; }
usage() { printf '%s: error: %s\n' "$job" "$*" >&2; exit 2; }
quote() { local line; line=$(printf '%q ' "$@"); printf '%s\n' "${line% }"; }

# legal VARIABLE PATTERN MEANING... refuses values that are not legal.
legal() {
	while [ $# -gt 0 ]; do
		[[ ${!1-} =~ ^($2)$ ]] || usage "$1 is \"${!1-}\", it must be $3"
		shift 3
	done
}

# unless_recipe is a pattern's part for values that a recipe may give.
unless_recipe=${RECIPE:+|}
check_variables() {
	local modes=${MODES:-train|eval|predict} count='[1-9][0-9]*' rate='[0-9.]*[1-9][0-9.]*([eE][-+]?[0-9]+)?'
	legal MODE "($modes)( ($modes))*" "${modes//|/, } or several of them with blanks between" \
		LAUNCHER '|mpirun|srun' 'mpirun or srun' \
		RANKS_PER_NODE "$count" 'a number of at least 1' \
		CONTAINER "${IMAGE:+pyxis|apptainer}" 'pyxis or apptainer, and empty where IMAGE is not set' \
		SEEDS '|[0-9]+(\.\.[0-9]+)?(,[0-9]+(\.\.[0-9]+)?)*' 'seeds such as 1..5 or 1,2,7' \
		MAX_STEPS "-1|$count" 'a number of at least 1, or -1' \
		DRYRUN '[01]' '0 or 1' \
		PRECISION "fp32|tf32|bf16|fp16$unless_recipe" 'fp32, tf32, bf16 or fp16' \
		WARMUP "0|0?\.[0-9]+$unless_recipe" 'a share from 0 to below 1, such as 0.1' \
		BATCHSIZE "$count$unless_recipe" 'a number of at least 1' \
		MICROBATCH "$count|" 'a number of at least 1' \
		LR "$rate$unless_recipe" 'a number above 0, such as 3e-5' \
		EPOCHS "$rate$unless_recipe" 'a number above 0' \
		SEED "[0-9]+$unless_recipe" 'a number of at least 0'
	[[ $CONTAINER != pyxis || $LAUNCHER != mpirun ]] || usage "LAUNCHER is \"mpirun\", but pyxis starts containers by srun only"
	if [ "$CONTAINER" = pyxis ]; then LAUNCHER=srun; fi
	: "${LAUNCHER:=mpirun}"
}

# launch_line sets launch to what starts the program on all ranks.
launch_line() {
	local nodes=${SLURM_NNODES:-1} mounts=$PWD:$PWD${MOUNTS:+,$MOUNTS}
	launch=(mpirun --map-by "ppr:$RANKS_PER_NODE:node" --bind-to none)
	if [ "$LAUNCHER" = srun ]; then
		launch=(srun "--mpi=${SLURM_MPI_TYPE:-pmix}" --ntasks="$((nodes * RANKS_PER_NODE))" --ntasks-per-node="$RANKS_PER_NODE" --cpu-bind=none --kill-on-bad-exit=1)
	fi
	case $CONTAINER in
	pyxis) launch+=("--container-image=$IMAGE" "--container-mounts=$mounts" "--container-workdir=$PWD") ;;
	apptainer) launch+=(apptainer exec --bind "$mounts" --pwd "$PWD" "$IMAGE") ;;
	esac
	if [ "$(id -u)" = 0 ]; then # as in containers
		export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
	fi
}

# command_line ARGUMENT... sets command to that of a rank.
command_line() {
	local pair name modes mode flags=(INIT=--init CONFIG=--config VOCAB=--vocab RECIPE=--recipe BATCHSIZE=--global-batch MICROBATCH=--micro-batch LR=--learning-rate
		WARMUP=--warmup EPOCHS=--epochs SEED=--seed SEEDS=--seeds PRECISION=--precision)
	command=("$program")
	for pair in "${flags[@]}"; do
		name=${pair%%=*}
		[ -z "${!name-}" ] || command+=("${pair#*=}" "${!name}")
	done
	[ "$MAX_STEPS" = -1 ] || command+=(--max-steps "$MAX_STEPS")
	read -ra modes <<<"$MODE"
	for mode in "${modes[@]}"; do command+=("--$mode"); done
	command+=(-o "$OUT" "$@")
}

# again has Slurm start the job anew if it can, and ends this start with that status if it cannot.
again() {
	if [ -n "${SLURM_JOB_ID:-}" ] && scontrol requeue "$SLURM_JOB_ID"; then
		say "requeue of job $SLURM_JOB_ID"
		exit 0
	fi
	exit "$1"
}

# stop passes a signal on as USR2: the ranks save and stop. (mpirun would kill them two seconds after TERM.)
asked='' pid=''
# shellcheck disable=SC2317 # the traps call it
stop() {
	asked=$1
	[ -z "$pid" ] || kill -USR2 "$pid" 2>/dev/null || : # it may just have ended
}

# tune ARGUMENT... does the work, or prints what it would be.
tune() {
	local status=0
	check_variables
	export PATH=$PWD/bin:$PATH
	[ -n "$IMAGE" ] || program=$(command -v "$program") || die "$program: not found" "run make, and submit from the repository's folder or put $program on PATH"
	launch_line
	command_line "$@"
	if [ "$DRYRUN" = 1 ]; then
		quote "${launch[@]}" "${command[@]}"
	fi
	command -v "$LAUNCHER" >/dev/null || die "$LAUNCHER: not found" "load your site's MPI module, or set LAUNCHER=srun"
	"${launch[@]}" "${command[@]}" --dry-run >&2 </dev/null || exit # the program has said why
	[ "$DRYRUN" = 0 ] || exit 0
	trap 'stop USR2' USR2
	trap 'stop TERM' TERM
	rm -f "$OUT/STOPPED" # one of an earlier run would speak for this one
	say "$(quote "${launch[@]}" "${command[@]}")"
	"${launch[@]}" "${command[@]}" &
	pid=$!
	until wait "$pid" || status=$?; ! kill -0 "$pid" 2>/dev/null; do status=0; done # a signal interrupts wait
	if [ "$asked" != TERM ] && { [ "$asked" = USR2 ] || [ -n "$(find "$OUT" -name STOPPED 2>/dev/null)" ]; }; then
		say "stopped with everything saved"
		again "$status"
	fi
	exit "$status"
}
