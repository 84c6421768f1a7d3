package inject

import (
	"encoding/hex"
	"fmt"
	"io"
	"strconv"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/posterndev/postern/api/compiled"
)

// tokenSize of a hook's token, in bytes.
const tokenSize = 16

// rewriteProbes points the probes and HTTP hooks of the pod's containers at the sidecar's admin port, and returns those that
// the sidecar forwards to the app. Actions that need no connection to the pod (exec, sleep), or that name another host, are
// not changed. Existing tokens of hooks, by path, are kept.
func rewriteProbes(pod *corev1.Pod, tokens map[string]string, random io.Reader) ([]compiled.Probe, error) {
	r := &rewriter{tokens: tokens, random: random}
	for _, c := range longRunning(pod) {
		if meshOfContainer(c.Name) != nil {
			continue // the kubelet reaches its ports as it did before
		}
		for _, kind := range []compiled.ProbeKind{compiled.ProbeLiveness, compiled.ProbeReadiness, compiled.ProbeStartup} {
			if err := r.probe(c, kind); err != nil {
				return nil, err
			}
		}
		for _, kind := range []compiled.ProbeKind{compiled.HookPostStart, compiled.HookPreStop} {
			if err := r.hook(c, kind); err != nil {
				return nil, err
			}
		}
	}
	return r.forwarded, nil
}

// probeOf returns the container's probe of a kind, or nil.
func probeOf(c *corev1.Container, kind compiled.ProbeKind) *corev1.Probe {
	switch kind {
	case compiled.ProbeLiveness:
		return c.LivenessProbe
	case compiled.ProbeReadiness:
		return c.ReadinessProbe
	case compiled.ProbeStartup:
		return c.StartupProbe
	}
	return nil
}

// hookOf returns the container's hook of a kind, or nil.
func hookOf(c *corev1.Container, kind compiled.ProbeKind) *corev1.LifecycleHandler {
	switch {
	case c.Lifecycle == nil:
		return nil
	case kind == compiled.HookPostStart:
		return c.Lifecycle.PostStart
	case kind == compiled.HookPreStop:
		return c.Lifecycle.PreStop
	}
	return nil
}

type rewriter struct {
	tokens    map[string]string
	random    io.Reader
	forwarded []compiled.Probe
}

func (r *rewriter) probe(c *corev1.Container, kind compiled.ProbeKind) error {
	probe := probeOf(c, kind)
	if probe == nil {
		return nil
	}
	forwarded := compiled.Probe{
		Name:    compiled.ProbeName(c.Name, kind),
		Timeout: compiled.Duration(time.Duration(max(1, probe.TimeoutSeconds)) * time.Second),
	}
	if err := setTarget(&forwarded, c, &probe.ProbeHandler); err != nil {
		return err
	}
	if forwarded.HTTP == nil && forwarded.TCP == nil && forwarded.GRPC == nil {
		return nil
	}
	probe.ProbeHandler = corev1.ProbeHandler{HTTPGet: adminAction(&forwarded)}
	return r.carry(forwarded)
}

// setTarget sets the probe's target in the app. It sets nothing for a handler that is not changed, or that does not have
// exactly one action, which the API server refuses.
func setTarget(forwarded *compiled.Probe, c *corev1.Container, h *corev1.ProbeHandler) error {
	if h.Exec != nil {
		return nil
	}
	switch {
	case h.HTTPGet != nil && h.TCPSocket == nil && h.GRPC == nil:
		return setHTTP(forwarded, c, h.HTTPGet)
	case h.TCPSocket != nil && h.HTTPGet == nil && h.GRPC == nil && h.TCPSocket.Host == "":
		port, err := appPort(forwarded, c, h.TCPSocket.Port)
		forwarded.TCP = &compiled.ProbeTCP{Port: port}
		return err
	case h.GRPC != nil && h.HTTPGet == nil && h.TCPSocket == nil:
		port, err := appPort(forwarded, c, intstr.FromInt32(h.GRPC.Port))
		forwarded.GRPC = &compiled.ProbeGRPC{Port: port}
		if h.GRPC.Service != nil {
			forwarded.GRPC.Service = *h.GRPC.Service
		}
		return err
	}
	return nil
}

