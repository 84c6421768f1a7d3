package compiled

import (
	"bufio"
	"bytes"
	"encoding"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the field list of the next release")

// unreleased is the next release: its field list may still change. After its release, set this to the next one. The files of a
// published release never change.
const unreleased = "0.1"

const releasesDir = "testdata/releases"

// releases returns the folders of testdata/releases.
func releases(t *testing.T) []string {
	t.Helper()
	entries, err := os.ReadDir(releasesDir)
	if err != nil || len(entries) == 0 {
		t.Fatalf("found %d releases, %v", len(entries), err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

// TestCurrentDecoderReadsEveryRelease checks that the current decoder reads the documents of every release, and loses no field.
func TestCurrentDecoderReadsEveryRelease(t *testing.T) {
	for _, release := range releases(t) {
		files, err := filepath.Glob(filepath.Join(releasesDir, release, "*.json"))
		if err != nil || len(files) == 0 {
			t.Fatalf("release %s has %d documents, %v", release, len(files), err)
		}
		for _, file := range files {
			t.Run(release+"/"+filepath.Base(file), func(t *testing.T) {
				b, err := os.ReadFile(file)
				if err != nil {
					t.Fatal(err)
				}
				p, err := Decode(b)
				if err != nil {
					t.Fatalf("the current decoder refuses a document of release %s: %v", release, err)
				}
				again, err := Encode(p)
				if err != nil || !bytes.Equal(bytes.TrimSpace(b), again) {
					t.Errorf("encoding it again (%v) gives other bytes, because a new field has no omitempty or a field is lost:\n%s", err, again)
				}
				if got := Schema(nil).VersionOf(p); got != p.SchemaVersion {
					t.Errorf("it now gets schema version %d, not %d", got, p.SchemaVersion)
				}
			})
		}
	}
}

// TestEveryNewFieldIsAFeature checks that a document with a field that a release does not know has a newer schema version than
// that release reads. Otherwise the strict decoder of the release would refuse the document, without a reason that helps.
func TestEveryNewFieldIsAFeature(t *testing.T) {
	today := fieldsOf(reflect.TypeFor[Policy]())
	for _, release := range releases(t) {
		version, known := readFields(t, release, today)
		for path, kind := range known {
			if today[path] != kind {
				t.Errorf("release %s writes %s as %s, but it is now %q: older documents cannot be read", release, path, kind, today[path])
			}
		}
		for path := range today {
			if _, ok := known[path]; ok {
				continue
			}
			p := &Policy{}
			set(reflect.ValueOf(p).Elem(), strings.Split(path, "."))
			if got := (Schema)(nil).VersionOf(p); got <= version {
				t.Errorf("release %s does not know %s, and its sidecars would refuse a document that sets it: give it omitempty and register it in "+
					"features, with version %d (before %s is released: go test ./api/compiled ./controllers/compile -update)", release, path, version+1, unreleased)
			}
		}
	}
}

// TestSchemaVersionIsTheNewestFeatures checks SchemaVersion: if it were too low, sidecars would report that they cannot read new
// documents.
func TestSchemaVersionIsTheNewestFeatures(t *testing.T) {
	if got := Schema(nil).Newest(); got != SchemaVersion {
		t.Errorf("the newest feature has version %d, SchemaVersion is %d", got, SchemaVersion)
	}
}

// readFields returns the schema version that the release reads, and its fields with their kinds.
func readFields(t *testing.T, release string, today map[string]string) (int, map[string]string) {
	t.Helper()
	file := filepath.Join(releasesDir, release, "fields.txt")
	if *update && release == unreleased {
		lines := []string{fmt.Sprintf("schemaVersion %d", SchemaVersion)}
		for path, kind := range today {
			lines = append(lines, path+" "+kind)
		}
		slices.Sort(lines[1:])
		if err := os.WriteFile(file, []byte(strings.Join(lines, "\n")+"\n"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	version, fields := 0, map[string]string{}
	lines := bufio.NewScanner(bytes.NewReader(b))
	lines.Scan()
	if _, err := fmt.Sscanf(lines.Text(), "schemaVersion %d", &version); err != nil {
		t.Fatal(err)
	}
	for lines.Scan() {
		path, kind, ok := strings.Cut(lines.Text(), " ")
		if !ok {
			t.Fatalf("%q is not a field and its kind", lines.Text())
		}
		fields[path] = kind
	}
	return version, fields
}

// fieldsOf returns the JSON paths of a type's fields, with their kinds. Paths have no list indices: "providers.issuer".
func fieldsOf(of reflect.Type) map[string]string {
	out := map[string]string{}
	var walk func(of reflect.Type, prefix string)
	walk = func(of reflect.Type, prefix string) {
		for _, f := range jsonFields(of) {
			name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
			path := prefix + name
			inner, list := element(f.Type)
			kind := kindOf(inner)
			if kind == "object" {
				walk(inner, path+".")
			}
			out[path] = list + kind
		}
	}
	walk(of, "")
	return out
}

// jsonFields returns the fields of a struct, with those of embedded structs in their place, as JSON has them.
func jsonFields(of reflect.Type) []reflect.StructField {
	return slices.DeleteFunc(reflect.VisibleFields(of), func(f reflect.StructField) bool { return f.Anonymous })
}

// element removes pointers and lists from a type, and returns a prefix that names the lists.
func element(of reflect.Type) (inner reflect.Type, list string) {
	for {
		switch {
		case of.Kind() == reflect.Pointer:
			of = of.Elem()
		case of.Kind() == reflect.Slice && of != reflect.TypeFor[json.RawMessage]():
			of, list = of.Elem(), list+"list-of-"
		default:
			return of, list
		}
	}
}

func kindOf(of reflect.Type) string {
	switch {
	case of == reflect.TypeFor[json.RawMessage]():
		return "json"
	case reflect.PointerTo(of).Implements(reflect.TypeFor[encoding.TextMarshaler]()), of.Kind() == reflect.String:
		return "string"
	case of.Kind() == reflect.Struct:
		return "object"
	case of.Kind() == reflect.Bool:
		return "boolean"
	case of.ConvertibleTo(reflect.TypeFor[int64]()):
		return "number"
	}
	return of.String()
}

// set gives the field at path, and the values around it, a value other than zero.
func set(v reflect.Value, path []string) {
	switch {
	case v.Kind() == reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		set(v.Elem(), path)
	case v.Kind() == reflect.Slice && v.Type() != reflect.TypeFor[json.RawMessage]():
		v.Set(reflect.MakeSlice(v.Type(), 1, 1))
		set(v.Index(0), path)
	case len(path) > 0:
		for _, f := range jsonFields(v.Type()) {
			if name, _, _ := strings.Cut(f.Tag.Get("json"), ","); name == path[0] {
				set(v.FieldByIndex(f.Index), path[1:])
			}
		}
	case v.Kind() == reflect.String:
		v.SetString("x")
	case v.Kind() == reflect.Bool:
		v.SetBool(true)
	case v.Kind() == reflect.Slice:
		v.SetBytes([]byte(`{}`))
	case v.CanInt():
		v.SetInt(1)
	case v.CanUint():
		v.SetUint(1)
	}
}

// TestFeatures checks that a document has the lowest version whose readers can run it.
func TestFeatures(t *testing.T) {
	schema := Schema{
		{Name: "spec.compression", Version: 2, Used: func(p *Policy) bool { return p.Compression != nil }},
		{Name: "spec.cors", Version: 3, Used: func(p *Policy) bool { return p.CORS != nil }},
	}
	if schema.Newest() != 3 {
		t.Errorf("the newest is %d", schema.Newest())
	}
	tests := map[string]struct {
		policy      Policy
		wantVersion int
		// wantUnknown are the features that a reader of version 1 does not know.
		wantUnknown []string
	}{
		"no feature":   {Policy{}, 1, nil},
		"one feature":  {Policy{Compression: &Compression{}}, 2, []string{"spec.compression"}},
		"two features": {Policy{Compression: &Compression{}, CORS: &CORS{}}, 3, []string{"spec.compression", "spec.cors"}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if got := schema.VersionOf(&tt.policy); got != tt.wantVersion {
				t.Errorf("the version is %d, want %d", got, tt.wantVersion)
			}
			if got := schema.Unknown(&tt.policy, 1); !slices.Equal(got, tt.wantUnknown) {
				t.Errorf("the unknown features are %q, want %q", got, tt.wantUnknown)
			}
			p := full()
			p.SchemaVersion = tt.wantVersion
			b, err := Encode(p)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := schema.Decode(b); err != nil {
				t.Errorf("the schema does not read the document: %v", err)
			}
			if _, err := Decode(b); errors.Is(err, ErrTooNew) != (tt.wantVersion > SchemaVersion) {
				t.Errorf("this build: %v", err)
			}
		})
	}
}
