// Command setup applies the default SidecarClass of an installation. The chart runs it as a hook, because Helm cannot create
// an object in the same step as the CRD of its kind, and after that step the API server may not serve the kind yet.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"syscall"
	"time"

	"k8s.io/client-go/dynamic"
	ctrl "sigs.k8s.io/controller-runtime"
)

// retry is the time between two attempts.
const retry = time.Second

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
		slog.Error("setup failed", "error", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	f := flag.NewFlagSet("setup", flag.ContinueOnError)
	file := f.String("f", "", "manifest of the SidecarClass")
	timeout := f.Duration("timeout", 2*time.Minute, "longest time to wait for the API server to serve the kind")
	switch err := f.Parse(args); {
	case errors.Is(err, flag.ErrHelp):
		return nil
	case err != nil:
		return err
	case f.NArg() > 0:
		return fmt.Errorf("reading flags: %q is not a flag", f.Arg(0))
	}
	manifest, err := os.ReadFile(*file)
	if err != nil {
		return fmt.Errorf("reading manifest: %w", err)
	}
	class, err := decode(manifest)
	if err != nil {
		return fmt.Errorf("reading manifest %q: %w", *file, err)
	}
	config, err := ctrl.GetConfig()
	if err != nil {
		return fmt.Errorf("finding the cluster: %w", err)
	}
	client, err := dynamic.NewForConfig(config)
	if err != nil {
		return fmt.Errorf("connecting to the API server: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, *timeout)
	defer cancel()
	a := applier{classes: client.Resource(resource), retry: retry, log: slog.Default()}
	return a.apply(ctx, class)
}
