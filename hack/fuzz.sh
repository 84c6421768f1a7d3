#!/usr/bin/env bash
# Runs every fuzz target of the module, one after another.
#
#   FUZZTIME=30s hack/fuzz.sh [PACKAGE...]      every package unless given
set -euo pipefail
cd "$(dirname "$0")/.."

# targets: a line for each, package and name.
targets() {
	local package dir files file
	go list -f '{{.ImportPath}} {{.Dir}} {{join .TestGoFiles " "}} {{join .XTestGoFiles " "}}' "$@" |
		while read -r package dir files; do
			for file in $files; do
				sed -nE "s|^func (Fuzz[A-Za-z0-9_]*)\(.*|$package \1|p" "$dir/$file"
			done
		done
}

main() {
	local package name failed=()
	(($#)) || set -- ./...
	while read -r package name; do
		echo "== $package $name"
		go test -run '^$' -fuzz "^$name\$" -fuzztime "${FUZZTIME:-30s}" "$package" </dev/null || failed+=("$package $name")
	done < <(targets "$@")
	((${#failed[@]} == 0)) || { printf 'failed: %s\n' "${failed[@]}" >&2 && exit 1; }
}

main "$@"
