package inject

import (
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/posterndev/postern/api/compiled"
	"github.com/posterndev/postern/controllers/render"
)

// portStartSysctl is the lowest port that every user may bind. Pod Security allows it at all levels.
const portStartSysctl = "net.ipv4.ip_unprivileged_port_start"

// guardedPorts returns the numbers of the pod's ports that the sidecar listens on. A Job or a worker declares none. If its app
// listens on the pod's address all the same, the sidecar reports that it is reachable around it.
func guardedPorts(sidecar render.Sidecar, declared []compiled.ContainerPort) ([]uint16, error) {
	ports, err := sidecar.Policy.ResolvePorts(declared)
	if err != nil {
		return nil, refusef("%v: give a container port that name, or change spec.ports of the policy", err)
	}
	var numbers []uint16
	for _, p := range ports {
		if isReserved(int32(p.Number)) {
			return nil, refusef("the policy names port %d, which is the sidecar's own: change spec.ports of the policy", p.Number)
		}
		numbers = append(numbers, p.Number)
	}
	return numbers, nil
}

// letBind allows the sidecar, which is not root, to bind guarded ports below 1024. A sysctl that the pod sets is not changed,
// unless an earlier injection set it and ports were added after that.
func letBind(pod *corev1.Pod, guarded []uint16, again bool) error {
	lowest := render.LowestPrivilegedPort(guarded)
	if lowest == 0 {
		return nil
	}
	needed := strconv.Itoa(int(lowest))
	if pod.Spec.SecurityContext == nil {
		pod.Spec.SecurityContext = &corev1.PodSecurityContext{}
	}
	sysctls := pod.Spec.SecurityContext.Sysctls
	for i := range sysctls {
		if strings.ReplaceAll(sysctls[i].Name, "/", ".") != portStartSysctl {
			continue
		}
		if start, err := strconv.ParseUint(sysctls[i].Value, 10, 16); err == nil && start <= uint64(lowest) {
			return nil
		}
		if again {
			sysctls[i].Value = needed
			return nil
		}
		return refusef("it sets the sysctl %s to %q, but the sidecar must bind port %d: set it to %d or lower, or remove it",
			portStartSysctl, sysctls[i].Value, lowest, lowest)
	}
	pod.Spec.SecurityContext.Sysctls = append(sysctls, corev1.Sysctl{Name: portStartSysctl, Value: needed})
	return nil
}
