package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"time"

	"github.com/posterndev/postern/api/compiled"
	"github.com/posterndev/postern/api/v1alpha1"
	"github.com/posterndev/postern/controllers/compile"
	"github.com/posterndev/postern/controllers/manifest"
)

// policyFile is a file of manifests, "-" for standard input.
type policyFile struct {
	// absent stands for a SidecarClass that is not in the file.
	absent   *v1alpha1.SidecarClass
	name     string
	objects  manifest.Objects
	findings []manifest.Finding
	// now stands for the creation of the file's revocations: they were never created.
	now time.Time
	// created are the times at which postern run first read revocations, by revocationKey; others were created now.
	created map[string]time.Time
	// compiled are the names of the policies that were compiled, and revoked the best outcome of each revocation in them.
	compiled map[string]bool
	revoked  map[string]string
}

// readPolicies reads and judges the file's manifests. An error means that there is nothing to judge.
func readPolicies(ctx context.Context, name string, stdin io.Reader) (*policyFile, error) {
	content, err := readFile(name, stdin)
	if err != nil {
		return nil, err
	}
	return parsePolicies(ctx, name, content)
}

// parsePolicies judges the manifests of a file that has been read.
func parsePolicies(ctx context.Context, name string, content []byte) (*policyFile, error) {
	var err error
	f := &policyFile{name: name, absent: standaloneClass(), now: time.Now(), compiled: map[string]bool{}, revoked: map[string]string{}}
	if f.objects, f.findings, err = manifest.Read(ctx, content); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return f, nil
}

func readFile(name string, stdin io.Reader) ([]byte, error) {
	in := stdin
	if name != "-" {
		file, err := os.Open(name)
		if err != nil {
			return nil, err
		}
		defer file.Close()
		in = file
	}
	return io.ReadAll(io.LimitReader(in, manifest.MaxSize+1))
}

// standaloneClass is what a policy runs under where the file has no SidecarClass: no Redis, and no cluster to intercept in.
func standaloneClass() *v1alpha1.SidecarClass { return &v1alpha1.SidecarClass{} }

// compile returns the document of one policy of the file, and adds what is wrong to the file's findings.
func (f *policyFile) compile(p *manifest.Policy) *compiled.Policy {
	class, err := compile.ResolveClass(&p.SecurityPolicy, f.objects.Classes)
	if unused := f.unusedClass(); err != nil && unused != "" {
		f.findings = append(f.findings, p.Finding("spec.sidecarClassName", fmt.Sprintf("the SidecarClass %q of the file is neither marked default nor named "+
			"by a policy, so that it would not be used: write sidecarClassName: %s here, or give the class the annotation %s: \"true\"",
			unused, unused, v1alpha1.DefaultClassAnnotation), false))
		return nil
	}
	if err != nil {
		class = f.absent // the class is the platform's: it is often not at hand
	}
	policy := p.DeepCopy()
	policy.Namespace = namespaceOf(p) // names in the document are made of it
	document, findings := compile.Compile(policy, class)
	for _, found := range findings {
		f.findings = append(f.findings, p.Finding(found.Field, found.Message, found.Severity == compile.Warning))
	}
	if document == nil {
		if err != nil {
			f.findings = append(f.findings, p.Finding("spec.sidecarClassName", "no SidecarClass of this policy is in the file, so it is judged under an empty one", true))
		}
		return nil
	}
	document.Revision = 1
	f.revoke(document)
	return document
}

// unusedClass is the name of a class that is not marked default and that no policy of the file names; empty where there is none.
func (f *policyFile) unusedClass() string {
	for i := range f.objects.Classes {
		c := &f.objects.Classes[i]
		named := slices.ContainsFunc(f.objects.Policies, func(p manifest.Policy) bool {
			return p.Spec.SidecarClassName != nil && *p.Spec.SidecarClassName == c.Name
		})
		if !named && c.Annotations[v1alpha1.DefaultClassAnnotation] != "true" {
			return c.Name
		}
	}
	return ""
}

// only returns the file's one policy, or the one of that name.
func (f *policyFile) only(name string) (*manifest.Policy, error) {
	if len(f.objects.Policies) == 0 {
		return nil, fmt.Errorf("%s: no valid SecurityPolicy in it", f.name)
	}
	if name == "" && len(f.objects.Policies) > 1 {
		return nil, fmt.Errorf("%s: it has %d SecurityPolicies; choose one with --policy", f.name, len(f.objects.Policies))
	}
	for i := range f.objects.Policies {
		if p := &f.objects.Policies[i]; name == "" || p.Name == name {
			return p, nil
		}
	}
	return nil, fmt.Errorf("%s: no SecurityPolicy %q in it", f.name, name)
}

// errFindings says that the findings were printed, and that one is an error.
var errFindings = errors.New("the policy is not valid")

// report prints the findings, as compilers do, and returns errFindings if one is more than a warning.
func (f *policyFile) report(w io.Writer) error {
	var failed error
	for _, found := range f.findings {
		severity := "error"
		if found.Warning {
			severity = "warning"
		} else {
			failed = errFindings
		}
		line := fmt.Sprintf("%s:%d: %s: %s: %s: %s", f.name, found.Line, severity, found.Object, found.Field, found.Message)
		fmt.Fprintln(w, escaped(line)) // names in a file are anybody's
	}
	return failed
}
