package console

import (
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/posterndev/postern/api/compiled"
	"github.com/posterndev/postern/api/v1alpha1"
	"github.com/posterndev/postern/cmd/postern/internal/overview"
	"github.com/posterndev/postern/cmd/postern/internal/scrape"
	"github.com/posterndev/postern/controllers/deliver"
	"github.com/posterndev/postern/controllers/render"
	"github.com/posterndev/postern/controllers/status"
	"github.com/posterndev/postern/sidecar/audit/record"
	"github.com/posterndev/postern/sidecar/httpkit/event"
)

var now = time.Date(2026, 11, 29, 9, 0, 0, 0, time.UTC)

const (
	testPort     = 41234
	testHost     = "127.0.0.1:41234"
	testDocument = "sha256:0123456789abcdef"
)

// fakeCluster is what a console reads. Its texts are changed by tests.
type fakeCluster struct {
	mu   sync.Mutex
	in   overview.Input
	view scrape.View
	// totals are the rows of the policies, and those of view are of pods.
	totals  []scrape.Row
	right   Right
	found   []Session
	records []Found
	err     error
	endErr  error
	// ended are the calls of End, and searched those of Search. reads counts the calls of Observe.
	ended    []string
	searched []Search
	reads    int
	// wait blocks Observe until it is closed; nil for never.
	wait chan struct{}
}

func (f *fakeCluster) Observe(ctx context.Context) (overview.Input, error) {
	f.mu.Lock()
	f.reads++
	in, err, wait := f.in, f.err, f.wait
	f.mu.Unlock()
	if wait != nil {
		select {
		case <-wait:
		case <-ctx.Done():
			return overview.Input{}, ctx.Err()
		}
	}
	return in, err
}

func (f *fakeCluster) Traffic(_ context.Context, of Name) (scrape.View, error) {
	v := f.view
	if of.Name == "" {
		v.Rows = f.totals
	} else {
		v.Unanswered = nil
	}
	return v, nil
}

func (f *fakeCluster) Right(context.Context, string) Right { return f.right }

func (f *fakeCluster) List(context.Context, Subject) ([]Session, error) { return f.found, nil }

func (f *fakeCluster) End(_ context.Context, of Subject, id string) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.ended = append(f.ended, of.Policy.Namespace+"/"+of.Policy.Name+" "+of.Subject+" "+of.Issuer+" "+id)
	if f.endErr != nil {
		return 0, f.endErr
	}
	if id == "" {
		n := len(f.found)
		f.found = nil
		return n, nil
	}
	f.found = f.found[:1]
	return 1, nil
}

func (f *fakeCluster) Search(_ context.Context, s Search) ([]Found, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.searched = append(f.searched, s)
	if f.err != nil {
		return nil, f.err
	}
	return f.records, nil
}

