//go:build !nocluster

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"strconv"

	"github.com/spf13/cobra"
	"k8s.io/client-go/kubernetes"

	"github.com/posterndev/postern/cmd/postern/internal/console"
)

// consoleOptions are the flags of postern console.
type consoleOptions struct {
	access    access
	all, open bool
	anyUser   bool
	port      uint16
	database  databaseFlags
	keyFile   string
}

func newConsoleCommand() *cobra.Command {
	o := &consoleOptions{}
	cmd := &cobra.Command{
		Use:   "console",
		Short: "Show policies, pods, traffic, sessions and the audit trail in a browser",
		Long: "Serves a web page on 127.0.0.1, for this machine and this user only. It reads the cluster with your kubeconfig and your permissions,\n" +
			"as status, top, sessions and audit search do. Nothing new runs in the cluster.\n\n" +
			"It prints a link. The link works once, in one browser; after that the console prints a new one. Anybody with a link that was not used\n" +
			"can do what you may do, so do not share it.\n\n" +
			"Sessions can be ended by those who may create pods/portforward in the namespace.\n\n" +
			"The audit trail needs --database-url, or one of the variables PGHOST and PGSERVICE.\n" + databaseHelp,
		Example: "  postern console -n shop --open\n" +
			"  postern console -A --port 8443\n" +
			"  PGPASSFILE=~/.pgpass postern console --database-url postgresql://ada@postgres.example.com/postern",
		Args: onlyFlags,
		RunE: func(cmd *cobra.Command, _ []string) error { return o.run(cmd) },
	}
	f := cmd.Flags()
	f.BoolVarP(&o.all, "all-namespaces", "A", false, "show the policies of all namespaces")
	f.Uint16Var(&o.port, "port", 0, "port of 127.0.0.1 to listen on (default: a free one)")
	f.BoolVar(&o.open, "open", false, "open the browser")
	f.BoolVar(&o.anyUser, "any-user", false, "accept connections of other users of this machine (Linux), for example if the browser runs as another user")
	f.StringVar(&o.keyFile, "key-file", "", "the file of the master key of the audit trail: to find subjects by their pseudonyms, and to decrypt fields")
	o.database.addFlags(cmd)
	o.access.addFlags(cmd)
	return cmd
}

func (o *consoleOptions) run(cmd *cobra.Command) error {
	if o.all && cmd.Flags().Changed("namespace") {
		return errors.New("--all-namespaces and --namespace exclude each other")
	}
	source, err := o.source(cmd.Context(), cmd.ErrOrStderr())
	if err != nil {
		return err
	}
	defer source.close()
	listener, err := net.Listen("tcp4", net.JoinHostPort("127.0.0.1", strconv.Itoa(int(o.port))))
	if err != nil {
		return fmt.Errorf("listening for the browser: %w", err)
	}
	config := o.config(cmd, source)
	config.Port = listener.Addr().(*net.TCPAddr).Port
	links := newLinks(cmd.OutOrStdout(), o.open)
	defer links.close()
	config.Link = links.issued
	page, err := console.New(config)
	if err != nil {
		return err
	}
	return console.Serve(cmd.Context(), listener, page)
}

// config returns what the console shows of this command.
func (o *consoleOptions) config(cmd *cobra.Command, source *consoleSource) console.Config {
	c := console.Config{
		Cluster: source, Sidecars: source, Sessions: source, Context: o.access.contextName(), Namespace: source.namespace, User: source.user, AnyUser: o.anyUser,
		Log: slog.New(newTextHandler(logOutput{w: cmd.ErrOrStderr(), text: true}, slog.LevelInfo)),
	}
	if source.trail != nil {
		c.Trail = source.trail
	}
	return c
}

// source returns what the pages show.
func (o *consoleOptions) source(ctx context.Context, warnings io.Writer) (*consoleSource, error) {
	namespace, config, err := o.access.scope(o.all, warnings)
	if err != nil {
		return nil, err
	}
	c, err := reader(config)
	if err != nil {
		return nil, err
	}
	clients, err := kubernetes.NewForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("connecting to the API server: %w", err)
	}
	pods, err := newPodReader(config, clients)
	if err != nil {
		return nil, err
	}
	trail, err := o.trail()
	if err != nil {
		return nil, err
	}
	return &consoleSource{namespace: namespace, reader: c, clients: clients, pods: pods, trail: trail, user: o.access.user(ctx)}, nil
}

// trail returns the audit trail; nil if no database is given.
func (o *consoleOptions) trail() (*consoleTrail, error) {
	if o.database.url == "" && os.Getenv("PGHOST") == "" && os.Getenv("PGSERVICE") == "" {
		if o.keyFile != "" {
			return nil, errors.New("--key-file needs --database-url")
		}
		return nil, nil
	}
	if _, err := o.database.config(); err != nil {
		return nil, err
	}
	t := &consoleTrail{database: &o.database, places: make(chan struct{}, maxSearches)}
	if o.keyFile != "" {
		keys, err := readMasterKey(o.keyFile)
		if err != nil {
			return nil, err
		}
		t.keys = keys
	}
	return t, nil
}
