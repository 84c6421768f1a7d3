package console

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"reflect"
	"slices"
	"strings"
	"testing"
	"unicode"

	"golang.org/x/net/html"

	"github.com/posterndev/postern/api/v1alpha1"
	"github.com/posterndev/postern/cmd/postern/internal/overview"
	"github.com/posterndev/postern/sidecar/httpkit/event"
)

// hostile is a text that an attacker chooses, for example as a user agent: it breaks out of elements and attributes, hides text, and
// turns its direction.
const hostile = "</bdi></td><script>alert(1)</script>\"' onmouseover='alert(1)'><img src=x onerror=alert(1)>{{.CSRF}}javascript:alert(1)\u202e\u2066\u200b\x1b[31m\x00\u0085\ufeff\r\nx"

// spoil makes all texts in a value hostile.
func spoil(v reflect.Value) {
	switch v.Kind() {
	case reflect.String:
		if v.CanSet() {
			v.SetString(hostile)
		}
	case reflect.Pointer, reflect.Interface:
		if !v.IsNil() {
			spoil(v.Elem())
		}
	case reflect.Struct:
		for i := range v.NumField() {
			spoil(v.Field(i))
		}
	case reflect.Slice, reflect.Array:
		for i := range v.Len() {
			spoil(v.Index(i))
		}
	}
}

func hostileCluster(t *testing.T) *fakeCluster {
	f := newFakeCluster(t)
	for _, p := range []any{&f.view, &f.totals, &f.found, &f.records, &f.right, &f.in.Unread} {
		spoil(reflect.ValueOf(p))
	}
	for i := range f.records {
		f.records[i].Changes = event.Changes{hostile: {After: json.RawMessage(`"` + strings.Repeat(`<script>`, 200) + `"`)}}
	}
	for i := range f.in.Policies {
		p := &f.in.Policies[i]
		spoil(reflect.ValueOf(&p.Status.Conditions))
		p.Status.Conditions = append(p.Status.Conditions, fakePolicy("basket", "").Status.Conditions...)
		for j := range p.Status.Conditions {
			p.Status.Conditions[j].Message = hostile
		}
		p.Spec.Selector.MatchLabels["app"] = hostile
		p.Status.Pods = &v1alpha1.PodCounts{Offenders: []v1alpha1.PodOffence{{Name: hostile, Reason: hostile, Message: hostile}}}
		p.Status.Document = hostile
	}
	for i := range f.in.Pods {
		pod := &f.in.Pods[i]
		pod.Name, pod.Labels["app"] = hostile, hostile
		pod.Status.Conditions = nil
		if len(pod.Spec.InitContainers) > 0 {
			pod.Spec.InitContainers[0].Image = hostile
		}
	}
	return f
}

// TestHostileTexts: no text becomes markup, and every character that would not be seen is shown.
func TestHostileTexts(t *testing.T) {
	query := url.QueryEscape(hostile)
	for name, target := range map[string]string{
		"overview": "/", "policy": "/policies/shop/accounts?subject=" + query + "&issuer=" + query, "traffic": "/traffic", "audit": "/audit?subject=" + query + "&since=" + query + "&outcome=" + query,
		"missing page": "/" + url.PathEscape(hostile), "missing policy": "/policies/" + url.PathEscape(hostile) + "/" + url.PathEscape(hostile), "notice": "/?notice=" + query,
	} {
		t.Run(name, func(t *testing.T) {
			b := newConsole(t, hostileCluster(t), func(c *Config) { c.Context, c.User, c.Namespace = hostile, hostile, hostile }).signIn()
			text := bodyOf(t, b.get(target, nil))
			if !strings.Contains(text, "onerror") || !strings.Contains(text, `\u202e`) || !strings.Contains(text, `\x1b`) {
				t.Errorf("the hostile text is not shown:\n%s", text)
			}
			harmless(t, text)
		})
	}
	t.Run("errors", func(t *testing.T) {
		f := newFakeCluster(t)
		f.err = errors.New(hostile)
		b := newConsole(t, f, nil).signIn()
		for _, target := range []string{"/", "/audit"} {
			text := bodyOf(t, b.get(target, nil))
			if !strings.Contains(text, `\u202e`) {
				t.Errorf("%s does not show the error:\n%s", target, text)
			}
			harmless(t, text)
		}
	})
	t.Run("a result", func(t *testing.T) {
		f := newFakeCluster(t)
		b := newConsole(t, f, nil).signIn()
		form := url.Values{"csrf": {b.csrf()}, "subject": {hostile}, "issuer": {hostile}, "session": {hostile}}
		response := b.do(http.MethodPost, "/policies/shop/accounts/end", form.Encode(), map[string]string{"Sec-Fetch-Site": "same-origin"})
		to := response.Header.Get("Location")
		if response.StatusCode != http.StatusSeeOther || !strings.HasPrefix(to, "/policies/shop/accounts?") || strings.ContainsAny(to, "\r\n<") {
			t.Fatalf("status %d, to %q", response.StatusCode, to)
		}
		text := b.page(to)
		if !strings.Contains(text, "1 session of") {
			t.Errorf("no result:\n%s", text)
		}
		harmless(t, text)
	})
}

