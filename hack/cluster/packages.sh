#!/usr/bin/env bash
# Sees to the Debian packages that a cluster and the tests need: installs those that are missing where it may, names
# them where it may not.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

# A file of each package, and the package. gcc is for the race detector.
readonly NEEDED=(
	/usr/bin/containerd containerd
	/usr/sbin/runc runc
	/usr/lib/cni/ptp containernetworking-plugins
	/usr/sbin/nft nftables
	/usr/sbin/conntrack conntrack
	/bin/ip iproute2
	/usr/bin/redis-server redis-server
	/usr/bin/redis-cli redis-tools
	/usr/bin/gcc gcc
	/usr/include/stdio.h libc6-dev
	/usr/bin/curl curl
	/etc/ssl/certs/ca-certificates.crt ca-certificates
)

missing_packages() {
	local i
	for ((i = 0; i < ${#NEEDED[@]}; i += 2)); do
		[[ -e ${NEEDED[i]} ]] || echo "${NEEDED[i + 1]}"
	done
}

# install PACKAGE...: without the services that come with them; a policy-rc.d that refuses stands in while apt works.
install_packages() {
	local policy=/usr/sbin/policy-rc.d made=
	say "installing Debian packages: $*"
	if [[ ! -e $policy ]]; then
		made=$policy
		printf '#!/bin/sh\nexit 101\n' >"$policy"
		chmod +x "$policy"
		# shellcheck disable=SC2064 # the path is meant to be taken now
		trap "rm -f '$made'" EXIT
	fi
	export DEBIAN_FRONTEND=noninteractive
	apt-get install -y -qq --no-install-recommends "$@" >&2 ||
		{ apt-get update -qq >&2 && apt-get install -y -qq --no-install-recommends "$@" >&2; } ||
		die "installing Debian packages: $*"
}

main() {
	local missing
	mapfile -t missing < <(missing_packages)
	((${#missing[@]})) || return 0
	if [[ $(id -u) != 0 ]] || ! command -v apt-get >/dev/null; then
		die "missing: ${missing[*]}; on Debian, as root: apt-get install ${missing[*]}"
	fi
	install_packages "${missing[@]}"
}

main "$@"
