// Command sidecar enforces a policy in front of an app. Its settings are the environment that the webhook gave it.
package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"github.com/posterndev/postern/sidecar/server"
)

// version is set at link time.
var version = "dev"

func main() {
	level := &slog.LevelVar{}
	logger := slog.New(slog.NewJSONHandler(os.Stdout, &slog.HandlerOptions{Level: level}))
	environment, err := server.ReadEnvironment(os.Getenv)
	if err != nil {
		fmt.Fprintln(os.Stderr, "sidecar: this image is run by Postern's webhook, which sets its environment:", err)
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := server.Run(ctx, server.Config{Environment: environment, Version: version, Level: level, Logger: logger}); err != nil {
		logger.Error("the sidecar ended", "error", err)
		os.Exit(1)
	}
}
