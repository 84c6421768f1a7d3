package v1alpha1_test

import (
	"context"
	"fmt"
	"os"
	"sync"
	"testing"

	"github.com/go-logr/logr"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/envtest"
	"sigs.k8s.io/controller-runtime/pkg/log"
)

// shared is the API server of all tests, because starting one takes seconds. The first test that needs it starts it.
var shared = &server{}

type server struct {
	once   sync.Once
	env    *envtest.Environment
	client client.Client
	err    error
}

func TestMain(m *testing.M) {
	code := m.Run()
	if err := shared.stop(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

// apiServer returns a client of an API server with the CRDs.
func apiServer(t *testing.T) client.Client {
	t.Helper()
	if os.Getenv("KUBEBUILDER_ASSETS") == "" {
		t.Fatal("KUBEBUILDER_ASSETS is not set: run make test, or eval \"$(hack/cluster/env.sh)\"")
	}
	shared.once.Do(shared.start)
	if shared.err != nil {
		t.Fatal(shared.err)
	}
	return shared.client
}

func (s *server) start() {
	log.SetLogger(logr.Discard())
	s.env = &envtest.Environment{CRDDirectoryPaths: []string{"../../config/crd/bases"}, ErrorIfCRDPathMissing: true}
	config, err := s.env.Start()
	if err != nil {
		s.err = fmt.Errorf("starting API server: %w", err)
		return
	}
	s.client, s.err = client.New(config, client.Options{})
}

// stop also stops what a failed start left.
func (s *server) stop() error {
	if s.env == nil {
		return nil
	}
	if err := s.env.Stop(); err != nil {
		return fmt.Errorf("stopping API server: %w", err)
	}
	return nil
}

// remove deletes an object when the test ends, so that the tests can run again on the same server.
func remove(t *testing.T, c client.Client, object client.Object) {
	t.Helper()
	t.Cleanup(func() {
		if err := c.Delete(context.WithoutCancel(t.Context()), object); err != nil {
			t.Error(err)
		}
	})
}
