package soak

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/posterndev/postern/api/compiled"
	"github.com/posterndev/postern/test/podtest"
	"github.com/posterndev/postern/test/servertest"
)

// waitLimit bounds every wait, and every exchange. A machine that also runs other tests is slow.
const waitLimit = time.Minute

// memoryLimit is the GOMEMLIMIT that the webhook sets for the default memory limit.
const memoryLimit = "GOMEMLIMIT=241591910"

// sidecar is a running cmd/sidecar.
type sidecar struct {
	address, admin string
	pid            int
	cmd            *exec.Cmd
	log            *log
	ended          chan error
}

// buildSidecar builds cmd/sidecar, with the race detector if the test has it.
func buildSidecar(t *testing.T) string {
	t.Helper()
	binary := filepath.Join(t.TempDir(), "sidecar")
	arguments := []string{"build", "-o", binary}
	if raced {
		arguments = append(arguments, "-race")
	}
	if out, err := exec.Command("go", append(arguments, "github.com/posterndev/postern/cmd/sidecar")...).CombinedOutput(); err != nil {
		t.Fatalf("building the sidecar: %v: %s", err, out)
	}
	return binary
}

// startSidecar runs the sidecar of a pod until the test ends, and waits until it is ready.
func startSidecar(t *testing.T, pod podtest.Pod, p *compiled.Policy, l *ledger) *sidecar {
	t.Helper()
	environment, admin, err := pod.Environment(p)
	if err != nil {
		t.Fatal(err)
	}
	s := &sidecar{
		address: net.JoinHostPort(pod.Address, strconv.Itoa(int(pod.Port))), admin: admin,
		cmd: exec.Command(buildSidecar(t)), log: &log{ledger: l}, ended: make(chan error, 1),
	}
	s.cmd.Env = append(environment, memoryLimit, "PATH="+os.Getenv("PATH"))
	out, err := s.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	errs, err := s.cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	s.pid = s.cmd.Process.Pid
	go func() {
		var read sync.WaitGroup
		read.Go(func() { s.log.read(out) })
		read.Go(func() { s.log.read(errs) })
		read.Wait()
		s.ended <- s.cmd.Wait()
	}()
	t.Cleanup(func() { _ = s.cmd.Process.Kill() })
	servertest.Eventually(t, "the sidecar to be ready", func() bool { _, err := s.ask("/readyz"); return err == nil })
	return s
}

// stop asks the sidecar to end, and fails the test if it does not end well.
func (s *sidecar) stop(t *testing.T) {
	t.Helper()
	if err := s.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-s.ended:
		if err != nil {
			t.Errorf("the sidecar ended with %v", err)
		}
	case <-time.After(waitLimit):
		t.Error("the sidecar does not end")
	}
}

// ask gets a page of the admin port.
func (s *sidecar) ask(path string) (string, error) {
	return servertest.Page("http://" + s.admin + path)
}

var (
	goroutines = regexp.MustCompile(`(?m)^go_goroutines (\d+)$`)
	connected  = regexp.MustCompile(`^(\d+)$`)
	nextGC     = regexp.MustCompile(`(?m)^go_memstats_next_gc_bytes (\S+)$`)
	gogc       = regexp.MustCompile(`(?m)^go_gc_gogc_percent (\S+)$`)
	anonymous  = regexp.MustCompile(`(?m)^RssAnon:\s+(\d+) kB$`)
)

// held is what the sidecar holds: goroutines, and descriptors apart from those of connections to Redis.
type held struct{ goroutines, descriptors int }

// holds reads what the sidecar holds. The connections that it keeps to Redis depend on how many requests came at once.
func (s *sidecar) holds(t *testing.T, redis int) held {
	t.Helper()
	page, err := s.ask("/metrics")
	if err != nil {
		t.Fatal(err)
	}
	open, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", s.pid))
	if err != nil {
		t.Fatal(err)
	}
	return held{number(t, goroutines, page), len(open) - redis}
}

// use is a sidecar's memory, in KiB.
type use struct {
	// anonymous is resident, and live is what the last garbage collection found in use.
	anonymous, live int
}

// memory reads the memory. The heap grows by GOGC percent of what is live before the next collection.
func (s *sidecar) memory(t *testing.T) use {
	t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", s.pid))
	if err != nil {
		t.Fatal(err)
	}
	page, err := s.ask("/metrics")
	if err != nil {
		t.Fatal(err)
	}
	return use{number(t, anonymous, string(b)), number(t, nextGC, page) / (100 + number(t, gogc, page)) * 100 >> 10}
}

func number(t *testing.T, pattern *regexp.Regexp, text string) int {
	t.Helper()
	found := pattern.FindStringSubmatch(text)
	if found == nil {
		t.Fatalf("no %s in %.300q", pattern, text)
	}
	n, err := strconv.ParseFloat(found[1], 64)
	if err != nil {
		t.Fatal(err)
	}
	return int(n)
}

// log reads what the sidecar writes. Lines that it must not write are failures.
type log struct {
	ledger *ledger

	mu    sync.Mutex
	lines int
	last  []string // the last lines that are no access records
}

// maxLines is how many lines are shown of a sidecar that has failed.
const maxLines = 60

func (l *log) read(r io.Reader) {
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, maxBody)
	for lines.Scan() {
		l.line(lines.Bytes())
	}
	_, _ = io.Copy(io.Discard, r) // a line that is too long ends the scanner
}

func (l *log) line(line []byte) {
	begin := time.Now()
	l.mu.Lock()
	l.lines++
	if !bytes.Contains(line, []byte(`"msg":"request"`)) {
		if l.last = append(l.last, string(line)); len(l.last) > maxLines {
			l.last = l.last[1:]
		}
	}
	l.mu.Unlock()
	var err error
	switch {
	case bytes.Contains(line, []byte(`"level":"ERROR"`)):
		err = of(fmt.Errorf("logged %.500s", line), appAway, redisAway)
	case bytes.Contains(line, []byte("panic")), bytes.Contains(line, []byte("DATA RACE")):
		err = fmt.Errorf("logged %.500s", line)
	}
	l.ledger.record("lines of the log", begin, err)
}

func (l *log) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Join(l.last, "\n")
}
