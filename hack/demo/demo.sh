#!/usr/bin/env bash
# Starts a cluster, installs Postern, and shows request by request what it does; fails where anything shown is not so.
#
#   demo.sh                      on a cluster made here (root, Debian, Go); nothing else need be installed
#   CLUSTER=existing demo.sh     on the present kubectl context, whose nodes have the images (README.md)
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
source "$HERE/prepare.sh"
source "$HERE/requests.sh"
source "$HERE/logins.sh"

main() {
	local since=$SECONDS
	prepare
	say "ready after $((SECONDS - since)) s"
	act "First act: requests"
	act_requests
	act "Second act: logins"
	act_logins
	if ((FAILED)); then
		printf '\n%s%d of %d claims are not so.%s\n' "$RED" "$FAILED" "$CHECKS" "$PLAIN"
		exit 1
	fi
	printf '\n%sAll %d claims hold%s, %d s after the start. It all runs on for you to try:\n' "$BOLD" "$CHECKS" "$PLAIN" $((SECONDS - since))
	# shellcheck disable=SC2016 # the reader's shell is meant
	existing || printf '   eval "$(hack/cluster/env.sh %s)"     # kubectl and helm for this cluster\n' "$NAME"
	printf '   kubectl get securitypolicy -n %s\n   make demo-down%s\n' "$SHOP" "$(if existing; then echo ' CLUSTER=existing'; fi)"
}

main "$@"
