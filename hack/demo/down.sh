#!/usr/bin/env bash
# Removes everything that the demo created. It is not an error if there is nothing to remove.
#
#   down.sh                      the cluster and everything in it
#   CLUSTER=none down.sh         the files of the first act
#   CLUSTER=existing down.sh     what the demo created in the current kubectl context
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
source "$HERE/prepare.sh"

main() {
	check_settings
	if existing; then
		use_cluster
		remove_from_cluster
	elif ! without_cluster; then
		"$ROOT/hack/cluster/down.sh" "$NAME"
	fi
	rm -rf "$WORK"
	rmdir "$ROOT/dist" 2>/dev/null || true
	say "the demo is removed; Debian packages and build caches are kept for the next run (Go's cache, ${POSTERN_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/postern}/cluster)"
}

# remove_from_cluster: removes the app first, so that no pod needs the operator.
remove_from_cluster() {
	local others
	if owned "$SHOP"; then kubectl delete namespace "$SHOP" --timeout=180s; fi
	if ! owned "$SYSTEM"; then
		say "Postern in $SYSTEM was not installed by the demo: it is kept"
		return
	fi
	others=$({
		kubectl get securitypolicies --all-namespaces -o name
		kubectl get tokenrevocations --all-namespaces -o name
	} 2>/dev/null | wc -l)
	helm uninstall postern --namespace "$SYSTEM" --ignore-not-found --wait --timeout 3m
	kubectl delete namespace "$SYSTEM" --timeout=180s
	if ((others)); then
		say "$others policies and revocations were not created by the demo: they and the CRDs are kept"
		return
	fi
	kubectl delete crd securitypolicies.postern.dev sidecarclasses.postern.dev tokenrevocations.postern.dev --ignore-not-found --timeout=60s
}

main "$@"
