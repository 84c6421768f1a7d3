package deliver

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	authnv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	clocktesting "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/posterndev/postern/api/compiled"
	"github.com/posterndev/postern/controllers/render"
)

// fixture is a handler with a fake API server, for which the token "right" is that of pod orders-1.
type fixture struct {
	*Handler
	client  client.Client
	clock   *clocktesting.FakePassiveClock
	reviews atomic.Int32
	review  func(*authnv1.TokenReviewStatus)
	failing atomic.Bool
	patches atomic.Int32
}

func review(status *authnv1.TokenReviewStatus) {
	*status = authnv1.TokenReviewStatus{
		Authenticated: true, Audiences: []string{compiled.OperatorAudience},
		User: authnv1.UserInfo{Username: "system:serviceaccount:shop:app", Extra: map[string]authnv1.ExtraValue{
			extraPodName: {"orders-1"}, extraPodUID: {"u1"},
		}},
	}
}

func sidecarPod(policy string) *corev1.Pod {
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "orders-1", UID: "u1"},
		Spec: corev1.PodSpec{InitContainers: []corev1.Container{
			{Name: "setup", Env: []corev1.EnvVar{{Name: compiled.EnvPolicy, Value: "other"}}},
			{Name: render.SidecarName, Env: []corev1.EnvVar{{Name: compiled.EnvPolicy, Value: policy}}},
		}},
	}
}

func newFixture(t *testing.T, pods ...client.Object) *fixture {
	t.Helper()
	f := &fixture{review: review, clock: clocktesting.NewFakePassiveClock(time.Unix(1e9, 0))}
	f.client = fake.NewClientBuilder().WithObjects(pods...).WithStatusSubresource(&corev1.Pod{}).WithInterceptorFuncs(interceptor.Funcs{
		Create: func(_ context.Context, _ client.WithWatch, o client.Object, _ ...client.CreateOption) error {
			f.reviews.Add(1)
			if f.failing.Load() {
				return errors.New("no route")
			}
			if r := o.(*authnv1.TokenReview); r.Spec.Token == "right" {
				f.review(&r.Status)
			}
			return nil
		},
		SubResourcePatch: func(ctx context.Context, c client.Client, sub string, o client.Object, p client.Patch, opts ...client.SubResourcePatchOption) error {
			f.patches.Add(1)
			if f.failing.Load() {
				return errors.New("no route")
			}
			return c.SubResource(sub).Patch(ctx, o, p, opts...)
		},
		Get: func(ctx context.Context, c client.WithWatch, k client.ObjectKey, o client.Object, opts ...client.GetOption) error {
			if f.failing.Load() {
				return errors.New("no route")
			}
			return c.Get(ctx, k, o, opts...)
		},
	}).Build()
	documents := NewDocuments(publics, slog.New(slog.DiscardHandler))
	h, err := NewHandler(Config{
		Client: f.client, Pods: f.client, LivePods: f.client, Documents: documents,
		Registerer: prometheus.NewRegistry(), Hold: 10 * time.Millisecond, MaxHeld: 100, Clock: f.clock,
	})
	if err != nil {
		t.Fatal(err)
	}
	f.Handler = h
	return f
}

func (f *fixture) ask(t *testing.T, token string, report compiled.Report) *httptest.ResponseRecorder {
	t.Helper()
	b, err := json.Marshal(report)
	if err != nil {
		t.Fatal(err)
	}
	r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, compiled.PollPath, bytes.NewReader(b))
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	w := httptest.NewRecorder()
	f.ServeHTTP(w, r)
	return w
}

