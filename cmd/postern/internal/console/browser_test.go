package console

import (
	"context"
	"flag"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/audits"
	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"github.com/posterndev/postern/cmd/postern/internal/overview"
)

var pictures = flag.String("pictures", "", "folder for pictures of the pages")

// chromium is a tab of a real browser, and what it complained about.
type chromium struct {
	t    *testing.T
	ctx  context.Context
	base string
	fake *fakeCluster
	// links has the links of the console.
	links []string

	mu         sync.Mutex
	complaints []string
}

// startChromium starts a console on a real port and a browser that is not signed in.
func startChromium(t *testing.T, f *fakeCluster, options ...chromedp.ExecAllocatorOption) *chromium {
	t.Helper()
	listener, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	c := &chromium{t: t, base: "http://" + listener.Addr().String(), fake: f}
	b := newConsole(t, f, func(cfg *Config) {
		cfg.Port, cfg.Refresh = listener.Addr().(*net.TCPAddr).Port, 100*time.Millisecond
		cfg.Link = func(link string) {
			c.mu.Lock()
			defer c.mu.Unlock()
			c.links = append(c.links, link)
		}
	})
	// Pages show what was read, each time.
	b.console.overview.fresh = 0
	serving, end := context.WithCancel(context.WithoutCancel(t.Context()))
	served := make(chan error, 1)
	go func() { served <- Serve(serving, listener, b.console) }()
	t.Cleanup(func() {
		end()
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
	if _, err := os.Stat("/usr/bin/chromium"); err != nil {
		t.Fatal("the test needs the package chromium, which hack/cluster/packages.sh installs:", err)
	}
	options = append(append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath("/usr/bin/chromium"), chromedp.NoSandbox, chromedp.WSURLReadTimeout(time.Minute)), options...)
	allocator, endBrowser := chromedp.NewExecAllocator(context.WithoutCancel(t.Context()), options...)
	t.Cleanup(endBrowser)
	ctx, endTab := chromedp.NewContext(allocator)
	t.Cleanup(endTab)
	ctx, endTime := context.WithTimeout(ctx, 3*time.Minute)
	t.Cleanup(endTime)
	c.ctx = ctx
	c.run() // starts the browser
	if err := chromedp.Listen(ctx, c.listen); err != nil {
		t.Fatal(err)
	}
	if _, err := chromedp.Call(ctx, audits.Enable, cdp.Empty{}); err != nil {
		t.Fatal(err)
	}
	c.run(chromedp.EmulateViewport(1280, 800))
	return c
}

// listen collects errors of the console and violations of policies.
func (c *chromium) listen(event any) {
	text := ""
	switch e := event.(type) {
	case *runtime.EventConsoleAPICalled:
		text = fmt.Sprintf("console.%s %v", e.Type, e.Args)
	case *runtime.EventExceptionThrown:
		text = e.ExceptionDetails.Text
	case *log.EventEntryAdded:
		text = fmt.Sprintf("%s: %s %s", e.Entry.Level, e.Entry.Text, e.Entry.URL)
	case *audits.EventIssueAdded:
		if e.Issue.Code == audits.InspectorIssueCodePerformanceIssue { // the test itself reads document.cookie
			return
		}
		text = fmt.Sprintf("issue: %s", e.Issue.Code)
	default:
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.complaints = append(c.complaints, text)
}

func (c *chromium) run(actions ...chromedp.Action[chromedp.Void]) {
	c.t.Helper()
	if err := chromedp.Do(c.ctx, actions...); err != nil {
		c.t.Fatalf("%v\n%v", err, c.complaints)
	}
}

// calm fails the test if the browser complained.
func (c *chromium) calm(where string) {
	c.t.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, text := range c.complaints {
		c.t.Errorf("%s: %s", where, text)
	}
	c.complaints = nil
}

func (c *chromium) open(path string) {
	c.t.Helper()
	c.run(chromedp.Navigate(c.base + path))
}

func (c *chromium) signIn() *chromium {
	c.t.Helper()
	c.mu.Lock()
	link := c.links[len(c.links)-1]
	c.mu.Unlock()
	c.run(chromedp.Navigate(link), chromedp.WaitVisible(chromedp.CSS("#policies-title")))
	return c
}

func (c *chromium) scheme(name string) {
	c.t.Helper()
	media := emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: name}}}
	if _, err := chromedp.Call(c.ctx, emulation.SetEmulatedMedia, media); err != nil {
		c.t.Fatal(err)
	}
}

