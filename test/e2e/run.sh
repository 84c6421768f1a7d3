#!/usr/bin/env bash
# Runs the tests that need a real node. `make e2e` calls it.
#
#   run.sh [GO TEST FLAG...]      say: run.sh -run 'TestWorkloads/redirect'
#
# Settings are environment variables:
#   E2E_CLUSTER  name of the cluster, "e2e" unless given; one that runs is used as it is, and ended all the same
#   KEEP=1       leaves the cluster running, so that the next run starts within seconds
#   E2E_OUT      folder for images, logs and the measurements, dist/e2e unless given
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

readonly NAME=${E2E_CLUSTER:-e2e}
readonly OUT=${E2E_OUT:-$PWD/dist/e2e}
readonly IMAGES=(operator sidecar audit sample-app redis)
FILES=("${IMAGES[@]/#/$OUT/images/}")
readonly FILES=("${FILES[@]/%/.tar}")

say() { printf 'e2e: %s\n' "$*" >&2; }

start() {
	hack/cluster/up.sh "$NAME" >/dev/null
	eval "$(hack/cluster/env.sh "$NAME")"
}

# load: builds the images, and loads those that changed.
load() {
	say "building images"
	go run ./hack/images -tag dev -out "$OUT/images" "${IMAGES[@]}" >/dev/null
	hack/cluster/load-image.sh -c "$NAME" "${FILES[@]}" 2>&1
}

main() {
	mkdir -p "$OUT"
	trap 'finish $?' EXIT
	start
	load
	start_vault
	install
	run_tests "$@"
}

start_vault() {
	say "starting Vault"
	hack/vault/up.sh -c "$NAME" -o "$OUT/vault" >/dev/null
}

install() {
	say "installing the chart"
	helm upgrade --install postern charts/postern --namespace postern-system --create-namespace --wait --timeout 5m \
		--values test/e2e/values.yaml --set "operator.podAnnotations.images=$(images_sum)" >/dev/null
}

# images_sum: pods are recreated if an image changed under its tag.
images_sum() { cat "${FILES[@]}" | sha256sum | cut -c 1-16; }

run_tests() {
	local flags=("$@")
	say "running the tests"
	rm -f "$OUT/measured.txt"
	E2E_MEASURED=$OUT/measured.txt go test -tags e2e -count=1 -timeout 40m -v "${flags[@]}" ./test/e2e/... |
		tee "$OUT/test.log" | grep --line-buffered -vE '^ *=== (RUN|PAUSE|CONT|NAME)'
	[[ ! -e $OUT/measured.txt ]] || { say "measured:" && cat "$OUT/measured.txt"; }
}

# finish STATUS: what a failure leaves behind is written down before the cluster goes.
finish() {
	trap - EXIT
	if (($1 != 0)); then
		say "failed; logs are in $OUT/logs"
		dump || true
	fi
	[[ ${KEEP:-} == 1 ]] || hack/cluster/down.sh "$NAME"
	exit "$1"
}

# dump: pods, events, policies, and the logs of every container of ours.
dump() {
	local pod namespace
	rm -rf "$OUT/logs" && mkdir -p "$OUT/logs"
	kubectl get pods,securitypolicies,sidecarclasses -A -o wide >"$OUT/logs/objects.txt" 2>&1
	kubectl get securitypolicies -A -o yaml >"$OUT/logs/policies.yaml" 2>&1
	kubectl get events -A --sort-by=.lastTimestamp >"$OUT/logs/events.txt" 2>&1
	kubectl get pods -A -o jsonpath='{range .items[*]}{.metadata.namespace} {.metadata.name}{"\n"}{end}' |
		while read -r namespace pod; do
			[[ $namespace == kube-* ]] || kubectl logs -n "$namespace" "$pod" --all-containers --prefix --tail 500 \
				>"$OUT/logs/$namespace-$pod.log" 2>&1
		done
	tail -n 40 "$OUT/logs/objects.txt" >&2
}

main "$@"
