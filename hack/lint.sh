#!/usr/bin/env bash
# Checks shell scripts and JSON files. `make lint` calls it; the chart and the kustomizations have tests in charts/.
set -euo pipefail
cd "$(dirname "$0")/.."

failed=0

complain() { echo "lint: $*" >&2 && failed=1; }

scripts() {
	local files
	mapfile -t files < <(git ls-files '*.sh')
	if command -v shellcheck >/dev/null; then
		shellcheck -x "${files[@]}" || complain "shellcheck"
	else
		echo "lint: shellcheck is not installed: shell scripts are only parsed" >&2
		local file
		for file in "${files[@]}"; do bash -n "$file" || complain "$file"; done
	fi
}

json_files() {
	command -v jq >/dev/null || { echo "lint: jq is not installed: JSON files are not checked here" >&2 && return; }
	git ls-files -z '*.json' | xargs -0 -r -n 1 jq empty || complain "JSON"
}

main() {
	scripts
	json_files
	return "$failed"
}

main "$@"
