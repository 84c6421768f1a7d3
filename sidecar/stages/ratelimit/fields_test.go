package ratelimit

import (
	"testing"
	"time"

	"github.com/dunglas/httpsfv"

	"github.com/posterndev/postern/api/check"
)

// FuzzFieldsAreStructured reads the fields back with an independent parser of RFC 9651.
func FuzzFieldsAreStructured(f *testing.F) {
	f.Add("login", 5, int64(time.Minute), 4, int64(12*time.Second))
	f.Add(`a "quoted\" name;q=1,`, 1, int64(1500*time.Millisecond), 0, int64(1))
	f.Fuzz(func(t *testing.T, name string, limit int, period int64, remaining int, next int64) {
		if check.LimitName(name) != nil || limit < 1 || limit > 1e6 || period < int64(time.Second) || remaining < 0 || remaining > 1e9 || next < 0 || next > int64(maxNext) {
			return
		}
		shown := newFields(name, limit, time.Duration(period))
		other := newFields("other", 1, time.Second)
		var a shownFields
		a.add(&shown, Result{Remaining: remaining, Next: time.Duration(next)})
		a.add(&other, Result{Remaining: 1})
		wantMember(t, string(a.limit), name, map[string]int64{"r": int64(remaining), "t": ceil(next)})
		wantMember(t, string(a.policy), name, map[string]int64{"q": int64(limit), "w": ceil(period)})
	})
}

// maxNext is the longest time that package gcra gives.
const maxNext = 366 * 24 * time.Hour

func ceil(nanos int64) int64 {
	s := nanos / int64(time.Second)
	if nanos%int64(time.Second) != 0 {
		s++
	}
	return s
}

func wantMember(t *testing.T, field, name string, want map[string]int64) {
	t.Helper()
	list, err := httpsfv.UnmarshalList([]string{field})
	if err != nil || len(list) != 2 {
		t.Fatalf("%s: %v, %d members", field, err, len(list))
	}
	item, ok := list[0].(httpsfv.Item)
	if !ok || item.Value != name || len(item.Params.Names()) != len(want) {
		t.Fatalf("%s: first member %+v; want %q", field, list[0], name)
	}
	for key, v := range want {
		if got, _ := item.Params.Get(key); got != v {
			t.Errorf("%s: %s is %v; want %d", field, key, got, v)
		}
	}
}
