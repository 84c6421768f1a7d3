package compiled

import "fmt"

// Feature is a part of the document that readers of an earlier schema version do not know. Every field that is added after a
// release is a feature. The field has omitempty, so that older sidecars can read a document that does not use it, and it is
// registered in features.
type Feature struct {
	// Name is the feature's field in the SecurityPolicy or SidecarClass, such as "spec.audit".
	Name string
	// Version is the schema version that introduced the feature: 2 for a feature added after release 0.1.
	Version int
	// Used reports whether a document uses it.
	Used func(*Policy) bool
}

// features returns the features of this build that schema version 1 does not have. SchemaVersion is the highest of their
// versions.
func features() []Feature { return nil }

// Schema lists the features that a build knows. The nil Schema is that of this build; tests use others.
type Schema []Feature

func (s Schema) features() []Feature {
	if s == nil {
		return features()
	}
	return s
}

// Newest is the newest schema version that a build with this schema reads.
func (s Schema) Newest() int {
	newest := 1
	for _, f := range s.features() {
		newest = max(newest, f.Version)
	}
	return newest
}

// VersionOf returns the lowest schema version whose readers can run p.
func (s Schema) VersionOf(p *Policy) int {
	version := 1
	for _, f := range s.features() {
		if f.Version > version && f.Used(p) {
			version = f.Version
		}
	}
	return version
}

// Unknown returns the names of the features that p uses and a reader of that schema version does not know.
func (s Schema) Unknown(p *Policy, version int) []string {
	var names []string
	for _, f := range s.features() {
		if f.Version > version && f.Used(p) {
			names = append(names, f.Name)
		}
	}
	return names
}

// DocumentKeys returns the keys of the ConfigMap that hold a document of that schema version and its signature. Every sidecar
// reads those of version 1.
func DocumentKeys(version int) (document, signature string) {
	if version <= 1 {
		return DocumentKey, SignatureKey
	}
	return fmt.Sprintf("document.v%d.json", version), fmt.Sprintf("signature.v%d", version)
}

// Reads returns the newest schema version that the sidecar reads.
func (r *Report) Reads() int { return max(1, r.SchemaVersion) }
