package main

import "path/filepath"

// spec is the content of one image.
type spec struct {
	// name is the last part of the image's reference.
	name string
	// packages are commands of this module; each becomes /<last part of its path>.
	packages []string
	// prebuilt are static binaries of the machine; each becomes /<its file name>.
	prebuilt []string
	// dynamic are programs of the machine. Each keeps its path, and its shared libraries are added.
	dynamic []string
	// dirs are folders that the image's user may write to.
	dirs []string
	// roots adds the machine's certificate authorities, for images that connect to public TLS servers.
	roots bool
	// entrypoint is the path of the program in the image.
	entrypoint string
}

// table lists every image. prebuilt is the folder of the binaries that are built outside of this module.
func table(prebuilt string) []spec {
	return []spec{
		{name: "operator", packages: []string{"./cmd/operator", "./cmd/setup"}, roots: true, entrypoint: "/operator"},
		{name: "sidecar", packages: []string{"./cmd/sidecar", "./cmd/redirect"}, roots: true, entrypoint: "/sidecar"},
		{name: "audit", packages: []string{"./cmd/audit"}, roots: true, entrypoint: "/audit"},
		{name: "sample-app", packages: []string{"./hack/sample-app"}, entrypoint: "/sample-app"},
		{
			name:       "redis",
			dynamic:    []string{"/usr/bin/redis-server", "/usr/bin/redis-cli"},
			dirs:       []string{"/data", "/tmp"},
			entrypoint: "/usr/bin/redis-server",
		},
		{name: "pause", packages: []string{"./hack/cluster/pause"}, entrypoint: "/pause"},
		{name: "coredns", prebuilt: []string{filepath.Join(prebuilt, "coredns")}, entrypoint: "/coredns"},
		{name: "vault", prebuilt: []string{filepath.Join(prebuilt, "vault")}, entrypoint: "/vault"},
	}
}
