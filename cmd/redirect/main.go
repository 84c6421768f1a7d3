// Command redirect redirects a pod's inbound TCP to its sidecar and exits. It runs as an init container with the
// capability NET_ADMIN, and reads its settings from the environment variables POSTERN_INBOUND_PORT, POSTERN_ADMIN_PORT and
// POSTERN_EXCLUDED_PORTS.
//
// With any exit code except 0 the pod does not start, because it would be unprotected: 2 for a wrong environment, 3 without
// NET_ADMIN, 4 for a kernel that cannot redirect, 5 if the rules read back differ from those programmed, 1 for other errors.
package main

import (
	"errors"
	"log/slog"
	"os"

	"github.com/posterndev/postern/sidecar/conn/redirect"
)

func main() {
	log := slog.New(slog.NewJSONHandler(os.Stderr, nil))
	if err := run(log); err != nil {
		log.Error("inbound traffic is not redirected", "error", err)
		os.Exit(exitCode(err))
	}
}

func run(log *slog.Logger) error {
	config, err := redirect.FromEnv(os.Getenv)
	if err != nil {
		return err
	}
	if err := redirect.Program(config); err != nil {
		return err
	}
	log.Info("inbound traffic is redirected", "inboundPort", config.InboundPort, "adminPort", config.AdminPort,
		"excludedPorts", config.ExcludedPorts)
	return nil
}

// exitCode returns the exit code of an error. It is shown in the container's last state.
func exitCode(err error) int {
	switch {
	case errors.Is(err, redirect.ErrConfig):
		return 2
	case errors.Is(err, redirect.ErrPermission):
		return 3
	case errors.Is(err, redirect.ErrUnsupported):
		return 4
	case errors.Is(err, redirect.ErrMismatch):
		return 5
	}
	return 1
}
