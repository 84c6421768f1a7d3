package render

import (
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/utils/ptr"

	"github.com/posterndev/postern/api/compiled"
	"github.com/posterndev/postern/api/v1alpha1"
)

// sidecarUser and sidecarGroup are distroless's "nonroot".
const (
	sidecarUser  int64 = 65532
	sidecarGroup int64 = 65532
)

// Commands in the image.
const (
	sidecarCommand  = "/sidecar"
	redirectCommand = "/redirect"
)

// Paths on the admin port of the sidecar's own probes.
const (
	startedPath = "/healthz/started"
	readyPath   = "/readyz"
	livePath    = "/healthz"
)

// InitContainers returns the containers to place before the pod's init containers: under Redirect the one that programs the
// network, then the sidecar. Probes that cannot be encoded are an error.
func (s Sidecar) InitContainers(pod Pod) ([]corev1.Container, error) {
	sidecar, err := s.container(pod)
	if err != nil {
		return nil, err
	}
	if s.Interception == v1alpha1.InterceptRedirect {
		redirect := s.redirect()
		if pod.Guaranteed {
			redirect.Resources = guaranteed(redirect.Resources)
		}
		return []corev1.Container{redirect, sidecar}, nil
	}
	return []corev1.Container{sidecar}, nil
}

// container returns the sidecar. It is native, so that the app starts after it and Jobs finish. It declares no ports: named
// ports on a native sidecar broke Services before Kubernetes 1.32.
func (s Sidecar) container(pod Pod) (corev1.Container, error) {
	resources := s.resources()
	if pod.Guaranteed {
		resources = guaranteed(resources)
	}
	env, err := s.environment(pod, resources)
	if err != nil {
		return corev1.Container{}, err
	}
	return corev1.Container{
		Name:            SidecarName,
		Image:           s.image(),
		ImagePullPolicy: s.imagePullPolicy(),
		Command:         []string{sidecarCommand},
		RestartPolicy:   ptr.To(corev1.ContainerRestartPolicyAlways),
		Env:             env,
		Resources:       resources,
		VolumeMounts:    s.volumeMounts(),
		// The sidecar has started when its listeners are bound, with or without a document: without one it responds with 503,
		// and must not prevent the pod from starting.
		StartupProbe:   adminProbe(startedPath, 1, 60),
		ReadinessProbe: adminProbe(readyPath, 2, 3),
		LivenessProbe:  adminProbe(livePath, 10, 6),
		// The kubelet runs every container's preStop hook when a pod's deletion begins, and stops native sidecars last: clients
		// go elsewhere while the app still responds.
		Lifecycle: &corev1.Lifecycle{PreStop: &corev1.LifecycleHandler{
			Exec: &corev1.ExecAction{Command: []string{sidecarCommand, "leave"}},
		}},
		SecurityContext:          sidecarSecurity(),
		TerminationMessagePolicy: corev1.TerminationMessageFallbackToLogsOnError,
	}, nil
}

// adminProbe probes path on the admin port every period seconds, and fails after the given number of failures.
func adminProbe(path string, period, failures int32) *corev1.Probe {
	return &corev1.Probe{
		ProbeHandler: corev1.ProbeHandler{HTTPGet: &corev1.HTTPGetAction{
			Path: path, Port: intstr.FromInt32(int32(compiled.AdminPort)), Scheme: corev1.URISchemeHTTP}},
		TimeoutSeconds:   2,
		PeriodSeconds:    period,
		SuccessThreshold: 1,
		FailureThreshold: failures,
	}
}

// sidecarSecurity passes Pod Security "restricted", whatever the pod sets for its containers.
func sidecarSecurity() *corev1.SecurityContext {
	return &corev1.SecurityContext{
		RunAsNonRoot:             ptr.To(true),
		RunAsUser:                ptr.To(sidecarUser),
		RunAsGroup:               ptr.To(sidecarGroup),
		AllowPrivilegeEscalation: ptr.To(false),
		ReadOnlyRootFilesystem:   ptr.To(true),
		Capabilities:             &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}},
		SeccompProfile:           &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault},
	}
}

func (s Sidecar) redirect() corev1.Container {
	security := sidecarSecurity()
	security.RunAsNonRoot = ptr.To(false)
	security.RunAsUser = ptr.To[int64](0)
	security.RunAsGroup = ptr.To[int64](0)
	security.Capabilities.Add = []corev1.Capability{"NET_ADMIN"}
	return corev1.Container{
		Name:                     RedirectName,
		Image:                    s.image(),
		ImagePullPolicy:          s.imagePullPolicy(),
		Command:                  []string{redirectCommand},
		Env:                      redirectEnvironment(),
		Resources:                s.redirectResources(),
		SecurityContext:          security,
		TerminationMessagePolicy: corev1.TerminationMessageFallbackToLogsOnError,
	}
}

func (s Sidecar) resources() corev1.ResourceRequirements {
	if s.Class.Spec.Resources != nil {
		return *s.Class.Spec.Resources.DeepCopy()
	}
	return corev1.ResourceRequirements{
		Requests: corev1.ResourceList{
			corev1.ResourceCPU:    resource.MustParse(v1alpha1.DefaultCPURequest),
			corev1.ResourceMemory: resource.MustParse(v1alpha1.DefaultMemoryRequest),
		},
		Limits: corev1.ResourceList{corev1.ResourceMemory: resource.MustParse(v1alpha1.DefaultMemoryLimit)},
	}
}

// guaranteed returns resources with which a pod keeps the QoS class Guaranteed: for CPU and memory, the limit is also the request. A
// resource without a limit gets the request or, if that is more, the default for such pods.
func guaranteed(r corev1.ResourceRequirements) corev1.ResourceRequirements {
	out := *r.DeepCopy()
	if out.Limits == nil {
		out.Limits = corev1.ResourceList{}
	}
	if out.Requests == nil {
		out.Requests = corev1.ResourceList{}
	}
	for name, least := range map[corev1.ResourceName]string{
		corev1.ResourceCPU: v1alpha1.DefaultGuaranteedCPU, corev1.ResourceMemory: v1alpha1.DefaultMemoryLimit,
	} {
		limit, ok := out.Limits[name]
		if !ok || limit.IsZero() {
			limit = resource.MustParse(least)
			if request := out.Requests[name]; request.Cmp(limit) > 0 {
				limit = request
			}
		}
		out.Limits[name], out.Requests[name] = limit, limit
	}
	return out
}

// redirectResources returns the class's resources, so that a quota or a LimitRange that the sidecar satisfies is satisfied by
// both; without them, resources below the sidecar's defaults. A container that runs for milliseconds does not add to the pod's
// reservation.
func (s Sidecar) redirectResources() corev1.ResourceRequirements {
	if s.Class.Spec.Resources != nil {
		of := s.resources()
		return corev1.ResourceRequirements{Requests: of.Requests, Limits: of.Limits}
	}
	return corev1.ResourceRequirements{
		Requests: corev1.ResourceList{
			corev1.ResourceCPU: resource.MustParse("10m"), corev1.ResourceMemory: resource.MustParse("16Mi")},
		Limits: corev1.ResourceList{corev1.ResourceMemory: resource.MustParse("64Mi")},
	}
}
