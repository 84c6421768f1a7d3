// Command operator compiles policies, delivers their documents to sidecars, and injects sidecars into pods.
package main

import (
	"flag"
	"fmt"
	"log/slog"
	"os"
	"runtime/debug"
	"strconv"

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
	limitMemory(os.Getenv)
	config, err := ctrl.GetConfig()
	if err != nil {
		return fmt.Errorf("finding the cluster: %w", err)
	}
	return operate(ctrl.SetupSignalHandler(), config, options, log)
}

// limitMemory makes the garbage collector work harder near the container's limit, in bytes, as GOMEMLIMIT does, which takes
// precedence.
func limitMemory(getenv func(string) string) {
	limit, err := strconv.ParseInt(getenv("POSTERN_MEMORY_LIMIT"), 10, 64)
	if err == nil && limit > 0 && getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(limit / 10 * 9)
	}
}
