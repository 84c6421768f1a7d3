package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/go-logr/logr"
	ctrl "sigs.k8s.io/controller-runtime"

	"github.com/posterndev/postern/test/apiserver"
)

const (
	operatorNamespace = apiserver.Namespace
	waitLimit         = 3 * time.Minute
)

// shared is started once for all tests, because starting an API server takes seconds.
var shared *apiserver.Server

// asOperator is the environment variable that makes this test binary the operator.
const asOperator = "POSTERN_TEST_OPERATOR"

func TestMain(m *testing.M) {
	if os.Getenv(asOperator) != "" {
		main()
		return
	}
	code, err := runSuite(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

func runSuite(m *testing.M) (code int, err error) {
	ctrl.SetLogger(logr.Discard())
	if shared, err = apiserver.Start(context.Background(), filepath.Join("..", "..")); err != nil {
		return 1, err
	}
	defer func() {
		if stopErr := shared.Stop(); stopErr != nil && err == nil {
			err = stopErr
		}
	}()
	return m.Run(), nil
}

// startOperator runs the operator as a process, with the permissions of config/rbac, until stop is called or the test ends. stop
// sends SIGTERM, and the process must exit with 0.
func startOperator(t *testing.T) (stop func()) {
	t.Helper()
	return runOperator(t, t.Output(), "--log-format=text")
}

// runOperator is startOperator with a log and additional flags.
func runOperator(t *testing.T, log io.Writer, flags ...string) (stop func()) {
	t.Helper()
	executable, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(executable, append(append(shared.Flags(), "--metrics-bind-address=0"), flags...)...)
	cmd.Env = append(os.Environ(), asOperator+"=1", "KUBECONFIG="+shared.Kubeconfig)
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	stop = sync.OnceFunc(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		select {
		case err := <-ended:
			if err != nil {
				t.Errorf("the operator exited with %v", err)
			}
		case <-time.After(waitLimit):
			_ = cmd.Process.Kill()
			t.Errorf("the operator did not exit within %s", waitLimit)
		}
	})
	t.Cleanup(stop)
	eventually(t, "the operator is ready", func() error { return ready(shared.Ports.Health) })
	return stop
}
