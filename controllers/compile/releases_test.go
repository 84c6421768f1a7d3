package compile_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"

	"github.com/posterndev/postern/api/compiled"
	"github.com/posterndev/postern/api/v1alpha1"
	"github.com/posterndev/postern/controllers/compile"
)

// coming is the release that is not out yet; see api/compiled/releases_test.go.
const (
	coming   = "0.1"
	releases = "../../api/compiled/testdata/releases"
)

// pages returns the objects of a file of YAML documents, of which the first that is a SidecarClass is the policies' class.
func pages(t *testing.T, file string) (policies []*v1alpha1.SecurityPolicy, class *v1alpha1.SidecarClass) {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	keys, err := os.ReadFile("../../charts/postern/files/test-jwks.json")
	if err != nil {
		t.Fatal(err)
	}
	// As the demo does.
	b = bytes.ReplaceAll(b, []byte("@JWKS@"), bytes.TrimSpace(keys))
	b = bytes.ReplaceAll(b, []byte("@SIGNING_KEY@"), []byte("{transit: {key: accounts}}"))
	b = bytes.ReplaceAll(b, []byte("@AUDIT@"), []byte("{sinks: [Log]}"))
	for page := range strings.SplitSeq(string(b), "\n---\n") {
		switch {
		case strings.Contains(page, "\nkind: SecurityPolicy\n"):
			p := &v1alpha1.SecurityPolicy{}
			if err := yaml.UnmarshalStrict([]byte(page), p); err != nil {
				t.Fatal(err)
			}
			policies = append(policies, p)
		case strings.Contains(page, "\nkind: SidecarClass\n"):
			class = &v1alpha1.SidecarClass{}
			if err := yaml.UnmarshalStrict([]byte(page), class); err != nil {
				t.Fatal(err)
			}
		}
	}
	return policies, class
}

// documents are compiled today, by name: those of the samples, of the demo and of the policy with every section, each with a
// revocation.
func documents(t *testing.T) map[string][]byte {
	t.Helper()
	_, sample := pages(t, "../../config/samples/sidecarclass.yaml")
	born := metav1.NewTime(time.Unix(1e9, 0))
	revocation := v1alpha1.TokenRevocation{
		ObjectMeta: metav1.ObjectMeta{Name: "lost-laptop", CreationTimestamp: born}, Spec: v1alpha1.TokenRevocationSpec{Subject: "user-42"},
	}
	out := map[string][]byte{}
	for _, file := range []string{
		"testdata/least.yaml", "testdata/releases/everything.yaml", "../../config/samples/securitypolicy.yaml", "../../config/samples/tokens.yaml", "../../config/samples/apikeys.yaml", "../../config/samples/audit.yaml",
		"../../hack/demo/policy.yaml", "../../hack/demo/accounts.yaml",
	} {
		policies, class := pages(t, file)
		if class == nil {
			class = sample
		}
		for _, p := range policies {
			p.Namespace = "shop"
			document, findings := compile.Compile(p, class)
			if document == nil {
				t.Fatalf("%s: %v", file, findings)
			}
			document.Revision = 1
			compile.Revoke(document, []v1alpha1.TokenRevocation{revocation}, born.Time)
			b, err := compiled.Encode(document)
			if err != nil {
				t.Fatal(err)
			}
			out[strings.TrimSuffix(filepath.Base(file), ".yaml")+"-"+p.Name] = b
		}
	}
	return out
}

