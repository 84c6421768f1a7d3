// Command sample-app is an application without code for Postern. It responds with the request that it received. The
// demo and the end-to-end tests run Postern in front of it.
//
//	sample-app                              serves until SIGTERM
//	sample-app get [-X METHOD] [-H 'Name: value']… URL
//	                                        a client to run inside a pod; see get.go
//
// Settings are environment variables:
//
//	LISTEN        address to serve HTTP/1.1, HTTP/2 cleartext and gRPC on, default ":8080"
//	EXTRA_LISTEN  more such addresses, comma-separated
//	TLS_CERT      a file with a certificate and its chain in PEM. With TLS_KEY, the file of its key, all addresses serve TLS only
//	EXIT_AFTER    a duration after which it exits with 0, as a Job does; default: never
package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	var err error
	switch args := os.Args[1:]; {
	case len(args) == 0:
		err = runServer(ctx)
	case args[0] == "get":
		err = get(ctx, args[1:], os.Stdout)
	default:
		err = fmt.Errorf("unknown command %q: there is get, or none to serve", args[0])
	}
	if err != nil {
		fmt.Fprintf(os.Stderr, "sample-app: %v\n", err)
		os.Exit(1)
	}
}

// runServer serves with the settings of the environment until ctx ends or EXIT_AFTER has passed.
func runServer(ctx context.Context) error {
	addresses := []string{":8080"}
	if listen := os.Getenv("LISTEN"); listen != "" {
		addresses[0] = listen
	}
	if extra := os.Getenv("EXTRA_LISTEN"); extra != "" {
		addresses = append(addresses, strings.Split(extra, ",")...)
	}
	if after := os.Getenv("EXIT_AFTER"); after != "" {
		lifetime, err := time.ParseDuration(after)
		if err != nil {
			return fmt.Errorf("reading EXIT_AFTER: %w", err)
		}
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, lifetime)
		defer cancel()
	}
	return serve(ctx, slog.New(slog.NewJSONHandler(os.Stderr, nil)), addresses, files{os.Getenv("TLS_CERT"), os.Getenv("TLS_KEY")})
}
