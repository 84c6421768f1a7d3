# shellcheck shell=bash disable=SC2153,SC2034 # lib.sh sets the variables that are read here; requests.sh reads the variables that are set here
# Prepares what the acts on a cluster need: the cluster, images, Postern, the apps. This file is sourced, not executed.

# prepare: runs all steps. Each step skips what is already done.
prepare() {
	existing || prepare_cluster
	use_cluster
	if existing; then
		# The image names can be overridden, for images in another registry.
		REPOSITORY=${POSTERN_REPOSITORY:-docker.io/postern} TAG=${POSTERN_TAG:-dev} IMAGES=$REPOSITORY:$TAG
		say "cluster: the current context, $(kubectl config current-context)"
	else
		REPOSITORY=docker.io/postern TAG=dev
		prepare_images
	fi
	TRANSPORT=(kubectl exec -n "$SHOP" client -- /sample-app get) TRANSPORT_NAME=(get)
	prepare_namespaces
	prepare_vault
	prepare_trail
	install_chart
	make_tokens "$WORK"
	build_tools
	deploy_app
	start_prometheus
}

prepare_cluster() {
	[[ -e ${POSTERN_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/postern}/run/$NAME ]] || MADE_CLUSTER=yes
	"$ROOT/hack/cluster/up.sh" "$NAME" >/dev/null
	say "cluster $NAME is running"
}

