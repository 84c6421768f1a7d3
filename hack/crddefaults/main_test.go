package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/posterndev/postern/api/v1alpha1"
)

const crd = `---
spec:
  names: {kind: Door}
  versions:
  - schema:
      openAPIV3Schema:
        properties:
          spec:
            properties:
              locks:
                items:
                  properties:
                    pins: {type: integer}
              state: {type: string, description: State of it.}
`

const want = `---
spec:
  names:
    kind: Door
  versions:
  - schema:
      openAPIV3Schema:
        properties:
          spec:
            properties:
              locks:
                items:
                  properties:
                    pins:
                      description: 'Default: 5.'
                      type: integer
              state:
                description: |-
                  State of it.
                  Default: what the wall has.
                type: string
`

func TestRun(t *testing.T) {
	pins := v1alpha1.Default{Field: "Door.spec.locks[].pins", Value: "5"}
	state := v1alpha1.Default{Field: "Door.spec.state", Text: "what the wall has"}
	tests := map[string]struct {
		content  string
		defaults []v1alpha1.Default
		wantErr  string
	}{
		"a value and a text": {content: crd, defaults: []v1alpha1.Default{pins, state}},
		"an unknown field":   {content: crd, defaults: []v1alpha1.Default{{Field: "Door.spec.colour", Value: "red"}}, wantErr: "Door.spec.colour: no CRD has this field"},
		"no YAML":            {content: "a: [", wantErr: "describing defaults of door.yaml"},
		"no version":         {content: "spec: {}", wantErr: "there are 0 versions"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "door.yaml")
			if err := os.WriteFile(file, []byte(tt.content), 0o600); err != nil {
				t.Fatal(err)
			}
			err := run(filepath.Dir(file), tt.defaults)
			if tt.wantErr != "" {
				if err == nil || !strings.Contains(err.Error(), tt.wantErr) {
					t.Errorf("error %v; want one with %q", err, tt.wantErr)
				}
				return
			}
			got, readErr := os.ReadFile(file)
			if err != nil || readErr != nil || string(got) != want {
				t.Errorf("%v, %v, wrote:\n%s\nwant:\n%s", err, readErr, got, want)
			}
		})
	}
}