// newFakeCluster has the policies accounts, which is enforced, basket, which has a pod without a sidecar, and search, which is in shadow mode.
func newFakeCluster(t *testing.T) *fakeCluster {
	t.Helper()
	f := &fakeCluster{right: Right{Allowed: true}}
	f.in = overview.Input{
		Namespaces:   []overview.Namespace{{Name: "shop", Labels: map[string]string{v1alpha1.InjectionLabel: "enabled"}, Known: true}},
		Classes:      []v1alpha1.SidecarClass{{ObjectMeta: metav1.ObjectMeta{Name: "default", Annotations: map[string]string{v1alpha1.DefaultClassAnnotation: "true"}}}},
		Policies:     []v1alpha1.SecurityPolicy{fakePolicy("accounts", ""), fakePolicy("basket", ""), fakePolicy("search", v1alpha1.ModeShadow)},
		Pods:         []corev1.Pod{fakePod(t, "accounts-7d8f9c-abcde", "accounts"), fakePod(t, "accounts-7d8f9c-fghij", "accounts"), fakePod(t, "basket-5c6d7e-klmno", ""), fakePod(t, "search-1a2b3c-pqrst", "search"), fakePod(t, "legacy-9f8e7d-uvwxy", "")},
		ClassesKnown: true, PodsKnown: true, WorkloadsKnown: true, Now: now,
		Unread: []overview.Unread{{Right: "list sidecarclasses.postern.dev", Error: "forbidden", Consequence: "SidecarClasses and the images that they name are not looked at"}},
	}
	for _, name := range []string{"accounts", "basket", "search", "legacy"} {
		f.in.Workloads = append(f.in.Workloads, overview.Workload{
			Namespace: "shop", Workload: status.Workload{Kind: status.Deployment, Name: name}, Labels: map[string]string{"app": name}, Replicas: 1,
		})
	}
	f.view = scrape.View{Time: now, Seconds: 5, Rows: []scrape.Row{
		fakeRow("accounts", "accounts-7d8f9c-abcde", 42.4, 18.2), fakeRow("accounts", "accounts-7d8f9c-fghij", 39.1, 17.9),
	}, Lists: &scrape.Lists{
		Accounts:  []scrape.Counted{{Account: "ada@example.com", Count: 212, Last: now.Add(-2 * time.Second)}, {Account: "bob@example.com", Count: 3, Last: now.Add(-9 * time.Minute)}},
		Addresses: []scrape.Counted{{Address: "198.51.100.23", Count: 209, Last: now.Add(-2 * time.Second)}, {Address: "2001:db8:85a3::8a2e:370:7334", Count: 4, Last: now.Add(-11 * time.Minute)}},
	}, Unanswered: []string{"shop/search-1a2b3c-pqrst: connection refused"}}
	unknown := scrape.Row{Namespace: "shop", Policy: "search", Pods: 1, Error: "connection refused", Figures: scrape.Figures{Requests: -1, ServerErrors: -1, Refused: -1, Shadow: -1, FailedLogins: -1, Logins: -1}}
	total := fakeRow("accounts", "", 81.5, 36.1)
	total.Pods, total.Answered = 2, 2
	f.totals = []scrape.Row{total, unknown}
	f.found = []Session{
		{"7CBn8fh45_zgZ4y6ErSZ0w", "Firefox 133", "Linux", "192.0.2.7", now.Add(-50 * time.Hour), now.Add(-time.Minute), now.Add(22 * time.Hour)},
		{"k3V9xQ2LbS8mN1cT5rYw7A", "Mobile Safari 18", "iOS", "203.0.113.90", now.Add(-3 * time.Hour), now.Add(-2 * time.Hour), now.Add(21 * time.Hour)},
	}
	f.records = []Found{
		fakeRecord(1, func(r *record.Record) {
			r.Action, r.Outcome, r.Subject, r.PerformedBy = "UPDATE", event.Success, "user-42", "support-7"
			r.Category, r.Resource = "Lifecycle", &record.Resource{Kind: "user", ID: "42"}
			r.Changes = event.Changes{"role": {Before: json.RawMessage(`"member"`), After: json.RawMessage(`"admin"`)}, "email": {Redacted: true}}
		}),
		fakeRecord(2, func(r *record.Record) {
			r.Action, r.Outcome, r.Account, r.Reason, r.Count, r.Rule = "login_failed", event.Refused, "ada@example.com", "locked", 17, "loginprotection/accounts"
		}),
	}
	f.records[1].Altered = "ip_address"
	return f
}

func fakePolicy(name string, mode v1alpha1.Mode) v1alpha1.SecurityPolicy {
	p := v1alpha1.SecurityPolicy{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: name, Generation: 2}}
	p.Spec.Selector.MatchLabels = map[string]string{"app": name}
	p.Spec.Mode, p.Spec.RateLimits = mode, make([]v1alpha1.RateLimit, 2)
	p.Spec.JWT = &v1alpha1.JWT{Providers: make([]v1alpha1.JWTProvider, 1)}
	p.Status.ObservedGeneration, p.Status.Document, p.Status.Revision = 2, testDocument, 7
	for _, kind := range []string{v1alpha1.ConditionAccepted, v1alpha1.ConditionProgrammed, v1alpha1.ConditionEnforced} {
		p.Status.Conditions = append(p.Status.Conditions, metav1.Condition{Type: kind, Status: metav1.ConditionTrue, Reason: kind, LastTransitionTime: metav1.NewTime(now.Add(-5 * time.Hour))})
	}
	if name == "basket" {
		e := &p.Status.Conditions[2]
		e.Status, e.Reason, e.Message = metav1.ConditionFalse, "PodsWithoutSidecar", "1 of 1 pods have no sidecar: basket-5c6d7e-klmno"
	}
	return p
}

func fakePod(t *testing.T, name, policy string) corev1.Pod {
	t.Helper()
	app, _, _ := strings.Cut(name, "-")
	controller := true
	pod := corev1.Pod{ObjectMeta: metav1.ObjectMeta{
		Namespace: "shop", Name: name, Labels: map[string]string{"app": app, "pod-template-hash": "7d8f9c"},
		OwnerReferences: []metav1.OwnerReference{{APIVersion: "apps/v1", Kind: "ReplicaSet", Name: app + "-7d8f9c", Controller: &controller}},
	}}
	if policy == "" {
		return pod
	}
	pod.Spec.InitContainers = []corev1.Container{{Name: render.SidecarName, Image: "postern/sidecar:v0.1.0", Env: []corev1.EnvVar{{Name: compiled.EnvPolicy, Value: policy}}}}
	message, err := json.Marshal(compiled.Report{Hash: testDocument, SchemaVersion: 1, Version: "v0.1.0"})
	if err != nil {
		t.Fatal(err)
	}
	pod.Status.Conditions = []corev1.PodCondition{{
		Type: deliver.ConditionSidecar, Status: corev1.ConditionTrue, Message: string(message),
		LastProbeTime: metav1.NewTime(now.Add(-time.Minute)), LastTransitionTime: metav1.NewTime(now.Add(-3 * time.Hour)),
	}}
	return pod
}

