//go:build nocluster

package main

import (
	"context"
	"errors"
	"time"

	"github.com/spf13/cobra"

	"github.com/posterndev/postern/api/v1alpha1"
)

// access is that of a build without a client for clusters, which compiles in half the time: the demo's first act needs none.
// Commands that need a cluster refuse.
type access struct{}

var errNoCluster = errors.New("this build has no client for clusters (it was made with -tags nocluster): use --server")

func (*access) addFlags(*cobra.Command) {}

func (*access) namespaceName() (string, error) { return "", errNoCluster }

func (*access) forward(context.Context, string) (server string, stop func(), err error) {
	return "", nil, errNoCluster
}

func (*access) createAndWait(context.Context, *v1alpha1.TokenRevocation, time.Duration, printers) error {
	return errNoCluster
}
