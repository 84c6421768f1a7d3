package render

import (
	"encoding/base64"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/posterndev/postern/api/compiled"
)

// DocumentKeyValue is the operator's public key in the form of EnvDocumentKey.
func (s Settings) DocumentKeyValue() string {
	return base64.StdEncoding.EncodeToString(s.DocumentKey)
}

// environment returns the sidecar's environment. It contains no secret.
func (s Sidecar) environment(pod Pod, resources corev1.ResourceRequirements) ([]corev1.EnvVar, error) {
	env := []corev1.EnvVar{
		{Name: compiled.EnvNamespace, Value: s.Policy.Namespace},
		{Name: compiled.EnvPolicy, Value: s.Policy.Name},
		{Name: compiled.EnvDocumentKey, Value: s.Settings.DocumentKeyValue()},
		{Name: compiled.EnvDocumentDir, Value: compiled.DocumentDir},
		{Name: compiled.EnvSecretsDir, Value: compiled.SecretsDir},
		{Name: compiled.EnvOperatorURL, Value: s.Settings.OperatorURL},
		{Name: compiled.EnvOperatorCA, Value: s.Settings.OperatorCA},
		{Name: compiled.EnvOperatorTokenFile, Value: compiled.OperatorTokenFile},
		{Name: compiled.EnvInterception, Value: string(s.Interception)},
		{Name: compiled.EnvPodIPs, ValueFrom: &corev1.EnvVarSource{
			FieldRef: &corev1.ObjectFieldSelector{APIVersion: "v1", FieldPath: "status.podIPs"}}},
		{Name: compiled.EnvInboundPort, Value: decimal(compiled.InboundPort)},
		{Name: compiled.EnvAdminPort, Value: decimal(compiled.AdminPort)},
		{Name: compiled.EnvLoopbackPort, Value: decimal(compiled.LoopbackPort)},
	}
	if s.Floor > 0 {
		env = append(env, corev1.EnvVar{Name: compiled.EnvDocumentFloor, Value: strconv.FormatInt(s.Floor, 10)})
	}
	if s.vaultAudience() != "" {
		env = append(env, corev1.EnvVar{Name: compiled.EnvVaultTokenFile, Value: compiled.VaultTokenFile})
	}
	if len(s.Policy.Claims()) > 0 {
		env = append(env, corev1.EnvVar{Name: compiled.EnvVolumesDir, Value: compiled.VolumesDir})
	}
	if s.spool() > 0 {
		env = append(env, corev1.EnvVar{Name: compiled.EnvSpoolDir, Value: compiled.SpoolDir})
	}
	if len(s.Policy.KeysAudiences()) > 0 {
		env = append(env, corev1.EnvVar{Name: compiled.EnvKeysTokenDir, Value: compiled.KeysTokenDir})
	}
	if len(pod.Ports) > 0 {
		ports, err := compiled.EncodeContainerPorts(pod.Ports)
		if err != nil {
			return nil, err
		}
		env = append(env, corev1.EnvVar{Name: compiled.EnvContainerPorts, Value: ports})
	}
	if len(pod.MeshPorts) > 0 {
		env = append(env, corev1.EnvVar{Name: compiled.EnvExcludedPorts, Value: decimals(pod.MeshPorts)})
	}
	if len(pod.Probes) > 0 {
		probes, err := compiled.EncodeProbes(pod.Probes)
		if err != nil {
			return nil, err
		}
		env = append(env, corev1.EnvVar{Name: compiled.EnvProbes, Value: probes})
	}
	if limit := memoryLimit(resources.Limits.Memory().Value(), pod.MemoryBudget); limit > 0 {
		// A tenth is left for memory that the garbage collector does not count.
		env = append(env, corev1.EnvVar{Name: "GOMEMLIMIT", Value: strconv.FormatInt(limit/10*9, 10)})
	}
	return env, nil
}

// memoryLimit returns the memory that the sidecar may use, in bytes; 0 for no limit. Half of a pod-level budget is left to the app.
func memoryLimit(container, budget int64) int64 {
	switch {
	case budget == 0:
		return container
	case container == 0:
		return budget / 2
	}
	return min(container, budget/2)
}

// redirectEnvironment returns the init container's environment.
func redirectEnvironment() []corev1.EnvVar {
	return []corev1.EnvVar{
		{Name: compiled.EnvInboundPort, Value: decimal(compiled.InboundPort)},
		{Name: compiled.EnvAdminPort, Value: decimal(compiled.AdminPort)},
		// The kubelet connects to the admin port directly.
		{Name: compiled.EnvExcludedPorts, Value: decimal(compiled.AdminPort)},
	}
}

func decimals(ports []uint16) string {
	var texts []string
	for _, port := range ports {
		texts = append(texts, decimal(port))
	}
	return strings.Join(texts, ",")
}

func decimal(port uint16) string { return strconv.Itoa(int(port)) }
