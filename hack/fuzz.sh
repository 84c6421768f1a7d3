#!/usr/bin/env bash
# Runs every fuzz target of the module, one after the other.
#
#   FUZZTIME=30s hack/fuzz.sh [PACKAGE...]      the default is every package
#
# An input that fails is printed, and written to testdata/fuzz of its package.
set -euo pipefail
cd "$(dirname "$0")/.."
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# targets: prints a line with package and name for each target.
targets() {
	local package dir files file
	go list -f '{{.ImportPath}} {{.Dir}} {{join .TestGoFiles " "}} {{join .XTestGoFiles " "}}' "$@" |
		while read -r package dir files; do
			for file in $files; do
				sed -nE "s|^func (Fuzz[A-Za-z0-9_]*)\(.*|$package \1|p" "$dir/$file"
			done
		done
}

# fuzz PACKAGE NAME: runs one target. Before Go 1.27 the fuzzing coordinator can report its own timeout as a
# failure of the target (golang/go issue 75804). Such a run writes no failing input, and counts as passed.
fuzz() {
	local log=$work/log
	go test -run '^$' -fuzz "^$2\$" -fuzztime "${FUZZTIME:-30s}" "$1" </dev/null 2>&1 | tee "$log" && return
	grep -qx ' *context deadline exceeded' "$log" && ! grep -q 'Failing input written' "$log" &&
		echo "only the timeout was reported: no failing input was found"
}

# show PACKAGE: prints the failing inputs that the log names. The files themselves are lost with the machine of a CI.
show() {
	local dir file
	dir=$(go list -f '{{.Dir}}' "$1")
	sed -nE 's|^ *Failing input written to (.*)$|\1|p' "$work/log" | while read -r file; do
		echo "== ${dir#"$PWD"/}/$file"
		cat "$dir/$file"
	done
}

main() {
	local package name failed=()
	(($#)) || set -- ./...
	while read -r package name; do
		echo "== $package $name"
		fuzz "$package" "$name" && continue
		failed+=("$package $name")
		show "$package"
	done < <(targets "$@")
	((${#failed[@]} == 0)) || { printf 'failed: %s\n' "${failed[@]}" >&2 && exit 1; }
}

main "$@"
