//go:build nocluster

package main

import (
	"context"
	"errors"
	"time"

	"github.com/spf13/cobra"

	"github.com/posterndev/postern/api/compiled"
	"github.com/posterndev/postern/api/v1alpha1"
)

// access is the implementation in a build without a Kubernetes client. Such a build compiles in half the time, and the demo's first
// act needs no cluster. Commands that need a cluster return errNoCluster.
type access struct{}

var errNoCluster = errors.New("this build has no Kubernetes client (it was built with -tags nocluster): use --server")

func (*access) addFlags(*cobra.Command) {}

func (*access) namespaceName() (string, error) { return "", errNoCluster }

func (*access) forward(context.Context, string, string) (server string, stop func(), err error) {
	return "", nil, errNoCluster
}

func (*access) user(context.Context) string { return "" }

func (*access) createAndWait(context.Context, *v1alpha1.TokenRevocation, time.Duration, printers) error {
	return errNoCluster
}

func (*access) documentOf(context.Context, string) (*compiled.Policy, string, error) {
	return nil, "", errNoCluster
}

// newClusterCommands returns none: they are of no use without a cluster.
func newClusterCommands() []*cobra.Command { return nil }
