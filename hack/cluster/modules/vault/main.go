// Command vault is Vault's own server core over memory, for tests and for the local cluster: it is unsealed when it
// comes up, and what it held is gone when it ends. KV (versions 1 and 2), Transit, PKI, the database engine (for
// PostgreSQL), and the Kubernetes, AppRole and token methods are there to be mounted and used as in any Vault.
//
//	vault -listen 127.0.0.1:8200 -root-token root [-tls-cert FILE -tls-key FILE] [-init FILE]
//
// What -init lists is written before it serves, so that a server that was started again is as the first one was:
//
//	[{"path": "sys/mounts/secret", "data": {"type": "kv", "options": {"version": "2"}}}, …]
//
// When it serves, it prints one line of JSON: its address, and the key that unseals it after a test sealed it.
package main

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	vaulthttp "github.com/hashicorp/vault/http"
	"github.com/hashicorp/vault/internalshared/configutil"
	"github.com/hashicorp/vault/vault"
)

type options struct{ listen, rootToken, certFile, keyFile, initFile string }

func main() {
	var o options
	flag.StringVar(&o.listen, "listen", "127.0.0.1:8200", "address to serve on")
	flag.StringVar(&o.rootToken, "root-token", "root", "the root token's value")
	flag.StringVar(&o.certFile, "tls-cert", "", "certificate to serve with; plain HTTP without")
	flag.StringVar(&o.keyFile, "tls-key", "", "the certificate's key")
	flag.StringVar(&o.initFile, "init", "", "JSON list of what to write at the start, as root")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, o); err != nil {
		fmt.Fprintf(os.Stderr, "vault: %v\n", err)
		os.Exit(1)
	}
}

// run serves until ctx ends.
func run(ctx context.Context, o options) error {
	core, unsealKey, err := newCore(ctx, o.rootToken)
	if err != nil {
		return err
	}
	if o.initFile != "" {
		if err := initialise(ctx, core, o.rootToken, o.initFile); err != nil {
			return fmt.Errorf("carrying out %s: %w", o.initFile, err)
		}
	}
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", o.listen)
	if err != nil {
		return fmt.Errorf("listening: %w", err)
	}
	server := &http.Server{
		Handler: vaulthttp.Handler.Handler(&vault.HandlerProperties{
			Core:           core,
			ListenerConfig: &configutil.Listener{Address: listener.Addr().String()},
		}),
		ReadHeaderTimeout: 10 * time.Second,
	}
	failed := make(chan error, 1)
	scheme := "http"
	if o.certFile != "" {
		scheme = "https"
		go func() { failed <- server.ServeTLS(listener, o.certFile, o.keyFile) }()
	} else {
		go func() { failed <- server.Serve(listener) }()
	}
	if err := json.NewEncoder(os.Stdout).Encode(map[string]string{
		"address":   fmt.Sprintf("%s://%s", scheme, listener.Addr()),
		"unsealKey": base64.StdEncoding.EncodeToString(unsealKey),
	}); err != nil {
		return fmt.Errorf("printing address: %w", err)
	}
	select {
	case err := <-failed:
		return fmt.Errorf("serving: %w", err)
	case <-ctx.Done():
		return errors.Join(server.Close(), core.Shutdown())
	}
}
