package inject

import (
	"errors"
	"reflect"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/utils/ptr"

	"github.com/posterndev/postern/api/compiled"
	"github.com/posterndev/postern/api/v1alpha1"
)

// hookToken is the first token from input's random source.
var hookToken = strings.Repeat("ab", tokenSize)

func tcpProbe(port int) corev1.ProbeHandler {
	return corev1.ProbeHandler{TCPSocket: &corev1.TCPSocketAction{Port: intstr.FromInt(port)}}
}

func httpProbe(port string) corev1.ProbeHandler {
	return corev1.ProbeHandler{HTTPGet: &corev1.HTTPGetAction{Path: "/healthz", Port: intstr.FromString(port)}}
}

func TestProbesAreForwarded(t *testing.T) {
	for name, tc := range map[string]struct {
		handler corev1.ProbeHandler
		timeout int32
		want    compiled.Probe
	}{
		"HTTP, named port": {httpProbe("web"), 3, compiled.Probe{Timeout: seconds(3),
			HTTP: &compiled.ProbeHTTP{Port: 8080, Scheme: "HTTP", Path: "/healthz"}}},
		"HTTP, number as text": {httpProbe("8081"), 0, compiled.Probe{Timeout: seconds(1),
			HTTP: &compiled.ProbeHTTP{Port: 8081, Scheme: "HTTP", Path: "/healthz"}}},
		"HTTPS with headers": {corev1.ProbeHandler{HTTPGet: &corev1.HTTPGetAction{
			Port: intstr.FromInt32(8443), Scheme: corev1.URISchemeHTTPS, Protocol: ptr.To(corev1.HTTPProtocolHTTP1),
			HTTPHeaders: []corev1.HTTPHeader{{Name: "Host", Value: "orders"}, {Name: "A", Value: "$(B)"}}}}, 1,
			compiled.Probe{Timeout: seconds(1), HTTP: &compiled.ProbeHTTP{Port: 8443, Scheme: "HTTPS",
				Headers: []compiled.HeaderField{{Name: "Host", Value: "orders"}, {Name: "A", Value: "$(B)"}}}}},
		"TCP": {tcpProbe(5432), 1, compiled.Probe{Timeout: seconds(1), TCP: &compiled.ProbeTCP{Port: 5432}}},
		"gRPC": {corev1.ProbeHandler{GRPC: &corev1.GRPCAction{Port: 9000}}, 1,
			compiled.Probe{Timeout: seconds(1), GRPC: &compiled.ProbeGRPC{Port: 9000}}},
		"gRPC service": {corev1.ProbeHandler{GRPC: &corev1.GRPCAction{Port: 9000, Service: ptr.To("shop")}}, 1,
			compiled.Probe{Timeout: seconds(1), GRPC: &compiled.ProbeGRPC{Port: 9000, Service: "shop"}}},
	} {
		t.Run(name, func(t *testing.T) {
			pod := appPod()
			pod.Spec.Containers[0].ReadinessProbe = &corev1.Probe{
				ProbeHandler: tc.handler, TimeoutSeconds: tc.timeout, PeriodSeconds: 7, FailureThreshold: 9, InitialDelaySeconds: 2}
			got := mustInject(t, input(pod, v1alpha1.InterceptRedirect))
			want := &corev1.Probe{
				ProbeHandler: corev1.ProbeHandler{HTTPGet: &corev1.HTTPGetAction{
					Path: "/probe/app/readiness", Port: intstr.FromInt32(15991), Scheme: corev1.URISchemeHTTP}},
				TimeoutSeconds: tc.timeout, PeriodSeconds: 7, FailureThreshold: 9, InitialDelaySeconds: 2,
			}
			if probe := got.Spec.Containers[0].ReadinessProbe; !reflect.DeepEqual(probe, want) {
				t.Errorf("the probe is %+v, want %+v", probe, want)
			}
			tc.want.Name = "app/readiness"
			if forwarded := forwardedBy(t, got); !reflect.DeepEqual(forwarded, []compiled.Probe{tc.want}) {
				t.Errorf("the sidecar forwards %+v, want %+v", forwarded, tc.want)
			}
		})
	}
}

func seconds(n int) compiled.Duration { return compiled.Duration(time.Duration(n) * time.Second) }

func forwardedBy(t *testing.T, pod *corev1.Pod) []compiled.Probe {
	t.Helper()
	probes, err := compiled.DecodeProbes(environment(sidecarOf(t, pod), compiled.EnvProbes))
	if err != nil {
		t.Fatal(err)
	}
	return probes
}

