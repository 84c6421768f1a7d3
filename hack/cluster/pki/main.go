// Command pki creates the certificates, the keys and the kubeconfig files of one local cluster.
//
//	pki -out DIR -cluster NAME -node-ip IP -service-ip IP
//
// They are valid for ten years, which is longer than a local cluster exists, and are created for each cluster.
package main

import (
	"flag"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintf(os.Stderr, "pki: %v\n", err)
		os.Exit(1)
	}
}

// identity is one certificate, and the kubeconfig that contains it if a component calls the API server with it.
type identity struct {
	file          string
	name          string
	organizations []string
	dns           []string
	ips           []netip.Addr
	kubeconfig    bool
}

// identities returns the identities of the cluster. RBAC's built-in roles are bound to these names and groups.
func identities(cluster string, node, service netip.Addr) []identity {
	return []identity{
		{
			file: "apiserver",
			name: "kube-apiserver",
			dns: []string{
				"localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc",
				"kubernetes.default.svc.cluster.local",
			},
			ips: []netip.Addr{node, service, netip.MustParseAddr("127.0.0.1")},
		},
		{file: "kubelet-serving", name: "system:node:" + cluster, dns: []string{cluster}, ips: []netip.Addr{node}},
		{file: "apiserver-kubelet", name: "kube-apiserver-kubelet", organizations: []string{"system:masters"}},
		{file: "admin", name: "admin", organizations: []string{"system:masters"}, kubeconfig: true},
		{file: "kubelet", name: "system:node:" + cluster, organizations: []string{"system:nodes"}, kubeconfig: true},
		{file: "kube-controller-manager", name: "system:kube-controller-manager", kubeconfig: true},
		{file: "kube-scheduler", name: "system:kube-scheduler", kubeconfig: true},
		{file: "kube-proxy", name: "system:kube-proxy", kubeconfig: true},
	}
}

// run writes everything into the folder in args.
func run(args []string) error {
	flags := flag.NewFlagSet("pki", flag.ContinueOnError)
	out := flags.String("out", "", "folder to write to")
	cluster := flags.String("cluster", "", "name of the cluster and of its node")
	nodeIP := flags.String("node-ip", "", "address of the node, and of the API server")
	serviceIP := flags.String("service-ip", "", "address of the kubernetes Service")
	if err := flags.Parse(args); err != nil {
		return err
	}
	node, err := netip.ParseAddr(*nodeIP)
	if err != nil {
		return fmt.Errorf("reading -node-ip: %w", err)
	}
	service, err := netip.ParseAddr(*serviceIP)
	if err != nil {
		return fmt.Errorf("reading -service-ip: %w", err)
	}
	if *out == "" || *cluster == "" {
		return fmt.Errorf("-out and -cluster are required")
	}
	ca, err := newAuthority("postern-local-" + *cluster)
	if err != nil {
		return err
	}
	if err := writeAuthority(ca, *out); err != nil {
		return err
	}
	for _, id := range identities(*cluster, node, service) {
		if err := writeIdentity(ca, id, *out, fmt.Sprintf("https://%s:6443", node)); err != nil {
			return fmt.Errorf("creating certificate of %s: %w", id.name, err)
		}
	}
	return nil
}

// writeAuthority writes the certificate authority, and the key that signs service-account tokens.
func writeAuthority(ca *authority, dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("creating folder: %w", err)
	}
	signer, err := tokenKey()
	if err != nil {
		return err
	}
	return writeFiles(dir, map[string][]byte{"ca.crt": ca.certPEM, "ca.key": ca.keyPEM, "service-accounts.key": signer})
}

// writeIdentity writes a certificate and its key, or the kubeconfig that holds both.
func writeIdentity(ca *authority, id identity, dir, server string) error {
	cert, key, err := ca.issue(id)
	if err != nil {
		return err
	}
	if id.kubeconfig {
		config, err := kubeconfig(server, ca.certPEM, cert, key)
		if err != nil {
			return err
		}
		return writeFiles(dir, map[string][]byte{id.file + ".kubeconfig": config})
	}
	return writeFiles(dir, map[string][]byte{id.file + ".crt": cert, id.file + ".key": key})
}

// writeFiles writes files that only their owner can read.
func writeFiles(dir string, files map[string][]byte) error {
	for name, content := range files {
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o600); err != nil {
			return fmt.Errorf("writing %s: %w", name, err)
		}
	}
	return nil
}
