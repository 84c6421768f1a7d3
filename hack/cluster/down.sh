#!/usr/bin/env bash
# Stops a cluster and removes all of its files. The built binaries are kept. It is not an error if there is no cluster.
#
#   down.sh [NAME]      the default of NAME is "dev"
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

main() {
	need_root
	select_cluster "${1:-dev}"
	[[ -e $STATE ]] || { say "cluster $NAME: does not exist" && return; }
	lock
	end_cluster
	rmdir --ignore-fail-on-non-empty "$RUNS"
	say "cluster $NAME: removed"
}

main "$@"