# prepare_images: builds images and loads them into the node. IMAGES changes with their content, so that pods with older images are
# replaced.
prepare_images() {
	say "building images"
	(cd "$ROOT" && go run ./hack/images -tag "$TAG" -out "$WORK/images" operator sidecar sample-app redis >/dev/null)
	"$ROOT/hack/cluster/load-image.sh" -c "$NAME" "$WORK"/images/{operator,sidecar,sample-app,redis}.tar
	IMAGES=$(cat "$WORK"/images/*.tar | sha256sum | cut -c1-16)
}

# prepare_namespaces: creates the namespaces. The app's must exist before the chart is installed, which copies Redis's password to it.
prepare_namespaces() {
	local namespace
	if kubectl get namespace "$SHOP" >/dev/null 2>&1 && ! owned "$SHOP"; then
		die "the cluster already has a namespace $SHOP that the demo did not create"
	fi
	INSTALLS=yes
	if existing && ! owned "$SYSTEM" && helm status postern -n "$SYSTEM" >/dev/null 2>&1; then
		INSTALLS=no
	fi
	for namespace in "$SHOP" "$SYSTEM"; do
		[[ $namespace == "$SHOP" || $INSTALLS == yes ]] || continue
		kubectl get namespace "$namespace" >/dev/null 2>&1 || {
			kubectl create namespace "$namespace" >/dev/null
			kubectl label namespace "$namespace" "$OWNED=true" >/dev/null
		}
	done
	kubectl label namespace "$SHOP" postern.dev/injection=enabled --overwrite >/dev/null
}

# prepare_vault: starts the Vault that signs the second act's tokens, if the demo created the cluster. Otherwise a key in a Secret is
# used.
prepare_vault() {
	VAULT=()
	if existing; then
		[[ -s $WORK/signing.pem ]] || (umask 077 && openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out "$WORK/signing.pem" 2>/dev/null) ||
			die "openssl is not on the PATH"
		kubectl create secret generic accounts-signing-key -n "$SHOP" --from-file=pem="$WORK/signing.pem" --dry-run=client -o yaml | kubectl apply -f - >/dev/null
		SIGNING_KEY='{secretKeyRef: {name: accounts-signing-key, key: pem}}'
		return
	fi
	say "starting Vault"
	VAULT=(--set "vault.address=https://vault.vault.svc:8200,vault.auth.kubernetes.role=postern"
		--set-file "vault.caBundle=$("$ROOT/hack/vault/up.sh" -c "$NAME" -o "$WORK/vault")")
	SIGNING_KEY='{transit: {key: shop}}'
}

owned() { [[ $(kubectl get namespace "$1" -o "jsonpath={.metadata.labels.postern\.dev/demo}" 2>/dev/null) == true ]]; }

# install_chart: installs the chart, unless Postern was already installed without the demo.
install_chart() {
	if [[ $INSTALLS == no ]]; then
		say "using the Postern that is already installed in $SYSTEM"
		return
	fi
	say "installing the chart (helm upgrade --install postern charts/postern)"
	helm upgrade --install postern "$ROOT/charts/postern" --namespace "$SYSTEM" --wait --timeout 3m \
		--set "image.repository=$REPOSITORY/operator,image.tag=$TAG" \
		--set "sidecar.image.repository=$REPOSITORY/sidecar,sidecar.image.tag=$TAG" \
		--set "redis.bundled.enabled=true,redis.bundled.workloadNamespaces={$SHOP}" \
		--set "redis.bundled.image.repository=$REPOSITORY/redis,redis.bundled.image.tag=$TAG" \
		"${VAULT[@]}" "${TRAIL[@]}" \
		--set-string "operator.podAnnotations.postern\.dev/demo-images=$IMAGES" >"$WORK/helm.log" 2>&1 ||
		{ cat "$WORK/helm.log" >&2 && explain_pods "$SYSTEM" && die "installing the chart"; }
}

# policy: prints the manifest with the issuer's key.
policy() { sed "s|@JWKS@|$JWKS|" "$HERE/policy.yaml"; }

deploy_app() {
	local app sink=PostgreSQL
	if existing; then sink=Log; fi
	say "deploying the apps and their policies"
	kubectl delete pod client -n "$SHOP" --ignore-not-found >/dev/null
	policy | kubectl apply -f - >/dev/null
	cat "$HERE/app.yaml" <(echo ---) "$HERE/accounts.yaml" |
		sed -e "s|@REPOSITORY@|$REPOSITORY|" -e "s|@TAG@|$TAG|" -e "s|@IMAGES@|$IMAGES|" -e "s|@SIGNING_KEY@|$SIGNING_KEY|" -e "s|sinks: \[Log\]|sinks: [$sink]|" | kubectl apply -f - >/dev/null
	for app in orders accounts; do
		kubectl rollout status "deployment/$app" -n "$SHOP" --timeout=120s >/dev/null || { explain_pods "$SHOP" && die "the app $app did not start"; }
	done
	kubectl wait pod/client -n "$SHOP" --for=condition=Ready --timeout=60s >/dev/null || { explain_pods "$SHOP" && die "the client did not start"; }
	for app in orders accounts; do
		kubectl wait "securitypolicy/$app" -n "$SHOP" --for=condition=Enforced --timeout=60s >/dev/null ||
			{ kubectl describe securitypolicy "$app" -n "$SHOP" >&2 && die "the policy $app is not enforced"; }
		await_service "$app"
	done
}

# await_service APP: waits until the Service responds. Nodes start to route its connections to pods shortly after the pods are ready.
await_service() {
	local tries
	for ((tries = 0; tries < 60; tries++)); do
		kubectl exec -n "$SHOP" client -- /sample-app get "http://$1.$SHOP/healthz" >/dev/null 2>&1 && return
		sleep 0.5
	done
	die "the Service $1 does not respond"
}

# explain_pods NAMESPACE: shows why pods do not start.
explain_pods() {
	kubectl get pods -n "$1" -o wide >&2
	kubectl logs -n "$1" -l app.kubernetes.io/name=postern --all-containers --tail 3 --prefix >&2 2>/dev/null || true
	kubectl get events -n "$1" --field-selector type=Warning --sort-by=.lastTimestamp 2>/dev/null | tail -n 8 >&2
	if existing; then say "if images cannot be pulled, load them first: see \"Images for your own cluster\" in README.md"; fi
}
