package console

import (
	"context"
	"net/http"
	"net/url"
	"time"
)

// sessionsPart is the part of a policy's page about the sessions of a subject.
type sessionsPart struct {
	Right Right
	// Of has an empty subject if nobody has asked.
	Of    Subject
	Found []sessionRow
	Error string
}

type sessionRow struct {
	Session
	FirstSeen, LastSeen, Expires moment
}

// sessions reads the sessions that the query asks for.
func (k *Console) sessions(ctx context.Context, policy Name, query url.Values) sessionsPart {
	out := sessionsPart{Right: k.cfg.Sessions.Right(ctx, policy.Namespace), Of: Subject{policy, query.Get("subject"), query.Get("issuer")}}
	if !out.Right.Allowed || out.Of.Subject == "" {
		return out
	}
	found, err := k.cfg.Sessions.List(ctx, out.Of)
	if err != nil {
		out.Error = err.Error()
		return out
	}
	now := k.cfg.Now()
	for _, s := range found {
		out.Found = append(out.Found, sessionRow{s, momentOf(s.FirstSeen, now), momentOf(s.LastSeen, now), momentOf(s.Expires, now)})
	}
	return out
}

// endSessions ends one session, or all of a subject if the form has no session and the person confirmed it. It then goes back to the page.
func (k *Console) endSessions(w http.ResponseWriter, r *http.Request) error {
	p, _, _, err := k.named(r)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(r.Context(), readTimeout)
	defer cancel()
	form := r.PostForm
	of, id := Subject{Name{p.Namespace, p.Name}, form.Get("subject"), form.Get("issuer")}, form.Get("session")
	switch right := k.cfg.Sessions.Right(ctx, p.Namespace); {
	case !right.Allowed:
		return &userError{http.StatusForbidden, right.Why}
	case of.Subject == "":
		return &userError{http.StatusBadRequest, "The form names no subject."}
	case id == "" && form.Get("confirm") != "yes":
		return &userError{http.StatusBadRequest, "Nothing was ended: tick the box to end all sessions of the subject."}
	}
	result := notice{}
	began := k.cfg.Now()
	n, err := k.cfg.Sessions.End(ctx, of, id)
	if err != nil {
		result = notice{"Not ended: " + err.Error(), true}
	} else {
		result.Text = plural(n, "session", "sessions") + " of " + of.Subject + " ended."
	}
	k.cfg.Log.Info("sessions ended", "policy", p.Namespace+"/"+p.Name, "ended", n, "failed", err != nil, "duration", k.cfg.Now().Sub(began).Round(time.Millisecond))
	query := url.Values{"subject": {of.Subject}, "notice": {k.notices.add(result)}}
	if of.Issuer != "" {
		query.Set("issuer", of.Issuer)
	}
	http.Redirect(w, r, policyPath(of.Policy)+"?"+query.Encode(), http.StatusSeeOther)
	return nil
}
