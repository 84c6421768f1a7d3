package policy

import (
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/posterndev/postern/api/v1alpha1"
	"github.com/posterndev/postern/controllers/render"
)

// TestRefusal checks that refusal reports why the webhook would refuse the pods of a template.
func TestRefusal(t *testing.T) {
	o := &observation{
		name:    name,
		policy:  &v1alpha1.SecurityPolicy{ObjectMeta: metav1.ObjectMeta{Namespace: name.Namespace, Name: name.Name}},
		classes: []v1alpha1.SidecarClass{{ObjectMeta: metav1.ObjectMeta{Name: "default", Annotations: map[string]string{v1alpha1.DefaultClassAnnotation: "true"}}}},
	}
	tests := map[string]struct {
		spec    corev1.PodSpec
		labels  map[string]string // of the namespace
		wantErr string
	}{
		"an app":                           {spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "app"}}}},
		"host network":                     {spec: corev1.PodSpec{HostNetwork: true}, wantErr: "hostNetwork"},
		"Redirect in restricted namespace": {labels: map[string]string{"pod-security.kubernetes.io/enforce": "restricted"}, wantErr: "Takeover"},
	}
	for title, tt := range tests {
		t.Run(title, func(t *testing.T) {
			o.labels = tt.labels
			v := judge(o, render.Settings{}, nil, time.Unix(1e9, 0))
			err := refusal(o, v)(&corev1.PodTemplateSpec{Spec: tt.spec})
			if (err == nil) != (tt.wantErr == "") || err != nil && !strings.Contains(err.Error(), tt.wantErr) {
				t.Errorf("got %v, want %q", err, tt.wantErr)
			}
		})
	}
}