// result runs an action that returns something.
func result[T any](c *chromium, action chromedp.Action[T]) T {
	c.t.Helper()
	v, err := chromedp.Run(c.ctx, action)
	if err != nil {
		c.t.Fatalf("%v\n%v", err, c.complaints)
	}
	return v
}

// evaluate returns the value of a script, or what its promise becomes.
func evaluate[T any](c *chromium, script string) T {
	c.t.Helper()
	return result(c, chromedp.Evaluate[T](script, chromedp.EvalAwaitPromise))
}

func (c *chromium) picture(name string) {
	c.t.Helper()
	if *pictures == "" {
		return
	}
	b := result(c, chromedp.FullScreenshot(100))
	if err := os.WriteFile(filepath.Join(*pictures, name+".png"), b, 0o644); err != nil {
		c.t.Fatal(err)
	}
}

// press presses a key and waits until the page has handled it.
func (c *chromium) press(key string) {
	c.t.Helper()
	c.run(chromedp.KeyEvent(key))
}

// focused is the element with the focus: its text, and whether the focus is seen.
type focused struct {
	Name, Text string
	Outline    bool
}

func (c *chromium) focused() focused {
	c.t.Helper()
	return evaluate[focused](c, `(() => { const e = document.activeElement, s = getComputedStyle(e);
		return { Name: e.localName, Text: (e.innerText || e.name || "").trim(), Outline: s.outlineStyle !== "none" && parseFloat(s.outlineWidth) > 1 } })()`)
}

// tabTo presses Tab until an element with the text has the focus.
func (c *chromium) tabTo(text string) {
	c.t.Helper()
	var seen []string
	for range 60 {
		c.press(kb.Tab)
		f := c.focused()
		seen = append(seen, f.Name+" "+f.Text)
		if f.Name != "body" && !f.Outline {
			c.t.Errorf("the focus on %q is not seen", f.Text)
		}
		if f.Text == text {
			return
		}
	}
	c.t.Fatalf("no way to %q by keyboard: %q", text, seen)
}

var browserPages = map[string]string{
	"overview": "/", "policy": "/policies/shop/accounts?subject=user-42", "policy-wrong": "/policies/shop/basket", "traffic": "/traffic", "audit": "/audit",
}

// contrasts returns the texts whose contrast with what is behind them is below 4.5 (WCAG 2.2, 1.4.3).
const contrasts = `(() => {
	const rgb = (s) => { const n = s.match(/[\d.]+/g).map(Number); return { c: n.slice(0, 3), a: n[3] ?? 1 }; };
	const light = (c) => { const [r, g, b] = c.map((v) => (v /= 255) <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4); return 0.2126 * r + 0.7152 * g + 0.0722 * b; };
	const behind = (e) => { for (; e; e = e.parentElement) { const b = rgb(getComputedStyle(e).backgroundColor); if (b.a === 1) return b.c; } return [255, 255, 255]; };
	const bad = [];
	let n = 0;
	for (const e of document.querySelectorAll("body *")) {
		const own = [...e.childNodes].some((c) => c.nodeType === 3 && c.data.trim()) || ["input", "select"].includes(e.localName);
		if (!own || !e.checkVisibility() || e.localName === "noscript") continue;
		n++;
		const a = light(rgb(getComputedStyle(e).color).c), b = light(behind(e));
		const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
		if (ratio < 4.5) bad.push(e.localName + "." + e.className + " " + e.textContent.slice(0, 40) + ": " + ratio.toFixed(2));
	}
	return n > 10 ? bad : ["only " + n + " texts"];
})()`

const wide = "document.documentElement.scrollWidth > innerWidth"