func TestOtherProbesAreNotChanged(t *testing.T) {
	elsewhere := httpProbe("web")
	elsewhere.HTTPGet.Host = "status.example.com"
	tcpElsewhere := tcpProbe(8080)
	tcpElsewhere.TCPSocket.Host = "127.0.0.1"
	for name, handler := range map[string]corev1.ProbeHandler{
		"exec":         {Exec: &corev1.ExecAction{Command: []string{"true"}}},
		"HTTP, host":   elsewhere,
		"TCP, host":    tcpElsewhere,
		"none":         {},
		"two handlers": {TCPSocket: tcpProbe(8080).TCPSocket, HTTPGet: httpProbe("web").HTTPGet},
	} {
		t.Run(name, func(t *testing.T) {
			pod := appPod()
			pod.Spec.Containers[0].LivenessProbe = &corev1.Probe{ProbeHandler: handler}
			got := mustInject(t, input(pod, v1alpha1.InterceptRedirect))
			if !reflect.DeepEqual(got.Spec.Containers, pod.Spec.Containers) {
				t.Errorf("the containers are %+v", got.Spec.Containers)
			}
			if forwarded := forwardedBy(t, got); len(forwarded) > 0 {
				t.Errorf("the sidecar forwards %+v", forwarded)
			}
		})
	}
}

func TestHooksAreForwardedWithToken(t *testing.T) {
	pod := appPod()
	pod.Spec.Containers[0].Lifecycle = &corev1.Lifecycle{
		PostStart: &corev1.LifecycleHandler{Exec: &corev1.ExecAction{Command: []string{"true"}}},
		PreStop:   &corev1.LifecycleHandler{HTTPGet: httpProbe("web").HTTPGet},
	}
	got := mustInject(t, input(pod, v1alpha1.InterceptRedirect))
	hooks := got.Spec.Containers[0].Lifecycle
	if !reflect.DeepEqual(hooks.PostStart, pod.Spec.Containers[0].Lifecycle.PostStart) {
		t.Errorf("the exec hook is %+v", hooks.PostStart)
	}
	want := &corev1.HTTPGetAction{
		Path: "/probe/app/preStop", Port: intstr.FromInt32(15991), Scheme: corev1.URISchemeHTTP,
		HTTPHeaders: []corev1.HTTPHeader{{Name: "Postern-Probe-Token", Value: hookToken}},
	}
	if !reflect.DeepEqual(hooks.PreStop.HTTPGet, want) {
		t.Errorf("the hook is %+v, want %+v", hooks.PreStop.HTTPGet, want)
	}
	wantForwarded := []compiled.Probe{{Name: "app/preStop", Token: hookToken, Timeout: compiled.Duration(compiled.MaxProbeTimeout),
		HTTP: &compiled.ProbeHTTP{Port: 8080, Scheme: "HTTP", Path: "/healthz"}}}
	if forwarded := forwardedBy(t, got); !reflect.DeepEqual(forwarded, wantForwarded) {
		t.Errorf("the sidecar forwards %+v, want %+v", forwarded, wantForwarded)
	}
}

func TestOtherHooksAreNotChanged(t *testing.T) {
	elsewhere := httpProbe("web").HTTPGet
	elsewhere.Host = "status.example.com"
	for name, hook := range map[string]corev1.LifecycleHandler{
		"sleep": {Sleep: &corev1.SleepAction{Seconds: 3}},
		"TCP":   {TCPSocket: &corev1.TCPSocketAction{Port: intstr.FromInt32(8080)}}, // the API accepts it, but the kubelet fails it
		"host":  {HTTPGet: elsewhere},
	} {
		t.Run(name, func(t *testing.T) {
			pod := appPod()
			pod.Spec.Containers[0].Lifecycle = &corev1.Lifecycle{PreStop: &hook}
			got := mustInject(t, input(pod, v1alpha1.InterceptRedirect))
			if !reflect.DeepEqual(got.Spec.Containers, pod.Spec.Containers) {
				t.Errorf("the containers are %+v", got.Spec.Containers)
			}
		})
	}
}

func TestNoTokenWithoutRandomness(t *testing.T) {
	broken := errors.New("no entropy")
	pod := appPod()
	pod.Spec.Containers[0].Lifecycle = &corev1.Lifecycle{PreStop: &corev1.LifecycleHandler{HTTPGet: httpProbe("web").HTTPGet}}
	in := input(pod, v1alpha1.InterceptRedirect)
	in.Random = iotest.ErrReader(broken)
	if _, err := Inject(in); !errors.Is(err, broken) {
		t.Errorf("got %v, want %v", err, broken)
	}
}
