package budget

import (
	"fmt"
	"net/netip"
	"sync"
	"testing"

	"github.com/posterndev/postern/sidecar/httpkit/clientnet"
)

func address(n int) netip.Prefix {
	return clientnet.Of(netip.AddrFrom4([4]byte{203, 0, byte(n >> 8), byte(n)}))
}

// take takes until it is refused, and returns how many places it got and why it got no more.
func take(b *Budget, c Claim) (n int, why Refusal) {
	for ; ; n++ {
		if why = b.Take(c); why != "" {
			return n, why
		}
	}
}

func TestShares(t *testing.T) {
	tests := map[string]struct {
		limits Limits
		claims []Claim
		// want is what each claim gets, one after the other.
		want    []int
		wantWhy Refusal
	}{
		"nobody is known":             {Limits{10, 5}, []Claim{{}}, []int{10}, Full},
		"one address":                 {Limits{1000, 500}, []Claim{{Address: address(1)}}, []int{500}, Address},
		"one address, a low limit":    {Limits{1000, 10}, []Claim{{Address: address(1)}}, []int{10}, Address},
		"one address, no limit":       {Limits{900, 900}, []Claim{{Address: address(1)}}, []int{525}, Address},
		"the second address":          {Limits{1000, 500}, []Claim{{Address: address(1)}, {Address: address(2)}}, []int{500, 159}, Address},
		"the last place":              {Limits{1, 1}, []Claim{{Address: address(1)}}, []int{1}, Full},
		"one connection":              {Limits{1000, 500}, []Claim{{Address: address(1), Conn: 1}}, []int{250}, Connection},
		"two connections":             {Limits{1000, 400}, []Claim{{Address: address(1), Conn: 1}, {Address: address(1), Conn: 2}}, []int{200, 200}, Address},
		"three connections":           {Limits{1000, 400}, []Claim{{Address: address(1), Conn: 1}, {Address: address(1), Conn: 2}, {Address: address(1), Conn: 3}}, []int{200, 200, 0}, Address},
		"a proxy's connection":        {Limits{1000, 500}, []Claim{{Address: address(1), Conn: 1, Shared: true}}, []int{500}, Address},
		"a proxy's unknown clients":   {Limits{1000, 500}, []Claim{{Conn: 1, Shared: true}, {Conn: 2, Shared: true}}, []int{500, 159}, Connection},
		"limits below 1 are 1":        {Limits{0, 0}, []Claim{{Address: address(1)}}, []int{1}, Full},
		"more per address than there": {Limits{10, 50}, []Claim{{Address: address(1)}}, []int{6}, Address},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			b := New(tt.limits)
			var why Refusal
			for i, c := range tt.claims {
				var got int
				if got, why = take(b, c); got != tt.want[i] {
					t.Errorf("claim %d got %d places (%s); want %d", i, got, why, tt.want[i])
				}
			}
			if why != tt.wantWhy {
				t.Errorf("refused because of %q; want %q", why, tt.wantWhy)
			}
		})
	}
}

// TestRoomForOthers: addresses that take all they get leave room for the next address.
func TestRoomForOthers(t *testing.T) {
	for _, greedy := range []int{1, 2, 6, 20, 40} {
		t.Run(fmt.Sprint(greedy), func(t *testing.T) {
			b := New(Limits{Max: 1000, MaxPerAddress: 500})
			for range 3 { // taking turns changes nothing
				for n := range greedy {
					take(b, Claim{Address: address(n)})
				}
			}
			free := 1000 - b.Open()
			if want := map[int]int{1: 500, 2: 300, 6: 130, 20: 70, 40: 30}[greedy]; free < want {
				t.Errorf("%d addresses leave %d of 1000; want at least %d", greedy, free, want)
			}
			for n := range 25 { // honest clients with one request each
				if why := b.Take(Claim{Address: address(1000 + n)}); why != "" {
					t.Errorf("honest client %d: %s", n, why)
				}
			}
		})
	}
}

func TestReleaseGivesBack(t *testing.T) {
	b, c := New(Limits{100, 50}), Claim{Address: address(1), Conn: "a"}
	var wait sync.WaitGroup
	for range 8 {
		wait.Go(func() {
			for range 1000 {
				if b.Take(c) == "" {
					b.Release(c)
				}
			}
		})
	}
	wait.Wait()
	if b.Open() != 0 || b.addresses.Holders() != 0 || b.conns.Holders() != 0 {
		t.Errorf("%d open, %d addresses and %d connections are kept", b.Open(), b.addresses.Holders(), b.conns.Holders())
	}
	if n, why := take(b, c); n != 25 || why != Connection {
		t.Errorf("afterwards %d, %s", n, why)
	}
}

func TestSetKeepsWhatIsOpen(t *testing.T) {
	b := New(Limits{100, 50})
	take(b, Claim{Address: address(1)})
	b.Set(Limits{20, 10})
	if why := b.Take(Claim{Address: address(2)}); why != Full {
		t.Errorf("beyond the new limit: %q", why)
	}
	for range 50 {
		b.Release(Claim{Address: address(1)})
	}
	if n, _ := take(b, Claim{Address: address(2)}); n != 10 || b.Limits() != (Limits{20, 10}) {
		t.Errorf("afterwards %d of %+v", n, b.Limits())
	}
}
