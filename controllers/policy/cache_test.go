package policy

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/event"

	"github.com/posterndev/postern/api/compiled"
	"github.com/posterndev/postern/controllers/deliver"
	"github.com/posterndev/postern/controllers/render"
)

func fullPod() *corev1.Pod {
	p := bound(corev1.PodRunning)
	p.UID, p.ResourceVersion, p.Labels = "u", "7", map[string]string{"app": "orders"}
	p.Annotations = map[string]string{render.InjectionAnnotation: "h", "x": "y"}
	p.ManagedFields = []metav1.ManagedFieldsEntry{{Manager: "kubectl"}}
	p.Spec.Containers = []corev1.Container{{Name: "app", Image: "i"}}
	p.Spec.InitContainers[0].Env = append([]corev1.EnvVar{{Name: compiled.EnvOperatorCA, Value: "long"}}, p.Spec.InitContainers[0].Env...)
	p.Status.Conditions = []corev1.PodCondition{{Type: corev1.PodReady}, {Type: deliver.ConditionSidecar, Message: `{"hash":"a"}`, LastProbeTime: metav1.NewTime(created)}}
	return p
}

func TestTrimPodKeepsWhatIsRead(t *testing.T) {
	full := fullPod()
	got, err := trimPod(full.DeepCopy())
	if err != nil {
		t.Fatal(err)
	}
	want := bound(corev1.PodRunning)
	want.UID, want.ResourceVersion, want.Labels = "u", "7", full.Labels
	want.Annotations = map[string]string{render.InjectionAnnotation: "h"}
	want.Status.Conditions = full.Status.Conditions[1:]
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("the trimmed pod differs:\n%s", diff)
	}
	if policy, ok := deliver.BoundPolicy(got.(*corev1.Pod)); !ok || policy != "orders" {
		t.Errorf("the trimmed pod is bound to %q", policy)
	}
}

func TestPodChanged(t *testing.T) {
	tests := map[string]struct {
		edit func(*corev1.Pod)
		want bool
	}{
		"nothing":            {func(*corev1.Pod) {}, false},
		"only its version":   {func(p *corev1.Pod) { p.ResourceVersion = "8" }, false},
		"pending to running": {func(p *corev1.Pod) { p.Status.Phase = corev1.PodPending }, false},
		"labels":             {func(p *corev1.Pod) { p.Labels["app"] = "x" }, true},
		"annotation":         {func(p *corev1.Pod) { p.Annotations[render.InjectionAnnotation] = "x" }, true},
		"finished":           {func(p *corev1.Pod) { p.Status.Phase = corev1.PodFailed }, true},
		"going":              {func(p *corev1.Pod) { p.DeletionTimestamp = &metav1.Time{} }, true},
		"a report":           {func(p *corev1.Pod) { p.Status.Conditions[0].Message = "x" }, true},
		"an image":           {func(p *corev1.Pod) { p.Spec.InitContainers[0].Image = "x" }, true},
		"a confirmation": {func(p *corev1.Pod) {
			p.Status.Conditions[0].LastProbeTime = metav1.NewTime(created.Add(5 * time.Minute))
		}, false},
		"after a silence": {func(p *corev1.Pod) {
			p.Status.Conditions[0].LastProbeTime = metav1.NewTime(created.Add(deliver.MaxReportAge))
		}, true},
	}
	for title, tt := range tests {
		t.Run(title, func(t *testing.T) {
			trimmed, err := trimPod(fullPod())
			if err != nil {
				t.Fatal(err)
			}
			before := trimmed.(*corev1.Pod)
			after := before.DeepCopy()
			tt.edit(after)
			if got := podChanged(event.UpdateEvent{ObjectOld: before, ObjectNew: after}); got != tt.want {
				t.Errorf("changed %t, want %t", got, tt.want)
			}
		})
	}
}

func TestOfConfigMap(t *testing.T) {
	long := strings.Repeat("x", 250)
	tests := map[string]struct {
		cm   *corev1.ConfigMap
		want string
	}{
		"short":              {render.ConfigMap("shop", "orders", compiled.Signed{}), "orders"},
		"long":               {render.ConfigMap("shop", long, compiled.Signed{Document: []byte(`{"name":"` + long + `"}`)}), long},
		"long, another name": {render.ConfigMap("shop", long, compiled.Signed{Document: []byte(`{"name":"orders"}`)}), ""},
		"long, damaged":      {render.ConfigMap("shop", long, compiled.Signed{Document: []byte(`x`)}), ""},
		"of another owner":   {&corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "x"}}, ""},
	}
	for title, tt := range tests {
		t.Run(title, func(t *testing.T) {
			got := ""
			for _, r := range ofConfigMap(context.Background(), tt.cm) {
				got = r.Name
			}
			if got != tt.want {
				t.Errorf("the policy is %q, want %q", got, tt.want)
			}
		})
	}
}
