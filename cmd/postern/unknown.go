package main

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/posterndev/postern/api/compiled"
	"github.com/posterndev/postern/controllers/manifest"
	"github.com/posterndev/postern/sidecar/keys/certificate"
)

// unknownObjects collects what policies name and the files do not have, so that a command can say what it did not check.
type unknownObjects struct {
	// classes and secrets have each object once, in the order of the policies.
	classes, secrets []unknownObject
}

// unknownObject is an object that the files do not have.
type unknownObject struct {
	// name is that of a class, or <namespace>/<name> of a Secret. It is empty for the default class.
	name string
	// policies has the names of the policies that need it.
	policies []string
}

func (u *unknownObjects) addClass(p *manifest.Policy) {
	name := ""
	if p.Spec.SidecarClassName != nil {
		name = *p.Spec.SidecarClassName
	}
	u.classes = addUnknown(u.classes, name, p.Name)
}

func addUnknown(list []unknownObject, name, policy string) []unknownObject {
	i := slices.IndexFunc(list, func(o unknownObject) bool { return o.name == name })
	if i < 0 {
		return append(list, unknownObject{name, []string{policy}})
	}
	if !slices.Contains(list[i].policies, policy) {
		list[i].policies = append(list[i].policies, policy)
	}
	return list
}

// compareSecrets looks for the Secrets that the document names. A Secret of the files that lacks the key is a warning.
func (s *policySet) compareSecrets(p *manifest.Policy, document *compiled.Policy) {
	for _, ref := range document.SecretRefs() {
		if ref.Name == "" {
			continue // it is in Vault
		}
		secret := s.secret(document.Namespace, ref.Name)
		switch {
		case secret == nil:
			s.unknown.secrets = addUnknown(s.unknown.secrets, fullName(document.Namespace, ref.Name), p.Name)
		case !slices.Contains(secret.Keys, ref.Key):
			s.find(secret.Warning("data", fmt.Sprintf("it has no key %q, which SecurityPolicy/%s names: pods would not start until it has one", ref.Key, p.Name)))
		}
	}
	if document.TLS != nil {
		for i := range document.TLS.Certificates {
			s.judgeCertificate(p, document, &document.TLS.Certificates[i])
		}
	}
}

// judgeCertificate warns about a Secret of the files whose certificate sidecars cannot use. No message contains a part of the key.
func (s *policySet) judgeCertificate(p *manifest.Policy, document *compiled.Policy, c *compiled.Certificate) {
	if c.Chain == nil || c.Key == nil || c.Chain.Name == "" {
		return // it is in Vault
	}
	secret := s.secret(document.Namespace, c.Chain.Name)
	if secret == nil || !slices.Contains(secret.Keys, c.Chain.Key) || !slices.Contains(secret.Keys, c.Key.Key) {
		return
	}
	warn := func(format string, args ...any) {
		s.find(secret.Warning("data", fmt.Sprintf("sidecars of SecurityPolicy/%s cannot use it for TLS: ", p.Name)+fmt.Sprintf(format, args...)))
	}
	switch parsed, err := certificate.Parse(secret.Chain, secret.Key); {
	case len(secret.Chain) == 0:
		warn("its tls.crt is empty or not base64: write the chain in PEM, the server's certificate first")
	case len(secret.Key) == 0:
		warn("its tls.key is empty or not base64: write the key of the certificate in PEM")
	case err != nil:
		warn("%s", err)
	case !s.now.Before(parsed.NotAfter()):
		warn("the certificate expired at %s: write the one that replaces it", parsed.NotAfter().UTC().Format(time.RFC3339))
	}
}

// secret returns a Secret of the files, or nil.
func (s *policySet) secret(namespace, name string) *manifest.Secret {
	for i := range s.objects.Secrets {
		if o := &s.objects.Secrets[i]; o.Name == name && (o.Namespace == namespace || o.Namespace == "" && namespace == "default") {
			return o
		}
	}
	return nil
}

// notChecked prints one note for each kind of object that the files do not have.
func (s *policySet) notChecked(w io.Writer) {
	broken := slices.ContainsFunc(s.findings, func(f manifest.Finding) bool { return !f.Warning && strings.HasPrefix(f.Object, "SidecarClass/") })
	if c := s.unknown.classes; len(c) > 0 && !broken {
		note(w, "not checked, because the files do not have it: %s. Whether it exists is not known, and what depends on its redis, vault and "+
			"trustedProxies was not judged. To check that too, add the class: kubectl get sidecarclass%s -o yaml > class.yaml, then -f class.yaml",
			listed(c, "the SidecarClass %q", "the default SidecarClass"), argument(c))
	}
	if u := s.unknown.secrets; len(u) > 0 {
		note(w, "not checked, because the files do not have it: %s. To check that it exists with the right keys, add its manifest with -f; "+
			"only the names of its keys are read, and a certificate of tls with its key", listed(u, "the Secret %s", ""))
	}
}

// argument returns the name for kubectl get, with a space before it, if all policies need the same class.
func argument(classes []unknownObject) string {
	if len(classes) > 1 || classes[0].name == "" {
		return ""
	}
	return " " + classes[0].name
}

// maxListed is the number of objects, and of policies of each, that a note lists.
const maxListed = 8

// listed returns the objects with their policies, as `the SidecarClass "edge" of SecurityPolicy orders, carts`.
func listed(list []unknownObject, format, unnamed string) string {
	var parts []string
	for i, o := range list {
		if i == maxListed {
			parts = append(parts, fmt.Sprintf("and %d more", len(list)-i))
			break
		}
		text := unnamed
		if o.name != "" {
			text = fmt.Sprintf(format, o.name)
		}
		policies := o.policies
		if len(policies) > maxListed {
			policies = append(slices.Clone(policies[:maxListed]), fmt.Sprintf("and %d more", len(policies)-maxListed))
		}
		parts = append(parts, text+" of SecurityPolicy "+strings.Join(policies, ", "))
	}
	return strings.Join(parts, "; ")
}

func note(w io.Writer, format string, args ...any) {
	fmt.Fprintln(w, escaped("note: "+fmt.Sprintf(format, args...)))
}
