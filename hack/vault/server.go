package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"regexp"
	"strings"

	"github.com/hashicorp/vault/api"
)

// server is the root user's client of a server. It connects through the API server, so it needs no route to the pods.
type server struct {
	*api.Client
	namespace string
	close     func()
}

// connect returns a client whose port is forwarded until close is called.
func connect(ctx context.Context, namespace string) (*server, error) {
	root, err := secretKey(ctx, namespace, "vault-root", "token")
	if err != nil {
		return nil, err
	}
	ca, err := secretKey(ctx, namespace, "vault-tls", `tls\.crt`)
	if err != nil {
		return nil, err
	}
	address, end, err := forward(ctx, namespace)
	if err != nil {
		return nil, err
	}
	client, err := newClient("https://"+address, root, &api.TLSConfig{CACertBytes: ca, TLSServerName: "vault." + namespace + ".svc"})
	if err != nil {
		end()
		return nil, err
	}
	return &server{Client: client, namespace: namespace, close: end}, nil
}

func newClient(address string, root []byte, tls *api.TLSConfig) (*api.Client, error) {
	config := api.DefaultConfig()
	if err := config.ConfigureTLS(tls); err != nil {
		return nil, err
	}
	config.Address = address
	client, err := api.NewClient(config)
	if err != nil {
		return nil, err
	}
	client.ClearNamespace() // the environment may set one
	client.SetToken(string(root))
	return client, nil
}

// unsealKey reads the key from the first line of the server's log.
func (s *server) unsealKey(ctx context.Context) (string, error) {
	log, err := kubectl(ctx, "logs", "-n", s.namespace, "deployment/vault")
	if err != nil {
		return "", err
	}
	for line := range bytes.Lines(log) {
		var first struct{ UnsealKey string }
		if json.Unmarshal(line, &first) == nil && first.UnsealKey != "" {
			return first.UnsealKey, nil
		}
	}
	return "", errors.New("the server's log no longer has it: delete its pod")
}

func secretKey(ctx context.Context, namespace, name, key string) ([]byte, error) {
	text, err := kubectl(ctx, "get", "secret", name, "-n", namespace, "-o", "jsonpath={.data."+key+"}")
	if err != nil {
		return nil, err
	}
	return base64.StdEncoding.DecodeString(string(text))
}

func kubectl(ctx context.Context, args ...string) ([]byte, error) {
	var stderr bytes.Buffer
	c := exec.CommandContext(ctx, "kubectl", args...)
	c.Stderr = &stderr
	out, err := c.Output()
	if err != nil {
		return nil, fmt.Errorf("running kubectl %s: %w: %s", args[0], err, strings.TrimSpace(stderr.String()))
	}
	return out, nil
}

// forwarding matches kubectl's output with the chosen port.
var forwarding = regexp.MustCompile(`^Forwarding from (127\.0\.0\.1:\d+) `)

// forward runs kubectl to forward a loopback port to the server until end is called.
func forward(ctx context.Context, namespace string) (address string, end func(), err error) {
	ctx, cancel := context.WithCancel(ctx)
	var stderr bytes.Buffer
	c := exec.CommandContext(ctx, "kubectl", "port-forward", "-n", namespace, "service/vault", ":8200")
	c.Stderr = &stderr
	out, err := c.StdoutPipe()
	if err == nil {
		err = c.Start()
	}
	if err != nil {
		cancel()
		return "", nil, fmt.Errorf("running kubectl port-forward: %w", err)
	}
	end = func() {
		cancel()
		_ = c.Wait() // it was killed
	}
	for lines := bufio.NewScanner(out); lines.Scan(); {
		if found := forwarding.FindStringSubmatch(lines.Text()); found != nil {
			go func() { _, _ = io.Copy(io.Discard, out) }()
			return found[1], end, nil
		}
	}
	end()
	return "", nil, fmt.Errorf("running kubectl port-forward: %s", strings.TrimSpace(stderr.String()))
}
