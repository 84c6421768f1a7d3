#!/usr/bin/env bash
# Runs a command in a cluster's node: in its network, process and mount namespaces, with the built binaries on the PATH.
#
#   exec.sh [-c NAME] COMMAND...        the default of NAME is "dev"; example: exec.sh nft list ruleset
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

main() {
	local name=dev
	if [[ ${1:-} == -c ]]; then
		name=${2:?a name must follow -c}
		shift 2
	fi
	(($#)) || die "no command given"
	need_root
	select_cluster "$name"
	in_node "$@"
}

main "$@"
