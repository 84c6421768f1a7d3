package main

import (
	"fmt"
	"log/slog"
	"net/url"

	"github.com/spf13/cobra"

	"github.com/posterndev/postern/sidecar/server"
)

func newRunCommand() *cobra.Command {
	var file, policy, upstream string
	var c server.Standalone
	cmd := &cobra.Command{
		Use:   "run -f policy.yaml --upstream http://127.0.0.1:3000",
		Short: "Enforce a policy in front of an app, without a cluster",
		Long: "Runs the sidecar's request path on this machine, from the same YAML. The selector and the ports mean nothing here: the\n" +
			"one listener stands for the app. Redis is the SidecarClass's, if the file has one; else limits are kept in-process.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			document, err := compileFile(cmd, file, policy)
			if err != nil {
				return err
			}
			if c.Upstream, err = url.Parse(upstream); err != nil {
				return fmt.Errorf("--upstream: %w", err)
			}
			c.Document, c.Version = document, version
			c.Level = &slog.LevelVar{}
			c.Logger = slog.New(slog.NewJSONHandler(cmd.ErrOrStderr(), &slog.HandlerOptions{Level: c.Level}))
			return c.Run(cmd.Context())
		},
	}
	addPolicyFlags(cmd, &file, &policy)
	cmd.Flags().StringVar(&upstream, "upstream", "", "the app, as http://host:port")
	cmd.Flags().StringVar(&c.Listen, "listen", "127.0.0.1:8080", "address to serve at")
	cmd.Flags().StringVar(&c.Admin, "admin", "127.0.0.1:9090", "address of health and metrics; empty for none")
	cmd.Flags().StringVar(&c.Loopback, "loopback", "127.0.0.1:15992", "address of the app's API for tokens and passwords; empty for none")
	cmd.Flags().StringVar(&c.SecretsDir, "secrets-dir", "secrets", "folder with Secrets, as <name>/<key>")
	_ = cmd.MarkFlagRequired("upstream")
	return cmd
}
