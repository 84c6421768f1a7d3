// Command door runs one sidecar in front of one app, for the tests in test/attack: as a process of its own, so that its memory can be
// measured, and without the race detector, which multiplies it.
//
// Arguments: the address to listen on, the address of the admin port, and the URL of the app. The document is read from the standard
// input as JSON. SIGTERM ends it; SIGUSR1 makes it return unused memory to the system, and say so on the standard output.
package main

import (
	"context"
	"encoding/json"
	"log/slog"
	"net/netip"
	"net/url"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"

	"github.com/posterndev/postern/api/compiled"
	"github.com/posterndev/postern/sidecar/server"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		slog.Error("running the sidecar", "error", err)
		os.Exit(1)
	}
}

// collect returns unused memory to the system for each SIGUSR1, so that the resident memory is what is in use.
func collect() {
	asked := make(chan os.Signal, 1)
	signal.Notify(asked, syscall.SIGUSR1)
	for range asked {
		debug.FreeOSMemory()
		_, _ = os.Stdout.WriteString("collected\n")
	}
}

func run(args []string) error {
	var document compiled.Policy
	if err := json.NewDecoder(os.Stdin).Decode(&document); err != nil {
		return err
	}
	app, err := url.Parse(args[2])
	if err != nil {
		return err
	}
	go collect()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	return server.Standalone{
		Document: &document, Upstream: app, Listen: args[0], Admin: args[1], SecretsDir: os.TempDir(), Level: &slog.LevelVar{},
		Logger:  slog.New(slog.NewTextHandler(os.Stderr, nil)),
		Started: func(netip.AddrPort) {},
	}.Run(ctx)
}