func TestTokenReviewMustNameThePod(t *testing.T) {
	tests := map[string]struct {
		edit     func(*authnv1.TokenReviewStatus)
		token    string
		pod      client.Object
		wantCode int
	}{
		"right":                       {wantCode: http.StatusNoContent},
		"not authenticated":           {edit: func(s *authnv1.TokenReviewStatus) { s.Authenticated = false }, wantCode: 401},
		"another audience":            {edit: func(s *authnv1.TokenReviewStatus) { s.Audiences = []string{"api"} }, wantCode: 401},
		"no audiences":                {edit: func(s *authnv1.TokenReviewStatus) { s.Audiences = nil }, wantCode: 401},
		"a user":                      {edit: func(s *authnv1.TokenReviewStatus) { s.User.Username = "jane" }, wantCode: 401},
		"no namespace":                {edit: func(s *authnv1.TokenReviewStatus) { s.User.Username = "system:serviceaccount::app" }, wantCode: 401},
		"no pod":                      {edit: func(s *authnv1.TokenReviewStatus) { delete(s.User.Extra, extraPodName) }, wantCode: 401},
		"no UID":                      {edit: func(s *authnv1.TokenReviewStatus) { delete(s.User.Extra, extraPodUID) }, wantCode: 401},
		"two pods":                    {edit: func(s *authnv1.TokenReviewStatus) { s.User.Extra[extraPodName] = []string{"a", "b"} }, wantCode: 401},
		"an earlier pod of that name": {edit: func(s *authnv1.TokenReviewStatus) { s.User.Extra[extraPodUID] = []string{"u0"} }, wantCode: 401},
		"another namespace":           {edit: func(s *authnv1.TokenReviewStatus) { s.User.Username = "system:serviceaccount:bank:app" }, wantCode: 401},
		"too long a token":            {token: strings.Repeat("x", maxTokenSize+1), wantCode: 401},
		"no sidecar":                  {pod: &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "orders-1", UID: "u1"}}, wantCode: 403},
		"no policy":                   {pod: sidecarPod(""), wantCode: 403},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if tt.pod == nil {
				tt.pod = sidecarPod("orders")
			}
			if tt.token == "" {
				tt.token = "right"
			}
			f := newFixture(t, tt.pod)
			f.review = func(s *authnv1.TokenReviewStatus) {
				review(s)
				if tt.edit != nil {
					tt.edit(s)
				}
			}
			if w := f.ask(t, tt.token, compiled.Report{}); w.Code != tt.wantCode {
				t.Errorf("the response is %d %s, want %d", w.Code, w.Body, tt.wantCode)
			}
		})
	}
}

func TestReviewsAreCached(t *testing.T) {
	f := newFixture(t, sidecarPod("orders"))
	for _, step := range []struct {
		after       time.Duration
		token       string
		wantCode    int
		wantReviews int32
	}{
		{0, "right", 204, 1}, {trustFor / 2, "right", 204, 1}, {trustFor, "right", 204, 2},
		{0, "wrong", 401, 3}, {distrustFor / 2, "wrong", 401, 3}, {distrustFor, "wrong", 401, 4},
	} {
		f.clock.SetTime(f.clock.Now().Add(step.after))
		w := f.ask(t, step.token, compiled.Report{})
		if w.Code != step.wantCode || f.reviews.Load() != step.wantReviews {
			t.Errorf("%s after %s: %d, with %d reviews", step.token, step.after, w.Code, f.reviews.Load())
		}
	}
}

func TestAPIServerUnavailable(t *testing.T) {
	f := newFixture(t, sidecarPod("orders"))
	f.failing.Store(true)
	w := f.ask(t, "right", compiled.Report{})
	if w.Code != http.StatusServiceUnavailable || w.Header().Get("Retry-After") == "" {
		t.Errorf("the response is %d, %v", w.Code, w.Header())
	}
	if strings.Contains(w.Body.String(), "no route") {
		t.Errorf("the response contains the cause: %s", w.Body)
	}
	f.failing.Store(false)
	if w := f.ask(t, "right", compiled.Report{}); w.Code != http.StatusNoContent {
		t.Errorf("the failure was cached: %d", w.Code)
	}
}

