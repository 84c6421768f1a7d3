// Package cases reads the files of postern test: requests, and what a policy is expected to do with them.
package cases

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"regexp"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

// Bounds of a file.
const (
	// MaxSize is in bytes.
	MaxSize = 1 << 20
	// MaxCases bounds the cases of a file, and MaxRequests the requests of one case, with repetitions.
	MaxCases    = 1000
	MaxRequests = 10_000
)

// File is a file of cases.
type File struct {
	// Policy is the name of the cases' policy; empty if there is one policy.
	Policy string `yaml:"policy"`
	// At is the time at the beginning of each case, as 2026-01-31T12:00:00Z; zero for the present.
	At    Time   `yaml:"at"`
	Cases []Case `yaml:"cases"`
}

// Case is one request, or several in Steps. Each case begins with empty counters and sessions.
type Case struct {
	Name   string `yaml:"name"`
	Policy string `yaml:"policy"`
	Step   `yaml:",inline"`
	Steps  []Step `yaml:"steps"`
	// Line is where the case begins.
	Line int `yaml:"-"`
}

// Step is a request, what the app responds if it gets it, and what is expected.
type Step struct {
	// After moves the clock before the request.
	After time.Duration `yaml:"after"`
	// Repeat sends the request several times; each must meet Expect. 0 is 1.
	Repeat  int      `yaml:"repeat"`
	Request *Request `yaml:"request"`
	App     App      `yaml:"app"`
	Expect  Expect   `yaml:"expect"`
	Line    int      `yaml:"-"`
}

// Request is a request of a client.
type Request struct {
	Method  string            `yaml:"method"`
	Path    string            `yaml:"path"`
	Host    string            `yaml:"host"`
	Headers map[string]Values `yaml:"headers"`
	Address netip.Addr        `yaml:"-"`
	// AddressText is the address of the client or of the proxy that connects.
	AddressText string `yaml:"address"`
	Body        string `yaml:"body"`
	Token       *Token `yaml:"token"`
	// Plain says that the request comes without TLS although the policy serves it.
	Plain bool `yaml:"plain"`
	// ClientCertificate is made for the run.
	ClientCertificate *ClientCertificate `yaml:"clientCertificate"`
}

// ClientCertificate has the names of a certificate.
type ClientCertificate struct {
	URI        string `yaml:"uri"`
	DNS        string `yaml:"dns"`
	CommonName string `yaml:"commonName"`
}

// Token is a token of a provider with Claims, which is made for the run, or an existing one.
type Token struct {
	// Provider is compiled.OwnProvider for a token that the policy itself issues.
	Provider string         `yaml:"provider"`
	Claims   map[string]any `yaml:"claims"`
	// Session is one of several sessions of a subject, for a token that the policy itself issues.
	Session string `yaml:"session"`
	JWT     string `yaml:"jwt"`
}

// App is what the app responds.
type App struct {
	Status  int               `yaml:"status"`
	Headers map[string]Values `yaml:"headers"`
	Body    string            `yaml:"body"`
}

// Expect is what must be true. Fields that are not set are not checked.
type Expect struct {
	Status int `yaml:"status"`
	// Rule is the rule that decided; "default" is the default of the authorization.
	Rule *string `yaml:"rule"`
	// Stage and Code are those of the refusal.
	Stage *string `yaml:"stage"`
	Code  *string `yaml:"code"`
	// Headers are the response's, and AppHeaders those of the request that the app got. null means absent.
	Headers    map[string]*Values `yaml:"headers"`
	AppHeaders map[string]*Values `yaml:"appHeaders"`
	ReachesApp *bool              `yaml:"reachesApp"`
}

// Time is a time as 2026-01-31T12:00:00Z.
type Time struct{ time.Time }

// UnmarshalYAML reads a time. The error names the line.
func (t *Time) UnmarshalYAML(n *yaml.Node) (err error) {
	if t.Time, err = time.Parse(time.RFC3339, n.Value); err != nil {
		return fmt.Errorf("line %d: %.64q is not a time like 2026-01-31T12:00:00Z", n.Line, n.Value)
	}
	return nil
}

// Values are the lines of a field: a text, or a list.
type Values []string

