package inject

import (
	"context"
	"os"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/posterndev/postern/api/v1alpha1"
)

// quantities returns a list from pairs of a name and a quantity.
func quantities(pairs ...string) corev1.ResourceList {
	out := corev1.ResourceList{}
	for i := 0; i < len(pairs); i += 2 {
		out[corev1.ResourceName(pairs[i])] = resource.MustParse(pairs[i+1])
	}
	return out
}

func perContainer(item corev1.LimitRangeItem) *corev1.LimitRange {
	item.Type = corev1.LimitTypeContainer
	return &corev1.LimitRange{ObjectMeta: metav1.ObjectMeta{Name: "range"}, Spec: corev1.LimitRangeSpec{Limits: []corev1.LimitRangeItem{item}}}
}

func quota(hard corev1.ResourceList) *corev1.ResourceQuota {
	return &corev1.ResourceQuota{ObjectMeta: metav1.ObjectMeta{Name: "quota"}, Spec: corev1.ResourceQuotaSpec{Hard: hard}}
}

// A bounded namespace refuses pods after injection, by an object of the cluster's administrator.
type bounded struct {
	by client.Object
	// phrase is the API server's message as docs/troubleshooting.md quotes it: … stands for any text.
	phrase string
	// resources of the class admit the pod.
	resources corev1.ResourceRequirements
}

// boundedNamespaces has each way in which a quota or a LimitRange refuses the sidecar but not the app.
var boundedNamespaces = map[string]bounded{
	"quota-cpu": {
		by: quota(quantities("limits.cpu", "10")), phrase: "must specify limits.cpu for: postern",
		resources: corev1.ResourceRequirements{Limits: quantities("cpu", "100m")},
	},
	"quota-exceeded": {
		by: quota(quantities("limits.memory", "300Mi")), phrase: "exceeded quota: … requested: limits.memory",
		resources: corev1.ResourceRequirements{Limits: quantities("memory", "128Mi")},
	},
	"range-max": {
		by: perContainer(corev1.LimitRangeItem{Max: quantities("memory", "128Mi")}), phrase: "maximum memory usage per Container is … but limit is",
		resources: corev1.ResourceRequirements{Limits: quantities("memory", "128Mi")},
	},
	"range-min": {
		by: perContainer(corev1.LimitRangeItem{Min: quantities("cpu", "50m")}), phrase: "minimum cpu usage per Container is … but request is",
		resources: corev1.ResourceRequirements{Requests: quantities("cpu", "50m"), Limits: quantities("memory", "256Mi")},
	},
	"range-ephemeral": {
		by: perContainer(corev1.LimitRangeItem{MaxLimitRequestRatio: quantities("ephemeral-storage", "2")}), phrase: "max limit to request ratio per Container is … but no request is specified",
		resources: corev1.ResourceRequirements{Requests: quantities("ephemeral-storage", "32Mi"), Limits: quantities("ephemeral-storage", "32Mi")},
	},
	"range-ratio": {
		by: perContainer(corev1.LimitRangeItem{MaxLimitRequestRatio: quantities("memory", "2")}), phrase: "max limit to request ratio per Container is … but provided ratio is",
		resources: corev1.ResourceRequirements{Requests: quantities("memory", "128Mi"), Limits: quantities("memory", "256Mi")},
	},
}

// testBoundedNamespaces: the API server names our containers, the page names the class's field for its message, and that field is
// enough to admit the pod.
func testBoundedNamespaces(t *testing.T, c client.Client) {
	page, err := os.ReadFile("../../docs/troubleshooting.md")
	if err != nil {
		t.Fatal(err)
	}
	for name, tt := range boundedNamespaces {
		for _, interception := range []v1alpha1.Interception{v1alpha1.InterceptRedirect, v1alpha1.InterceptTakeover} {
			t.Run(name+"/"+string(interception), func(t *testing.T) {
				if row := rowWith(string(page), "`"+tt.phrase+"`"); !strings.Contains(row, "`spec.resources") {
					t.Errorf("the page's row for %q names no field of the class: %q", tt.phrase, row)
				}
				testBounded(t, c, name+"-"+strings.ToLower(string(interception)), interception, tt)
			})
		}
	}
}

func testBounded(t *testing.T, c client.Client, namespace string, interception v1alpha1.Interception, tt bounded) {
	class := &v1alpha1.SidecarClass{ObjectMeta: metav1.ObjectMeta{Name: namespace}}
	ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace, Labels: map[string]string{v1alpha1.InjectionLabel: v1alpha1.InjectionLabelEnabled}}}
	policy := securityPolicy("orders", 0)
	policy.Namespace, policy.Spec.Interception, policy.Spec.SidecarClassName = namespace, interception, ptr.To(namespace)
	create(t, c, ns, serviceAccount(namespace), class, policy)
	bound(t, c, namespace, tt.by)

	// The API server's view of quotas is a cache, so a pod that comes too early is admitted.
	var refused error
	err := wait.PollUntilContextTimeout(t.Context(), 50*time.Millisecond, 30*time.Second, true, func(ctx context.Context) (bool, error) {
		refused = c.Create(ctx, boundedPod(namespace), client.DryRunAll)
		return refused != nil, nil
	})
	if err != nil || !apierrors.IsForbidden(refused) || !anyIn([]string{tt.phrase}, refused.Error()) {
		t.Fatalf("the API server says %v (%v), want %q", refused, err, tt.phrase)
	}
	class.Spec.Resources = &tt.resources
	if err := c.Update(t.Context(), class); err != nil {
		t.Fatal(err)
	}
	if err := c.Create(t.Context(), boundedPod(namespace)); err != nil {
		t.Errorf("with spec.resources of the class: %v", err)
	}
}

// bound creates the object that bounds the namespace. A quota counts once its status is set, which a controller does in a cluster.
func bound(t *testing.T, c client.Client, namespace string, by client.Object) {
	t.Helper()
	o, _ := by.DeepCopyObject().(client.Object)
	o.SetNamespace(namespace)
	create(t, c, o)
	q, ok := o.(*corev1.ResourceQuota)
	if !ok {
		return
	}
	q.Status.Hard, q.Status.Used = q.Spec.Hard, corev1.ResourceList{}
	for name := range q.Spec.Hard {
		q.Status.Used[name] = resource.MustParse("0")
	}
	if err := c.Status().Update(t.Context(), q); err != nil {
		t.Fatal(err)
	}
}

// boundedPod returns a pod of the app that satisfies each of boundedNamespaces by itself.
func boundedPod(namespace string) *corev1.Pod {
	pod := appPod()
	pod.Namespace = namespace
	pod.Spec.Containers[0].Image = "registry.example/app:1"
	all := quantities("cpu", "50m", "memory", "100Mi", "ephemeral-storage", "32Mi")
	// The request differs from the limit, so that the pod is not Guaranteed.
	requests := all.DeepCopy()
	requests[corev1.ResourceMemory] = resource.MustParse("99Mi")
	pod.Spec.Containers[0].Resources = corev1.ResourceRequirements{Requests: requests, Limits: all}
	return pod
}

// rowWith returns the row of a table that contains the text.
func rowWith(page, text string) string {
	for row := range strings.SplitSeq(page, "\n") {
		if strings.HasPrefix(row, "|") && strings.Contains(row, text) {
			return row
		}
	}
	return ""
}