func TestReportIsStored(t *testing.T) {
	tests := map[string]struct {
		report     compiled.Report
		wantStatus corev1.ConditionStatus
		wantReason string
	}{
		"enforcing":   {compiled.Report{Hash: "sha256:a", SchemaVersion: 1}, corev1.ConditionTrue, ReasonEnforcing},
		"no document": {compiled.Report{SchemaVersion: 1}, corev1.ConditionFalse, ReasonNoDocument},
		"refused":     {compiled.Report{Hash: "sha256:a", Refused: "sha256:b", Error: "x"}, corev1.ConditionFalse, ReasonRefused},
		"reachable":   {compiled.Report{Hash: "sha256:a", Reachable: []string{"0.0.0.0:1"}}, corev1.ConditionFalse, ReasonReachable},
		"no rules":    {compiled.Report{Hash: "sha256:a", Unredirected: true}, corev1.ConditionFalse, ReasonUnredirected},
		"a problem":   {compiled.Report{Hash: "sha256:a", Problems: []compiled.Problem{{Kind: "Vault", Reason: "Sealed"}}}, corev1.ConditionTrue, ReasonEnforcing},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			pod := sidecarPod("orders")
			pod.Status.Conditions = []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue}}
			f := newFixture(t, pod)
			for range 3 {
				if w := f.ask(t, "right", tt.report); w.Code != http.StatusNoContent {
					t.Fatalf("the response is %d %s", w.Code, w.Body)
				}
			}
			if n := f.patches.Load(); n != 1 {
				t.Errorf("the status was patched %d times", n)
			}
			now := &corev1.Pod{}
			if err := f.client.Get(t.Context(), client.ObjectKeyFromObject(pod), now); err != nil {
				t.Fatal(err)
			}
			c := sidecarCondition(now)
			if c == nil || c.Status != tt.wantStatus || c.Reason != tt.wantReason || len(now.Status.Conditions) != 2 {
				t.Fatalf("the conditions are %+v", now.Status.Conditions)
			}
			if got, ok := ReportFrom(now); !ok || got.Hash != tt.report.Hash || got.Refused != tt.report.Refused {
				t.Errorf("the report is %+v", got)
			}
		})
	}
}

// TestProblemsChange checks that each change of a sidecar's problems is stored, and that none is a transition of the condition.
func TestProblemsChange(t *testing.T) {
	pod := sidecarPod("orders")
	f := newFixture(t, pod)
	sealed := []compiled.Problem{{Kind: compiled.ProblemVault, Reason: "Sealed", Message: "unseal it"}}
	var since metav1.Time
	for i, problems := range [][]compiled.Problem{nil, sealed, sealed, append(sealed, compiled.Problem{Kind: compiled.ProblemRedis, Reason: "Timeout"}), nil} {
		f.ask(t, "right", compiled.Report{Hash: "sha256:a", Problems: problems})
		f.clock.SetTime(f.clock.Now().Add(time.Minute))
		now := &corev1.Pod{}
		if err := f.client.Get(t.Context(), client.ObjectKeyFromObject(pod), now); err != nil {
			t.Fatal(err)
		}
		if got, ok := ReportFrom(now); !ok || len(got.Problems) != len(problems) {
			t.Errorf("after %d reports the problems are %v", i+1, got.Problems)
		}
		c := sidecarCondition(now)
		if i > 0 && !c.LastTransitionTime.Equal(&since) {
			t.Errorf("after %d reports the condition changed at %s", i+1, c.LastTransitionTime)
		}
		since = c.LastTransitionTime
	}
	if n := f.patches.Load(); n != 4 {
		t.Errorf("the status was patched %d times, want 4", n)
	}
}