func (r *rewriter) hook(c *corev1.Container, kind compiled.ProbeKind) error {
	hook := hookOf(c, kind)
	if hook == nil || hook.HTTPGet == nil || hook.Exec != nil || hook.Sleep != nil || hook.TCPSocket != nil {
		return nil
	}
	// The kubelet sets no timeout for a hook: it gives up when the grace period ends.
	forwarded := compiled.Probe{Name: compiled.ProbeName(c.Name, kind), Timeout: compiled.Duration(compiled.MaxProbeTimeout)}
	if err := setHTTP(&forwarded, c, hook.HTTPGet); err != nil || forwarded.HTTP == nil {
		return err
	}
	token, err := r.token(forwarded.Path())
	if err != nil {
		return err
	}
	forwarded.Token = token
	hook.HTTPGet = adminAction(&forwarded)
	return r.carry(forwarded)
}

// token returns the token that the hook had before, or a new one.
func (r *rewriter) token(path string) (string, error) {
	if token := r.tokens[path]; token != "" {
		return token, nil
	}
	b := make([]byte, tokenSize)
	if _, err := io.ReadFull(r.random, b); err != nil {
		return "", fmt.Errorf("generating token: %w", err)
	}
	return hex.EncodeToString(b), nil
}

func (r *rewriter) carry(p compiled.Probe) error {
	if err := p.Validate(); err != nil {
		return refusef("the %s probe or hook of its container %q cannot be forwarded by the sidecar: %v", p.Kind(), p.Container(), err)
	}
	r.forwarded = append(r.forwarded, p)
	return nil
}

// setHTTP sets what to GET from the app; nothing if the action names another host.
func setHTTP(forwarded *compiled.Probe, c *corev1.Container, action *corev1.HTTPGetAction) error {
	if action.Host != "" {
		return nil
	}
	port, err := appPort(forwarded, c, action.Port)
	if err != nil {
		return err
	}
	if action.Protocol != nil && *action.Protocol != corev1.HTTPProtocolHTTP1 {
		return refusef("the %s probe of its container %q uses HTTP/2, which the sidecar does not forward: "+
			"use a grpc or tcpSocket probe, or HTTP/1.1", forwarded.Kind(), c.Name)
	}
	scheme := action.Scheme
	if scheme == "" {
		scheme = corev1.URISchemeHTTP
	}
	forwarded.HTTP = &compiled.ProbeHTTP{Port: port, Scheme: string(scheme), Path: action.Path}
	for _, h := range action.HTTPHeaders {
		forwarded.HTTP.Headers = append(forwarded.HTTP.Headers, compiled.HeaderField{Name: h.Name, Value: h.Value})
	}
	return nil
}

// appPort resolves a probe's port as the kubelet does: a number, the name of one of the container's ports, or a number in
// a text.
func appPort(p *compiled.Probe, c *corev1.Container, port intstr.IntOrString) (uint16, error) {
	number := port.IntVal
	if port.Type == intstr.String {
		number = 0
		if n, err := strconv.ParseUint(port.StrVal, 10, 16); err == nil {
			number = int32(n)
		}
		for _, declared := range c.Ports {
			if declared.Name == port.StrVal {
				number = declared.ContainerPort
			}
		}
	}
	switch {
	case !isPort(number):
		return 0, refusef("the %s probe or hook of its container %q uses port %q, which is neither a number from 1 to 65535 "+
			"nor the name of a port of that container: correct it", p.Kind(), c.Name, port.String())
	case isReserved(number):
		return 0, refusef("the %s probe or hook of its container %q uses port %d, which is the sidecar's own: "+
			"name the app's port", p.Kind(), c.Name, number)
	}
	return uint16(number), nil
}

// adminAction is the request that the kubelet sends to the sidecar instead.
func adminAction(p *compiled.Probe) *corev1.HTTPGetAction {
	action := &corev1.HTTPGetAction{
		Path: p.Path(), Port: intstr.FromInt32(int32(compiled.AdminPort)), Scheme: corev1.URISchemeHTTP}
	if p.Token != "" {
		action.HTTPHeaders = []corev1.HTTPHeader{{Name: compiled.ProbeTokenHeader, Value: p.Token}}
	}
	return action
}
