//go:build !nocluster

package main

import (
	"crypto/ed25519"
	"encoding/json"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/fake"

	"github.com/posterndev/postern/api/compiled"
	"github.com/posterndev/postern/controllers/deliver"
	"github.com/posterndev/postern/controllers/render"
)

// TestPodDocument: the document is the one whose hash the pod reports, and no other is taken for it.
func TestPodDocument(t *testing.T) {
	s, err := readPolicies(t.Context(), []string{samples + "securitypolicy.yaml"}, strings.NewReader(""))
	if err != nil {
		t.Fatal(err)
	}
	p, err := s.only("")
	if err != nil {
		t.Fatal(err)
	}
	document := s.compile(p)
	_, key, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	signed, err := compiled.Sign(document, key)
	if err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct {
		report  compiled.Report
		sidecar bool
		want    string
	}{
		"runs it":          {compiled.Report{Hash: signed.Hash(), SchemaVersion: 1}, true, ""},
		"runs another":     {compiled.Report{Hash: "sha256:x", SchemaVersion: 1}, true, "runs another document"},
		"refuses it":       {compiled.Report{Hash: "sha256:x", SchemaVersion: 1, Refused: signed.Hash(), Error: "no keys"}, true, "it refuses the new one: no keys"},
		"has not reported": {compiled.Report{SchemaVersion: 1}, true, "has not reported a document"},
		"no sidecar":       {compiled.Report{}, false, "has no sidecar"},
	} {
		t.Run(name, func(t *testing.T) {
			message, err := json.Marshal(tt.report)
			if err != nil {
				t.Fatal(err)
			}
			pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "orders-1"}}
			if tt.sidecar {
				pod.Spec.InitContainers = []corev1.Container{{Name: render.SidecarName, Env: []corev1.EnvVar{{Name: compiled.EnvPolicy, Value: "orders"}}}}
			}
			pod.Status.Conditions = []corev1.PodCondition{{Type: deliver.ConditionSidecar, Message: string(message)}}
			got, note, err := podDocument(t.Context(), fake.NewClientset(pod, render.ConfigMap("shop", "orders", signed)), "shop", "orders-1")
			if tt.want == "" {
				if err != nil || got.Name != "orders" || !strings.Contains(note, "orders-1") {
					t.Errorf("%v %q %v", got, note, err)
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("%v; want %q", err, tt.want)
			}
		})
	}
}
