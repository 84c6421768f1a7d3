// Command operator compiles policies, delivers their documents to sidecars, and injects sidecars into pods.
package main

import (
	"flag"
	"fmt"
	"log/slog"
	"os"

	"github.com/go-logr/logr"
	"k8s.io/klog/v2"
	ctrl "sigs.k8s.io/controller-runtime"
)

func main() {
	if err := run(); err != nil {
		slog.Error("operator stopped", "error", err)
		os.Exit(1)
	}
}

func run() error {
	options, err := parseOptions(os.Args[1:], os.Getenv)
	if err == flag.ErrHelp {
		return nil
	}
	if err != nil {
		return err
	}
	log := options.logger(os.Stderr)
	slog.SetDefault(log)
	ctrl.SetLogger(logr.FromSlogHandler(log.Handler()))
	klog.SetSlogLogger(log)
	config, err := ctrl.GetConfig()
	if err != nil {
		return fmt.Errorf("finding the cluster: %w", err)
	}
	return operate(ctrl.SetupSignalHandler(), config, options, log)
}
