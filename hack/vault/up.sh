#!/usr/bin/env bash
# Starts a Vault server in a cluster, for tests and the demo, or checks that it runs. Prints the path of the CA bundle to verify
# its certificate. The server's URL is https://vault.NAMESPACE.svc:8200.
#
#   up.sh [-c CLUSTER] [-n NAMESPACE] [-workload-namespace NS]... [-o DIR]
#
#   -c    cluster of hack/cluster, default "dev"; CLUSTER=existing uses the current kubectl context instead, whose nodes must
#         have the image $POSTERN_REPOSITORY/vault:$POSTERN_TAG (go run ./hack/images -prebuilt … vault)
#   -n    namespace of the server, default "vault"
#   -workload-namespace
#         a namespace whose service accounts may log in with the role "postern", or a pattern with *; default: all namespaces
#         that are labelled postern.dev/injection=enabled
#   -o    folder for the image and the CA, default dist/vault/CLUSTER
#
# init.json has the initial configuration. The server holds everything in memory: after a restart the pod has this configuration, a
# new signing key, and none of the secrets that were written later.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

# load_image: builds the image and loads it into the node. CONTENT changes with it, so that a pod with an older image is replaced.
load_image() {
	IMAGE=docker.io/postern/vault:dev
	"$ROOT/hack/cluster/build.sh" vault
	# env.sh has put the folder of the built binaries first in the PATH.
	(cd "$ROOT" && go run ./hack/images -tag dev -prebuilt "$(dirname "$(command -v vault)")" -out "$OUT/images" vault >/dev/null)
	"$ROOT/hack/cluster/load-image.sh" -c "$NAME" "$OUT/images/vault.tar"
	CONTENT=$(sha256sum <"$OUT/images/vault.tar")
}

prepare_image() {
	CONTENT=
	if existing; then
		IMAGE=${POSTERN_REPOSITORY:-docker.io/postern}/vault:${POSTERN_TAG:-dev}
	else
		load_image
	fi
}

# prepare_namespace: creates the namespace. It does not overwrite objects that up.sh did not create.
prepare_namespace() {
	local theirs
	kubectl get namespace "$NAMESPACE" >/dev/null 2>&1 || {
		kubectl create namespace "$NAMESPACE" >/dev/null
		kubectl label namespace "$NAMESPACE" "$OWNED=true" >/dev/null
	}
	owned && return
	theirs=$(kubectl get deployments,statefulsets,services,serviceaccounts,configmaps,secrets -n "$NAMESPACE" -l "!$OBJECTS" -o name |
		grep -xE '.*/(vault|vault-init|vault-tls|vault-root)' | paste -sd ' ' || true)
	[[ -z $theirs ]] || die "namespace $NAMESPACE has $theirs, which up.sh did not create: set another namespace with -n"
}

# prepare_secrets: creates the certificate and the root token, unless they exist.
prepare_secrets() {
	if ! there secret/vault-tls; then
		make_certificate
		kubectl create secret tls vault-tls -n "$NAMESPACE" --cert="$WORK/tls.crt" --key="$WORK/tls.key" >/dev/null
		ours secret/vault-tls
	fi
	if ! there secret/vault-root; then
		openssl rand -hex 24 | tr -d '\n' >"$WORK/token"
		kubectl create secret generic vault-root -n "$NAMESPACE" --from-file=token="$WORK/token" >/dev/null
		ours secret/vault-root
	fi
	kubectl get secret vault-tls -n "$NAMESPACE" -o 'jsonpath={.data.tls\.crt}' | base64 -d >"$OUT/ca.crt"
}

ours() { kubectl label "$1" -n "$NAMESPACE" "$OBJECTS=$NAMESPACE" --overwrite >/dev/null; }
there() { kubectl get "$1" -n "$NAMESPACE" >/dev/null 2>&1; }

# make_certificate: creates a self-signed certificate.
make_certificate() {
	local host=vault.$NAMESPACE.svc
	command -v openssl >/dev/null || die "openssl is not on the PATH"
	openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 3650 -subj "/CN=$host" \
		-addext "subjectAltName=DNS:$host,DNS:$host.cluster.local,DNS:vault.$NAMESPACE" \
		-keyout "$WORK/tls.key" -out "$WORK/tls.crt" 2>"$WORK/log" || { cat "$WORK/log" >&2 && die "creating the certificate failed"; }
}

# prepare_init: writes init.json with the namespaces that may log in.
prepare_init() {
	local namespaces selector='matchLabels: {postern.dev/injection: enabled}'
	namespaces=$(IFS=, && echo "${WORKLOADS[*]}")
	[[ -z $namespaces ]] || selector=
	sed -e "s|@NAMESPACES@|$namespaces|" -e "s|@SELECTOR@|$selector|" "$HERE/init.json" >"$WORK/init.json"
	kubectl create configmap vault-init -n "$NAMESPACE" --from-file="$WORK/init.json" --dry-run=client -o yaml |
		kubectl apply -f - >/dev/null
	ours configmap/vault-init
	CONTENT=$({ echo "$CONTENT" && cat "$WORK/init.json"; } | sha256sum | cut -c1-16)
}

start() {
	sed -e "s|@NAMESPACE@|$NAMESPACE|g" -e "s|@IMAGE@|$IMAGE|" -e "s|@CONTENT@|$CONTENT|" "$HERE/vault.yaml" | kubectl apply -f - >/dev/null
	kubectl rollout status deployment/vault -n "$NAMESPACE" --timeout=120s >/dev/null || {
		kubectl get pods -n "$NAMESPACE" -o wide >&2
		kubectl logs -n "$NAMESPACE" deployment/vault --tail 5 >&2 || true
		die "Vault did not start in namespace $NAMESPACE"
	}
}

main() {
	options "$@"
	use_cluster
	mkdir -p "$OUT"
	WORK=$(umask 077 && mktemp -d)
	trap 'rm -rf "$WORK"' EXIT
	prepare_image
	prepare_namespace
	prepare_secrets
	prepare_init
	start
	say "serving at https://vault.$NAMESPACE.svc:8200"
	echo "$OUT/ca.crt"
}

main "$@"
