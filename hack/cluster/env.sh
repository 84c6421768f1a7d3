#!/usr/bin/env bash
# Prints the environment to work with a cluster and with envtest: eval "$(hack/cluster/env.sh [NAME])"
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

main() {
	select_cluster "${1:-dev}"
	printf 'export KUBEBUILDER_ASSETS=%q\n' "$CACHE/envtest"
	# shellcheck disable=SC2016 # for the PATH of the user's shell
	printf 'export PATH=%q:$PATH\n' "$BIN"
	[[ -e $KUBECONFIG ]] || return 0
	printf 'export KUBECONFIG=%q NO_PROXY=%q\n' "$KUBECONFIG" "${NO_PROXY:+$NO_PROXY,}10.0.0.0/8"
	# For calls from pods to a server on the host, and for NodePorts.
	printf 'export POSTERN_HOST_IP=%q POSTERN_NODE_IP=%q\n' "$HOST_IP" "$NODE_IP"
}

main "$@"
