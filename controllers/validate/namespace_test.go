package validate

import (
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// TestWrongInjectionLabelWarns checks that a namespace's label with a value that does not enable injection is named at kubectl apply.
func TestWrongInjectionLabelWarns(t *testing.T) {
	for name, tc := range map[string]struct {
		labels map[string]string
		want   bool
	}{
		"enabled":       {map[string]string{"postern.dev/injection": "enabled"}, false},
		"no label":      {nil, false},
		"true":          {map[string]string{"postern.dev/injection": "true"}, true},
		"another case":  {map[string]string{"postern.dev/injection": "Enabled"}, true},
		"empty":         {map[string]string{"postern.dev/injection": ""}, true},
		"Istio's label": {map[string]string{"istio-injection": "enabled"}, false},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHandler(t, nil, class("default", nil), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "shop", Labels: tc.labels}})
			response := h.Handle(t.Context(), request(t, policy(nil), nil))
			warned := strings.Contains(strings.Join(response.Warnings, "\n"), "kubectl label namespace shop postern.dev/injection=enabled --overwrite")
			if !response.Allowed || warned != tc.want {
				t.Errorf("allowed %t, warnings %q", response.Allowed, response.Warnings)
			}
		})
	}
}
