#!/usr/bin/env bash
# Installs the missing Debian packages that a cluster and the tests need, or with the argument "bench" those that the bench needs. Without root or
# apt it only names them.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

# Pairs of a file and the package that contains it. gcc is for the race detector.
readonly NEEDED=(
	/usr/bin/containerd containerd
	/usr/sbin/runc runc
	/usr/lib/cni/ptp containernetworking-plugins
	/usr/sbin/nft nftables
	/usr/sbin/iptables-legacy-restore iptables
	/usr/sbin/conntrack conntrack
	/bin/ip iproute2
	/usr/bin/redis-server redis-server
	/usr/bin/redis-cli redis-tools
	/usr/lib/postgresql/15/bin/initdb postgresql-15
	/usr/sbin/pgbouncer pgbouncer
	/usr/bin/prometheus prometheus
	/usr/bin/chromium chromium
	/usr/bin/gcc gcc
	/usr/include/stdio.h libc6-dev
	/usr/bin/curl curl
	/etc/ssl/certs/ca-certificates.crt ca-certificates
)

# For the bench only: Redis and PostgreSQL, and the proxies with which it compares.
readonly BENCH=(
	/usr/bin/redis-server redis-server
	/usr/lib/postgresql/15/bin/initdb postgresql-15
	/usr/sbin/nginx nginx
	/usr/sbin/haproxy haproxy
	/usr/bin/caddy caddy
)

missing_packages() {
	local i
	local -n pairs=$1
	for ((i = 0; i < ${#pairs[@]}; i += 2)); do
		[[ -e ${pairs[i]} ]] || echo "${pairs[i + 1]}"
	done
}

# install_packages PACKAGE...: installs packages without starting their services: a temporary policy-rc.d denies it.
install_packages() {
	local policy=/usr/sbin/policy-rc.d made=
	say "installing Debian packages: $*"
	if [[ ! -e $policy ]]; then
		made=$policy
		printf '#!/bin/sh\nexit 101\n' >"$policy"
		chmod +x "$policy"
		# shellcheck disable=SC2064 # the path is expanded now on purpose
		trap "rm -f '$made'" EXIT
	fi
	export DEBIAN_FRONTEND=noninteractive
	apt-get install -y -qq --no-install-recommends "$@" >&2 ||
		{ apt-get update -qq >&2 && apt-get install -y -qq --no-install-recommends "$@" >&2; } ||
		die "installing Debian packages: $*"
}

main() {
	local missing list=NEEDED
	[[ ${1:-} != bench ]] || list=BENCH
	mapfile -t missing < <(missing_packages "$list")
	((${#missing[@]})) || return 0
	if [[ $(id -u) != 0 ]] || ! command -v apt-get >/dev/null; then
		die "missing: ${missing[*]}; on Debian, as root: apt-get install ${missing[*]}"
	fi
	install_packages "${missing[@]}"
}

main "$@"
