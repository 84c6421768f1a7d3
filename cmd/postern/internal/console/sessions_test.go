package console

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
)

// TestEndSessions: what a form ends, and what it does not.
func TestEndSessions(t *testing.T) {
	const session = "7CBn8fh45_zgZ4y6ErSZ0w"
	for name, tt := range map[string]struct {
		path   string
		form   url.Values
		change func(*fakeCluster)
		want   int
		// wantEnded is the call of End; empty for none. wantText is on the page after it, or on the page of the error.
		wantEnded, wantText string
	}{
		"one":              {form: url.Values{"subject": {"user-42"}, "session": {session}}, want: 303, wantEnded: "shop/accounts user-42  " + session, wantText: "1 session of user-42 ended."},
		"one, by issuer":   {form: url.Values{"subject": {"user-42"}, "issuer": {"https://id"}, "session": {session}}, want: 303, wantEnded: "shop/accounts user-42 https://id " + session, wantText: `value="https://id"`},
		"all":              {form: url.Values{"subject": {"user-42"}, "confirm": {"yes"}}, want: 303, wantEnded: "shop/accounts user-42  ", wantText: "2 sessions of user-42 ended."},
		"all, unconfirmed": {form: url.Values{"subject": {"user-42"}}, want: 400, wantText: "tick the box"},
		"no subject":       {form: url.Values{"session": {session}}, want: 400, wantText: "names no subject"},
		"no right": {form: url.Values{"subject": {"user-42"}, "session": {session}}, want: 403, wantText: "you may not create",
			change: func(f *fakeCluster) { f.right = Right{Why: "you may not create pods/portforward in namespace shop"} }},
		"no policy":                     {path: "/policies/shop/none/end", form: url.Values{"subject": {"user-42"}, "session": {session}}, want: 404, wantText: "There is no SecurityPolicy none"},
		"a policy of another namespace": {path: "/policies/other/accounts/end", form: url.Values{"subject": {"user-42"}, "session": {session}}, want: 404, wantText: "in namespace other"},
		"a sidecar that does not answer": {form: url.Values{"subject": {"user-42"}, "session": {session}}, want: 303, wantEnded: "shop/accounts user-42  " + session, wantText: "Not ended: no answer",
			change: func(f *fakeCluster) { f.endErr = errors.New("no answer") }},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFakeCluster(t)
			b := newConsole(t, f, nil).signIn()
			tt.form.Set("csrf", b.csrf())
			if tt.change != nil {
				tt.change(f)
			}
			path := "/policies/shop/accounts/end"
			if tt.path != "" {
				path = tt.path
			}
			response := b.do(http.MethodPost, path, tt.form.Encode(), map[string]string{"Sec-Fetch-Site": "same-origin"})
			text := bodyOf(t, response)
			if to := response.Header.Get("Location"); to != "" {
				text = b.page(to)
				if again := b.page(to); strings.Contains(again, `class="notice`) {
					t.Error("the result is shown again after a reload")
				}
			}
			if plain := strings.NewReplacer("<bdi>", "", "</bdi>", "").Replace(text); response.StatusCode != tt.want || !strings.Contains(plain, tt.wantText) {
				t.Errorf("status %d, %q is not in\n%s", response.StatusCode, tt.wantText, text)
			}
			want := "[]"
			if tt.wantEnded != "" {
				want = "[" + tt.wantEnded + "]"
			}
			if got := fmt.Sprint(f.ended); got != want {
				t.Errorf("ended %s, want %s", got, want)
			}
		})
	}
}

// countedSessions counts the calls of List.
type countedSessions struct {
	*fakeCluster
	lists int
}

func (c *countedSessions) List(context.Context, Subject) ([]Session, error) {
	c.lists++
	return nil, errors.New("422 Unprocessable Entity: the policy has no sessions")
}

// TestListSessions: sessions are read only for a subject, with the right, and not again for the script.
func TestListSessions(t *testing.T) {
	f := newFakeCluster(t)
	s := &countedSessions{fakeCluster: f}
	b := newConsole(t, f, func(c *Config) { c.Sessions = s }).signIn()
	if text := b.page("/policies/shop/accounts?subject=user-42"); s.lists != 1 || !strings.Contains(text, "the policy has no sessions") || strings.Contains(text, "End session") {
		t.Errorf("%d reads\n%s", s.lists, text)
	}
	b.page("/policies/shop/accounts")
	if r := b.get("/policies/shop/accounts?subject=user-42", map[string]string{"Postern-Part": "live"}); r.StatusCode != http.StatusOK || strings.Contains(bodyOf(t, r), "csrf") {
		t.Errorf("status %d", r.StatusCode)
	}
	f.right = Right{Why: "you may not"}
	b.page("/policies/shop/accounts?subject=user-42")
	if s.lists != 1 {
		t.Errorf("%d reads", s.lists)
	}
}

// TestSearches: what the page asks of the trail.
func TestSearches(t *testing.T) {
	for query, want := range map[string]Search{
		"":                        {Since: "24h", Limit: 100},
		"?since=":                 {Limit: 100},
		"?limit=500&since=1h":     {Since: "1h", Limit: 500},
		"?limit=1000000&since=1h": {Since: "1h", Limit: 100},
		"?limit=-1&since=1h":      {Since: "1h", Limit: 100},
		"?subject=+ada%40example.com+&action=login&policy=shop/accounts&outcome=failed&since=2026-11-29&until=2026-11-30": {
			Subject: "ada@example.com", Action: "login", Policy: "shop/accounts", Outcome: "failed", Since: "2026-11-29", Until: "2026-11-30", Limit: 100,
		},
	} {
		f := newFakeCluster(t)
		newConsole(t, f, nil).signIn().page("/audit" + query)
		if len(f.searched) != 1 || f.searched[0] != want {
			t.Errorf("%s: %+v, want %+v", query, f.searched, want)
		}
	}
}

// TestNoticesAreBounded: results that nobody looks at do not pile up.
func TestNoticesAreBounded(t *testing.T) {
	n := &notices{}
	for range 10 * maxNotices {
		n.add(notice{Text: "x"})
	}
	if len(n.all) > maxNotices {
		t.Errorf("%d notices", len(n.all))
	}
}
