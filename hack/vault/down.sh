#!/usr/bin/env bash
# Removes what up.sh created in a cluster. It is not an error if there is nothing to remove.
#
#   down.sh [-c CLUSTER] [-n NAMESPACE]     as for up.sh; CLUSTER=existing uses the current kubectl context
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

main() {
	options "$@"
	use_cluster
	if owned; then
		kubectl delete namespace "$NAMESPACE" --timeout=120s >/dev/null
	else
		kubectl delete deployments,services,serviceaccounts,configmaps,secrets -n "$NAMESPACE" -l "$OBJECTS=$NAMESPACE" >/dev/null
	fi
	kubectl delete clusterrolebindings,clusterroles -l "$OBJECTS=$NAMESPACE" >/dev/null
	rm -f "$OUT/ca.crt" "$OUT/images/vault.tar"
	rmdir "$OUT/images" "$OUT" 2>/dev/null || true
	say "removed from namespace $NAMESPACE"
}

main "$@"
