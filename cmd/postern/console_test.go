//go:build !nocluster

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"os"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/posterndev/postern/api/compiled"
	"github.com/posterndev/postern/cmd/postern/internal/console"
	"github.com/posterndev/postern/sidecar/audit/logsink"
	"github.com/posterndev/postern/sidecar/audit/rows"
	"github.com/posterndev/postern/sidecar/audit/spool"
)

// consoleRights are those of a person who may see what the console shows.
var consoleRights = []rbacv1.PolicyRule{
	{APIGroups: []string{""}, Resources: []string{"pods", "namespaces"}, Verbs: []string{"get", "list"}},
	{APIGroups: []string{"apps"}, Resources: []string{"deployments", "statefulsets", "daemonsets"}, Verbs: []string{"list"}},
	{APIGroups: []string{"postern.dev"}, Resources: []string{"securitypolicies"}, Verbs: []string{"list"}},
}

var mayForward = rbacv1.PolicyRule{APIGroups: []string{""}, Resources: []string{"pods/portforward"}, Verbs: []string{"create"}}

// consoleClient is a browser without scripts.
type consoleClient struct {
	t    *testing.T
	http *http.Client
	base string
}

// openConsole runs the command, and signs in with the link that it prints. out has what it prints.
func openConsole(t *testing.T, args ...string) (c *consoleClient, out *safeBuffer) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	cmd, out := newCommand(), &safeBuffer{}
	cmd.SetOut(out)
	cmd.SetErr(t.Output())
	cmd.SetArgs(append([]string{"console"}, args...))
	ended := make(chan error, 1)
	go func() { ended <- cmd.ExecuteContext(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	link := ""
	waitFor(t, "a link", func() bool {
		link = regexp.MustCompile(`http://127\.0\.0\.1:\d+/start\?secret=[A-Za-z0-9_-]{43}`).FindString(out.String())
		return link != ""
	})
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	c = &consoleClient{t: t, http: &http.Client{Jar: jar, Timeout: time.Minute}, base: link[:strings.Index(link, "/start")]}
	if status, text := c.get(strings.TrimPrefix(link, c.base)); status != http.StatusOK || !strings.Contains(text, "<h1>Overview</h1>") {
		t.Fatalf("signing in: %d\n%s", status, text)
	}
	return c, out
}

func (c *consoleClient) get(path string) (int, string) {
	c.t.Helper()
	return c.answer(c.http.Get(c.base + path))
}

func (c *consoleClient) answer(r *http.Response, err error) (int, string) {
	c.t.Helper()
	if err != nil {
		c.t.Fatal(err)
	}
	defer r.Body.Close()
	b, err := io.ReadAll(r.Body)
	if err != nil {
		c.t.Fatal(err)
	}
	return r.StatusCode, string(b)
}

// TestConsole reads a real API server as a person who may not forward ports.
func TestConsole(t *testing.T) {
	namespace := statusNamespace(t)
	kubeconfig, err := cluster(t).user(t.Context(), "console-viewer", nil, consoleRights, namespace)
	if err != nil {
		t.Fatal(err)
	}
	c, out := openConsole(t, "--kubeconfig", kubeconfig, "-n", namespace)
	waitFor(t, "another link", func() bool { return strings.Count(out.String(), "/start?secret=") == 2 })
	for path, want := range map[string][]string{
		"/": {"1 of 2 policies is not enforced", "basket", "kubectl rollout restart deployment/basket -n " + namespace, "deployment/legacy", "You may not <bdi>list sidecarclasses.postern.dev",
			"<dd><bdi>console-viewer</bdi></dd>", "<dd><bdi>" + namespace + "</bdi></dd>"},
		"/policies/" + namespace + "/orders": {"orders-7d8f9c-a", "Pods that prove it: 1 of 1.", "Programmed",
			"You cannot see or end sessions: <bdi>you may not create pods/portforward in namespace " + namespace},
		"/traffic": {"No running pod has a sidecar."}, // envtest has no kubelet, so pods have no address
		"/audit":   {"No database", "postern console --database-url"},
	} {
		status, text := c.get(path)
		if status != http.StatusOK {
			t.Errorf("%s: %d", path, status)
		}
		for _, part := range want {
			if !strings.Contains(text, part) {
				t.Errorf("%s: %q is not in\n%s", path, part, text)
			}
		}
		if strings.Contains(text, "End session") || strings.Contains(text, `method="post"`) {
			t.Errorf("%s has a button that the person has no right for", path)
		}
	}
	if status, text := c.get("/policies/" + namespace + "/none"); status != http.StatusNotFound || !strings.Contains(text, "There is no SecurityPolicy none") {
		t.Errorf("%d %s", status, text)
	}
}

func TestConsoleFlags(t *testing.T) {
	for name, tt := range map[string]struct {
		args []string
		want string
	}{
		"exclusive":                   {[]string{"-A", "-n", "shop"}, "exclude each other"},
		"a key without a database":    {[]string{"--kubeconfig", cluster(t).admin, "--key-file", "x"}, "--key-file needs --database-url"},
		"a password in the arguments": {[]string{"--kubeconfig", cluster(t).admin, "--database-url", "postgresql://ada:s3cret@db/postern"}, "without a password"},
		"an argument":                 {[]string{"shop"}, "takes flags only"},
		"a port":                      {[]string{"--port", "70000"}, "invalid argument"},
		"no kubeconfig":               {[]string{"--kubeconfig", "absent"}, "reading kubeconfig"},
	} {
		t.Setenv("PGHOST", "")
		if _, _, err := run(t, "", append([]string{"console"}, tt.args...)...); err == nil || !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), "s3cret") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestConsoleTrail: the database is that of the flag, or of the variables that choose one.
func TestConsoleTrail(t *testing.T) {
	for name, tt := range map[string]struct {
		variable, url string
		want          bool
	}{"none": {}, "the flag": {url: "postgresql://ada@db/postern", want: true}, "a host": {variable: "PGHOST", want: true}} {
		t.Run(name, func(t *testing.T) {
			for _, v := range []string{"PGHOST", "PGSERVICE"} {
				t.Setenv(v, "")
			}
			if tt.variable != "" {
				t.Setenv(tt.variable, "db")
			}
			o := &consoleOptions{database: databaseFlags{url: tt.url}}
			if got, err := o.trail(); err != nil || (got != nil) != tt.want {
				t.Errorf("%v, %v", got, err)
			}
		})
	}
}

// loopbackOf is the loopback API of a sidecar with one session. It returns its port, and what it was asked.
func loopbackOf(t *testing.T) (port uint16, asked func() []string) {
	t.Helper()
	var mu sync.Mutex
	var all []string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		all = append(all, r.Method+" "+r.RequestURI+" by "+r.Header.Get("Postern-Performed-By"))
		mu.Unlock()
		switch {
		case r.Method == http.MethodDelete && strings.HasPrefix(r.URL.Path, "/v1/sessions/"):
			w.WriteHeader(http.StatusNoContent)
		case r.Method == http.MethodDelete:
			fmt.Fprint(w, `{"ended":3}`)
		default:
			fmt.Fprint(w, oneSession)
		}
	}))
	t.Cleanup(server.Close)
	return uint16(server.Listener.Addr().(*net.TCPAddr).Port), func() []string {
		mu.Lock()
		defer mu.Unlock()
		return append([]string{}, all...)
	}
}

