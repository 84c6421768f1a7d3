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

// policyFile is a file with manifests. Its name is "-" for standard input.
type policyFile struct {
	// absent is used in place of a SidecarClass that is not in the file.
	absent   *v1alpha1.SidecarClass
	name     string
	objects  manifest.Objects
	findings []manifest.Finding
	// now is used as the creation time of the file's revocations, which have none.
	now time.Time
	// created has the time at which postern run first read each revocation, by revocationKey. The creation time of any other is
	// now.
	created map[string]time.Time
	// compiled has the names of the compiled policies, and revoked the best outcome of each revocation in them.
	compiled map[string]bool
	revoked  map[string]string
}

// readPolicies reads and validates the file's manifests. An error means that the file cannot be read or parsed.
func readPolicies(ctx context.Context, name string, stdin io.Reader) (*policyFile, error) {
	content, err := readFile(name, stdin)
	if err != nil {
		return nil, err
	}
	return parsePolicies(ctx, name, content)
}

// parsePolicies validates the manifests in content.
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

// standaloneClass returns the class of a policy if the file has no SidecarClass. It has no Redis, and intercepts nothing.
func standaloneClass() *v1alpha1.SidecarClass { return &v1alpha1.SidecarClass{} }

// compile returns the document of one policy of the file, and adds the problems to the file's findings.
func (f *policyFile) compile(p *manifest.Policy) *compiled.Policy {
	class, err := compile.ResolveClass(&p.SecurityPolicy, f.objects.Classes)
	if unused := f.unusedClass(); err != nil && unused != "" {
		f.findings = append(f.findings, p.Finding("spec.sidecarClassName", fmt.Sprintf("the SidecarClass %q in the file would not be used, because it is not the default and no "+
			"policy names it; write sidecarClassName: %s here, or add the annotation %s: \"true\" to the class",
			unused, unused, v1alpha1.DefaultClassAnnotation), false))
		return nil
	}
	if err != nil {
		class = f.absent // the platform team owns the class, so the file often lacks it
	}
	policy := p.DeepCopy()
	policy.Namespace = namespaceOf(p) // names in the document contain it
	document, findings := compile.Compile(policy, class)
	for _, found := range findings {
		f.findings = append(f.findings, p.Finding(found.Field, found.Message, found.Severity == compile.Warning))
	}
	if document == nil {
		if err != nil {
			f.findings = append(f.findings, p.Finding("spec.sidecarClassName", "the file has no SidecarClass for this policy, so it is checked with an empty one; to check it with your class, add the class to the file", true))
		}
		return nil
	}
	document.Revision = 1
	f.revoke(document)
	return document
}

// unusedClass returns the name of a class that is not the default and that no policy of the file names, or "".
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
		return nil, fmt.Errorf("%s: the file has no valid SecurityPolicy", f.name)
	}
	if name == "" && len(f.objects.Policies) > 1 {
		return nil, fmt.Errorf("%s: the file has %d SecurityPolicies; choose one with --policy", f.name, len(f.objects.Policies))
	}
	for i := range f.objects.Policies {
		if p := &f.objects.Policies[i]; name == "" || p.Name == name {
			return p, nil
		}
	}
	return nil, fmt.Errorf("%s: the file has no SecurityPolicy %q", f.name, name)
}

// errFindings means that the findings were printed, and that at least one is an error.
var errFindings = errors.New("the policy is not valid")

// report prints the findings in the format of a compiler, and returns errFindings if one is an error.
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
