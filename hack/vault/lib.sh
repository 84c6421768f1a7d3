# shellcheck shell=bash
# Words that the Vault scripts share. Sourced, never run.
# shellcheck disable=SC2034 # the variables are for those who source it

HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
ROOT=$(cd "$HERE/../.." && pwd)
NAME=dev        # of the cluster
NAMESPACE=vault # of the server
WORKLOADS=()    # namespaces that may log in
OUT=
OWNED=postern.dev/vault      # the label of a namespace that up.sh made
OBJECTS=postern.dev/vault-of # and of all else that it made, with the namespace

say() { printf 'vault: %s\n' "$*" >&2; }
die() {
	say "error: $*"
	exit 1
}
# existing: whether the present kubectl context is used in place of a cluster of hack/cluster.
existing() { [[ ${CLUSTER:-} == existing ]]; }

# options ARGUMENT...: those that up.sh and down.sh take.
options() {
	while (($#)); do
		(($# > 1)) || die "$1: a value must follow"
		case $1 in
		-c) NAME=$2 ;;
		-n) NAMESPACE=$2 ;;
		-o) OUT=$2 ;;
		-workload-namespace) WORKLOADS+=("$2") ;;
		*) die "unknown option ${1@Q}" ;;
		esac
		shift 2
	done
	OUT=${OUT:-$ROOT/dist/vault/$(if existing; then echo existing; else echo "$NAME"; fi)}
}

# use_cluster: puts the cluster's kubeconfig, and kubectl, into the environment.
use_cluster() {
	[[ -z ${CLUSTER:-} ]] || existing || die "CLUSTER=${CLUSTER}: the one value is existing, for the present kubectl context"
	if ! existing; then
		unset KUBECONFIG # env.sh sets none for a cluster that is not there
		eval "$("$ROOT/hack/cluster/env.sh" "$NAME")"
		[[ -n ${KUBECONFIG:-} ]] || die "cluster $NAME does not run: start it with hack/cluster/up.sh $NAME"
	fi
	command -v kubectl >/dev/null || die "kubectl is not on the PATH"
}

owned() { [[ $(kubectl get namespace "$NAMESPACE" --ignore-not-found -o "jsonpath={.metadata.labels.postern\.dev/vault}") == true ]]; }
