package main

import (
	"fmt"
	"log/slog"
	"net/netip"
	"net/url"
	"os"

	"github.com/spf13/cobra"

	"github.com/posterndev/postern/api/compiled"
	"github.com/posterndev/postern/sidecar/httpkit/quoted"
	"github.com/posterndev/postern/sidecar/server"
)

// runOptions are the flags of postern run.
type runOptions struct {
	files                       []string
	policy, upstream, logFormat string
	server                      server.Standalone
}

func newRunCommand() *cobra.Command {
	o := &runOptions{}
	cmd := &cobra.Command{
		Use:   "run -f policy.yaml [-f class.yaml …] --upstream http://127.0.0.1:3000",
		Short: "Enforce a policy in front of an app, without a cluster",
		Long: "Runs the sidecar's request path on this machine, from the same YAML. The selector and the ports are ignored, because one\n" +
			"listener serves the app. If the files have the policy's SidecarClass, it applies too, except what is about pods. Secrets are the files of\n" +
			"--secrets-dir. Records of the audit trail's sink Log go to the standard output, and the log to the standard error.\n" +
			"Without a redis, limits, sessions and revocations are in memory, and are lost when the process ends.\n\n" +
			"Several files are read as one. They are watched: a changed policy is enforced within about a second, without a restart. If a change is not valid, it is\n" +
			"reported, and the previous policy stays active.",
		Args: onlyFiles,
		RunE: func(cmd *cobra.Command, _ []string) error { return o.run(cmd) },
	}
	addPolicyFlags(cmd, &o.files, &o.policy)
	f := cmd.Flags()
	f.StringVar(&o.upstream, "upstream", "", "URL of the app, as http://host:port")
	f.StringVar(&o.server.Listen, "listen", "127.0.0.1:8080", "address to listen on")
	f.StringVar(&o.server.Admin, "admin", "127.0.0.1:9090", "address of health and metrics; empty disables them")
	f.StringVar(&o.server.Loopback, "loopback", "127.0.0.1:15992", "address of the app's API for tokens and passwords; empty disables it")
	f.StringVar(&o.server.SecretsDir, "secrets-dir", "secrets", "folder with Secrets, as <name>/<key>")
	f.StringVar(&o.server.VolumesDir, "volumes-dir", "volumes", "folder with the content of PersistentVolumeClaims, as <name>/<path>")
	f.StringVar(&o.logFormat, "log-format", formatAuto, "text, json or auto; auto is text on a terminal and json otherwise")
	_ = cmd.MarkFlagRequired("upstream")
	return cmd
}

func (o *runOptions) run(cmd *cobra.Command) error {
	ctx, s := cmd.Context(), o.server
	out, err := newLogOutput(cmd.ErrOrStderr(), o.logFormat, os.Getenv)
	if err != nil {
		return err
	}
	if s.Upstream, err = url.Parse(o.upstream); err != nil {
		return fmt.Errorf("reading --upstream %q: write it as http://127.0.0.1:3000: %w", o.upstream, err)
	}
	s.Version, s.Level = version, &slog.LevelVar{}
	held := newHeldWriter(out.w)
	defer held.release(func() {})
	s.Logger = out.to(held).logger(s.Level)
	quoted.StandardLog(s.Logger)
	watch := &policyWatch{files: unique(o.files), policy: o.policy, log: s.Logger, report: reportTo(out, s.Logger)}
	content, err := readFiles(watch.files, cmd.InOrStdin())
	if err != nil {
		return err
	}
	if s.Document, err = watch.start(ctx, content); err != nil {
		if ctx.Err() != nil {
			return nil // stopped before it began
		}
		return err
	}
	if watch.classless != "" {
		s.Logger.Info("the SidecarClass that the policy names is not in the files, so it runs without redis, vault and trustedProxies", "class", watch.classless, "change", "add it with -f")
	}
	if len(watch.watched) > 0 {
		updates := make(chan *compiled.Policy)
		s.Updates = updates
		go watch.run(ctx, updates)
	}
	s.Started = func(address netip.AddrPort) {
		held.release(func() {
			if out.text {
				welcome{s, watch.files, watch.watched, address}.print(out)
			}
		})
	}
	return s.Run(ctx)
}
