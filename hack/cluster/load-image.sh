#!/usr/bin/env bash
# Loads image files, as hack/images writes them, into a cluster's node; those that are loaded already are left out.
#
#   load-image.sh [-c NAME] FILE...     NAME is "dev" unless given
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

main() {
	local name=dev file
	if [[ ${1:-} == -c ]]; then
		name=${2:?a name must follow -c}
		shift 2
	fi
	(($#)) || die "no image file named"
	need_root
	select_cluster "$name"
	alive node || die "cluster $NAME does not run: start it with hack/cluster/up.sh $NAME"
	for file in "$@"; do load_image "$file" || die "loading $file"; done
}

main "$@"
