package charts

import (
	"fmt"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/yaml"
)

// ciValues renders the chart with a file of values that CI uses, and with these values in addition.
func ciValues(t *testing.T, file string, set ...string) []*unstructured.Unstructured {
	t.Helper()
	args := []string{"template", release, chart, "--values", filepath.Join(chart, "ci", file)}
	for _, s := range set {
		args = append(args, "--set", s)
	}
	return decode(t, run(t, "helm", args...))
}

// at returns the value at a path of the object of this kind and name, or nil.
func at(t *testing.T, objects []*unstructured.Unstructured, kind, name string, path ...string) any {
	t.Helper()
	value, _, err := unstructured.NestedFieldNoCopy(find(t, objects, kind, name).Object, path...)
	if err != nil {
		t.Fatal(err)
	}
	return value
}

// podSpecs returns the pods that the chart creates, by kind and name.
func podSpecs(t *testing.T, objects []*unstructured.Unstructured) map[string]corev1.PodTemplateSpec {
	t.Helper()
	out := map[string]corev1.PodTemplateSpec{}
	for _, o := range objects {
		template, found, err := unstructured.NestedMap(o.Object, "spec", "template")
		switch o.GetKind() {
		case "Pod":
			template, found = o.Object, true
		case "CronJob":
			template, found, err = unstructured.NestedMap(o.Object, "spec", "jobTemplate", "spec", "template")
		}
		if err != nil || !found {
			continue
		}
		var pod corev1.PodTemplateSpec
		if err := runtime.DefaultUnstructuredConverter.FromUnstructured(template, &pod); err != nil {
			t.Fatal(err)
		}
		out[o.GetKind()+"/"+o.GetName()] = pod
	}
	return out
}

func wantAllPods(t *testing.T, pods map[string]corev1.PodTemplateSpec) {
	t.Helper()
	for _, name := range []string{"Deployment/postern-operator", "Job/postern-setup", "StatefulSet/postern-redis", "Deployment/postern-test", "Pod/postern-test"} {
		if _, found := pods[name]; !found || len(pods) != 5 {
			t.Fatalf("%d pods are rendered, and %s among them: %t", len(pods), name, found)
		}
	}
}

// TestPlatformValues checks that each value of ci/platform.yaml is in what is rendered.
func TestPlatformValues(t *testing.T) {
	objects := ciValues(t, "platform.yaml")
	selector := map[string]any{
		"matchLabels": map[string]any{"postern.dev/injection": "enabled", "example.com/stage": "live"},
		"matchExpressions": []any{
			map[string]any{"key": "kubernetes.io/metadata.name", "operator": "NotIn", "values": []any{"kube-system", "kube-node-lease", "kube-public", namespace}},
			map[string]any{"key": "example.com/sandbox", "operator": "DoesNotExist"},
		},
	}
	hooks, _ := at(t, objects, "MutatingWebhookConfiguration", "postern", "webhooks").([]any)
	if got := hooks[0].(map[string]any)["namespaceSelector"]; !reflect.DeepEqual(got, selector) {
		t.Errorf("webhook.namespaceSelector: got %v, want %v", got, selector)
	}
	if got := at(t, objects, "Namespace", "postern-test", "metadata", "labels", "example.com/stage"); got != "live" {
		t.Errorf("the webhook does not select the namespace of helm test: its label is %v", got)
	}
	const wantStrategy = "map[rollingUpdate:map[maxSurge:0 maxUnavailable:1] type:RollingUpdate]"
	if got := at(t, objects, "Deployment", "postern-operator", "spec", "strategy"); fmt.Sprint(got) != wantStrategy {
		t.Errorf("operator.updateStrategy: got %v", got)
	}
	for _, service := range []string{"postern-operator", "postern-operator-metrics", "postern-redis", "postern-test"} {
		if got := at(t, objects, "Service", service, "spec", "ipFamilies"); !reflect.DeepEqual(got, []any{"IPv6", "IPv4"}) {
			t.Errorf("service.ipFamilies: %s has %v", service, got)
		}
		if got := at(t, objects, "Service", service, "spec", "ipFamilyPolicy"); got != "PreferDualStack" {
			t.Errorf("service.ipFamilyPolicy: %s has %v", service, got)
		}
	}
	if got := at(t, objects, "ConfigMap", "corporate-ca", "metadata", "namespace"); got != namespace {
		t.Errorf("extraObjects as a string: the namespace is %v", got)
	}
	if got := at(t, objects, "ServiceAccount", "platform-operator", "metadata", "namespace"); got != namespace {
		t.Errorf("extraObjects as an object: the namespace is %v", got)
	}
}

