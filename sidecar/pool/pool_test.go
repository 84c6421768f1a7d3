package pool

import (
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// counted opens values and counts what is open.
type counted struct{ opened, open atomic.Int32 }

func (c *counted) value() (int, func(), error) {
	c.open.Add(1)
	return int(c.opened.Add(1)), func() { c.open.Add(-1) }, nil
}

func acquire(t *testing.T, p *Pool[string, int], key string, user User, c *counted) (value int, release func()) {
	t.Helper()
	value, release, err := p.Acquire(key, user, c.value)
	if err != nil {
		t.Fatal(err)
	}
	return value, release
}

func eventually(t *testing.T, what string, done func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !done(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("timed out waiting for %s", what)
		}
	}
}

func TestUsersShareAValue(t *testing.T) {
	var c counted
	p := New[string, int](0)
	first, releaseFirst := acquire(t, p, "a", Direct, &c)
	second, releaseSecond := acquire(t, p, "a", Direct, &c)
	other, releaseOther := acquire(t, p, "b", Direct, &c)
	if first != second || first == other {
		t.Fatalf("values %d, %d and %d", first, second, other)
	}
	releaseFirst()
	releaseFirst() // a second call must not release the other user's value
	if p.Len() != 2 || c.open.Load() != 2 {
		t.Fatalf("%d values in the pool, %d open", p.Len(), c.open.Load())
	}
	releaseSecond()
	releaseOther()
	if p.Len() != 0 || c.open.Load() != 0 {
		t.Errorf("after the last release: %d values in the pool, %d open", p.Len(), c.open.Load())
	}
	if again, release := acquire(t, p, "a", Direct, &c); again == first {
		t.Error("a closed value was returned again")
	} else {
		release()
	}
}

func TestFailedOpenLeavesNothing(t *testing.T) {
	p := New[string, int](0)
	wrong := errors.New("wrong")
	if _, _, err := p.Acquire("a", Direct, func() (int, func(), error) { return 0, nil, wrong }); !errors.Is(err, wrong) {
		t.Fatalf("error %v", err)
	}
	if p.Len() != 0 {
		t.Error("the failed value is in the pool")
	}
	var c counted
	_, release := acquire(t, p, "a", Direct, &c)
	release()
}

func TestInUse(t *testing.T) {
	var c counted
	p := New[string, int](time.Hour)
	_, releaseOld := acquire(t, p, "old", Direct, &c)
	_, releaseNew := acquire(t, p, "new", Direct, &c)
	_, releaseNested := acquire(t, p, "nested", Nested, &c)
	defer releaseNested()
	if got := p.InUse(); len(got) != 2 || got[0] != 2 || got[1] != 1 {
		t.Errorf("in use: %v; want the newest first, without those that only a shared value uses", got)
	}
	releaseOld()
	releaseNew()
	if got := p.InUse(); len(got) != 0 || p.Len() != 3 {
		t.Errorf("in use after the releases: %v, of %d open", got, p.Len())
	}
}

// TestLatestDelayCloses: a user that acquires and releases the value starts the delay again.
func TestLatestDelayCloses(t *testing.T) {
	var c counted
	const delay = 300 * time.Millisecond
	p := New[string, int](delay)
	_, release := acquire(t, p, "a", Direct, &c)
	release()
	time.Sleep(delay * 2 / 3)
	_, release = acquire(t, p, "a", Direct, &c)
	_, nested := acquire(t, p, "a", Nested, &c)
	release()
	nested()
	left := time.Now()
	eventually(t, "the value to be closed", func() bool { return c.open.Load() == 0 })
	if d := time.Since(left); d < delay*5/6 {
		t.Errorf("closed %s after its last user left, by the delay of an earlier one", d)
	}
	if c.opened.Load() != 1 {
		t.Errorf("opened %d times", c.opened.Load())
	}
}

// TestNestedUserKeepsAValueOpen: a direct user releases the value before the shared value that uses it.
func TestNestedUserKeepsAValueOpen(t *testing.T) {
	var c counted
	p := New[string, int](0)
	_, direct := acquire(t, p, "a", Direct, &c)
	_, nested := acquire(t, p, "a", Nested, &c)
	direct()
	if c.open.Load() != 1 {
		t.Fatal("closed while another shared value uses it")
	}
	nested()
	if c.open.Load() != 0 {
		t.Error("open without a user")
	}
}

func TestCloseAll(t *testing.T) {
	for name, delay := range map[string]time.Duration{"at once": 0, "after a delay": time.Millisecond} {
		t.Run(name, func(t *testing.T) {
			var closed atomic.Int32
			p := New[string, int](delay)
			open := func() (int, func(), error) { return 1, func() { closed.Add(1) }, nil }
			_, used, err := p.Acquire("used", Direct, open)
			if err != nil {
				t.Fatal(err)
			}
			if _, _, err = p.Acquire("nested", Nested, open); err != nil {
				t.Fatal(err)
			}
			p.CloseAll()
			used() // must not close it again
			time.Sleep(10 * time.Millisecond)
			if closed.Load() != 2 || p.Len() != 0 {
				t.Errorf("closed %d times, %d left", closed.Load(), p.Len())
			}
			if _, _, err := p.Acquire("used", Direct, open); !errors.Is(err, ErrClosed) {
				t.Errorf("acquiring from a closed pool: %v", err)
			}
		})
	}
}

// TestConcurrentUsers: no user holds a closed value, and without a delay no two values of one key are open at once.
func TestConcurrentUsers(t *testing.T) {
	type value struct{ closed atomic.Bool }
	for name, delay := range map[string]time.Duration{"without a delay": 0, "with a delay": 100 * time.Microsecond} {
		t.Run(name, func(t *testing.T) {
			var open, twice atomic.Int32
			p := New[string, *value](delay)
			var wg sync.WaitGroup
			for n := range 16 {
				wg.Go(func() {
					for range 300 {
						v, release, err := p.Acquire("a", User(n%2), func() (*value, func(), error) {
							v := &value{}
							if open.Add(1) > 1 {
								twice.Add(1)
							}
							return v, func() { v.closed.Store(true); open.Add(-1) }, nil
						})
						if err != nil {
							t.Error(err)
							return
						}
						time.Sleep(time.Duration(n%4) * 50 * time.Microsecond)
						if v.closed.Load() {
							t.Error("the value was closed while in use")
						}
						release()
					}
				})
			}
			wg.Wait()
			eventually(t, "the value to be closed", func() bool { return open.Load() == 0 && p.Len() == 0 })
			if delay == 0 && twice.Load() != 0 {
				t.Errorf("a second value of one key was opened %d times", twice.Load())
			}
		})
	}
}

// TestCloseAllWaits: a value whose delay has passed is closed without the lock. CloseAll waits for it, because what it closes may
// have to say goodbye: a Vault client revokes its token.
func TestCloseAllWaits(t *testing.T) {
	p, closed, began := New[string, int](time.Microsecond), atomic.Bool{}, make(chan struct{})
	_, release, err := p.Acquire("a", Direct, func() (int, func(), error) {
		return 0, func() { close(began); time.Sleep(50 * time.Millisecond); closed.Store(true) }, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	release()
	<-began
	p.CloseAll()
	if !closed.Load() {
		t.Error("CloseAll returned while a value was being closed")
	}
}