// TestBrowserPages: the pages load in both schemes without an error of the console, a violation of a policy, or a text of low contrast.
func TestBrowserPages(t *testing.T) {
	c := startChromium(t, newFakeCluster(t)).signIn()
	if at := result(c, chromedp.Location()); at != c.base+"/" {
		t.Errorf("after signing in the address is %q", at)
	}
	if cookie := evaluate[string](c, "document.cookie"); cookie != "" {
		t.Errorf("scripts see the cookie %q", cookie)
	}
	for _, scheme := range []string{"light", "dark"} {
		c.scheme(scheme)
		for name, path := range browserPages {
			c.open(path)
			for _, text := range evaluate[[]string](c, contrasts) {
				t.Errorf("%s, %s: contrast of %s", name, scheme, text)
			}
			if evaluate[bool](c, wide) {
				t.Errorf("%s scrolls sideways", name)
			}
			evaluate[bool](c, "document.querySelectorAll('details').forEach((d) => d.open = true), true")
			c.picture(name + "-" + scheme)
			c.calm(name + ", " + scheme)
		}
	}
	c.run(chromedp.EmulateViewport(360, 640))
	for name, path := range browserPages {
		c.open(path)
		if evaluate[bool](c, wide) {
			t.Errorf("%s scrolls sideways on a telephone", name)
		}
		c.picture(name + "-narrow")
	}
	c.calm("narrow")
}

// TestBrowserFile signs in by a file that leads on to the link, as --open does. The browser counts a file as another site.
func TestBrowserFile(t *testing.T) {
	c := startChromium(t, newFakeCluster(t))
	file := filepath.Join(t.TempDir(), "console.html")
	if err := os.WriteFile(file, []byte(`<!doctype html><meta http-equiv="refresh" content="0; url=`+c.links[0]+`">`), 0o600); err != nil {
		t.Fatal(err)
	}
	c.run(chromedp.Navigate("file://"+file), chromedp.WaitVisible(chromedp.CSS("#policies-title")))
	if at := result(c, chromedp.Location()); at != c.base+"/" {
		t.Errorf("the address is %q", at)
	}
	c.calm("signing in")
}

// TestBrowserHostile: a hostile text runs no script in a real browser, and breaks no rule of the policy: it is text.
func TestBrowserHostile(t *testing.T) {
	f := hostileCluster(t)
	c := startChromium(t, f).signIn()
	for name, path := range browserPages {
		c.open(path)
		if evaluate[bool](c, wide) {
			t.Errorf("%s scrolls sideways", name)
		}
		c.picture("hostile-" + name)
		c.calm(name)
	}
}

// TestBrowserKeyboard ends a session, and then all, by keyboard alone. Without scripts it works the same.
func TestBrowserKeyboard(t *testing.T) {
	for _, scripts := range []bool{true, false} {
		t.Run(fmt.Sprintf("scripts %v", scripts), func(t *testing.T) {
			f := newFakeCluster(t)
			c := startChromium(t, f).signIn()
			if _, err := chromedp.Call(c.ctx, emulation.SetScriptExecutionDisabled, emulation.SetScriptExecutionDisabledParams{Value: !scripts}); err != nil {
				t.Fatal(err)
			}
			c.open("/")
			c.press(kb.Tab)
			if got := c.focused().Text; got != "Skip to the content" {
				t.Errorf("the first stop is %q", got)
			}
			c.tabTo("accounts")
			c.press(kb.Enter)
			c.run(chromedp.WaitVisible(chromedp.CSS("#subject")))
			c.tabTo("subject")
			c.run(chromedp.KeyEvent("user-42" + kb.Enter))
			c.run(chromedp.WaitVisible(chromedp.CSS("button.danger")))
			c.tabTo("End session")
			c.press(kb.Enter)
			c.run(chromedp.WaitVisible(chromedp.CSS(".notice.good")))
			c.wantText(".notice", "✓ 1 session of user-42 ended.")
			if got := c.focused().Text; got != "✓ 1 session of user-42 ended." {
				t.Errorf("the focus is on %q, not on the result", got)
			}
			c.tabTo("confirm")
			c.press(" ")
			c.tabTo("End all sessions")
			c.press(kb.Enter)
			c.run(chromedp.WaitVisible(chromedp.CSS(".notice.good")), chromedp.WaitNotPresent(chromedp.CSS("button.danger")))
			c.wantText(".notice", "✓ 1 session of user-42 ended.")
			if got := fmt.Sprint(f.ended); got != "[shop/accounts user-42  7CBn8fh45_zgZ4y6ErSZ0w shop/accounts user-42  ]" {
				t.Errorf("ended %s", got)
			}
			c.calm("the way to the button")
		})
	}
}