// TestPlatformAccounts checks that the chart neither creates the accounts and roles of others nor uses its own.
func TestPlatformAccounts(t *testing.T) {
	objects := ciValues(t, "platform.yaml")
	for _, o := range objects {
		if o.GroupVersionKind().Group == "rbac.authorization.k8s.io" {
			t.Errorf("rbac.create=false: there is a %s %s", o.GetKind(), o.GetName())
		}
		if o.GetKind() == "ServiceAccount" && (o.GetName() == "postern-operator" || strings.HasSuffix(o.GetName(), "-setup")) {
			t.Errorf("serviceAccount.create=false: there is a ServiceAccount %s", o.GetName())
		}
	}
	// With roles of its own, the chart binds the accounts that are named.
	objects = ciValues(t, "platform.yaml", "rbac.create=true")
	for binding, want := range map[string]string{
		"ClusterRoleBinding/postern-operator": "platform-operator", "RoleBinding/postern-operator": "platform-operator", "ClusterRoleBinding/postern-setup": "platform-setup",
	} {
		kind, name, _ := strings.Cut(binding, "/")
		subjects, _ := at(t, objects, kind, name, "subjects").([]any)
		if len(subjects) != 1 || subjects[0].(map[string]any)["name"] != want {
			t.Errorf("%s binds %v, want %s", binding, subjects, want)
		}
	}
	pods := podSpecs(t, objects)
	if got := pods["Deployment/postern-operator"].Spec.ServiceAccountName; got != "platform-operator" {
		t.Errorf("serviceAccount.name: the operator has %q", got)
	}
	if got := pods["Job/postern-setup"].Spec.ServiceAccountName; got != "platform-setup" {
		t.Errorf("setup.serviceAccount.name: the Job has %q", got)
	}
	// Names without create=false are created.
	objects = ciValues(t, "openshift.yaml", "serviceAccount.name=a", "setup.serviceAccount.name=b")
	for name, role := range map[string]string{"a": "operator", "b": "setup"} {
		if got := at(t, objects, "ServiceAccount", name, "metadata", "annotations", "example.com/role"); got != role {
			t.Errorf("ServiceAccount %s: the annotation is %v, want %s", name, got, role)
		}
	}
}

// TestPlatformPods checks what all pods of the chart have in common.
func TestPlatformPods(t *testing.T) {
	pods := podSpecs(t, ciValues(t, "platform.yaml"))
	wantAllPods(t, pods)
	for name, pod := range pods {
		for _, c := range append(slices.Clone(pod.Spec.InitContainers), pod.Spec.Containers...) {
			if !strings.HasPrefix(c.Image, "mirror.example.com/hub/") || strings.Contains(c.Image, "docker.io") {
				t.Errorf("global.imageRegistry: %s has the image %s", name, c.Image)
			}
			for _, list := range []corev1.ResourceList{c.Resources.Requests, c.Resources.Limits} {
				if list.StorageEphemeral().IsZero() || list.Cpu().IsZero() || list.Memory().IsZero() {
					t.Errorf("%s: container %s has %v", name, c.Name, list)
				}
			}
			if s := c.SecurityContext; s.RunAsNonRoot == nil || s.SeccompProfile == nil || s.AllowPrivilegeEscalation == nil || *s.AllowPrivilegeEscalation {
				t.Errorf("containerSecurityContext: %s has %v", name, s)
			}
		}
		if s := pod.Spec.SecurityContext; s.FSGroupChangePolicy == nil || !slices.Equal(s.SupplementalGroups, []int64{2000}) || *s.RunAsUser != 65532 {
			t.Errorf("podSecurityContext: %s has %v", name, s)
		}
		if pod.Labels["example.com/team"] != "platform" || pod.Labels["cost-center"] != "17" {
			t.Errorf("commonLabels: %s has %v", name, pod.Labels)
		}
		// The test's app runs in another namespace, where the Secrets do not exist.
		want := []corev1.LocalObjectReference{{Name: "mirror"}, {Name: "registry"}}
		if name != "Deployment/postern-test" && !slices.Equal(pod.Spec.ImagePullSecrets, want) {
			t.Errorf("pull secrets: %s has %v, want %v", name, pod.Spec.ImagePullSecrets, want)
		}
	}
	operator := pods["Deployment/postern-operator"]
	if !slices.Contains(operator.Spec.Containers[0].Args, "--sidecar-image=mirror.example.com/hub/postern/sidecar:0.1.0") {
		t.Errorf("global.imageRegistry: the operator's flags are %q", operator.Spec.Containers[0].Args)
	}
	if operator.Labels["example.com/tier"] != "control" {
		t.Errorf("operator.podLabels: it has %v", operator.Labels)
	}
	if v := operator.Spec.Volumes; len(v) != 1 || v[0].ConfigMap == nil || v[0].ConfigMap.Name != "corporate-ca" {
		t.Errorf("operator.extraVolumes: it has %v", v)
	}
	wantMount := []corev1.VolumeMount{{Name: "trust", MountPath: "/etc/ssl/certs", ReadOnly: true}}
	if got := operator.Spec.Containers[0].VolumeMounts; !reflect.DeepEqual(got, wantMount) {
		t.Errorf("operator.extraVolumeMounts: it has %v", got)
	}
}

