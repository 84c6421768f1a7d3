package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"
)

// grace is the time that open requests have to finish when the app stops.
const grace = 10 * time.Second

// files are those of a certificate and its key; empty without TLS.
type files struct{ certificate, key string }

// serve listens on all addresses with HTTP/1.1 and HTTP/2 until ctx ends: in clear text, or by TLS if there are files. Then it waits for open requests.
func serve(ctx context.Context, log *slog.Logger, addresses []string, tls files) error {
	stopping := make(chan struct{})
	server := &http.Server{
		Handler:           newHandler(stopping),
		ReadHeaderTimeout: 10 * time.Second,
		Protocols:         new(http.Protocols),
	}
	server.Protocols.SetHTTP1(true)
	server.Protocols.SetHTTP2(true)
	server.Protocols.SetUnencryptedHTTP2(true)
	listen := server.Serve
	if tls != (files{}) {
		listen = func(l net.Listener) error { return server.ServeTLS(l, tls.certificate, tls.key) }
	}

	failed := make(chan error, len(addresses))
	for _, address := range addresses {
		listener, err := new(net.ListenConfig).Listen(ctx, "tcp", address)
		if err != nil {
			return errors.Join(fmt.Errorf("listening on %q: %w", address, err), server.Close())
		}
		log.Info("listening", "address", listener.Addr().String())
		go func() { failed <- listen(listener) }()
	}
	select {
	case err := <-failed:
		return fmt.Errorf("serving: %w", err)
	case <-ctx.Done():
	}
	log.Info("stopping")
	close(stopping)
	end, cancel := context.WithTimeout(context.WithoutCancel(ctx), grace)
	defer cancel()
	if err := server.Shutdown(end); err != nil {
		return fmt.Errorf("finishing requests: %w", err)
	}
	return nil
}