func fakeRow(policy, pod string, requests, refused float64) scrape.Row {
	return scrape.Row{
		Namespace: "shop", Policy: policy, Pod: pod, Pods: 1, Answered: 1, Measured: 1,
		Figures: scrape.Figures{Requests: requests, Refused: refused, FailedLogins: refused / 2, Logins: 0.4, InFlight: 3},
	}
}

func fakeRecord(seq uint64, change func(*record.Record)) Found {
	r := &record.Record{
		Version: 1, ID: uuid.MustParse("01936f3e-8a00-7000-8000-00000000000" + string(rune('0'+seq))), Writer: uuid.MustParse("01936f3e-0000-7000-8000-000000000001"), Seq: seq,
		Time: record.At(now.Add(time.Duration(seq)*time.Minute - time.Hour)), Category: "Authentication", IPAddress: "198.51.100.23", UserAgent: "Mozilla/5.0", RequestID: "req-1",
		Policy: "shop/accounts", Pod: "accounts-7d8f9c-abcde",
	}
	change(r)
	return Found{Record: r}
}

// browser is a browser that is signed in, unless its cookie is removed.
type browser struct {
	t       *testing.T
	console *Console
	links   *[]string
	cookie  *http.Cookie
}

func newConsole(t *testing.T, f *fakeCluster, change func(*Config)) *browser {
	t.Helper()
	b := &browser{t: t, links: new([]string)}
	c := Config{
		Cluster: f, Sidecars: f, Sessions: f, Trail: f, Context: "prod-eu", User: "ada@example.com", Namespace: "shop", Port: testPort, Log: slog.New(slog.DiscardHandler),
		Link: func(link string) { *b.links = append(*b.links, link) }, Now: func() time.Time { return now },
	}
	if change != nil {
		change(&c)
	}
	var err error
	if b.console, err = New(c); err != nil {
		t.Fatal(err)
	}
	return b
}

// signIn opens the newest link.
func (b *browser) signIn() *browser {
	b.t.Helper()
	response := b.get((*b.links)[len(*b.links)-1], nil)
	if response.StatusCode != http.StatusSeeOther || len(response.Cookies()) != 1 {
		b.t.Fatalf("signing in: %d, cookies %v", response.StatusCode, response.Cookies())
	}
	b.cookie = response.Cookies()[0]
	return b
}

func (b *browser) do(method, target, body string, header map[string]string) *http.Response {
	b.t.Helper()
	u, err := url.Parse(target)
	if err != nil {
		b.t.Fatal(err)
	}
	r := httptest.NewRequestWithContext(b.t.Context(), method, u.RequestURI(), strings.NewReader(body))
	r.Host = testHost
	if body != "" {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	if b.cookie != nil {
		r.AddCookie(b.cookie)
	}
	for name, value := range header {
		if name == "Host" {
			r.Host = value
			continue
		}
		r.Header.Set(name, value)
	}
	w := httptest.NewRecorder()
	b.console.ServeHTTP(w, r)
	return w.Result()
}

func (b *browser) get(target string, header map[string]string) *http.Response {
	b.t.Helper()
	return b.do(http.MethodGet, target, "", header)
}

// page returns the HTML of a page that must be found.
func (b *browser) page(target string) string {
	b.t.Helper()
	response := b.get(target, nil)
	text := bodyOf(b.t, response)
	if response.StatusCode != http.StatusOK {
		b.t.Fatalf("%s: %d\n%s", target, response.StatusCode, text)
	}
	return text
}

func bodyOf(t *testing.T, r *http.Response) string {
	t.Helper()
	b, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// csrf returns the token in the forms of the browser.
func (b *browser) csrf() string {
	b.t.Helper()
	_, rest, ok := strings.Cut(b.page("/policies/shop/accounts?subject=user-42"), `name="csrf" value="`)
	token, _, _ := strings.Cut(rest, `"`)
	if !ok || len(token) != 43 {
		b.t.Fatalf("no token: %q", token)
	}
	return token
}
