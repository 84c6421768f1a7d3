#!/usr/bin/env bash
# Ends a cluster and removes everything of it; the built binaries stay. No cluster is no error.
#
#   down.sh [NAME]      NAME is "dev" unless given
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

main() {
	need_root
	select_cluster "${1:-dev}"
	[[ -e $STATE ]] || { say "cluster $NAME: not there" && return; }
	lock
	end_cluster
	rmdir --ignore-fail-on-non-empty "$RUNS"
	say "cluster $NAME: gone"
}

main "$@"
