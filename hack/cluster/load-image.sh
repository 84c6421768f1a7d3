#!/usr/bin/env bash
# Loads image files of hack/images into a cluster's node. Images that are already loaded are skipped.
#
#   load-image.sh [-c NAME] FILE...     the default of NAME is "dev"
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

main() {
	local name=dev file
	if [[ ${1:-} == -c ]]; then
		name=${2:?a name must follow -c}
		shift 2
	fi
	(($#)) || die "no image file given"
	need_root
	select_cluster "$name"
	alive node || die "cluster $NAME does not run: start it with hack/cluster/up.sh $NAME"
	for file in "$@"; do load_image "$file" || die "loading $file"; done
}

main "$@"
