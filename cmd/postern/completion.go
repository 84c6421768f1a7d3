//go:build !nocluster

package main

import (
	"context"
	"io"
	"maps"
	"slices"
	"time"

	"github.com/spf13/cobra"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/posterndev/postern/api/v1alpha1"
)

// completionTimeout bounds the read of names while a person waits for them in a shell.
const completionTimeout = 3 * time.Second

// completeValues completes the values of a flag.
func completeValues(cmd *cobra.Command, flag string, values ...string) {
	_ = cmd.RegisterFlagCompletionFunc(flag, cobra.FixedCompletions(values, cobra.ShellCompDirectiveNoFileComp)) // the flag exists
}

// policyNames returns the names of the namespace's policies; none if they cannot be read.
func (a *access) policyNames(ctx context.Context) []string {
	namespace, err := a.namespaceName()
	if err != nil {
		return nil
	}
	config, err := a.rest(io.Discard)
	if err != nil {
		return nil
	}
	c, err := reader(config)
	if err != nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, completionTimeout)
	defer cancel()
	list := &v1alpha1.SecurityPolicyList{}
	if c.List(ctx, list, client.InNamespace(namespace), client.Limit(pageSize)) != nil {
		return nil
	}
	var names []string
	for i := range list.Items {
		names = append(names, list.Items[i].Name)
	}
	return names
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
