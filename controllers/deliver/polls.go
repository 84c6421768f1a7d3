package deliver

import (
	"errors"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"
)

// Bounds on polls. A sidecar holds one; a second may overlap while a connection breaks. A healthy sidecar polls a few times a
// minute; pollBurst at once and then one per pollInterval leave it room.
const (
	maxHeldPerPod = 2
	pollInterval  = 500 * time.Millisecond
	pollBurst     = 20
)

var (
	errTooManyPolls = errors.New("this pod polls too often, or holds too many polls")
	errFull         = errors.New("the operator holds the maximum number of polls")
)

// polls counts the polls that are held, by pod and in total.
type polls struct {
	max int
	now func() time.Time

	mu   sync.Mutex
	held int
	pods map[types.UID]*podPolls
}

// podPolls is one pod's use: GCRA's theoretical arrival time, and the polls held now.
type podPolls struct {
	held int
	next time.Time
}

func newPolls(maxHeld int, now func() time.Time) *polls {
	return &polls{max: maxHeld, now: now, pods: map[types.UID]*podPolls{}}
}

// enter admits a poll of the pod; the caller must call leave.
func (p *polls) enter(pod types.UID) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := p.now()
	use := p.pods[pod]
	if use == nil {
		if len(p.pods) >= 2*p.max {
			p.sweep(now)
		}
		if len(p.pods) >= 2*p.max {
			return errFull
		}
		use = &podPolls{}
		p.pods[pod] = use
	}
	if use.next.Before(now) {
		use.next = now
	}
	if use.held >= maxHeldPerPod || use.next.Sub(now) > (pollBurst-1)*pollInterval {
		return errTooManyPolls
	}
	if p.held >= p.max {
		return errFull
	}
	use.next = use.next.Add(pollInterval)
	use.held++
	p.held++
	return nil
}

// leave ends a poll that enter admitted.
func (p *polls) leave(pod types.UID) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.held--
	if use := p.pods[pod]; use != nil {
		use.held--
	}
}

// sweep removes the pods that hold no poll and have not polled lately; p.mu is held.
func (p *polls) sweep(now time.Time) {
	for pod, use := range p.pods {
		if use.held == 0 && !use.next.After(now) {
			delete(p.pods, pod)
		}
	}
}