// TestReportIsConfirmed checks that an unchanged report is written again every few minutes, so that a sidecar that stopped polling can
// be told from one that has nothing new to say.
func TestReportIsConfirmed(t *testing.T) {
	pod := sidecarPod("orders")
	f := newFixture(t, pod)
	start := f.clock.Now()
	for range 22 { // polls of eleven minutes
		f.ask(t, "right", compiled.Report{Hash: "sha256:a"})
		f.clock.SetTime(f.clock.Now().Add(30 * time.Second))
	}
	if n := f.patches.Load(); n != 3 {
		t.Errorf("the status was patched %d times in eleven minutes, want 3", n)
	}
	now := &corev1.Pod{}
	if err := f.client.Get(t.Context(), client.ObjectKeyFromObject(pod), now); err != nil {
		t.Fatal(err)
	}
	if at, ok := ConfirmedAt(now); !ok || !at.Equal(start.Add(10*time.Minute)) {
		t.Errorf("the report was confirmed at %s, want %s", at, start.Add(10*time.Minute))
	}
	if c := sidecarCondition(now); !c.LastTransitionTime.Time.Equal(start) {
		t.Errorf("the condition changed at %s", c.LastTransitionTime)
	}
}

func TestReportOfAnotherWriter(t *testing.T) {
	pod := sidecarPod("orders")
	pod.Status.Conditions = []corev1.PodCondition{{Type: ConditionSidecar, Status: corev1.ConditionTrue, Message: "not JSON"}}
	if r, ok := ReportFrom(pod); ok {
		t.Errorf("read %+v", r)
	}
}

func TestResponses(t *testing.T) {
	f := newFixture(t, sidecarPod("orders"))
	s := signed(t, key, "orders", 1)
	f.cfg.Documents.OnAdd(configMap(s), false)
	for name, tt := range map[string]struct {
		report   compiled.Report
		wantCode int
	}{
		"first":        {compiled.Report{}, http.StatusOK},
		"an older one": {compiled.Report{Hash: "sha256:old"}, http.StatusOK},
		"the same":     {compiled.Report{Hash: s.Hash()}, http.StatusNoContent},
		"refused":      {compiled.Report{Hash: "sha256:old", Refused: s.Hash()}, http.StatusNoContent},
	} {
		t.Run(name, func(t *testing.T) {
			w := f.ask(t, "right", tt.report)
			if w.Code != tt.wantCode {
				t.Errorf("the response is %d", w.Code)
			}
			if w.Code == http.StatusOK && hashOf(t, w.Body.Bytes()) != s.Hash() {
				t.Error("the response has another document")
			}
		})
	}
}

// TestRefusedTokensEvictNone checks that refused tokens do not evict valid ones from the cache, so that an attacker cannot cause more
// reviews of them.
func TestRefusedTokensEvictNone(t *testing.T) {
	f := newFixture(t, sidecarPod("orders"))
	ask := func(token string, want error) {
		t.Helper()
		if _, err := f.tokens.authenticate(t.Context(), token); !errors.Is(err, want) {
			t.Fatalf("authenticating %q: %v", token, err)
		}
	}
	ask("right", nil)
	for i := range maxTokens {
		ask(strconv.Itoa(i), errToken)
	}
	before := f.reviews.Load()
	ask("right", nil)
	if f.reviews.Load() != before {
		t.Error("a cached token was reviewed again")
	}
}

// TestFailedPollsAreLoggedOnce checks that polls which fail because of the operator are logged as a warning once, and mistakes of clients
// never.
func TestFailedPollsAreLoggedOnce(t *testing.T) {
	f := newFixture(t)
	noRight := &refusal{status: http.StatusServiceUnavailable, detail: "the token cannot be reviewed at the moment", cause: errors.New("forbidden")}
	other := &refusal{status: http.StatusServiceUnavailable, detail: "the pod cannot be read at the moment", cause: errors.New("no route")}
	client := &refusal{status: http.StatusUnauthorized, detail: "no token"}
	for i, step := range []struct {
		err  error
		want slog.Level
	}{{noRight, slog.LevelWarn}, {noRight, slog.LevelDebug}, {other, slog.LevelWarn}, {client, slog.LevelDebug}, {noRight, slog.LevelDebug}} {
		if got := f.levelOf(step.err); got != step.want {
			t.Errorf("step %d is logged at %s, want %s", i, got, step.want)
		}
	}
	f.clock.SetTime(f.clock.Now().Add(failureQuiet + time.Second))
	if got := f.levelOf(noRight); got != slog.LevelWarn {
		t.Errorf("later it is logged at %s", got)
	}
}
