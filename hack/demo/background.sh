# shellcheck shell=bash disable=SC2153 # lib.sh sets the names that are read here
# Processes beside the demo: each has a process group of its own, so that an end of the demo ends all of it. Sourced, never run.

GROUPS_RUNNING=() # process groups that have not been stopped
BUILD=            # the process group of the cluster's build; empty where none was started
MADE_CLUSTER=     # not empty where this run has made the cluster
BUILD_LOG=$WORK/cluster-build.log

# background LOG COMMAND...: starts a command; STARTED is its process id and that of its group.
background() {
	local log=$1
	shift
	set -m # a group of its own, in this session: niceness counts within a session only
	"$@" >"$log" 2>&1 </dev/null &
	set +m
	STARTED=$!
	GROUPS_RUNNING+=("$STARTED")
}

# stop GROUP: ends a process group: within three seconds, else by force.
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

# stop_all: on every way out of the demo. Where it was interrupted, the cluster that it made is removed, too.
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

# await_process PID LOG WHAT: returns the status of a background process, and says meanwhile how far it is: on a terminal in one
# line that is written again each second, else in a line every 30 seconds.
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

# progress_of LOG TEXT: the text and the log's last line, cut to the terminal's width.
progress_of() {
	local line width
	line="$2, $(tail -n 1 "$1" | sed 's/^[ …]*//')"
	width=$(tput cols 2>/dev/null || echo 80)
	printf '%s' "${line:0:width-1}"
}

# start_build: compiles the cluster's parts with what processor time the first act leaves. build.sh finds out what is there already.
start_build() {
	local tries
	# shellcheck disable=SC2016 # for the inner shell
	background "$BUILD_LOG" nice -n 15 bash -c '"$1" && "$1" vault' build "$ROOT/hack/cluster/build.sh"
	BUILD=$STARTED
	for ((tries = 0; tries < 15; tries++)); do # it says nothing where all is there
		if [[ -s $BUILD_LOG ]] || ! building; then break; fi
		sleep 0.1
	done
	if [[ -s $BUILD_LOG ]]; then
		say "building the cluster's parts in the background, once, 20 to 30 minutes on two cores; the log is ${BUILD_LOG#"$PWD/"}"
	fi
}

building() { [[ -n $BUILD ]] && kill -0 "$BUILD" 2>/dev/null; }

# meanwhile: a line on how far the build is.
meanwhile() {
	if building; then note "(meanwhile, the cluster's build: $(tail -n 1 "$BUILD_LOG" | sed 's/^[ …]*//'))"; fi
}

# await_build: the cluster needs all of it.
await_build() {
	[[ -n $BUILD ]] || return 0
	if building; then say "waiting for the cluster's parts"; fi
	await_process "$BUILD" "$BUILD_LOG" "building the cluster" || {
		tail -n 30 "$BUILD_LOG" >&2
		die "building the cluster's parts: the log is $BUILD_LOG"
	}
	stop "$BUILD"
}
