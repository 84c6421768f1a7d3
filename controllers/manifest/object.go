package manifest

import (
	yamlv3 "go.yaml.in/yaml/v3"

	"github.com/posterndev/postern/api/v1alpha1"
)

// Finding is an error or a warning about a file.
type Finding struct {
	// File is the name that Objects.Add got.
	File string
	// Line in the file, starting at 1.
	Line int
	// Object is kind/name, and Field the path in it.
	Object, Field string
	Message       string
	// Warning is true if the API server would accept the object nevertheless.
	Warning bool
}

// place is where an object was read.
type place struct {
	file string
	node *yamlv3.Node
}

// File returns the name of the object's file.
func (p place) File() string { return p.file }

// Line returns the line of the object's first field.
func (p place) Line() int { return lineOf(p.node, "") }

func (p place) finding(object, field, message string, warning bool) Finding {
	return Finding{File: p.file, Line: lineOf(p.node, field), Object: object, Field: field, Message: message, Warning: warning}
}

// Policy is a SecurityPolicy with its place.
type Policy struct {
	v1alpha1.SecurityPolicy
	place
}

// Finding returns a finding about a field of p, with its line.
func (p *Policy) Finding(field, message string, warning bool) Finding {
	return p.finding("SecurityPolicy/"+p.Name, field, message, warning)
}

// Class is a SidecarClass with its place.
type Class struct {
	v1alpha1.SidecarClass
	place
}

// Finding returns a finding about a field of c, with its line.
func (c *Class) Finding(field, message string, warning bool) Finding {
	return c.finding("SidecarClass/"+c.Name, field, message, warning)
}

// Revocation is a TokenRevocation with its place.
type Revocation struct {
	v1alpha1.TokenRevocation
	place
}

// Warning returns a finding about a field of r, with its line.
func (r *Revocation) Warning(field, message string) Finding {
	return r.finding("TokenRevocation/"+r.Name, field, message, true)
}

// Secret has the name and the keys of a Secret. Of its values, it has those of a certificate with its key only.
type Secret struct {
	// Namespace is empty if the manifest has none.
	Namespace, Name string
	Keys            []string
	// Chain and Key are the values of tls.crt and tls.key; nil for none, and for what is not base64.
	Chain, Key []byte
	place
}

// Warning returns a finding about a field of s, with its line.
func (s *Secret) Warning(field, message string) Finding {
	return s.finding("Secret/"+s.Name, field, message, true)
}
