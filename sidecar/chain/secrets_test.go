package chain

import (
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/posterndev/postern/api/compiled"
	"github.com/posterndev/postern/sidecar/httpkit/logtest"
	"github.com/posterndev/postern/sidecar/store/redistest"
)

// TestNoSecretIsDisclosed: no log line at any level, metric, problem or refusal contains a secret, whatever fails.
func TestNoSecretIsDisclosed(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t, redistest.Options{Password: "s3cret-of-redis"})
	d := &logtest.Buffer{}
	w := newWorld(t)
	w.log, w.registry = slog.New(slog.NewJSONHandler(d, &slog.HandlerOptions{Level: slog.LevelDebug})), prometheus.NewRegistry()
	w.writeSecret("redis", "password", []byte("s3cret-of-redis"))
	key, err := os.ReadFile(filepath.Join(w.secrets, "signing", "key.pem"))
	if err != nil {
		t.Fatal(err)
	}
	i := newIssuer(t)
	document := func(change func(*compiled.Policy)) *compiled.Policy {
		return loginPolicy(func(p *compiled.Policy) {
			onRedis(p, server.Addr)
			p.Redis.Password = &compiled.SecretRef{Name: "redis", Key: "password"}
			p.Providers = policy(i).Providers
			p.Providers[0].BackChannelLogout = &compiled.BackChannelLogout{ClientIDs: []string{"orders"}}
			p.Passwords = &compiled.Passwords{Algorithm: "Bcrypt", Cost: 10}
			p.Sidecar.AccessLog, p.Sidecar.LogLevel = "All", "debug"
			if change != nil {
				change(p)
			}
		})
	}
	s := w.sidecar(document(nil)).ready()
	secrets := []string{"s3cret-of-redis", "correct horse battery", strings.Split(string(key), "\n")[1]}
	var told []string // the output, without the clients' own tokens
	add := func(tokens tokens) {
		secrets = append(secrets, tokens.access, tokens.refresh, strings.Split(tokens.access, ".")[2], strings.Split(tokens.refresh, ".")[1])
	}
	ask := func() {
		ada := s.login("ada")
		add(ada)
		g := s.refresh(ada)
		if g.status == 200 {
			add(tokens{g.field("access_token"), g.field("refresh_token")})
		}
		logoutToken := i.logoutToken(t, map[string]any{"sub": "ada"}) // without jti: refused
		secrets = append(secrets, logoutToken)
		h, body := form("logout_token", logoutToken)
		for _, r := range []sent{
			{method: "GET", path: "/orders", bearer: ada.access + "x"}, {method: "GET", path: "/orders", bearer: ada.refresh},
			{method: "GET", path: "/auth/sessions", bearer: ada.access}, {method: "POST", path: "/auth/backchannel-logout", header: h, body: body},
			{method: "POST", path: "/auth/refresh", body: "refresh_token=" + ada.refresh + "&refresh_token=x", header: http.Header{"Content-Type": {"application/x-www-form-urlencoded"}}},
			{method: "POST", path: "/auth/refresh?refresh_token=" + ada.refresh}, {method: "POST", path: "/auth/logout", bearer: ada.access},
		} {
			told = append(told, s.send(r).text)
		}
		for path, body := range map[string]string{
			"/v1/passwords/hash": `{"password":"correct horse battery"}`, "/v1/passwords/verify": `{"password":"correct horse battery","hash":"x"}`,
			"/v1/introspect": `{"token":"` + ada.refresh + `"}`, "/v1/revoke": `{"token":"` + ada.access + `"}`, "/v1/tokens": `{"subject":"","x":"` + ada.access + `"}`,
		} {
			told = append(told, s.loopback("POST", path, body).text)
		}
	}
	ask()
	s.apply(document(func(p *compiled.Policy) { p.Redis.Username = "nobody" })) // is refused by Redis
	s.apply(document(func(p *compiled.Policy) { p.Redis.Password.Key = "absent" }))
	s.apply(document(nil))
	w.writeSecret("signing", "key.pem", append([]byte("broken\n"), key...))
	s.apply(document(func(p *compiled.Policy) { p.Tokens.AccessLifetime = compiled.Duration(time.Minute) }))
	redistest.Eventually(t, "the problem with the key to be logged", func() bool { return strings.Contains(d.String(), "reading signing key failed") })
	ask()
	server.Pause()
	for range 5 {
		told = append(told, s.send(sent{method: "POST", path: "/login?as=ada"}).text)
	}
	redistest.Eventually(t, "the problem with Redis to be reported", func() bool { return len(s.shared.Problems()) > 0 })
	told = append(told, fmt.Sprint(s.shared.Problems()), s.shared.Unready(), d.String(), gathered(t, w.registry))
	server.Resume()
	for _, text := range told {
		for _, secret := range secrets {
			if strings.Contains(text, secret) {
				at := strings.Index(text, secret)
				t.Errorf("%.12q… was disclosed: …%.200s…", secret, text[max(0, at-120):])
			}
		}
	}
}

// gathered returns all metrics as text.
func gathered(t *testing.T, registry *prometheus.Registry) string {
	t.Helper()
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	for _, f := range families {
		fmt.Fprintln(&b, f)
	}
	return b.String()
}

// TestMetricsDoNotGrow: input from clients creates no new series.
func TestMetricsDoNotGrow(t *testing.T) {
	w, i := newWorld(t), newIssuer(t)
	w.registry = prometheus.NewRegistry()
	s := w.sidecar(loginPolicy(func(p *compiled.Policy) {
		p.Providers = policy(i).Providers
		p.Providers[0].BackChannelLogout = &compiled.BackChannelLogout{ClientIDs: []string{"orders"}}
		p.Sessions.SubjectFrom, p.Sessions.MaxPerSubject = "sub", 1
	})).ready()
	hostile := func(n int) {
		x := fmt.Sprint("x", n)
		h, body := form("refresh_token", x, "grant_type", x)
		for _, r := range []sent{
			{method: "POST", path: "/login?as=" + x}, {method: "X" + strings.ToUpper(x), path: "/" + x}, {method: "GET", path: "/auth/sessions/" + x, bearer: x},
			{method: "POST", path: "/auth/refresh", header: h, body: body}, {method: "POST", path: "/auth/refresh/" + x},
			{method: "GET", path: "/orders", bearer: i.token(t, x)}, {method: "GET", path: "/orders", bearer: newIssuer(t).token(t, x)},
			{method: "POST", path: "/login?as=" + x, header: http.Header{"User-Agent": {x}}}, {method: "POST", path: "/auth/backchannel-logout", header: h, body: body},
		} {
			if _, err := s.try(r); err != nil {
				t.Fatal(err)
			}
		}
	}
	count := func() (n int) {
		families, err := w.registry.Gather()
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range families {
			n += len(f.GetMetric())
		}
		return n
	}
	hostile(0)
	before := count()
	for n := range 30 {
		hostile(n)
	}
	if after := count(); after > before {
		t.Errorf("%d series became %d", before, after)
	}
}
