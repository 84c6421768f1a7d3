//go:build !nocluster

package main

import (
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/posterndev/postern/cmd/postern/internal/doctor"
)

// doctorOptions are the flags of postern doctor.
type doctorOptions struct {
	access    access
	operator  string
	redis     string
	redisCA   string
	output    string
	checks    []string
	class     string
	noConnect bool
}

func newDoctorCommand() *cobra.Command {
	o := &doctorOptions{}
	cmd := &cobra.Command{
		Use:   "doctor",
		Short: "Check the installation and its surroundings, and print findings with remedies",
		Long: "Checks with your permissions: the API server and its clock, the CRDs, the operator, its rights, its webhook and certificates,\n" +
			"SidecarClasses, labels of namespaces, Pod Security, meshes, NetworkPolicies, sidecars and their clocks, Redis and Vault.\n\n" +
			"It keeps nothing and changes nothing: to see whether the webhook works, it creates a pod as a dry run. What it may not read, or\n" +
			"cannot know, is reported as unknown, and not as ok. Only pods reach Redis and Vault in the way that sidecars do, so those two are\n" +
			"judged by what the sidecars report. With --redis it also connects to Redis from this machine, and checks the version, the\n" +
			"maxmemory-policy and the ACL of the user. It writes no key.\n\n" +
			"Checks: " + strings.Join(doctor.Names(), ", ") + ".\n\n" +
			"Exit codes:\n" +
			"  0  no problem (there may be warnings)\n" +
			"  1  the checks could not run\n" +
			"  2  there is a problem",
		Example: "  postern doctor\n" +
			"  postern doctor -n shop --check dry-run,network-policies\n" +
			"  REDISCLI_AUTH=… postern doctor --redis rediss://postern@redis.example.com:6379\n" +
			"  kubectl postern doctor -o json",
		Args: onlyFlags,
		RunE: func(cmd *cobra.Command, _ []string) error { return o.run(cmd) },
	}
	f := cmd.Flags()
	f.StringVar(&o.operator, "operator-namespace", "postern-system", "namespace of the operator")
	f.StringVar(&o.class, "class", "", "check this SidecarClass only (default: all)")
	f.StringSliceVar(&o.checks, "check", nil, "run only these checks")
	f.StringVar(&o.redis, "redis", "", "URL of Redis as redis://USER@HOST:6379, or rediss:// for TLS, to connect to from this machine; its password is read from the environment variable REDISCLI_AUTH")
	f.StringVar(&o.redisCA, "redis-ca", "", "file with the CA certificates of Redis, in PEM (default: the system's)")
	f.BoolVar(&o.noConnect, "no-connect", false, "do not connect to pods (sidecars' metrics, the operator's certificate)")
	f.StringVarP(&o.output, "output", "o", "", "json: print the findings as JSON")
	o.access.addFlags(cmd)
	completeValues(cmd, "output", outputJSON)
	completeValues(cmd, "check", doctor.Names()...)
	return cmd
}

func (o *doctorOptions) check() error {
	if o.output != outputText && o.output != outputJSON {
		return fmt.Errorf("--output %q is not json", o.output)
	}
	for _, name := range o.checks {
		if !slices.Contains(doctor.Names(), name) {
			return fmt.Errorf("--check %q is not one of %s", name, strings.Join(doctor.Names(), ", "))
		}
	}
	return nil
}

func (o *doctorOptions) run(cmd *cobra.Command) error {
	if err := o.check(); err != nil {
		return err
	}
	e, err := newExamination(o, cmd.ErrOrStderr())
	if err != nil {
		return err
	}
	facts, err := e.facts(cmd.Context())
	if err != nil {
		return err
	}
	findings := doctor.Examine(facts, o.checks)
	if o.output == outputJSON {
		if err := writeJSON(cmd.OutOrStdout(), map[string]any{"worst": doctor.Worst(findings), "findings": findings}, "  "); err != nil {
			return err
		}
	} else if _, err := fmt.Fprint(cmd.OutOrStdout(), doctor.Text(findings, styleOf(cmd.OutOrStdout(), os.Getenv))); err != nil {
		return err
	}
	if doctor.Worst(findings) == doctor.Problem {
		return &exitError{exitNotEnforced, "there is a problem"}
	}
	return nil
}
