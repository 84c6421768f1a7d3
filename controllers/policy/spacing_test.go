package policy

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/types"
	clocktesting "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
)

// TestSpacing sends events at given times, in milliseconds, and checks when reconciles are due.
func TestSpacing(t *testing.T) {
	every := func(step, until int) (out []int) {
		for at := 0; at < until; at += step {
			out = append(out, at)
		}
		return out
	}
	for name, tt := range map[string]struct {
		pace         time.Duration
		events, want []int
	}{
		"one event":                    {pace: time.Second, events: []int{0}, want: []int{100}},
		"events that come together":    {pace: time.Second, events: []int{0, 10, 99}, want: []int{100}},
		"the next comes at the pace":   {pace: time.Second, events: []int{0, 101}, want: []int{100, 1100}},
		"after a pause there is none":  {pace: time.Second, events: []int{0, 1000, 3000}, want: []int{100, 1100, 3100}},
		"a rollout of three seconds":   {pace: time.Second, events: every(20, 3000), want: []int{100, 1100, 2100, 3100}},
		"an event at the due time":     {pace: time.Second, events: []int{0, 100}, want: []int{100, 1100}},
		"without a pace, the delay is": {events: []int{0, 50, 200}, want: []int{100, 150, 300}},
	} {
		t.Run(name, func(t *testing.T) {
			clock := clocktesting.NewFakePassiveClock(created)
			s := newSpacing(100*time.Millisecond, tt.pace, clock).spread(podApart, podLongest)
			var due []int
			for _, at := range tt.events {
				clock.SetTime(created.Add(time.Duration(at) * time.Millisecond))
				due = append(due, at+int(s.next(reconcile.Request{})/time.Millisecond))
			}
			if got := slices.Compact(due); !slices.Equal(got, tt.want) {
				t.Errorf("reconciles are due at %v, want %v", got, tt.want)
			}
		})
	}
}

// TestSpacingOfManyPolicies sends an event of each policy every second, and checks that the reconciles of all are apart, and that each
// policy has one after each event, in time.
func TestSpacingOfManyPolicies(t *testing.T) {
	const seconds = 60
	for policies, wantPerSecond := range map[int]float64{1: 1, 10: 10, 50: 20, 190: 20} {
		t.Run(fmt.Sprint(policies), func(t *testing.T) {
			clock := clocktesting.NewFakePassiveClock(created)
			s := newSpacing(podDelay, podPace, clock).spread(podApart, podLongest)
			reconciles := map[string]int{}
			for i := range seconds * policies {
				now := created.Add(time.Duration(i) * time.Second / time.Duration(policies))
				clock.SetTime(now)
				name := fmt.Sprint(i % policies)
				wait := s.next(reconcile.Request{NamespacedName: types.NamespacedName{Name: name}})
				if wait < 0 || wait > podLongest {
					t.Fatalf("event %d: the reconcile comes after %s", i, wait)
				}
				if due := now.Add(wait); due.Before(created.Add(seconds * time.Second)) {
					reconciles[fmt.Sprint(name, " ", due)]++
				}
			}
			// The first ones come soon, and do not count.
			if got, most := float64(len(reconciles)-policies)/seconds, wantPerSecond*1.1; got > most || got < wantPerSecond*0.8 {
				t.Errorf("%.1f reconciles a second, want %.1f", got, wantPerSecond)
			}
		})
	}
}

// TestSpacingForgets checks that policies that were deleted long ago take no memory.
func TestSpacingForgets(t *testing.T) {
	clock := clocktesting.NewFakePassiveClock(created)
	s := newSpacing(100*time.Millisecond, time.Second, clock)
	for i := range 20 * spacingSize {
		s.next(reconcile.Request{NamespacedName: types.NamespacedName{Name: fmt.Sprint(i)}})
		clock.SetTime(clock.Now().Add(10 * time.Millisecond))
	}
	if len(s.due) > 2*spacingSize {
		t.Errorf("%d policies are remembered", len(s.due))
	}
}
