package console

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/posterndev/postern/sidecar/httpkit/event"
)

const (
	defaultSince = "24h"
	defaultLimit = 100
)

// limits are the numbers of records that a search may return.
var limits = []int{50, 100, 500}

type auditData struct {
	frame
	Search   Search
	Limits   []int
	Outcomes []string
	Records  []recordRow
	// Error says why there are no records.
	Error string
}

type recordRow struct {
	Found
	When  moment
	Badge badge
	// Policy is the name in Found.Policy; zero if that is not a name.
	Where Name
	// Who is the subject, or else the account that a client gave.
	Who     string
	Details []detail
}

type detail struct{ Name, Value string }

func (k *Console) auditPage(w http.ResponseWriter, r *http.Request) error {
	d := auditData{frame: k.frame(r, "Audit trail", "audit"), Limits: limits, Outcomes: []string{string(event.Success), string(event.Refused), string(event.Failed), string(event.Shadow)}}
	d.Search = searchOf(r)
	if k.cfg.Trail == nil {
		return k.show(w, r, "audit", d)
	}
	ctx, cancel := context.WithTimeout(r.Context(), readTimeout)
	defer cancel()
	found, err := k.cfg.Trail.Search(ctx, d.Search)
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		d.Error = "The database did not answer in " + readTimeout.String() + ". Search a shorter time."
	case err != nil:
		d.Error = err.Error()
	}
	for _, f := range slices.Backward(found) { // the latest first
		d.Records = append(d.Records, k.recordRow(f))
	}
	return k.show(w, r, "audit", d)
}

// searchOf reads the query of the page.
func searchOf(r *http.Request) Search {
	q := r.URL.Query()
	text := func(name string) string { return strings.TrimSpace(q.Get(name)) }
	s := Search{Subject: text("subject"), Action: text("action"), Policy: text("policy"), Outcome: text("outcome"), Since: text("since"), Until: text("until"), Limit: defaultLimit}
	if !q.Has("since") {
		s.Since = defaultSince
	}
	if n, err := strconv.Atoi(q.Get("limit")); err == nil && slices.Contains(limits, n) {
		s.Limit = n
	}
	return s
}

func (k *Console) recordRow(f Found) recordRow {
	row := recordRow{Found: f, When: momentOf(f.Time.Time, k.cfg.Now()), Badge: outcomeBadge(f.Outcome), Who: cmp.Or(f.Subject, f.Account)}
	if namespace, name, ok := strings.Cut(f.Policy, "/"); ok {
		row.Where = Name{namespace, name}
	}
	add := func(name, value string) {
		if value != "" {
			row.Details = append(row.Details, detail{name, value})
		}
	}
	add("performed by", f.PerformedBy)
	add("account", f.Account)
	if f.Resource != nil {
		add("resource", f.Resource.Kind+"/"+f.Resource.ID)
	}
	if len(f.Changes) > 0 {
		changes, err := json.Marshal(f.Changes)
		if err == nil {
			add("changes", string(changes))
		}
	}
	add("user agent", f.UserAgent)
	add("rule", f.Rule)
	add("provider", f.Provider)
	add("issuer", f.Issuer)
	add("session", f.Session)
	add("token", f.TokenID)
	add("key", f.KeyID)
	add("request", f.RequestID)
	add("trace", f.TraceID)
	add("pod", f.Pod)
	add("pseudonyms", strings.Join(f.Pseudonyms, ", "))
	if f.Encrypted != nil {
		add("encrypted", plural(len(f.Encrypted.Fields), "field", "fields"))
	}
	add("id", f.ID.String())
	add("writer", fmt.Sprintf("%s, record %d", f.Writer, f.Seq))
	return row
}

func outcomeBadge(o event.Outcome) badge {
	switch o {
	case event.Success:
		return badge{"good", "✓", "success"}
	case event.Shadow:
		return badge{"warn", "◐", "shadow"}
	case event.Refused, event.Failed:
		return badge{"bad", "✕", string(o)}
	}
	return badge{"warn", "?", "unknown"}
}
