# shellcheck shell=bash disable=SC2153 # lib.sh sets the variables that are read here
# Background processes of the demo. Each has its own process group, so that the demo can stop all of them. This file is sourced, not
# executed.

GROUPS_RUNNING=() # process groups that have not been stopped
BUILD=            # the process group of the cluster's build; empty if none was started
MADE_CLUSTER=     # not empty if this run created the cluster
BUILD_LOG=$WORK/cluster-build.log

# background LOG COMMAND...: starts a command. STARTED is its process id and its process group.
background() {
	local log=$1
	shift
	set -m # its own process group, in this session, because niceness applies only within a session
	"$@" >"$log" 2>&1 </dev/null &
	set +m
	STARTED=$!
	GROUPS_RUNNING+=("$STARTED")
}

# stop GROUP: stops a process group with SIGTERM, and with SIGKILL after three seconds.
stop() {
	local group left=() tries
	kill -TERM -- "-$1" 2>/dev/null || true
	for ((tries = 0; tries < 30; tries++)); do
		kill -0 -- "-$1" 2>/dev/null || break
		sleep 0.1
	done
	kill -KILL -- "-$1" 2>/dev/null || true
	wait "$1" 2>/dev/null || true
	for group in "${GROUPS_RUNNING[@]}"; do [[ $group == "$1" ]] || left+=("$group"); done
	GROUPS_RUNNING=("${left[@]}")
}

# stop_all: runs at every exit of the demo. If the demo was interrupted, it also removes the cluster that the demo created.
stop_all() {
	local status=$? group
	trap '' INT TERM HUP # a second Ctrl-C must not interrupt this
	for group in "${GROUPS_RUNNING[@]}"; do stop "$group"; done
	if ((status > 128)) && [[ -n $MADE_CLUSTER ]]; then
		say "interrupted: removing the cluster"
		"$ROOT/hack/cluster/down.sh" "$NAME"
	fi
}

stop_all_at_exit() {
	trap stop_all EXIT
	trap 'exit 130' INT
	trap 'exit 143' TERM HUP
}

# await_process PID LOG WHAT: waits for a background process and returns its status. It shows the progress: on a terminal in one line
# that is updated each second, otherwise with a new line every 30 seconds.
await_process() {
	local pid=$1 log=$2 what=$3 started=$SECONDS status=0 tick=0
	while kill -0 "$pid" 2>/dev/null; do
		sleep 0.2
		if ((++tick % 5)); then
			continue
		elif [[ -t 2 ]]; then
			printf '\r\e[K%s' "$(progress_of "$log" "$what: $((SECONDS - started)) s")" >&2
		elif ((tick % 150 == 0)); then
			say "$(progress_of "$log" "$what: $((SECONDS - started)) s")"
		fi
	done
	[[ ! -t 2 ]] || printf '\r\e[K' >&2
	wait "$pid" || status=$?
	return "$status"
}

# progress_of LOG TEXT: prints the text and the log's last line, shortened to the terminal's width.
progress_of() {
	local line width
	line="$2, $(tail -n 1 "$1" | sed 's/^[ …]*//')"
	width=$(tput cols 2>/dev/null || echo 80)
	printf '%s' "${line:0:width-1}"
}

# start_build: compiles the cluster's components at low priority, beside the first act. build.sh skips components that exist.
start_build() {
	local tries
	# shellcheck disable=SC2016 # for the inner shell
	background "$BUILD_LOG" nice -n 15 bash -c '"$1" && "$1" vault' build "$ROOT/hack/cluster/build.sh"
	BUILD=$STARTED
	for ((tries = 0; tries < 15; tries++)); do # the log stays empty if all components exist
		if [[ -s $BUILD_LOG ]] || ! building; then break; fi
		sleep 0.1
	done
	if [[ -s $BUILD_LOG ]]; then
		say "building the cluster's components in the background; this takes 20 to 30 minutes on two cores, only once; log: ${BUILD_LOG#"$PWD/"}"
	fi
}

building() { [[ -n $BUILD ]] && kill -0 "$BUILD" 2>/dev/null; }

# meanwhile: shows the progress of the build in one line.
meanwhile() {
	if building; then note "(meanwhile, the cluster's build: $(tail -n 1 "$BUILD_LOG" | sed 's/^[ …]*//'))"; fi
}

# await_build: waits until all components of the cluster are built.
await_build() {
	[[ -n $BUILD ]] || return 0
	if building; then say "waiting for the cluster's components"; fi
	await_process "$BUILD" "$BUILD_LOG" "building the cluster" || {
		tail -n 30 "$BUILD_LOG" >&2
		die "building the cluster's components failed; log: $BUILD_LOG"
	}
	stop "$BUILD"
}
