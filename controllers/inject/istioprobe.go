package inject

import (
	"encoding/json"

	corev1 "k8s.io/api/core/v1"

	"github.com/posterndev/postern/api/compiled"
)

const (
	// istioProbers is the variable of Istio's proxy with the probes that Istio's webhook has replaced, as JSON by path. See
	// https://istio.io/latest/docs/ops/configuration/mesh/app-health-check/.
	istioProbers = "ISTIO_KUBE_APP_PROBERS"
	// maxProbers bounds its value, in bytes.
	maxProbers = 256 << 10
)

// istioPath returns the path that Istio's webhook gives to a probe or hook of a container.
func istioPath(container string, kind compiled.ProbeKind) string {
	switch kind {
	case compiled.ProbeLiveness:
		return "/app-health/" + container + "/livez"
	case compiled.ProbeReadiness:
		return "/app-health/" + container + "/readyz"
	case compiled.ProbeStartup:
		return "/app-health/" + container + "/startupz"
	case compiled.HookPreStop:
		return "/app-lifecycle/" + container + "/prestopz"
	case compiled.HookPostStart:
		return "/app-lifecycle/" + container + "/poststartz"
	}
	return ""
}

// prober is a probe or hook before Istio's webhook replaced it.
type prober struct {
	HTTPGet   *corev1.HTTPGetAction   `json:"httpGet"`
	TCPSocket *corev1.TCPSocketAction `json:"tcpSocket"`
	GRPC      *corev1.GRPCAction      `json:"grpc"`
}

// undoIstioProbes restores the probes and hooks that Istio's webhook has replaced by requests to its agent. The agent would send them to
// the pod's address, where the sidecar requires a token. Probes of an earlier injection are restored to those of that injection.
func undoIstioProbes(pod *corev1.Pod) error {
	proxy := istioProxyOf(pod)
	if proxy == nil {
		return nil
	}
	originals, err := decodeProbers(environment(proxy, istioProbers))
	if err != nil {
		return err
	}
	for _, c := range longRunning(pod) {
		for _, kind := range []compiled.ProbeKind{compiled.ProbeLiveness, compiled.ProbeReadiness, compiled.ProbeStartup} {
			if probe := probeOf(c, kind); probe != nil && isIstios(probe.HTTPGet, c, kind) {
				original, err := originalOf(originals, c, kind)
				if err != nil {
					return err
				}
				probe.ProbeHandler = corev1.ProbeHandler{HTTPGet: original.HTTPGet, TCPSocket: original.TCPSocket, GRPC: original.GRPC}
			}
		}
		for _, kind := range []compiled.ProbeKind{compiled.HookPostStart, compiled.HookPreStop} {
			if hook := hookOf(c, kind); hook != nil && isIstios(hook.HTTPGet, c, kind) {
				original, err := originalOf(originals, c, kind)
				if err != nil {
					return err
				}
				*hook = corev1.LifecycleHandler{HTTPGet: original.HTTPGet, TCPSocket: original.TCPSocket}
			}
		}
	}
	return nil
}

// istioProxyOf returns Istio's proxy, or nil.
func istioProxyOf(pod *corev1.Pod) *corev1.Container {
	for _, c := range longRunning(pod) {
		if c.Name == istioProxy {
			return c
		}
	}
	return nil
}

func isIstios(action *corev1.HTTPGetAction, c *corev1.Container, kind compiled.ProbeKind) bool {
	return action != nil && action.Path == istioPath(c.Name, kind)
}

func originalOf(originals map[string]prober, c *corev1.Container, kind compiled.ProbeKind) (prober, error) {
	original := originals[istioPath(c.Name, kind)]
	if original.HTTPGet == nil && original.TCPSocket == nil && original.GRPC == nil {
		return prober{}, refusef("Istio has replaced the %s probe or hook of its container %q, and %s does not have the original: "+
			`add the annotation sidecar.istio.io/rewriteAppHTTPProbers: "false" to the pod`, kind, c.Name, istioProbers)
	}
	return original, nil
}

func decodeProbers(value string) (map[string]prober, error) {
	if value == "" {
		return nil, nil
	}
	if len(value) > maxProbers {
		return nil, refusef("the variable %s of Istio's proxy has %d bytes, more than %d: "+
			`add the annotation sidecar.istio.io/rewriteAppHTTPProbers: "false" to the pod`, istioProbers, len(value), maxProbers)
	}
	var originals map[string]prober
	if err := json.Unmarshal([]byte(value), &originals); err != nil {
		return nil, refusef("the variable %s of Istio's proxy cannot be read (%v): "+
			`add the annotation sidecar.istio.io/rewriteAppHTTPProbers: "false" to the pod`, istioProbers, err)
	}
	return originals, nil
}