// sourceFor returns the source of the console for a person. Forwards go to the port.
func sourceFor(t *testing.T, kubeconfig, namespace string, port uint16) *consoleSource {
	t.Helper()
	o := &consoleOptions{access: access{kubeconfig: kubeconfig, namespace: namespace}}
	s, err := o.source(t.Context(), t.Output())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.close)
	s.pods.forward = func(_ context.Context, _ *corev1.Pod, target int) (uint16, func(), error) {
		if target != int(compiled.LoopbackPort) {
			return 0, nil, fmt.Errorf("forwarding to port %d", target)
		}
		return port, func() {}, nil
	}
	return s
}

func readyPod(namespace, name, id, policy string) *corev1.Pod {
	pod := testPod(namespace, name, id, policy)
	pod.Status.Conditions = append(pod.Status.Conditions, corev1.PodCondition{Type: corev1.PodReady, Status: corev1.ConditionTrue, LastTransitionTime: metav1.Now()})
	return pod
}

// TestConsoleSessions: sessions are read and ended through a pod that runs the policy, in the name of the person, if RBAC allows it.
func TestConsoleSessions(t *testing.T) {
	c := cluster(t)
	namespace := c.namespace(t, nil)
	c.create(t, testPod(namespace, "orders", "unready", "orders"), readyPod(namespace, "orders", "a", "orders"))
	port, asked := loopbackOf(t)
	users := map[string]string{}
	for name, rules := range map[string][]rbacv1.PolicyRule{
		"console-forwards": append([]rbacv1.PolicyRule{mayForward}, consoleRights...), "console-sees": consoleRights, "console-nothing": nil,
	} {
		kubeconfig, err := c.user(t.Context(), name, nil, rules, namespace)
		if err != nil {
			t.Fatal(err)
		}
		users[name] = kubeconfig
	}
	for user, want := range map[string]console.Right{
		"console-forwards": {Allowed: true},
		"console-sees":     {Why: "you may not create pods/portforward in namespace " + namespace},
		"console-nothing":  {Why: "you may not list pods in namespace " + namespace},
	} {
		s := sourceFor(t, users[user], namespace, port)
		if got := s.Right(t.Context(), namespace); got != want {
			t.Errorf("%s: %+v, want %+v", user, got, want)
		}
	}
	s := sourceFor(t, users["console-forwards"], namespace, port)
	of := console.Subject{Policy: console.Name{Namespace: namespace, Name: "orders"}, Subject: "user/42", Issuer: "https://id"}
	found, err := s.List(t.Context(), of)
	if err != nil || len(found) != 1 || found[0].ID != "7CBn8fh45_zgZ4y6ErSZ0w" || found[0].OS != "Linux" {
		t.Errorf("%+v, %v", found, err)
	}
	if n, err := s.End(t.Context(), of, "s/1"); n != 1 || err != nil {
		t.Error(n, err)
	}
	if n, err := s.End(t.Context(), of, ""); n != 3 || err != nil {
		t.Error(n, err)
	}
	if got, want := fmt.Sprint(asked()), "[GET /v1/subjects/user%2F42/sessions?issuer=https%3A%2F%2Fid by console-forwards DELETE /v1/sessions/s%2F1 by console-forwards "+
		"DELETE /v1/subjects/user%2F42/sessions?issuer=https%3A%2F%2Fid by console-forwards]"; got != want {
		t.Errorf("the sidecar was asked\n%s, want\n%s", got, want)
	}
	of.Policy.Name = "basket"
	if _, err := s.List(t.Context(), of); err == nil || !strings.Contains(err.Error(), `no ready pod runs the policy "basket"`) {
		t.Error(err)
	}
}

