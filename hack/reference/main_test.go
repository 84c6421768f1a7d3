package main

import (
	"os"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/posterndev/postern/config/crd"
)

const doorCRD = `
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: doors.example.com}
spec:
  group: example.com
  names: {kind: Door, plural: doors, singular: door, shortNames: [dr]}
  scope: Cluster
  versions:
  - name: v1
    served: true
    storage: true
    schema:
      openAPIV3Schema:
        description: Door is a way in.
        type: object
        properties:
          apiVersion: {type: string}
          spec:
            type: object
            description: |-
              DoorSpec has
              two lines.
            required: [locks]
            x-kubernetes-validations: [{rule: "true", message: a door is shut or open}]
            properties:
              locks:
                type: array
                minItems: 1
                maxItems: 4
                description: Locks of * the door.
                x-kubernetes-list-type: map
                x-kubernetes-list-map-keys: [name]
                items:
                  type: object
                  description: Lock is one.
                  properties:
                    name: {type: string, maxLength: 8, pattern: "^[a-z]|b$"}
                    pins: {type: integer, minimum: 1, maximum: 9, default: 5}
              port: {x-kubernetes-int-or-string: true}
              state: {type: string, enum: [Open, Shut], default: Shut}
              tags:
                type: array
                x-kubernetes-list-type: set
                items: {type: string, maxLength: 3, x-kubernetes-validations: [{rule: "true", message: short ones.}]}
              weights: {type: object, additionalProperties: {type: integer}}
          status:
            type: object
            properties: {seen: {type: string, format: date-time}}
`

const wantDoor = "\n## Door\n\nDoor is a way in.\n\n" +
	"`apiVersion: example.com/v1`, `kind: Door`. It is cluster-scoped: `kubectl get doors`, short name `dr`.\n\n" +
	"### Door spec\n\nDoorSpec has two lines.\n\nRule: a door is shut or open.\n\n" +
	"- **`locks`** (list of object, required): Locks of \\* the door.\n" +
	"  - at least 1 entry\n  - at most 4 entries\n  - no two entries have the same `name`\n" +
	"- **`port`** (integer or string)\n" +
	"- **`state`** (string, default `\"Shut\"`)\n  - one of `Open`, `Shut`\n" +
	"- **`tags`** (list of string)\n  - entries are unique\n  - each: at most 3 characters\n  - each: short ones.\n" +
	"- **`weights`** (map to integer)\n\n" +
	"### Door spec.locks[]\n\nLock is one.\n\n" +
	"- **`name`** (string)\n  - at most 8 characters\n  - matches `^[a-z]|b$`\n" +
	"- **`pins`** (integer, default `5`)\n  - at least 1\n  - at most 9\n\n" +
	"### Door status\n\n- **`seen`** (string, date-time)\n"

func TestWrite(t *testing.T) {
	var b strings.Builder
	if err := write(&b, fstest.MapFS{"bases/doors.yaml": {Data: []byte(doorCRD)}}); err != nil {
		t.Fatal(err)
	}
	if _, got, ok := strings.Cut(b.String(), "offline.\n"); !ok || got != wantDoor {
		t.Errorf("page:\n%s\nwant:\n%s", b.String(), wantDoor)
	}
}

func TestWriteRefuses(t *testing.T) {
	tests := map[string]struct {
		files   fstest.MapFS
		wantErr string
	}{
		"no CRD":        {files: fstest.MapFS{}, wantErr: "there are none"},
		"not YAML":      {files: fstest.MapFS{"bases/a.yaml": {Data: []byte("a: [")}}, wantErr: "decoding bases/a.yaml"},
		"unknown field": {files: fstest.MapFS{"bases/a.yaml": {Data: []byte("door: 1")}}, wantErr: "unknown field"},
		"no schema":     {files: fstest.MapFS{"bases/a.yaml": {Data: []byte("spec: {versions: [{name: v1}]}")}}, wantErr: "version v1 has no schema"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			err := write(&strings.Builder{}, tt.files)
			if err == nil || !strings.Contains(err.Error(), tt.wantErr) {
				t.Errorf("error %v; want one with %q", err, tt.wantErr)
			}
		})
	}
}

// TestReferenceIsCurrent checks that the page in docs matches the CRDs.
func TestReferenceIsCurrent(t *testing.T) {
	want, err := os.ReadFile("../../docs/reference.md")
	if err != nil {
		t.Fatal(err)
	}
	var got strings.Builder
	if err := write(&got, crd.Bases); err != nil {
		t.Fatal(err)
	}
	if got.String() != string(want) {
		t.Error("docs/reference.md is not what the CRDs say: run make generate")
	}
}
