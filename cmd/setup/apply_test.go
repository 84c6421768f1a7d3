package main

import (
	"context"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/dynamic"
)

const manifest = "apiVersion: postern.dev/v1alpha1\nkind: SidecarClass\nmetadata: {name: default}\nspec: {logLevel: info}\n"

// classes returns the errors one after the other, then success.
type classes struct {
	dynamic.ResourceInterface
	errs    []error
	calls   int
	options metav1.ApplyOptions
}

func (c *classes) Apply(_ context.Context, name string, o *unstructured.Unstructured, options metav1.ApplyOptions, _ ...string) (*unstructured.Unstructured, error) {
	c.calls++
	c.options = options
	if c.calls <= len(c.errs) {
		return nil, c.errs[c.calls-1]
	}
	return o, nil
}

func TestApply(t *testing.T) {
	notFound := apierrors.NewNotFound(resource.GroupResource(), "default")
	forbidden := apierrors.NewForbidden(resource.GroupResource(), "default", nil)
	invalid := apierrors.NewInvalid(resource.GroupVersion().WithKind(kind).GroupKind(), "default", nil)
	badRequest := apierrors.NewBadRequest("unknown field")
	for name, test := range map[string]struct {
		errs      []error
		wantCalls int
		wantErr   string
	}{
		"first attempt":        {wantCalls: 1},
		"served after retries": {errs: []error{notFound, forbidden, notFound}, wantCalls: 4},
		"invalid":              {errs: []error{notFound, invalid}, wantCalls: 2, wantErr: "invalid"},
		"unknown field":        {errs: []error{badRequest}, wantCalls: 1, wantErr: "unknown field"},
	} {
		t.Run(name, func(t *testing.T) {
			class, err := decode([]byte(manifest))
			if err != nil {
				t.Fatal(err)
			}
			fake := &classes{errs: test.errs}
			err = applier{fake, time.Millisecond, slog.New(slog.NewTextHandler(io.Discard, nil))}.apply(t.Context(), class)
			if (err == nil) != (test.wantErr == "") || err != nil && !strings.Contains(err.Error(), test.wantErr) {
				t.Errorf("got error %v, want %q", err, test.wantErr)
			}
			if fake.calls != test.wantCalls || fake.options.FieldManager != fieldManager || !fake.options.Force {
				t.Errorf("called %d times with %+v, want %d", fake.calls, fake.options, test.wantCalls)
			}
		})
	}
}

func TestApplyGivesUp(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	class, err := decode([]byte(manifest))
	if err != nil {
		t.Fatal(err)
	}
	fake := &classes{errs: []error{apierrors.NewNotFound(resource.GroupResource(), "default")}}
	err = applier{fake, time.Hour, slog.New(slog.NewTextHandler(io.Discard, nil))}.apply(ctx, class)
	if err == nil || !strings.Contains(err.Error(), "not found") || !strings.Contains(err.Error(), "canceled") {
		t.Errorf("got error %v, want both the context's error and the last error", err)
	}
}

func TestRunRefuses(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	for name, test := range map[string]struct {
		args    []string
		wantErr string
	}{
		"no file":        {[]string{"-f", filepath.Join(dir, "absent")}, "reading manifest"},
		"unknown flag":   {[]string{"-x"}, "not defined"},
		"stray argument": {[]string{"x"}, `"x" is not a flag`},
		"not YAML":       {[]string{"-f", write("yaml", "a: [")}, "decoding YAML"},
		"duplicate key":  {[]string{"-f", write("twice", manifest+"kind: SidecarClass\n")}, "decoding YAML"},
		"another kind":   {[]string{"-f", write("kind", strings.Replace(manifest, "SidecarClass", "SecurityPolicy", 1))}, "is not a SidecarClass"},
		"no name":        {[]string{"-f", write("name", strings.Replace(manifest, "name: default", "", 1))}, "no metadata.name"},
		"empty":          {[]string{"-f", write("empty", "")}, "is not a SidecarClass"},
	} {
		t.Run(name, func(t *testing.T) {
			if err := run(t.Context(), test.args); err == nil || !strings.Contains(err.Error(), test.wantErr) {
				t.Errorf("got error %v, want %q", err, test.wantErr)
			}
		})
	}
}
