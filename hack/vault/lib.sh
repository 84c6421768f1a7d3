# shellcheck shell=bash
# Functions that the Vault scripts share. This file is sourced, not executed.
# shellcheck disable=SC2034 # the variables are used by the scripts that source this file

HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
ROOT=$(cd "$HERE/../.." && pwd)
NAME=dev        # of the cluster
NAMESPACE=vault # of the server
WORKLOADS=()    # namespaces that may log in
OUT=
OWNED=postern.dev/vault      # the label of a namespace that up.sh created
OBJECTS=postern.dev/vault-of # the label of other objects that it created, with the namespace

say() { printf 'vault: %s\n' "$*" >&2; }
die() {
	say "error: $*"
	exit 1
}
# existing: whether the scripts use the current kubectl context in place of a cluster of hack/cluster.
existing() { [[ ${CLUSTER:-} == existing ]]; }

# options ARGUMENT...: parses the options of up.sh and down.sh.
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

# use_cluster: sets the environment for the cluster: kubeconfig and kubectl.
use_cluster() {
	[[ -z ${CLUSTER:-} ]] || existing || die "CLUSTER=${CLUSTER}: the only value is existing, for the current kubectl context"
	if ! existing; then
		unset KUBECONFIG # env.sh does not set it if the cluster does not exist
		eval "$("$ROOT/hack/cluster/env.sh" "$NAME")"
		[[ -n ${KUBECONFIG:-} ]] || die "cluster $NAME does not run: start it with hack/cluster/up.sh $NAME"
	fi
	command -v kubectl >/dev/null || die "kubectl is not on the PATH"
}

owned() { [[ $(kubectl get namespace "$NAMESPACE" --ignore-not-found -o "jsonpath={.metadata.labels.postern\.dev/vault}") == true ]]; }
