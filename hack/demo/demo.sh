#!/usr/bin/env bash
# Shows what Postern does, request by request: first as one process on this machine, then on a cluster. It fails if a claim does not
# hold.
#
#   demo.sh                      all acts, on a cluster that it creates (needs root, Debian, Go and curl)
#   CLUSTER=none demo.sh         only the first act: no cluster, no root
#   CLUSTER=existing demo.sh     on the current kubectl context, whose nodes must have the images (see README.md)
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
source "$HERE/background.sh"
source "$HERE/local.sh"
source "$HERE/prepare.sh"
source "$HERE/trail.sh"
source "$HERE/monitoring.sh"
source "$HERE/requests.sh"
source "$HERE/logins.sh"
source "$HERE/attack.sh"

main() {
	local since=$SECONDS
	check_settings
	command -v go >/dev/null || die "go is not on the PATH: see https://go.dev/dl"
	command -v curl >/dev/null || die "curl is not on the PATH"
	mkdir -p "$WORK"
	stop_all_at_exit
	if makes_cluster; then start_build; fi
	act "First act: one process, no cluster"
	act_local
	if ! without_cluster; then acts_on_cluster "$since"; fi
	finish "$since"
}

# makes_cluster: whether the demo creates a cluster. This needs root.
makes_cluster() { ! without_cluster && ! existing && [[ $(id -u) == 0 ]]; }

# acts_on_cluster SINCE: SINCE is when the demo started.
acts_on_cluster() {
	existing || makes_cluster || die "the acts on a cluster need root, because they create a node; CLUSTER=none ends the demo after the first act"
	act "A cluster"
	await_build
	prepare
	say "ready $((SECONDS - $1)) s after the start"
	act "Second act: requests and logins, on a cluster"
	act_requests
	act_logins
	act "Third act: an attack, the alert, the trail, the verification"
	act_attack
}

# finish SINCE: shows the result, and what to do next.
finish() {
	if ((FAILED)); then
		printf '\n%s%d of %d claims failed.%s\n' "$RED" "$FAILED" "$CHECKS" "$PLAIN"
		exit 1
	fi
	printf '\n%sAll %d claims hold%s, %d s after the start. ' "$BOLD" "$CHECKS" "$PLAIN" $((SECONDS - $1))
	if without_cluster; then
		printf 'Everything that was started has been stopped. Next:\n'
		printf '   make demo                                     # the same on a cluster, and more\n'
		printf '   "On a laptop, without a cluster" in README.md # Postern in front of your app\n'
		return
	fi
	printf 'The cluster keeps running. Try:\n'
	# shellcheck disable=SC2016 # for the user's shell
	existing || printf '   eval "$(hack/cluster/env.sh %s)"     # kubectl and helm for this cluster\n' "$NAME"
	existing || printf '   %s     # Prometheus\n' "$PROMETHEUS"
	printf '   kubectl get securitypolicy -n %s\n   make demo-down%s\n' "$SHOP" "$(if existing; then echo ' CLUSTER=existing'; fi)"
}

main "$@"
