// Package podtest gives a sidecar outside of a cluster what it finds in a pod: its environment, a mounted document, and an operator.
package podtest

import (
	"crypto/ed25519"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"net"
	"net/http/httptest"
	"os"
	"path/filepath"

	"github.com/posterndev/postern/api/compiled"
	"github.com/posterndev/postern/test/freeport"
)

// Pod is a pod with interception Takeover: its app listens at 127.0.0.1, and the sidecar at Address, on the same port.
type Pod struct {
	Address string
	Port    uint16
	// Secrets is the folder with Secrets, as <name>/<key>. Dir is a folder for the document and the token.
	Secrets, Dir string
	// Operator serves the long poll, with TLS. Key signs its documents.
	Operator *httptest.Server
	Key      ed25519.PrivateKey
}

// Environment mounts the document, and returns the environment that the webhook would set for the sidecar, and the address of the sidecar's
// admin port.
func (p Pod) Environment(policy *compiled.Policy) (environment []string, admin string, err error) {
	if err := p.mount(policy); err != nil {
		return nil, "", err
	}
	declared, err := compiled.EncodeContainerPorts([]compiled.ContainerPort{{Name: "http", Number: p.Port}})
	if err != nil {
		return nil, "", err
	}
	addresses, err := freeport.Addresses(3)
	if err != nil {
		return nil, "", err
	}
	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: p.Operator.Certificate().Raw})
	key := base64.StdEncoding.EncodeToString(p.Key.Public().(ed25519.PublicKey))
	environment = []string{
		compiled.EnvNamespace + "=" + policy.Namespace, compiled.EnvPolicy + "=" + policy.Name, compiled.EnvDocumentKey + "=" + key,
		compiled.EnvDocumentDir + "=" + p.Dir, compiled.EnvSecretsDir + "=" + p.Secrets,
		compiled.EnvOperatorURL + "=" + p.Operator.URL, compiled.EnvOperatorCA + "=" + string(ca),
		compiled.EnvOperatorTokenFile + "=" + filepath.Join(p.Dir, "token"), compiled.EnvInterception + "=Takeover",
		compiled.EnvPodIPs + "=" + p.Address, compiled.EnvContainerPorts + "=" + declared,
	}
	for i, name := range []string{compiled.EnvInboundPort, compiled.EnvAdminPort, compiled.EnvLoopbackPort} {
		_, port, err := net.SplitHostPort(addresses[i])
		if err != nil {
			return nil, "", err
		}
		environment = append(environment, name+"="+port)
	}
	return environment, addresses[1], nil
}

// mount writes the signed document and the operator's token.
func (p Pod) mount(policy *compiled.Policy) error {
	signed, err := compiled.Sign(policy, p.Key)
	if err != nil {
		return err
	}
	for file, content := range map[string][]byte{
		compiled.DocumentKey: signed.Document, compiled.SignatureKey: []byte(base64.StdEncoding.EncodeToString(signed.Signature)), "token": []byte("t0ken"),
	} {
		if err := os.WriteFile(filepath.Join(p.Dir, file), content, 0o600); err != nil {
			return fmt.Errorf("mounting the document: %w", err)
		}
	}
	return nil
}
