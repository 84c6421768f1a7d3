package loginprotection

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"
)

// oneValue is a store with one value, or an error.
type oneValue struct {
	Store
	value []byte
	err   error
}

func (s *oneValue) Put(_ context.Context, _ string, value []byte, _ time.Duration, _ bool) ([]byte, error) {
	if s.err != nil {
		return nil, s.err
	}
	if s.value == nil {
		s.value = value
	}
	return s.value, nil
}

const deviceCookie = "__Host-postern-device-00000000"

// login returns the marks after a login of account with the cookie that the browser has.
func login(t *testing.T, d *devices, account string, known []mark) []mark {
	t.Helper()
	h := http.Header{}
	a := &attempt{guard: &guard{device: d, cookie: deviceCookie}, name: account, known: known, device: d.find(t.Context(), known, account)}
	d.remember(t.Context(), h, a)
	r := httptest.NewRequest("POST", "/", nil)
	for _, c := range (&http.Response{Header: h}).Cookies() {
		r.AddCookie(&http.Cookie{Name: c.Name, Value: c.Value})
	}
	return d.take(r, deviceCookie)
}

// TestDevices: a browser keeps the marks of five accounts, and a device its id, until it has not been used for long.
func TestDevices(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	shared := &oneValue{}
	one, other := &devices{store: shared, lasts: time.Hour, now: func() time.Time { return now }}, &devices{store: shared, lasts: time.Hour, now: func() time.Time { return now }}
	var marks []mark
	for _, account := range []string{"a", "b", "c", "d", "e", "f"} {
		marks = login(t, one, account, marks)
	}
	if len(marks) != maxMarks {
		t.Fatalf("%d marks; want %d", len(marks), maxMarks)
	}
	if one.find(t.Context(), marks, "a") != "" {
		t.Error("the oldest account is still known")
	}
	id := other.find(t.Context(), marks, "f")
	if id == "" || one.find(t.Context(), marks, "nobody") != "" {
		t.Fatal("another replica does not know the device, or knows a wrong account")
	}
	if again := login(t, one, "f", marks); one.find(t.Context(), again, "f") != id {
		t.Error("a second login changes the device")
	}
	for i := range len(mark{}) {
		damaged := slices.Clone(marks)
		damaged[0][i] ^= 1
		if one.find(t.Context(), damaged, "f") != "" {
			t.Errorf("byte %d can be changed", i)
		}
	}
	now = now.Add(time.Hour)
	if one.find(t.Context(), marks, "f") != "" {
		t.Error("it is known after its time")
	}
}

func TestDevicesWithoutStore(t *testing.T) {
	d := &devices{store: &oneValue{err: errors.New("unavailable")}, lasts: time.Hour, now: time.Now}
	if d.find(t.Context(), []mark{{}}, "a") != "" || len(login(t, d, "a", nil)) != 0 {
		t.Error("a device is known without a key")
	}
}

// TestTheStoreForgetsTheKey: a process that knows the key puts it back, so that devices stay known, and takes one that another process has made.
func TestTheStoreForgetsTheKey(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	shared := &oneValue{}
	d := &devices{store: shared, lasts: time.Hour, now: func() time.Time { return now }}
	marks := login(t, d, "ada", nil)
	shared.value, now = nil, now.Add(2*keyCached)
	if d.find(t.Context(), marks, "ada") == "" {
		t.Error("the device is not known any more")
	}
	shared.value, now = bytes.Repeat([]byte("k"), deviceKeySize), now.Add(2*keyCached)
	if d.find(t.Context(), marks, "ada") != "" {
		t.Error("the key in the store is not used")
	}
}

// TestTake: the cookie is removed from the request, and the others stay.
func TestTake(t *testing.T) {
	tests := map[string]struct{ fields, want []string }{
		"alone":           {[]string{deviceCookie + "=x"}, nil},
		"between others":  {[]string{"a=1; " + deviceCookie + "=x; b=2"}, []string{"a=1; b=2"}},
		"in its own line": {[]string{"a=1", deviceCookie + "=x"}, []string{"a=1"}},
		"twice":           {[]string{deviceCookie + "=x; " + deviceCookie + "=y"}, nil},
		"a longer name":   {[]string{deviceCookie + "0=x"}, []string{deviceCookie + "0=x"}},
		"none":            {[]string{"a=1;b=2"}, []string{"a=1;b=2"}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			r := httptest.NewRequest("GET", "/", nil)
			r.Header["Cookie"] = tt.fields
			(&devices{}).take(r, deviceCookie)
			if got := r.Header["Cookie"]; !slices.Equal(got, tt.want) {
				t.Errorf("%q; want %q", got, tt.want)
			}
		})
	}
}

// FuzzMarks: any cookie gives a bounded number of marks, and none of them is valid.
func FuzzMarks(f *testing.F) {
	f.Add("x"+strings.Repeat(".AAAA", 10), "ada")
	f.Add(strings.Repeat("A", 64), "ada")
	d := &devices{store: &oneValue{}, lasts: time.Hour, now: time.Now}
	f.Fuzz(func(t *testing.T, value, account string) {
		marks := parseMarks(value)
		if len(marks) > maxMarks || d.find(t.Context(), marks, account) != "" {
			t.Errorf("%q gives %d marks", value, len(marks))
		}
	})
}

func FuzzSample(f *testing.F) {
	f.Add([]byte(`{"status":401,"header":{"Content-Type":["text/plain"]},"body":"eA=="}`))
	f.Add([]byte(`{"status":401,"header":{"Set-Cookie":["a=b"]},"body":""}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := decodeSample(b)
		if err == nil && (s.Status < 200 || s.Status > 599 || len(s.Body) > maxSample || s.Header["Set-Cookie"] != nil) {
			t.Errorf("%q is accepted as %+v", b, s)
		}
	})
}

// TestDevicesOfTheFuture: a mark that a pod made while its clock was ahead is not known for longer than the others.
func TestDevicesOfTheFuture(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	d := &devices{store: &oneValue{}, lasts: time.Hour, now: func() time.Time { return now }}
	now = now.Add(1000 * time.Hour)
	ahead := login(t, d, "ada", nil)
	now = now.Add(-1000 * time.Hour)
	if d.find(t.Context(), ahead, "ada") != "" {
		t.Error("it is known, for 1001 hours")
	}
	now = now.Add(1000*time.Hour - time.Minute) // clocks of pods differ a little
	if d.find(t.Context(), ahead, "ada") == "" {
		t.Error("it is not known a minute before it was made")
	}
}