// TestForwardAgain: a forward whose pod is gone is replaced, and the call is made again, once.
func TestForwardAgain(t *testing.T) {
	port, asked := loopbackOf(t)
	pod := testPod("shop", "orders", "a", "orders")
	for name, tt := range map[string]struct {
		ports   []uint16
		wantErr bool
	}{"works": {[]uint16{port}, false}, "works again": {[]uint16{1, port}, false}, "is gone": {[]uint16{1, 1, port}, true}} {
		opened, stopped := 0, 0
		r := &podReader{forwards: map[string]forwarded{}, forward: func(context.Context, *corev1.Pod, int) (uint16, func(), error) {
			opened++
			return tt.ports[opened-1], func() { stopped++ }, nil
		}}
		before := len(asked())
		err := r.at(t.Context(), pod, func(api *loopbackAPI) error { return api.endSession(t.Context(), "s") })
		if (err != nil) != tt.wantErr || opened != min(2, len(tt.ports)) || len(asked())-before != map[bool]int{false: 1, true: 0}[tt.wantErr] {
			t.Errorf("%s: %v, %d forwards, %d calls", name, err, opened, len(asked())-before)
		}
		r.close()
		if stopped != opened {
			t.Errorf("%s: %d forwards, %d stopped", name, opened, stopped)
		}
	}
}

// TestForwardsEnd: forwards that nobody uses end, and of two that are opened at the same time one is kept.
func TestForwardsEnd(t *testing.T) {
	var mu sync.Mutex
	opened, stopped := 0, 0
	both := make(chan struct{})
	r := &podReader{forwards: map[string]forwarded{}}
	r.forward = func(context.Context, *corev1.Pod, int) (uint16, func(), error) {
		mu.Lock()
		if opened++; opened == 2 {
			close(both)
		}
		mu.Unlock()
		<-both
		return 1, func() { stopped++ }, nil
	}
	pod := testPod("shop", "orders", "a", "orders")
	var group sync.WaitGroup
	for range 2 {
		group.Go(func() {
			if _, err := r.base(t.Context(), pod, 1); err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
	if len(r.forwards) != 1 || stopped != 1 {
		t.Errorf("%d forwards, %d stopped", len(r.forwards), stopped)
	}
	for key, f := range r.forwards {
		f.used = f.used.Add(-forwardIdle - time.Second)
		r.forwards[key] = f
	}
	if _, ok := r.kept("another"); ok || len(r.forwards) != 0 || stopped != 2 {
		t.Errorf("%d forwards, %d stopped", len(r.forwards), stopped)
	}
}

// TestConsoleTraffic reads the metrics of a sidecar through a real API server's proxy.
func TestConsoleTraffic(t *testing.T) {
	c, host := cluster(t), hostAddress(t)
	namespace := c.namespace(t, nil)
	c.create(t, runningPod(namespace, "orders", "a", "orders", host), runningPod(namespace, "basket", "a", "basket", host))
	top := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, `{"failedLogins":{"accounts":[{"account":"ada","count":4}]}}`)
	}))
	defer top.Close()
	s := sourceFor(t, c.admin, namespace, uint16(top.Listener.Addr().(*net.TCPAddr).Port))
	s.pods.adminPort = sidecarOn(t, host)
	orders := console.Name{Namespace: namespace, Name: "orders"}
	first, err := s.Traffic(t.Context(), orders)
	if err != nil || len(first.Rows) != 1 || first.Rows[0].Pod != "orders-7d8f9c-a" || first.Rows[0].Requests != -1 || first.Lists == nil || first.Accounts[0].Count != 4 {
		t.Fatalf("%+v, %v", first, err)
	}
	again, err := s.Traffic(t.Context(), orders)
	if err != nil || !again.Time.Equal(first.Time) {
		t.Errorf("a second request reads at once: %+v, %v", again, err)
	}
	s.sampler(orders).view.Time = time.Time{} // it is old
	if later, err := s.Traffic(t.Context(), orders); err != nil || later.Rows[0].Requests <= 0 {
		t.Errorf("%+v, %v", later, err)
	}
	all, err := s.Traffic(t.Context(), console.Name{})
	if err != nil || len(all.Rows) != 2 || all.Rows[0].Pod != "" || all.Accounts[0].Count != 8 {
		t.Errorf("%+v, %v", all, err)
	}
	for i := range 2 * maxSamplers {
		s.sampler(console.Name{Namespace: namespace, Name: fmt.Sprint(i)})
	}
	if len(s.samplers) != maxSamplers {
		t.Errorf("%d samplers", len(s.samplers))
	}
}

