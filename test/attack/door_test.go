// Package attack floods a sidecar from loopback addresses, beside honest clients at other addresses, and measures what open requests,
// streams and WebSockets cost. Everything stays on this machine.
package attack

import (
	"bufio"
	"bytes"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/posterndev/postern/api/compiled"
	"github.com/posterndev/postern/test/freeport"
	"github.com/posterndev/postern/test/servertest"
)

// The memory of the default SidecarClass: the container's limit, and the GOMEMLIMIT that the webhook sets for it.
const (
	containerLimit = 256 << 20
	goMemLimit     = 230 << 20
)

// door is a running sidecar, as a process of its own.
type door struct {
	address, admin string
	pid            int
	log            *lockedBuffer
	collected      *bufio.Reader
	app            *app
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

// Write appends p.
func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

var build = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "postern-attack")
	if err != nil {
		return "", err
	}
	binary := filepath.Join(dir, "door")
	out, err := exec.Command("go", "build", "-o", binary, "./door").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("building the sidecar: %w: %s", err, out)
	}
	return binary, nil
})

// TestMain removes the sidecar's binary.
func TestMain(m *testing.M) {
	code := m.Run()
	if binary, err := build(); err == nil {
		_ = os.RemoveAll(filepath.Dir(binary))
	}
	os.Exit(code)
}

// open starts a sidecar with the default memory in front of an app.
func open(t *testing.T, change func(*compiled.Policy)) *door {
	t.Helper()
	binary, err := build()
	if err != nil {
		t.Fatal(err)
	}
	p := &compiled.Policy{
		SchemaVersion: 1, Namespace: "shop", Name: "orders", Revision: 1, Mode: compiled.Enforce, UndeclaredPorts: compiled.Deny,
		Authorization: compiled.Authorization{Default: compiled.RequireAnonymous, Mode: compiled.Enforce},
		Sidecar:       compiled.SidecarOptions{AccessLog: "None", LogLevel: "info", DrainTimeout: compiled.Duration(time.Second)},
	}
	if change != nil {
		change(p)
	}
	document, err := json.Marshal(p)
	if err != nil {
		t.Fatal(err)
	}
	d := &door{address: freeport.Address(t), admin: freeport.Address(t), log: &lockedBuffer{}, app: newApp(t)}
	cmd := exec.Command(binary, d.address, d.admin, d.app.url)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	d.collected = bufio.NewReader(out)
	cmd.Env = append(os.Environ(), "GOMEMLIMIT="+strconv.Itoa(goMemLimit))
	cmd.Stdin, cmd.Stderr = bytes.NewReader(document), d.log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	d.pid = cmd.Process.Pid
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		if err := cmd.Wait(); err != nil && !t.Failed() {
			t.Logf("the sidecar ended: %v", err)
		}
		if t.Failed() {
			t.Log(d.log.String())
		}
	})
	eventually(t, "the sidecar is ready", func() bool { _, err := d.ask("/readyz"); return err == nil })
	return d
}

// app reads bodies, accepts WebSockets, sends an endless response at /large, /text and /both, and says hello otherwise. At /blocked and
// /both it does not read the body. The response at /text is worth compressing.
type app struct {
	url string
	// held are the open WebSockets, and open the number of them and of requests.
	held sync.Map
	open atomic.Int64
	// closed is closed at the end: net/http does not notice that a client is gone while nothing reads its body.
	closed chan struct{}
}

func newApp(t *testing.T) *app {
	t.Helper()
	a := &app{closed: make(chan struct{})}
	server := httptest.NewUnstartedServer(a)
	server.Config.Protocols = &http.Protocols{}
	server.Config.Protocols.SetHTTP1(true)
	server.Config.Protocols.SetUnencryptedHTTP2(true)
	server.Start()
	a.url = server.URL
	t.Cleanup(func() {
		close(a.closed)
		a.held.Range(func(conn, _ any) bool { _ = conn.(net.Conn).Close(); return true })
		server.CloseClientConnections()
		server.Close()
	})
	return a
}

// ServeHTTP serves a request.
func (a *app) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	a.open.Add(1)
	if r.Header.Get("Upgrade") == "" {
		defer a.open.Add(-1)
		a.respond(w, r)
		return
	}
	conn, rw, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return
	}
	_, _ = rw.WriteString("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
	_ = rw.Flush()
	a.held.Store(conn, true)
	go func() { // an echo, until the client disconnects
		defer a.open.Add(-1)
		_, _ = io.CopyBuffer(struct{ io.Writer }{conn}, struct{ io.Reader }{conn}, make([]byte, 1024))
		_ = conn.Close()
		a.held.Delete(conn)
	}()
}

func (a *app) respond(w http.ResponseWriter, r *http.Request) {
	part := make([]byte, 64<<10)
	switch r.URL.Path {
	case "/blocked":
		select {
		case <-r.Context().Done():
		case <-a.closed:
		}
		return
	case "/both":
		_ = http.NewResponseController(w).EnableFullDuplex() // an error is HTTP/2, which is always so
	case "/text":
		w.Header().Set("Content-Type", "text/plain")
		_, _ = rand.Read(part[:len(part)/2])
		copy(part, hex.EncodeToString(part[:len(part)/2]))
	default:
		_, _ = io.Copy(io.Discard, r.Body)
	}
	for endless := r.URL.Path == "/large" || r.URL.Path == "/both" || r.URL.Path == "/text"; endless; {
		if _, err := w.Write(part); err != nil {
			return
		}
	}
	_, _ = io.WriteString(w, "hello")
}

func eventually(t *testing.T, what string, done func() bool) {
	t.Helper()
	for deadline := time.Now().Add(3 * time.Minute); !done(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not in time: %s", what)
		}
	}
}

// ask gets a page of the admin port.
func (d *door) ask(path string) (string, error) { return servertest.Page("http://" + d.admin + path) }

// metric returns the sum of a metric's series whose labels contain all parts.
func (d *door) metric(t *testing.T, name string, parts ...string) float64 {
	t.Helper()
	page, err := d.ask("/metrics")
	if err != nil {
		t.Fatal(err)
	}
	var sum float64
lines:
	for line := range strings.Lines(page) {
		series, value, _ := strings.Cut(strings.TrimSpace(line), " ")
		if base, _, _ := strings.Cut(series, "{"); base != name {
			continue
		}
		for _, part := range parts {
			if !strings.Contains(series, part) {
				continue lines
			}
		}
		v, err := strconv.ParseFloat(value, 64)
		if err != nil {
			t.Fatal(err)
		}
		sum += v
	}
	return sum
}

var status = regexp.MustCompile(`(?m)^(VmHWM|VmRSS):\s+(\d+) kB$`)

// inUse returns the sidecar's resident memory in bytes after it has returned what it does not use.
func (d *door) inUse(t *testing.T) int {
	t.Helper()
	if err := syscall.Kill(d.pid, syscall.SIGUSR1); err != nil {
		t.Fatal(err)
	}
	if _, err := d.collected.ReadString('\n'); err != nil {
		t.Fatal(err)
	}
	now, _ := d.memory(t)
	return now
}

// memory returns the sidecar's resident memory now, and its highest so far, in bytes.
func (d *door) memory(t *testing.T) (now, peak int) {
	t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", d.pid))
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range status.FindAllSubmatch(b, -1) {
		n, err := strconv.Atoi(string(m[2]))
		if err != nil {
			t.Fatal(err)
		}
		if string(m[1]) == "VmHWM" {
			peak = n << 10
		} else {
			now = n << 10
		}
	}
	return now, peak
}
