package console

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/posterndev/postern/cmd/postern/internal/overview"
)

// badge is a state as a word with a sign, so that colour is not the only carrier.
type badge struct{ Kind, Sign, Text string }

func badgeOf(s overview.State) badge {
	switch s {
	case overview.Enforced:
		return badge{"good", "✓", "enforced"}
	case overview.NotEnforced:
		return badge{"bad", "✕", "not enforced"}
	case overview.Shadow:
		return badge{"warn", "◐", "shadow"}
	case overview.NoPods:
		return badge{"plain", "○", "no pods"}
	}
	return badge{"warn", "?", "unknown"}
}

func severityBadge(s overview.Severity) badge {
	switch s {
	case overview.Error:
		return badge{"bad", "✕", "error"}
	case overview.Warning:
		return badge{"warn", "!", "warning"}
	}
	return badge{"plain", "i", "note"}
}

// problem is a problem with where it is.
type problem struct {
	Badge badge
	// Policy is empty for a problem of a namespace.
	Policy Name
	overview.Problem
}

func problemsOf(where Name, all []overview.Problem) []problem {
	var out []problem
	for _, p := range all {
		out = append(out, problem{severityBadge(p.Severity), where, p})
	}
	return out
}

type policyRow struct {
	*overview.Policy
	Badge badge
	Since *moment
}

type overviewData struct {
	frame
	// Headline is the result in one sentence. It is announced when it changes.
	Headline      string
	HeadlineBadge badge
	Policies      []policyRow
	Problems      []problem
	Unguarded     []overview.Group
	Unread        []overview.Unread
}

// observe reads the cluster, at most once in a while.
func (k *Console) observe(ctx context.Context) (overview.Input, error) {
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	return k.overview.get(ctx, k.cfg.Cluster.Observe)
}

func (k *Console) overviewPage(w http.ResponseWriter, r *http.Request) error {
	in, err := k.observe(r.Context())
	if err != nil {
		return err
	}
	got := overview.Of(in)
	d := overviewData{frame: k.frame(r, "Overview", "overview"), Unguarded: got.Unguarded, Unread: got.Unread}
	d.Headline, d.HeadlineBadge = headline(got)
	for i := range got.Policies {
		p := &got.Policies[i]
		d.Policies = append(d.Policies, policyRow{p, badgeOf(p.State), maybe(p.Since, in.Now)})
		d.Problems = append(d.Problems, problemsOf(Name{p.Namespace, p.Name}, p.Problems)...)
	}
	d.Problems = append(d.Problems, problemsOf(Name{}, got.Problems)...)
	return k.show(w, r, "overview", d)
}

func maybe(t *time.Time, now time.Time) *moment {
	if t == nil {
		return nil
	}
	m := momentOf(*t, now)
	return &m
}

// headline says in one sentence how many policies are enforced.
func headline(o overview.Overview) (string, badge) {
	n := map[overview.State]int{}
	for i := range o.Policies {
		n[o.Policies[i].State]++
	}
	all := len(o.Policies)
	switch bad := n[overview.NotEnforced] + n[overview.Unknown]; {
	case all == 0:
		return "There is no SecurityPolicy here.", badge{"warn", "!", "no policy"}
	case bad == 1:
		return "1 of " + plural(all, "policy", "policies") + " is not enforced.", badgeOf(overview.NotEnforced)
	case bad > 1:
		return fmt.Sprintf("%d of ", bad) + plural(all, "policy", "policies") + " are not enforced.", badgeOf(overview.NotEnforced)
	case n[overview.Shadow] > 0:
		return plural(n[overview.Shadow], "policy is", "policies are") + " in shadow mode, which refuses nothing.", badgeOf(overview.Shadow)
	case n[overview.NoPods] == all:
		return "No policy has a running pod.", badgeOf(overview.NoPods)
	}
	return "All policies with running pods are enforced.", badgeOf(overview.Enforced)
}