// UnmarshalYAML reads a text or a list of texts.
func (v *Values) UnmarshalYAML(n *yaml.Node) error {
	if n.Kind == yaml.ScalarNode {
		*v = Values{n.Value}
		return nil
	}
	var list []string
	if err := n.Decode(&list); err != nil {
		return err
	}
	*v = list
	return nil
}

// Is reports whether content is a file of cases, and not of manifests.
func Is(content []byte) bool {
	var head struct {
		Kind  string    `yaml:"kind"`
		Cases yaml.Node `yaml:"cases"`
	}
	if len(content) > MaxSize {
		return false
	}
	return yaml.NewDecoder(bytes.NewReader(content)).Decode(&head) == nil && head.Kind == "" && !head.Cases.IsZero()
}

// Parse reads a file. An error names the line.
func Parse(content []byte) (*File, error) {
	if len(content) > MaxSize {
		return nil, fmt.Errorf("the file is larger than %d bytes", MaxSize)
	}
	f, d := &File{}, yaml.NewDecoder(bytes.NewReader(content))
	d.KnownFields(true)
	if err := d.Decode(f); err != nil {
		return nil, readable(err)
	}
	if err := d.Decode(&yaml.Node{}); !errors.Is(err, io.EOF) {
		return nil, errors.New("the file has several documents: write one list of cases")
	}
	var root yaml.Node
	if err := yaml.Unmarshal(content, &root); err != nil {
		return nil, readable(err)
	}
	if err := f.setLines(&root); err != nil {
		return nil, err
	}
	return f, f.check()
}

// wrongType is the decoder's error for a value of another type, and kinds says in words what the types are.
var (
	wrongType = regexp.MustCompile("cannot unmarshal !!([a-z]+)( `.*`)? into ([^ ;]+)")
	goType    = regexp.MustCompile(` (in|into) (type )?[a-zA-Z0-9_.*\[\]]+`)
	kinds     = map[string]string{
		"int": "a number", "string": "a text", "bool": "true or false", "time.Duration": "a duration like 1m", "[]string": "a text or a list of texts",
		"[]cases.Case": "a list of cases", "[]cases.Step": "a list of steps",
	}
)

// readable replaces names of Go types in an error of the decoder, which say nothing to the user.
func readable(err error) error {
	if several := new(yaml.TypeError); errors.As(err, &several) {
		err = errors.New(strings.Join(several.Errors, "; "))
	}
	text := wrongType.ReplaceAllStringFunc(strings.TrimPrefix(err.Error(), "yaml: "), func(found string) string {
		m := wrongType.FindStringSubmatch(found)
		kind, ok := kinds[m[3]]
		if !ok {
			kind = "a mapping"
		}
		if m[2] == "" {
			return "a " + map[string]string{"map": "mapping", "seq": "list"}[m[1]] + " is not " + kind
		}
		return strings.TrimSpace(m[2]) + " is not " + kind
	})
	return errors.New(strings.Join(strings.Fields(goType.ReplaceAllString(text, "")), " "))
}

// setLines sets the lines of cases and steps. It refuses empty items, which the decoder drops.
func (f *File) setLines(root *yaml.Node) error {
	list := items(root, "cases")
	if len(list) > len(f.Cases) {
		return fmt.Errorf("line %d: a case of the list is empty", list[0].Line)
	}
	for i, node := range list {
		c := &f.Cases[i]
		c.Line, c.Step.Line = node.Line, node.Line
		steps := items(node, "steps")
		if len(steps) > len(c.Steps) {
			return fmt.Errorf("line %d: a step of the list is empty", node.Line)
		}
		for k, step := range steps {
			c.Steps[k].Line = step.Line
		}
	}
	return nil
}

// items returns the nodes of the list that a mapping has under name.
func items(n *yaml.Node, name string) []*yaml.Node {
	if n.Kind == yaml.DocumentNode && len(n.Content) > 0 {
		n = n.Content[0]
	}
	if n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		if list := n.Content[i+1]; n.Kind == yaml.MappingNode && n.Content[i].Value == name {
			if list.Kind == yaml.AliasNode {
				list = list.Alias
			}
			if list.Kind == yaml.SequenceNode {
				return list.Content
			}
		}
	}
	return nil
}