// harmless checks that a page has no markup that its templates do not have.
func harmless(t *testing.T, text string) {
	t.Helper()
	root, err := html.Parse(strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	for n := range root.Descendants() {
		if n.Type == html.TextNode {
			visible(t, "text", n.Data)
			continue
		}
		if n.Type == html.CommentNode {
			t.Errorf("comment %q", n.Data)
		}
		attributes := map[string]string{}
		for _, a := range n.Attr {
			attributes[a.Key] = a.Val
			if strings.HasPrefix(a.Key, "on") || a.Key == "style" {
				t.Errorf("attribute %s=%q", a.Key, a.Val)
			}
			if (a.Key == "href" || a.Key == "action" || a.Key == "src") && a.Val != "" && a.Val != "#main" && (!strings.HasPrefix(a.Val, "/") || strings.HasPrefix(a.Val, "//")) {
				t.Errorf("link %q", a.Val)
			}
			if a.Key != "value" { // a form sends what was given
				visible(t, a.Key, a.Val)
			}
		}
		if n.Data == "script" && attributes["src"] != "/static/console.js" || n.Data == "img" && attributes["src"] != "/static/icon.svg" ||
			slices.Contains([]string{"iframe", "object", "embed", "style", "base", "svg"}, n.Data) {
			t.Errorf("element %s %v", n.Data, attributes)
		}
	}
}

func visible(t *testing.T, where, s string) {
	t.Helper()
	if i := strings.IndexFunc(s, func(r rune) bool { return !unicode.IsPrint(r) && r != '\n' }); i >= 0 {
		t.Errorf("%s has the character %q", where, s[i:min(len(s), i+4)])
	}
}

func TestSegments(t *testing.T) {
	for in, want := range map[string][]segment{
		"":           nil,
		"ada":        {{"ada", false}},
		"注文":         {{"注文", false}},
		"a\u202eb":   {{"a", false}, {`\u202e`, true}, {"b", false}},
		`a\u202eb`:   {{`a\u202eb`, false}},
		"\x00\x1bx":  {{`\x00\x1b`, true}, {"x", false}},
		"\xff":       {{"�", false}},
		"a\nb":       {{"a", false}, {`\n`, true}, {"b", false}},
		"a\u00a0b":   {{"a", false}, {`\u00a0`, true}, {"b", false}},
		"\U000e0041": {{`\U000e0041`, true}},
	} {
		if got := segments(in); !slices.Equal(got, want) {
			t.Errorf("segments(%q) = %v, want %v", in, got, want)
		}
	}
	if got := segments(strings.Repeat("ä", 5000)); len(got) != 1 || len([]rune(got[0].Text)) != maxText+1 {
		t.Errorf("a long text has %d characters", len([]rune(got[0].Text)))
	}
}

func FuzzSegments(f *testing.F) {
	f.Add(hostile)
	f.Fuzz(func(t *testing.T, s string) {
		for _, part := range segments(s) {
			visible(t, "segment", strings.ReplaceAll(part.Text, "\n", "\x00"))
		}
	})
}

// TestHeadline: each state of a cluster in one sentence.
func TestHeadline(t *testing.T) {
	for want, states := range map[string][]overview.State{
		"There is no SecurityPolicy here.":                      {},
		"1 of 2 policies is not enforced.":                      {overview.NotEnforced, overview.Enforced},
		"2 of 2 policies are not enforced.":                     {overview.NotEnforced, overview.Unknown},
		"1 policy is in shadow mode, which refuses nothing.":    {overview.Shadow, overview.Enforced},
		"2 policies are in shadow mode, which refuses nothing.": {overview.Shadow, overview.Shadow, overview.Enforced},
		"No policy has a running pod.":                          {overview.NoPods},
		"All policies with running pods are enforced.":          {overview.NoPods, overview.Enforced},
	} {
		var o overview.Overview
		for _, s := range states {
			o.Policies = append(o.Policies, overview.Policy{State: s})
		}
		if got, _ := headline(o); got != want {
			t.Errorf("%v: %q, want %q", states, got, want)
		}
	}
}
