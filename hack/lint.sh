#!/usr/bin/env bash
# Checks what is not Go: shell scripts, the chart, the kustomizations and JSON files. `make lint` calls it.
set -euo pipefail
cd "$(dirname "$0")/.."

readonly CHART=charts/postern
failed=0

complain() { echo "lint: $*" >&2 && failed=1; }

# need TOOL: one that the cluster's build makes.
need() {
	command -v "$1" >/dev/null || { echo "error: $1 is not there: run make tools" >&2 && exit 1; }
}

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

# rendered VALUES...: the chart renders with them, and its schema takes them.
rendered() {
	helm lint --strict --quiet --namespace postern-system "$CHART" "$@" || complain "helm lint $*"
	helm template postern "$CHART" --namespace postern-system "$@" >/dev/null || complain "helm template $*"
}

# refused MESSAGE SET: the chart refuses the values, and says so.
refused() {
	local output
	if output=$(helm template postern "$CHART" --set "$2" 2>&1 >/dev/null); then
		complain "the chart takes --set $2"
	elif [[ $output != *"$1"* ]]; then
		complain "the chart refuses --set $2, and does not say ${1@Q}: $output"
	fi
}

chart() {
	local values scratch
	rendered
	for values in "$CHART"/ci/*.yaml; do rendered --values "$values"; done
	# The oldest Kubernetes, which has no sleep hook.
	helm template postern "$CHART" --kube-version 1.29.0 >/dev/null || complain "helm template --kube-version 1.29.0"

	refused "additional properties 'replica' not allowed" replica=2
	refused "does not match pattern" redis.url=http://redis
	refused "a password does not belong into values" redis.url=redis://:secret@redis:6379
	refused "choose one" redis.url=redis://redis,redis.bundled.enabled=true
	refused "the path is the database's number" redis.url=redis://redis/x
	refused "neither a query nor a fragment" redis.url=redis://redis?db=1
	refused "leave redis.mode" redis.url=redis://redis,redis.mode=Cluster
	refused "set redis.tls.enabled" redis.url=redis://redis,redis.tls.serverName=redis
	refused "redis.masterName goes with" "redis.addresses={redis:1},redis.mode=Sentinel"
	refused "has one address" "redis.addresses={a:1,b:1}"
	refused "there is no Secret" "redis.bundled.enabled=true,redis.bundled.existingSecret=x,redis.bundled.workloadNamespaces={shop}"
	refused "name one secret in two ways" redis.url=redis://redis,redis.passwordSecret.name=a,redis.passwordRef.secretKeyRef.name=b,redis.passwordRef.secretKeyRef.key=k
	refused "redis.passwordRef is in Vault: set vault.address" redis.url=redis://redis,redis.passwordRef.vault.path=secret/redis,redis.passwordRef.vault.key=k
	refused "maxProperties" redis.passwordRef.vault.path=secret/redis,redis.passwordRef.vault.key=k,redis.passwordRef.secretKeyRef.name=b,redis.passwordRef.secretKeyRef.key=k
	refused "missing property 'key'" redis.passwordRef.vault.path=secret/redis
	refused "go with redis.mode Sentinel" redis.url=redis://redis,redis.sentinelPasswordSecret.name=a
	refused "go together" redis.url=rediss://redis,redis.tls.keyRef.secretKeyRef.name=a,redis.tls.keyRef.secretKeyRef.key=k
	refused "redis.bundled has a password of its own" redis.bundled.enabled=true,redis.passwordSecret.name=a
	refused "set vault.address" vault.auth.kubernetes.role=postern
	refused "exactly one of kubernetes.role and appRole.roleID" vault.address=https://vault
	refused "exactly one of kubernetes.role and appRole.roleID" vault.address=https://vault,vault.auth.kubernetes.role=a,vault.auth.appRole.roleID=b
	refused "goes with appRole.roleID" vault.address=https://vault,vault.auth.kubernetes.role=a,vault.auth.appRole.secretIDSecret.name=b
	refused "does not match pattern" vault.address=http://vault.platform.svc:8200,vault.auth.kubernetes.role=a
	refused "must be 'kube-system'" "webhook.excludedNamespaces={shop}"

	scratch=$(mktemp -d)
	hack/chart-crds.sh "$scratch"
	diff -r "$scratch/crds" "$CHART/templates/crds" || complain "the chart's CRDs are old: run make generate"
	diff "$scratch/operator/role.yaml" "$CHART/templates/operator/role.yaml" || complain "the chart's RBAC is old: run make generate"
	rm -rf "$scratch"
}

kustomizations() {
	local dir
	for dir in config/default config/samples; do
		kubectl kustomize "$dir" >/dev/null || complain "kubectl kustomize $dir"
	done
}

json_files() {
	command -v jq >/dev/null || { echo "lint: jq is not installed: JSON files are left to the tests" >&2 && return; }
	git ls-files -z '*.json' | xargs -0 -r -n 1 jq empty || complain "JSON"
}

main() {
	eval "$(hack/cluster/env.sh)"
	need helm
	need kubectl
	scripts
	chart
	kustomizations
	json_files
	return "$failed"
}

main "$@"
