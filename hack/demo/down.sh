#!/usr/bin/env bash
# Removes everything that the demo made. Nothing there is no error.
#
#   down.sh                      the cluster, with all in it
#   CLUSTER=none down.sh         the files of the first act
#   CLUSTER=existing down.sh     what the demo put into the present kubectl context
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
	say "the demo is gone; what was installed and built to make it is kept for the next one (Debian packages, Go's cache, ${POSTERN_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/postern}/cluster)"
}

# remove_from_cluster: the app first, so that no pod is left that needs the operator.
remove_from_cluster() {
	local others
	if owned "$SHOP"; then kubectl delete namespace "$SHOP" --timeout=180s; fi
	if ! owned "$SYSTEM"; then
		say "Postern in $SYSTEM is not the demo's: it is left alone"
		return
	fi
	others=$({
		kubectl get securitypolicies --all-namespaces -o name
		kubectl get tokenrevocations --all-namespaces -o name
	} 2>/dev/null | wc -l)
	helm uninstall postern --namespace "$SYSTEM" --ignore-not-found --wait --timeout 3m
	kubectl delete namespace "$SYSTEM" --timeout=180s
	if ((others)); then
		say "$others policies and revocations are not the demo's: they and the CRDs are left alone"
		return
	fi
	kubectl delete crd securitypolicies.postern.dev sidecarclasses.postern.dev tokenrevocations.postern.dev --ignore-not-found --timeout=60s
}

main "$@"
