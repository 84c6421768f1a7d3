package apiserver

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/posterndev/postern/api/v1alpha1"
)

// operatorUser is the name of the operator's user.
const operatorUser = "operator"

// objects returns what the chart creates.
func (s *Server) objects(root string) ([]client.Object, error) {
	out := []client.Object{
		&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: Namespace}},
		&corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: Namespace, Name: "postern-certs"}},
		&corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: Namespace, Name: "postern-signing-key"}},
		&v1alpha1.SidecarClass{ObjectMeta: metav1.ObjectMeta{
			Name: "default", Annotations: map[string]string{v1alpha1.DefaultClassAnnotation: "true"},
		}},
	}
	webhooks, err := s.webhooks(filepath.Join(root, "config", "webhook", "manifests.yaml"))
	if err != nil {
		return nil, err
	}
	roles, err := readRoles(filepath.Join(root, "config", "rbac", "role.yaml"))
	if err != nil {
		return nil, err
	}
	return slices.Concat(out, webhooks, roles, flowSchemas()), nil
}

// documentsIn returns the documents of a YAML file.
func documentsIn(file string) ([]string, error) {
	b, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	return strings.Split(strings.TrimPrefix(string(b), "---\n"), "\n---\n"), nil
}

// webhooks returns the configurations of config/webhook, with the operator's address in place of its Service.
func (s *Server) webhooks(file string) ([]client.Object, error) {
	documents, err := documentsIn(file)
	if err != nil {
		return nil, err
	}
	mutating, validating := &admissionv1.MutatingWebhookConfiguration{}, &admissionv1.ValidatingWebhookConfiguration{}
	for i, into := range []client.Object{mutating, validating} {
		if err := yaml.UnmarshalStrict([]byte(documents[i]), into); err != nil {
			return nil, err
		}
	}
	for i := range mutating.Webhooks {
		s.atURL(&mutating.Webhooks[i].ClientConfig)
	}
	for i := range validating.Webhooks {
		s.atURL(&validating.Webhooks[i].ClientConfig)
	}
	s.webhook = mutating
	return []client.Object{s.PodWebhook(), validating}, nil
}

// PodWebhook returns the configuration of the pod webhook as it was installed.
func (s *Server) PodWebhook() *admissionv1.MutatingWebhookConfiguration { return s.webhook.DeepCopy() }

func (s *Server) atURL(c *admissionv1.WebhookClientConfig) {
	url := fmt.Sprintf("https://localhost:%d%s", s.Ports.Webhook, *c.Service.Path)
	c.Service, c.URL = nil, &url
}

// readRoles returns the generated roles, and their bindings to the operator.
func readRoles(file string) ([]client.Object, error) {
	documents, err := documentsIn(file)
	if err != nil {
		return nil, err
	}
	subjects := []rbacv1.Subject{{Kind: "User", APIGroup: rbacv1.GroupName, Name: operatorUser}}
	var out []client.Object
	for _, document := range documents {
		var kind metav1.TypeMeta
		if err := yaml.Unmarshal([]byte(document), &kind); err != nil {
			return nil, err
		}
		var role, binding client.Object
		ref := rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: kind.Kind, Name: "postern-operator"}
		if kind.Kind == "ClusterRole" {
			role = &rbacv1.ClusterRole{}
			binding = &rbacv1.ClusterRoleBinding{ObjectMeta: metav1.ObjectMeta{Name: ref.Name}, RoleRef: ref, Subjects: subjects}
		} else {
			role = &rbacv1.Role{}
			binding = &rbacv1.RoleBinding{ObjectMeta: metav1.ObjectMeta{Namespace: Namespace, Name: ref.Name}, RoleRef: ref, Subjects: subjects}
		}
		if err := yaml.UnmarshalStrict([]byte(document), role); err != nil {
			return nil, err
		}
		out = append(out, role, binding)
	}
	return out, nil
}
