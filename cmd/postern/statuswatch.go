//go:build !nocluster

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/posterndev/postern/cmd/postern/internal/overview"
	"github.com/posterndev/postern/cmd/postern/internal/screen"
)

// redraw is the sequence that moves the cursor to the start of the screen, and clearBelow clears the rest after the new text. Clearing
// first would flicker.
const (
	redraw     = "\x1b[H"
	clearLine  = "\x1b[K"
	clearBelow = "\x1b[J"
	clearAll   = "\x1b[2J"
)

// follow prints the overview again and again, until the context ends. A failed read is printed, and tried again.
func (o *statusOptions) follow(cmd *cobra.Command, read func(context.Context) (overview.Overview, error), namespace string) error {
	ctx, out := cmd.Context(), cmd.OutOrStdout()
	terminal := isTerminal(out) && (o.output == outputText || o.output == outputWide)
	if terminal {
		fmt.Fprint(out, clearAll)
	}
	changes := &changeLog{}
	for first := true; ; first = false {
		got, err := read(ctx)
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil && first:
			return err
		case err != nil && terminal:
			fmt.Fprintf(out, "\n%s\n", screen.Escape("not read: "+err.Error()))
		case err != nil:
			fmt.Fprintln(cmd.ErrOrStderr(), screen.Escape("not read: "+err.Error()))
		default:
			if err := o.show(out, got, changes, namespace); err != nil {
				return err
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(o.interval):
		}
	}
}

// show prints one overview of several.
func (o *statusOptions) show(out io.Writer, got overview.Overview, changes *changeLog, namespace string) error {
	switch {
	case o.output == outputJSON || o.output == outputYAML:
		return changes.document(out, o, got, namespace)
	case !isTerminal(out):
		for _, line := range changes.lines(got, time.Now()) {
			if _, err := fmt.Fprintln(out, line); err != nil {
				return err
			}
		}
		return nil
	}
	style := styleOf(out, os.Getenv)
	text, err := o.format(got, style, namespace)
	if err != nil {
		return err
	}
	_, err = io.WriteString(out, frame(text, style, o.interval, time.Now()))
	return err
}

// frame returns the text that replaces the screen's content.
func frame(text string, style screen.Style, interval time.Duration, now time.Time) string {
	head := fmt.Sprintf("every %s, %s (Ctrl-C ends)\n", interval, now.Format(time.TimeOnly))
	lines := strings.Split(style.Paint(screen.Dim, strings.TrimSuffix(head, "\n"))+"\n"+text, "\n")
	if room := style.Height - 1; style.Height > 0 && len(lines) > room {
		lines = append(lines[:max(1, room-1)], "…")
	}
	return redraw + strings.Join(lines, clearLine+"\n") + clearLine + clearBelow
}

// changeLog remembers what was printed, so that only changes are printed.
type changeLog struct {
	// last has the line of each policy.
	last map[string]string
	// encoded is the last document.
	encoded []byte
}

// lines returns a line for each policy that changed since the last call, or was deleted.
func (c *changeLog) lines(o overview.Overview, now time.Time) []string {
	stamp := now.UTC().Format(time.RFC3339)
	next := map[string]string{}
	var out []string
	for i := range o.Policies {
		p := &o.Policies[i]
		name := fullName(p.Namespace, p.Name)
		text := fmt.Sprintf("%s %d/%d", p.State, p.Current, p.Matched)
		if p.Reason != "" && p.Reason != string(p.State) {
			text += " " + p.Reason
		}
		for _, problem := range p.Problems {
			if problem.Severity == overview.Error {
				text += ": " + screen.Cut(problem.What, 300)
				break
			}
		}
		next[name] = text
		if c.last[name] != text {
			out = append(out, screen.Escape(fmt.Sprintf("%s %s %s", stamp, name, text)))
		}
	}
	for _, name := range sortedKeys(c.last) {
		if _, ok := next[name]; !ok {
			out = append(out, screen.Escape(fmt.Sprintf("%s %s deleted", stamp, name)))
		}
	}
	if c.last == nil && len(next) == 0 {
		out = append(out, stamp+" there is no SecurityPolicy: nothing is enforced")
	}
	c.last = next
	return out
}

// document prints the overview as a JSON or YAML document, if it changed. Times of reports alone are no change.
func (c *changeLog) document(out io.Writer, o *statusOptions, got overview.Overview, namespace string) error {
	encoded, err := json.Marshal(got.WithoutReportTimes())
	if err != nil || bytes.Equal(encoded, c.encoded) {
		return err
	}
	text, err := o.format(got, screen.Style{}, namespace)
	if err != nil {
		return err
	}
	if c.encoded != nil && o.output == outputYAML {
		text = "---\n" + text
	}
	c.encoded = encoded
	_, err = io.WriteString(out, text)
	return err
}
