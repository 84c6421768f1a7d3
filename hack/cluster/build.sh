#!/usr/bin/env bash
# Builds the components of a cluster from Go modules into the cache folder, once for each version.
#
#   build.sh            everything that up.sh needs
#   build.sh NAME...    only these: a binary's name, "envtest" (kube-apiserver, etcd, kubectl), "vault", or "oauth2-proxy" for the bench
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

readonly KUBERNETES=(kube-apiserver kube-controller-manager kube-proxy kube-scheduler kubectl kubelet)

# build MODULE VERSION LDFLAGS PACKAGE...: builds the missing binaries of the packages in one build, because they share most of the work.
build() {
	local module=$1 version=$2 ldflags=$3 package dir missing=() names=()
	shift 3
	[[ -n $version ]] || die "hack/cluster/modules/$module/go.mod has no version"
	dir=$CACHE/cluster/$module-$version-$(fingerprint "$module")
	mkdir -p "$dir" "$BIN"
	for package in "$@"; do
		[[ -x $dir/$(binary "$module" "$package") ]] || missing+=("$package") names+=("$(binary "$module" "$package")")
	done
	if ((${#missing[@]})); then
		compile "$module $version: ${names[*]}" "$dir" "$module" "$ldflags" "${missing[@]}"
	fi
	for package in "$@"; do
		ln -sfn "$dir/$(binary "$module" "$package")" "$BIN/$(binary "$module" "$package")"
	done
}

# fingerprint MODULE: prints a hash of the sources here, so that a change to them causes a new build.
fingerprint() { cat "$HERE/modules/$1"/{go.mod,go.sum,*.go} | sha256sum | cut -c1-8; }

# binary MODULE PACKAGE: prints the binary's name. A module's root package has the module's name, without the major version.
binary() { if [[ $2 == . ]]; then echo "$1"; else basename "${2%/v[0-9]}"; fi; }

# compile WHAT DIR MODULE LDFLAGS PACKAGE...: compiles into a temporary folder first, so that an interrupted build leaves no binaries.
compile() {
	local what=$1 dir=$2 module=$3 ldflags=$4 log aside pid since=$SECONDS
	shift 4
	aside=$(mktemp -d "$dir/.build.XXXXXX")
	# shellcheck disable=SC2064 # the path is expanded now on purpose
	trap "rm -rf '$aside'" EXIT
	log=$aside/log
	mkdir "$aside/bin"
	say "building $what (only once; takes minutes on two cores)"
	(cd "$HERE/modules/$module" && CGO_ENABLED=0 GOWORK=off exec nice -n 5 \
		go build -v -trimpath -mod="$(mod_mode "$module")" -ldflags "-s -w $ldflags" -o "$aside/bin/" "$@") >"$log" 2>&1 &
	pid=$!
	heartbeat "$pid" "$log" "$since" &
	if ! wait "$pid"; then
		tail -n 30 "$log" >&2
		rm -rf "$aside"
		die "building $what failed"
	fi
	mv "$aside"/bin/* "$dir/"
	rm -rf "$aside"
	say "built $what in $((SECONDS - since)) s"
}

# heartbeat PID LOG SINCE: prints the progress of a build every ten seconds, while the process runs.
heartbeat() {
	local tick=0
	while sleep 1 && kill -0 "$1" 2>/dev/null; do
		((++tick % 10)) || say "  … $((SECONDS - $3)) s, $(grep -vc '^go: ' "$2" || true) packages compiled, at $(tail -n 1 "$2")"
	done
}

# mod_mode MODULE: prints the -mod flag. The go.sum of vault cannot be complete, because a plugin that only its tests use has no checksum.
mod_mode() { if [[ $1 == vault ]]; then echo mod; else echo readonly; fi; }

build_kubernetes() {
	local version
	version=$(module_version kubernetes k8s.io/kubernetes)
	build kubernetes "$version" \
		"-X k8s.io/component-base/version.gitVersion=$version -X k8s.io/client-go/pkg/version.gitVersion=$version" \
		"${@/#/k8s.io/kubernetes/cmd/}"
}

build_named() {
	local name kubernetes=()
	for name in "$@"; do
		case $name in
		etcd) build etcd "$(module_version etcd go.etcd.io/etcd/server/v3)" "" . ;;
		coredns) build coredns "$(module_version coredns github.com/coredns/coredns)" "" . ;;
		helm) build helm "$(module_version helm helm.sh/helm/v4)" "" helm.sh/helm/v4/cmd/helm ;;
		vault) build vault "$(module_version vault github.com/hashicorp/vault)" "" . ;;
		oauth2-proxy) build oauth2-proxy "$(module_version oauth2-proxy github.com/oauth2-proxy/oauth2-proxy/v7)" "" github.com/oauth2-proxy/oauth2-proxy/v7 ;;
		kube*) kubernetes+=("$name") ;;
		*) die "unknown component ${name@Q}" ;;
		esac
	done
	((${#kubernetes[@]} == 0)) || build_kubernetes "${kubernetes[@]}"
}

# link_envtest: creates the folder for KUBEBUILDER_ASSETS of controller-runtime's envtest.
link_envtest() {
	local name
	mkdir -p "$CACHE/envtest"
	for name in kube-apiserver etcd kubectl; do
		ln -sfn "$(readlink "$BIN/$name")" "$CACHE/envtest/$name"
	done
}

# lock_build: allows one build at a time, because a second build would compile the same packages.
lock_build() {
	mkdir -p "$CACHE/cluster"
	exec 8>"$CACHE/cluster/build.lock"
	flock --nonblock 8 || { say "waiting for another build of the cluster's components" && flock 8; }
}

main() {
	command -v go >/dev/null || die "go is not on the PATH"
	lock_build
	case ${1:-} in
	"") build_named "${KUBERNETES[@]}" etcd coredns helm && link_envtest ;;
	envtest) build_named kube-apiserver kubectl etcd && link_envtest ;;
	*) build_named "$@" ;;
	esac
}

main "$@"
