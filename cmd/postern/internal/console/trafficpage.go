package console

import (
	"context"
	"net/http"
	"strings"

	"github.com/posterndev/postern/cmd/postern/internal/scrape"
)

// maxUnanswered bounds the pods that are named because they did not answer.
const maxUnanswered = 5

// trafficPart is what the sidecars say.
type trafficPart struct {
	scrape.View
	// Error is the reason why there is nothing.
	Error string
	// More is the number of pods that did not answer and are not named.
	More  int
	Lists []attackers
}

// attackers is a list of accounts or addresses.
type attackers struct {
	ID, Title, Column, Empty string
	Rows                     []attacker
}

type attacker struct {
	Who   string
	Count int64
	Last  moment
}

type trafficData struct {
	frame
	Traffic trafficPart
}

func (k *Console) traffic(ctx context.Context, of Name) trafficPart {
	view, err := k.cfg.Sidecars.Traffic(ctx, of)
	if err != nil {
		return trafficPart{Error: err.Error()}
	}
	out := trafficPart{View: view}
	if n := len(view.Unanswered); n > maxUnanswered {
		out.Unanswered, out.More = view.Unanswered[:maxUnanswered], n-maxUnanswered
	}
	if view.Lists == nil {
		return out
	}
	for _, l := range []struct {
		attackers
		all []scrape.Counted
	}{
		{attackers{ID: "accounts", Title: "Accounts with failed logins", Column: "Account", Empty: "No failed logins."}, view.Accounts},
		{attackers{ID: "addresses", Title: "Addresses with failed logins", Column: "Address", Empty: "No failed logins."}, view.Addresses},
		{attackers{ID: "refused", Title: "Addresses with refused requests", Column: "Address", Empty: "No refused requests."}, view.Refused},
	} {
		for _, c := range l.all {
			l.Rows = append(l.Rows, attacker{strings.TrimSpace(c.Account + c.Address), c.Count, momentOf(c.Last, view.Time)})
		}
		out.Lists = append(out.Lists, l.attackers)
	}
	return out
}

func (k *Console) trafficPage(w http.ResponseWriter, r *http.Request) error {
	ctx, cancel := context.WithTimeout(r.Context(), readTimeout)
	defer cancel()
	return k.show(w, r, "traffic", trafficData{k.frame(r, "Traffic", "traffic"), k.traffic(ctx, Name{})})
}
