package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/posterndev/postern/cmd/postern/internal/screen"
)

// sessionsOptions are the flags of postern sessions.
type sessionsOptions struct {
	subject, issuer, sessionID string
	sidecarFlags
	output string
}

func newSessionsCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "sessions",
		Short: "List and end the sessions of users",
		Long: "Calls the loopback API of a pod that runs the policy, through a port-forward. It needs permission to list pods and to\n" +
			"forward ports to them. With --server it calls the API at a URL instead, for example that of postern run.",
	}
	cmd.AddCommand(newListSessionsCommand(), newEndSessionsCommand())
	return cmd
}

func newListSessionsCommand() *cobra.Command {
	o := &sessionsOptions{}
	cmd := &cobra.Command{
		Use: "list --subject user-42 -n shop --policy accounts", Short: "List a subject's sessions, the last seen first", Args: onlyFlags,
		RunE: func(cmd *cobra.Command, _ []string) error { return o.list(cmd) },
	}
	o.addFlags(cmd)
	cmd.Flags().StringVarP(&o.output, "output", "o", "", "json: print the sidecar's response")
	return cmd
}

func newEndSessionsCommand() *cobra.Command {
	o := &sessionsOptions{}
	cmd := &cobra.Command{
		Use: "end --subject user-42 -n shop --policy accounts", Short: "End a subject's sessions, or one session, with its tokens", Args: onlyFlags,
		RunE: func(cmd *cobra.Command, _ []string) error { return o.end(cmd) },
	}
	o.addFlags(cmd)
	cmd.Flags().StringVar(&o.sessionID, "session-id", "", "end only this session")
	return cmd
}

func (o *sessionsOptions) addFlags(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVar(&o.subject, "subject", "", "sub of the sessions")
	f.StringVar(&o.issuer, "issuer", "", "iss of the provider of external sessions (default: sessions of the policy's own tokens)")
	o.sidecarFlags.addFlags(cmd)
}

func sessionsPath(subject, issuer string) string {
	path := "/v1/subjects/" + url.PathEscape(subject) + "/sessions"
	if issuer != "" {
		path += "?" + url.Values{"issuer": {issuer}}.Encode()
	}
	return path
}

// endSessions ends all sessions of a subject and returns their number.
func (a *loopbackAPI) endSessions(ctx context.Context, subject, issuer string) (int, error) {
	var response struct {
		Ended *int `json:"ended"`
	}
	if err := a.call(ctx, http.MethodDelete, sessionsPath(subject, issuer), nil, &response); err != nil {
		return 0, err
	}
	if response.Ended == nil {
		return 0, errors.New("the server is not a sidecar's loopback API")
	}
	return *response.Ended, nil
}

// endSession ends one session.
func (a *loopbackAPI) endSession(ctx context.Context, id string) error {
	return a.call(ctx, http.MethodDelete, "/v1/sessions/"+url.PathEscape(id), nil, nil)
}

// sessionList is the loopback API's response.
type sessionList struct {
	Sessions []struct {
		ID        string    `json:"id"`
		Browser   string    `json:"browser"`
		OS        string    `json:"os"`
		Address   string    `json:"address"`
		FirstSeen time.Time `json:"first_seen"`
		LastSeen  time.Time `json:"last_seen"`
		Expires   time.Time `json:"expires"`
	} `json:"sessions"`
}

func (o *sessionsOptions) list(cmd *cobra.Command) error {
	if o.subject == "" {
		return errors.New("--subject is required")
	}
	if o.output != "" && o.output != "json" {
		return fmt.Errorf("--output %q is not json", o.output)
	}
	var response json.RawMessage
	err := o.at(cmd, func(ctx context.Context, api *loopbackAPI) error {
		return api.call(ctx, http.MethodGet, sessionsPath(o.subject, o.issuer), nil, &response)
	})
	if err != nil {
		return err
	}
	if o.output == "json" {
		return writeJSON(cmd.OutOrStdout(), response, "")
	}
	var list sessionList
	if err := json.Unmarshal(response, &list); err != nil {
		return fmt.Errorf("reading the sidecar's response: %w", err)
	}
	return list.print(cmd.OutOrStdout())
}

func (l sessionList) print(w io.Writer) error {
	if len(l.Sessions) == 0 {
		_, err := fmt.Fprintln(w, "no sessions")
		return err
	}
	table := tabwriter.NewWriter(w, 0, 0, 3, ' ', 0)
	fmt.Fprintln(table, "SESSION\tDEVICE\tADDRESS\tFIRST SEEN\tLAST SEEN\tEXPIRES")
	for _, s := range l.Sessions {
		device := printable(strings.Trim(s.Browser+", "+s.OS, ", "))
		at := func(t time.Time) string { return t.Local().Format(time.DateTime) }
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\t%s\n", printable(s.ID), device, printable(s.Address), at(s.FirstSeen), at(s.LastSeen), at(s.Expires))
	}
	return table.Flush()
}

// printable returns a text of a client in a form that a terminal does not obey, and a dash for an empty text.
func printable(s string) string { return cmp.Or(screen.Escape(s), "-") }

func (o *sessionsOptions) end(cmd *cobra.Command) error {
	if (o.subject == "") == (o.sessionID == "") {
		return errors.New("set exactly one of --subject and --session-id")
	}
	if o.sessionID != "" && o.issuer != "" {
		return errors.New("--issuer needs --subject: a session's id is enough to find the session")
	}
	ended := 1
	err := o.at(cmd, func(ctx context.Context, api *loopbackAPI) (err error) {
		if o.sessionID != "" {
			return api.endSession(ctx, o.sessionID)
		}
		ended, err = api.endSessions(ctx, o.subject, o.issuer)
		return err
	})
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(cmd.OutOrStdout(), "ended: %d\n", ended)
	return err
}
