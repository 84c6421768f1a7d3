package postgrestest

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/posterndev/postern/test/servertest"
)

// owners are the users that may own a server which root starts. PostgreSQL and PgBouncer refuse to run as root.
var owners = []string{"postgres", "nobody"}

// owner returns the credentials of an unprivileged user; nil if the process is one.
func owner() (*syscall.Credential, error) {
	if os.Geteuid() != 0 {
		return nil, nil
	}
	for _, name := range owners {
		u, err := user.Lookup(name)
		if err != nil {
			continue
		}
		uid, err := strconv.ParseUint(u.Uid, 10, 32)
		if err != nil {
			continue
		}
		gid, err := strconv.ParseUint(u.Gid, 10, 32)
		if err != nil {
			continue
		}
		return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}, nil
	}
	return nil, fmt.Errorf("PostgreSQL refuses to run as root, and none of the users %v exists", owners)
}

// ownDir makes a temporary directory of the owner. A test's own temporary directory is not readable for other users.
func ownDir(name string) (string, error) {
	dir, err := os.MkdirTemp("", name)
	if err != nil {
		return "", err
	}
	return dir, own(dir)
}

func own(path string) error {
	as, err := owner()
	if as == nil || err != nil {
		return err
	}
	return os.Chown(path, int(as.Uid), int(as.Gid))
}

func writeOwned(path string, content []byte) error {
	if err := os.WriteFile(path, content, 0o600); err != nil {
		return err
	}
	return own(path)
}

// binary finds a program of PostgreSQL: on the PATH, or where Debian has it, the newest version first.
func binary(name string) (string, error) {
	if path, err := exec.LookPath(name); err == nil {
		return path, nil
	}
	found, _ := filepath.Glob("/usr/lib/postgresql/*/bin/" + name)
	found = append(found, "/usr/sbin/"+name)
	slices.Sort(found)
	slices.Reverse(found)
	for _, path := range found {
		if _, err := os.Stat(path); err == nil {
			return path, nil
		}
	}
	return "", fmt.Errorf("%s is not installed: apt-get install postgresql pgbouncer", name)
}

func command(name string, args ...string) (*exec.Cmd, error) {
	path, err := binary(name)
	if err != nil {
		return nil, err
	}
	as, err := owner()
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(path, args...)
	cmd.Dir = "/"
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "LC_ALL=C", "TZ=UTC"}
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: as}
	return cmd, nil
}

// runOnce runs a program to its end and returns its output.
func runOnce(name string, args ...string) ([]byte, error) {
	cmd, err := command(name, args...)
	if err != nil {
		return nil, err
	}
	return cmd.CombinedOutput()
}

// process is a running server. It ends with the test's process, also when that is killed.
type process struct {
	cmd  *exec.Cmd
	log  string
	done chan struct{}
}

// startProcess starts a server that writes to the file log.
func startProcess(log, name string, args ...string) (*process, error) {
	cmd, err := command(name, args...)
	if err != nil {
		return nil, err
	}
	file, err := os.OpenFile(log, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	cmd.Stdout, cmd.Stderr = file, file
	cmd.SysProcAttr.Pdeathsig = syscall.SIGQUIT
	p := &process{cmd: cmd, log: log, done: make(chan struct{})}
	started := make(chan error)
	go func() {
		// The kernel sends the signal when the thread that started the process ends, so the thread is kept until then.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		started <- err
		if err == nil {
			_ = cmd.Wait()
			close(p.done)
		}
	}()
	if err := <-started; err != nil {
		return nil, err
	}
	return p, nil
}

// await waits until ok returns true. It fails if the process ends before.
func (p *process) await(ok func() bool) error {
	deadline := time.Now().Add(servertest.WaitLimit)
	for time.Now().Before(deadline) {
		select {
		case <-p.done:
			text, _ := os.ReadFile(p.log)
			return fmt.Errorf("%s ended: %s", filepath.Base(p.cmd.Path), bytes.TrimSpace(text))
		case <-time.After(20 * time.Millisecond):
		}
		if ok() {
			return nil
		}
	}
	return fmt.Errorf("%s does not reply", filepath.Base(p.cmd.Path))
}

// end stops the process with a signal, and kills it if that takes too long.
func (p *process) end(sig syscall.Signal) {
	for _, pid := range p.family() {
		_ = syscall.Kill(pid, syscall.SIGCONT)
	}
	_ = p.cmd.Process.Signal(sig)
	select {
	case <-p.done:
	case <-time.After(servertest.WaitLimit):
		_ = p.cmd.Process.Kill()
		<-p.done
	}
}

// family returns the ids of the process and its children.
func (p *process) family() []int {
	pid := p.cmd.Process.Pid
	ids := []int{pid}
	text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", pid, pid))
	for _, field := range strings.Fields(string(text)) {
		if child, err := strconv.Atoi(field); err == nil {
			ids = append(ids, child)
		}
	}
	return ids
}

// trust returns the settings of a client that verifies the server.
func trust(bundle []byte) (*tls.Config, error) {
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(bundle) {
		return nil, errors.New("the server's authority is not PEM")
	}
	return &tls.Config{RootCAs: roots, ServerName: "localhost", MinVersion: tls.VersionTLS12}, nil
}