// connections runs with a connection for each call.
type connections func() *pgx.Conn

func (c connections) Do(ctx context.Context, f func(context.Context, *pgx.Conn) error) error {
	return f(ctx, c())
}

// TestConsoleAudit searches a real database.
func TestConsoleAudit(t *testing.T) {
	server, address, password := auditServer(t)
	t.Setenv("PGPASSWORD", password)
	if _, _, err := run(t, "", "audit", "migrate", "--database-url", address); err != nil {
		t.Fatal(err)
	}
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	database := strings.TrimPrefix(u.Path, "/")
	key, log := auditLog(t)
	file, err := os.Open(log)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	var items []spool.Item
	if _, err := logsink.Read(file, func(e logsink.Entry) error { items = append(items, e.Item); return nil }); err != nil {
		t.Fatal(err)
	}
	sink := rows.New(rows.Config{Database: connections(func() *pgx.Conn { return server.Connect(t, database) }), RetainDays: 30})
	if _, err := sink.Deliver(t.Context(), items); err != nil {
		t.Fatal(err)
	}
	server.Do(t, database, "UPDATE audit_logs SET ip_address = '203.0.113.1' WHERE action = 'login_failed'")
	c, _ := openConsole(t, "--kubeconfig", cluster(t).admin, "-n", cluster(t).namespace(t, nil), "--database-url", address, "--key-file", key)
	for path, want := range map[string][]string{
		"/audit?since=2026-11-29&action=login_failed": {"login_failed", `eve<span class="escaped"`, "altered: <bdi>ip_address", "1 record, the latest first"},
		"/audit?since=&subject=ada&limit=50":          {"2026-11-29 08:09:00", ">ada</bdi>"},
		"/audit?since=&subject=nobody":                {"No record matches."},
		"/audit?since=yesterday":                      {"since is &#34;yesterday&#34;: write a time such as"},
	} {
		status, text := c.get(path)
		for _, part := range want {
			if status != http.StatusOK || !strings.Contains(text, part) {
				t.Errorf("%s: %d, %q is not in\n%s", path, status, part, text)
			}
		}
	}
}

// TestLinks: the first link opens the browser by a file that only this user can read, and that is removed when a browser has signed in.
func TestLinks(t *testing.T) {
	const first, second = "http://127.0.0.1:1234/start?secret=AA_-a", "http://127.0.0.1:1234/start?secret=BB"
	t.Setenv("TMPDIR", t.TempDir())
	var out safeBuffer
	l, file := newLinks(&out, true), ""
	l.start = func(name string) error {
		file = name
		return nil
	}
	l.issued(first)
	info, err := os.Stat(file)
	if err != nil {
		t.Fatal(err)
	}
	content, err := os.ReadFile(file)
	if err != nil || info.Mode().Perm() != 0o600 || strings.Count(string(content), first) != 2 || strings.Contains(string(content), "ZgotmplZ") {
		t.Errorf("%v, %s, %v", info.Mode(), content, err)
	}
	l.issued(second)
	if _, err := os.Stat(file); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the file is still there: %v", err)
	}
	if text := out.String(); strings.Count(text, first) != 1 || strings.Count(text, second) != 1 {
		t.Error(text)
	}
	l.close()

	failing := newLinks(&out, true)
	failing.start = func(string) error { return errors.New("no desktop") }
	failing.issued(first)
	failing.close()
	if !strings.Contains(out.String(), "The browser was not opened (no desktop): open the link yourself.") {
		t.Error(out.String())
	}
	left, err := os.ReadDir(os.Getenv("TMPDIR"))
	if err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}