// TestReleasedSidecarsReadTodaysDocuments: each release had a strict decoder, which knew these fields and refuses a document with
// any other. A document without new features is one that it takes.
func TestReleasedSidecarsReadTodaysDocuments(t *testing.T) {
	entries, err := os.ReadDir(releases)
	if err != nil || len(entries) == 0 {
		t.Fatalf("found %d releases, %v", len(entries), err)
	}
	for name, document := range documents(t) {
		if *update {
			if err := os.WriteFile(filepath.Join(releases, coming, name+".json"), append(document, '\n'), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		for _, e := range entries {
			t.Run(e.Name()+"/"+name, func(t *testing.T) {
				if err := newReleased(t, e.Name()).decode(document); err != nil && !errors.Is(err, compiled.ErrTooNew) {
					t.Errorf("a sidecar of release %s refuses the document: %v\n%s", e.Name(), err, document)
				}
			})
		}
	}
}

// released is the decoder of a release: strict, and made of the fields that it knew.
type released struct {
	version int
	fields  map[string]string
}

func newReleased(t *testing.T, release string) *released {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(releases, release, "fields.txt"))
	if err != nil {
		t.Fatal(err)
	}
	r := &released{fields: map[string]string{}}
	first, rest, _ := strings.Cut(string(b), "\n")
	if _, err := fmt.Sscanf(first, "schemaVersion %d", &r.version); err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(rest) {
		path, kind, _ := strings.Cut(strings.TrimSpace(line), " ")
		r.fields[path] = kind
	}
	return r
}

func (r *released) decode(document []byte) error {
	var root map[string]any
	if err := json.Unmarshal(document, &root); err != nil {
		return err
	}
	if version, _ := root["schemaVersion"].(float64); int(version) > r.version {
		return compiled.ErrTooNew
	}
	return r.object("", root)
}

func (r *released) object(prefix string, object map[string]any) error {
	for name, value := range object {
		kind, ok := r.fields[prefix+name]
		if !ok {
			return fmt.Errorf("unknown field %q", prefix+name)
		}
		if err := r.value(prefix+name, kind, value); err != nil {
			return err
		}
	}
	return nil
}

func (r *released) value(path, kind string, value any) error {
	if inner, list := strings.CutPrefix(kind, "list-of-"); list {
		entries, ok := value.([]any)
		for _, e := range entries {
			if err := r.value(path, inner, e); err != nil {
				return err
			}
		}
		if !ok {
			return fmt.Errorf("%s is no list", path)
		}
		return nil
	}
	ok := false
	switch kind {
	case "string":
		_, ok = value.(string)
	case "number":
		_, ok = value.(float64)
	case "boolean":
		_, ok = value.(bool)
	case "object":
		if inner, is := value.(map[string]any); is {
			return r.object(path+".", inner)
		}
	case "json":
		ok = true
	}
	if !ok {
		return fmt.Errorf("%s is no %s", path, kind)
	}
	return nil
}

// TestTheStandInIsStrict: it refuses what the decoder of a release refused.
func TestTheStandInIsStrict(t *testing.T) {
	good := string(documents(t)["everything-everything"])
	for name, change := range map[string]struct{ from, to string }{
		"a new field that is always written": {`"mode": "Shadow",`, `"mode": "Shadow", "lifecycle": {},`},
		"a new field in a list":              {`"name": "corp",`, `"name": "corp", "realm": "",`},
		"a renamed field":                    {`"exchange":`, `"login":`},
		"another kind":                       {`"minSize": 2048`, `"minSize": "2Ki"`},
		"a list in place of a text":          {`"accessLog": "Errors"`, `"accessLog": ["Errors"]`},
	} {
		t.Run(name, func(t *testing.T) {
			changed := strings.Replace(good, change.from, change.to, 1)
			if changed == good {
				t.Fatalf("%s is not in the document:\n%s", change.from, good)
			}
			if err := newReleased(t, "0.1").decode([]byte(changed)); err == nil || errors.Is(err, compiled.ErrTooNew) {
				t.Errorf("it takes %s: %v", change.to, err)
			}
		})
	}
	newer := strings.Replace(good, `"schemaVersion": 1`, `"schemaVersion": 2`, 1)
	if err := newReleased(t, "0.1").decode([]byte(newer)); !errors.Is(err, compiled.ErrTooNew) {
		t.Errorf("of a newer version it says %v", err)
	}
}

// TestEverySectionIsInADocument: what no document holds, no test holds against a release.
func TestEverySectionIsInADocument(t *testing.T) {
	seen := map[string]bool{"deleted": true} // a tombstone is no policy's document
	for _, document := range documents(t) {
		var root map[string]any
		if err := json.Unmarshal(document, &root); err != nil {
			t.Fatal(err)
		}
		for name := range root {
			seen[name] = true
		}
	}
	for path := range newReleased(t, coming).fields {
		if !strings.Contains(path, ".") && !seen[path] {
			t.Errorf("%s is in no document: add it to testdata/releases/everything.yaml", path)
		}
	}
}