func (c *chromium) wantText(selector, want string) {
	c.t.Helper()
	got := result(c, chromedp.Text(chromedp.CSS(selector)))
	if strings.Join(strings.Fields(got), " ") != want {
		c.t.Errorf("%s says %q, want %q", selector, got, want)
	}
}

// TestBrowserLive: the page changes with the cluster, keeps the focus, and stands still while it is paused.
func TestBrowserLive(t *testing.T) {
	f := newFakeCluster(t)
	c := startChromium(t, f).signIn()
	const waitFor = `new Promise((done) => { const look = () => document.getElementById("headline").innerText.includes(%q) ? done(true) : setTimeout(look, 20); look(); })`
	wait := func(text string) {
		t.Helper()
		evaluate[bool](c, fmt.Sprintf(waitFor, text))
	}
	wait("1 of 3 policies is not enforced")
	c.tabTo("accounts")
	set := func(change func(*overview.Input)) {
		f.mu.Lock()
		defer f.mu.Unlock()
		change(&f.in)
	}
	all := f.in.Policies
	set(func(in *overview.Input) { in.Policies = all[:2] })
	wait("1 of 2 policies")
	if got := c.focused(); got.Text != "accounts" || !got.Outline {
		t.Errorf("the focus is on %+v after an update", got)
	}
	c.run(chromedp.Click(chromedp.CSS("#pause")))
	c.wantText("#pause", "Resume updates")
	set(func(in *overview.Input) { in.Policies = all[:1] })
	c.run(chromedp.Sleep(time.Second)) // ten times the interval
	c.wantText("#headline", "✕ not enforced 1 of 2 policies is not enforced.")
	c.run(chromedp.Click(chromedp.CSS("#pause")))
	wait("All policies with running pods are enforced")
	c.wantText("#pause", "Pause updates")
	c.calm("live")
	f.mu.Lock()
	f.err = fmt.Errorf("the API server is down")
	f.mu.Unlock()
	c.run(chromedp.WaitVisible(chromedp.CSS("#trouble")))
	c.wantText("#trouble", "Not updated: the cluster could not be read. Reload the page to see why. The page shows what was read at the time above.")
	c.picture("trouble")
	c.open("/")
	c.wantText(".notice", "✕ the API server is down")
	c.picture("failed")
}

// TestBrowserOtherSite: pages of another port of this machine, and of another name, can neither read the console nor end a session, although
// the browser is signed in. Browsers count other ports as the same site, so SameSite cookies alone do not prevent it.
func TestBrowserOtherSite(t *testing.T) {
	f := newFakeCluster(t)
	c := startChromium(t, f).signIn()
	evil := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, `<!doctype html><iframe src="%[1]s/"></iframe><img id="image" src="%[1]s/static/icon.svg">
<form id="form" method="post" target="_self" action="%[1]s/policies/shop/accounts/end"><input name="subject" value="user-42"><input name="confirm" value="yes"><input name="csrf" value="x"></form>`, c.base)
	}))
	defer evil.Close()
	u, err := url.Parse(evil.URL)
	if err != nil {
		t.Fatal(err)
	}
	for _, origin := range []string{evil.URL, "http://localhost:" + u.Port()} {
		c.run(chromedp.Navigate(origin))
		results := evaluate[[]string](c, `Promise.all(["cors", "no-cors"].map((mode) => fetch("`+c.base+`/policies/shop/accounts?subject=user-42", {mode, credentials: "include"}).then(async (r) => mode + " " + r.status + " " + await r.text(), (e) => mode + " refused")))`)
		if got := strings.Join(results, ", "); got != "cors refused, no-cors refused" {
			t.Errorf("%s: %s", origin, got)
		}
		if evaluate[int](c, `document.getElementById("image").naturalWidth`) != 0 {
			t.Errorf("%s sees that the console runs", origin)
		}
		if _, err := chromedp.RunResponse(c.ctx, chromedp.Evaluate[chromedp.Void](`document.getElementById("form").submit()`)); err != nil {
			t.Fatal(err)
		}
		c.wantText("p", "Another site sent the form.")
		c.picture("refused")
	}
	if len(f.ended) > 0 {
		t.Errorf("another site ended %v", f.ended)
	}
}
