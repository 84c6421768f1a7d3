// Command sidecar enforces a policy in front of an app. It reads its settings from environment variables that the webhook sets.
// "sidecar leave" tells the sidecar in the same pod that the pod is about to terminate.
package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"github.com/posterndev/postern/sidecar/httpkit/quoted"
	"github.com/posterndev/postern/sidecar/server"
	"github.com/posterndev/postern/sidecar/telemetry/logbatch"
)

// version is set at link time.
var version = "dev"

func main() {
	if len(os.Args) == 2 && os.Args[1] == "leave" {
		leave()
		return
	}
	level := &slog.LevelVar{}
	lines := logbatch.NewWriter(os.Stdout)
	defer func() { _ = lines.Flush() }()
	logger := slog.New(logbatch.NewHandler(slog.NewJSONHandler(lines, &slog.HandlerOptions{Level: level}), lines))
	quoted.StandardLog(logger)
	environment, err := server.ReadEnvironment(os.Getenv)
	if err != nil {
		fmt.Fprintln(os.Stderr, "sidecar: this image needs the environment variables that Postern's webhook sets:", err)
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	pod := server.Pod{Environment: environment, Version: version, Level: level, Logger: logger}
	if err := server.Run(ctx, pod.Config()); err != nil {
		logger.Error("sidecar stopped", "error", err)
		os.Exit(1)
	}
}

// leave runs as the container's preStop hook.
func leave() {
	if err := server.Leave(context.Background(), os.Getenv); err != nil {
		fmt.Fprintln(os.Stderr, "sidecar:", err)
		os.Exit(1)
	}
}