// TestCommonLabels checks that all objects have the labels, also the class, and that no selector changes with them.
func TestCommonLabels(t *testing.T) {
	objects := ciValues(t, "everything.yaml", "commonLabels.team=platform")
	for _, o := range objects {
		if o.GetLabels()["team"] != "platform" || o.GetLabels()["app.kubernetes.io/name"] != "postern" {
			t.Errorf("%s %s has the labels %v", o.GetKind(), o.GetName(), o.GetLabels())
		}
	}
	manifest, _ := at(t, objects, "ConfigMap", "postern-setup", "data", "class.yaml").(string)
	class := &unstructured.Unstructured{}
	if err := yaml.Unmarshal([]byte(manifest), &class.Object); err != nil || class.GetLabels()["team"] != "platform" {
		t.Errorf("the class has the labels %v, %v", class.GetLabels(), err)
	}
	without := ciValues(t, "everything.yaml")
	for i, o := range objects {
		for _, path := range [][]string{{"spec", "selector"}, {"spec", "podSelector"}} {
			got, _, _ := unstructured.NestedFieldNoCopy(o.Object, path...)
			if want, _, _ := unstructured.NestedFieldNoCopy(without[i].Object, path...); !reflect.DeepEqual(got, want) {
				t.Errorf("%s %s: the selector is %v, want %v", o.GetKind(), o.GetName(), got, want)
			}
		}
	}
}

// TestOpenShiftValues checks that IDs can be left out, and that a strategy without rolling updates has none of their settings.
func TestOpenShiftValues(t *testing.T) {
	objects := ciValues(t, "openshift.yaml")
	pods := podSpecs(t, objects)
	wantAllPods(t, pods)
	for name, pod := range pods {
		s := pod.Spec.SecurityContext
		if s.RunAsUser != nil || s.RunAsGroup != nil || s.FSGroup != nil {
			t.Errorf("%s still has IDs: %v", name, s)
		}
		if s.RunAsNonRoot == nil || !*s.RunAsNonRoot || s.SeccompProfile == nil {
			t.Errorf("%s lost more than the IDs: %v", name, s)
		}
	}
	if got := at(t, objects, "Deployment", "postern-operator", "spec", "strategy"); !reflect.DeepEqual(got, map[string]any{"type": "Recreate"}) {
		t.Errorf("operator.updateStrategy: got %v", got)
	}
	if got := at(t, objects, "Service", "postern-operator", "spec", "ipFamilyPolicy"); got != "SingleStack" {
		t.Errorf("service.ipFamilyPolicy: got %v", got)
	}
}

// TestImageRegistry checks which part of a repository the global registry replaces.
func TestImageRegistry(t *testing.T) {
	for repository, want := range map[string]string{
		"docker.io/postern/operator":          "r.example:5000/postern/operator:0.1.0",
		"localhost/operator":                  "r.example:5000/operator:0.1.0",
		"registry:5000/a/b":                   "r.example:5000/a/b:0.1.0",
		"postern/operator":                    "r.example:5000/postern/operator:0.1.0",
		"operator":                            "r.example:5000/operator:0.1.0",
		"europe-docker.pkg.dev/x/y/operator":  "r.example:5000/x/y/operator:0.1.0",
		"localhost.localdomain:1/postern/o.p": "r.example:5000/postern/o.p:0.1.0",
	} {
		objects := ciValues(t, "minimal.yaml", "global.imageRegistry=r.example:5000/", "image.repository="+repository, "image.tag=")
		if got := podSpecs(t, objects)["Deployment/postern-operator"].Spec.Containers[0].Image; got != want {
			t.Errorf("%s becomes %s, want %s", repository, got, want)
		}
	}
}
