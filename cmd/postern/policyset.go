package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/posterndev/postern/api/compiled"
	"github.com/posterndev/postern/api/v1alpha1"
	"github.com/posterndev/postern/controllers/compile"
	"github.com/posterndev/postern/controllers/manifest"
)

// policySet holds the objects of one or more files with manifests, which are read as if they were one.
type policySet struct {
	// absent is used in place of a SidecarClass that is not in the files.
	absent *v1alpha1.SidecarClass
	// files has the names of the files that were read. The name of standard input is "-".
	files    []string
	objects  manifest.Objects
	findings []manifest.Finding
	// now is used as the creation time of the files' revocations, which have none.
	now time.Time
	// created has the time at which postern run first read each revocation, by revocationKey. The creation time of any other is
	// now.
	created map[string]time.Time
	// compiled has the names of the compiled policies, and revoked the best outcome of each revocation in them.
	compiled map[string]bool
	revoked  map[string]string
	// unknown collects what the policies name and the files do not have.
	unknown unknownObjects
}

func newPolicySet() *policySet {
	return &policySet{absent: standaloneClass(), now: time.Now(), compiled: map[string]bool{}, revoked: map[string]string{}}
}

// readPolicies reads and validates the manifests of the files. An error means that a file cannot be read or parsed. The set has the
// objects of the others.
func readPolicies(ctx context.Context, files []string, stdin io.Reader) (*policySet, error) {
	s := newPolicySet()
	var failed error
	for _, name := range unique(files) {
		content, err := readFile(name, stdin)
		if err == nil {
			err = s.add(ctx, name, content)
		}
		failed = errors.Join(failed, err)
	}
	return s, failed
}

// unique returns the names without repetitions. Standard input can be read once.
func unique(files []string) []string {
	var out []string
	for _, name := range files {
		if !slices.Contains(out, name) {
			out = append(out, name)
		}
	}
	return out
}

// add validates the manifests in the content of a file.
func (s *policySet) add(ctx context.Context, name string, content []byte) error {
	findings, err := s.objects.Add(ctx, name, content)
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	s.files = append(s.files, name)
	s.findings = append(s.findings, findings...)
	return nil
}

func readFile(name string, stdin io.Reader) ([]byte, error) {
	in := stdin
	if name != "-" {
		file, err := os.Open(name)
		if err != nil {
			return nil, err
		}
		defer file.Close()
		if info, err := file.Stat(); err == nil && info.IsDir() {
			return nil, fmt.Errorf("%s is a directory: write -f before each of its files", name)
		}
		in = file
	}
	return io.ReadAll(io.LimitReader(in, manifest.MaxSize+1))
}

// readFiles returns the content of each file.
func readFiles(files []string, stdin io.Reader) ([][]byte, error) {
	var out [][]byte
	for _, name := range files {
		content, err := readFile(name, stdin)
		if err != nil {
			return nil, err
		}
		out = append(out, content)
	}
	return out, nil
}

// standaloneClass returns the class of a policy if the files have no SidecarClass. It has no Redis, and intercepts nothing.
func standaloneClass() *v1alpha1.SidecarClass { return &v1alpha1.SidecarClass{} }

// compile returns the document of one policy of the set, and adds the problems to the set's findings.
func (s *policySet) compile(p *manifest.Policy) *compiled.Policy {
	class, err := compile.ResolveClass(&p.SecurityPolicy, s.classes())
	if unused := s.unusedClass(); err != nil && unused != "" {
		s.find(p.Finding("spec.sidecarClassName", fmt.Sprintf("the SidecarClass %q of the files would not be used, because it is not the default and no "+
			"policy names it; write sidecarClassName: %s here, or add the annotation %s: \"true\" to the class",
			unused, unused, v1alpha1.DefaultClassAnnotation), false))
		return nil
	}
	if err != nil {
		class = s.absent // the platform team owns the class, so the files often lack it
		s.unknown.addClass(p)
	}
	policy := p.DeepCopy()
	policy.Namespace = namespaceOf(p) // names in the document contain it
	document, findings := compile.Compile(policy, class)
	for _, found := range findings {
		s.find(s.place(p, class, found))
	}
	if document == nil {
		return nil
	}
	document.Revision = 1
	s.compareSecrets(p, document)
	s.revoke(document)
	return document
}

// ofClass is the prefix of the fields of findings about a class.
const ofClass = "sidecarClass."

// place returns the finding with the place of the field, which is one of the policy or of its class.
func (s *policySet) place(p *manifest.Policy, class *v1alpha1.SidecarClass, found compile.Finding) manifest.Finding {
	warning := found.Severity == compile.Warning
	if field, ok := strings.CutPrefix(found.Field, ofClass); ok {
		for i := range s.objects.Classes {
			if c := &s.objects.Classes[i]; c.Name == class.Name {
				return c.Finding(field, found.Message, warning)
			}
		}
	}
	return p.Finding(found.Field, found.Message, warning)
}

// find adds a finding, once: several policies can have the same class.
func (s *policySet) find(f manifest.Finding) {
	if !slices.Contains(s.findings, f) {
		s.findings = append(s.findings, f)
	}
}

func (s *policySet) classes() []v1alpha1.SidecarClass {
	var out []v1alpha1.SidecarClass
	for i := range s.objects.Classes {
		out = append(out, s.objects.Classes[i].SidecarClass)
	}
	return out
}

// unusedClass returns the name of a class that is not the default and that no policy of the set names, or "".
func (s *policySet) unusedClass() string {
	for i := range s.objects.Classes {
		c := &s.objects.Classes[i]
		named := slices.ContainsFunc(s.objects.Policies, func(p manifest.Policy) bool {
			return p.Spec.SidecarClassName != nil && *p.Spec.SidecarClassName == c.Name
		})
		if !named && c.Annotations[v1alpha1.DefaultClassAnnotation] != "true" {
			return c.Name
		}
	}
	return ""
}

// only returns the set's one policy, or the one of that name.
func (s *policySet) only(name string) (*manifest.Policy, error) {
	files, has := strings.Join(s.files, ", "), "the file has"
	if len(s.files) > 1 {
		has = "the files have"
	}
	if len(s.files) == 0 {
		return nil, errors.New("no file has a SecurityPolicy; add one with -f policy.yaml")
	}
	if len(s.objects.Policies) == 0 {
		return nil, fmt.Errorf("%s: %s no valid SecurityPolicy", files, has)
	}
	if name == "" && len(s.objects.Policies) > 1 {
		return nil, fmt.Errorf("%s: %s %d SecurityPolicies; choose one with --policy", files, has, len(s.objects.Policies))
	}
	for i := range s.objects.Policies {
		if p := &s.objects.Policies[i]; name == "" || p.Name == name {
			return p, nil
		}
	}
	return nil, fmt.Errorf("%s: %s no SecurityPolicy %q", files, has, name)
}

// errFindings means that the findings were printed, and that at least one is an error.
var errFindings = errors.New("the policy is not valid")

// report prints the findings in the format of a compiler, and returns errFindings if one is an error.
func (s *policySet) report(w io.Writer) error {
	return printFindings(w, s.findings)
}

func printFindings(w io.Writer, findings []manifest.Finding) error {
	var failed error
	for _, found := range findings {
		severity := "error"
		if found.Warning {
			severity = "warning"
		} else {
			failed = errFindings
		}
		line := fmt.Sprintf("%s:%d: %s: %s: %s: %s", found.File, found.Line, severity, found.Object, found.Field, found.Message)
		fmt.Fprintln(w, escaped(line)) // names in a file are anybody's
	}
	return failed
}
