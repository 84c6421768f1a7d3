// Command vault administers, as root, the Vault server that up.sh runs in the cluster of the current kubectl context.
//
//	go run ./hack/vault [-n NAMESPACE] COMMAND
//
//	put PATH KEY=VALUE...     writes a version of a KV secret, for example: put secret/shop/redis password=s3cret
//	write PATH KEY=VALUE...   writes to any path, for example: write auth/kubernetes/role/shop audience=vault …
//	rotate KEY                creates a new version of a Transit key
//	seal, unseal              seals and unseals the server
//
// KEY=@FILE reads the value from a file.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			os.Exit(2)
		}
		fmt.Fprintf(os.Stderr, "vault: %v\n", err)
		os.Exit(1)
	}
}

// run connects, and runs the command in args.
func run(ctx context.Context, args []string) error {
	flags := flag.NewFlagSet("vault", flag.ContinueOnError)
	namespace := flags.String("n", "vault", "namespace of the server")
	if err := flags.Parse(args); err != nil {
		return err
	}
	c, err := parseCommand(flags.Args())
	if err != nil {
		return err
	}
	s, err := connect(ctx, *namespace)
	if err != nil {
		return fmt.Errorf("connecting to Vault in namespace %s: %w", *namespace, err)
	}
	defer s.close()
	return c(ctx, s)
}
