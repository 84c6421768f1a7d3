package compiled

import (
	"reflect"
	"strings"
	"testing"
)

func TestProbesRoundTrip(t *testing.T) {
	want := []Probe{
		{Container: "app", Kind: ProbeLiveness, TimeoutSeconds: 1, HTTP: &ProbeHTTP{
			Port: 8080, Scheme: "HTTP", Path: "/healthz?full=$(HOME)", Headers: []HeaderField{{Name: "Host", Value: "$$x"}}}},
		{Container: "app", Kind: ProbeReadiness, TimeoutSeconds: 2, TCP: &ProbeTCP{Port: 8080}},
		{Container: "app", Kind: ProbeStartup, TimeoutSeconds: 3, GRPC: &ProbeGRPC{Port: 9000, Service: "orders"}},
		{Container: "app", Kind: HookPreStop, Token: "t", HTTP: &ProbeHTTP{Port: 8080, Scheme: "HTTPS"}},
	}
	s, err := EncodeProbes(want)
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(s, "$") {
		t.Errorf("the kubelet would expand %s", s)
	}
	got, err := DecodeProbes(s)
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, %v, want %+v", got, err, want)
	}
	if path := want[3].Path(); path != "/probe/app/preStop" {
		t.Errorf("path is %s", path)
	}
}

func TestDecodeProbesRefuses(t *testing.T) {
	for name, tc := range map[string]struct{ in, want string }{
		"unknown field":   {`[{"container":"a","kind":"liveness","timeoutSeconds":1,"tcp":{"port":1},"x":1}]`, "unknown field"},
		"trailing data":   {`[] []`, "after its end"},
		"not a list":      {`{}`, "cannot unmarshal"},
		"too large":       {`["` + strings.Repeat("x", MaxProbesSize) + `"]`, "is more than"},
		"no container":    {`[{"kind":"liveness","timeoutSeconds":1,"tcp":{"port":1}}]`, "not a container's name"},
		"slash in name":   {`[{"container":"a/b","kind":"liveness","timeoutSeconds":1,"tcp":{"port":1}}]`, "not a container's name"},
		"unknown kind":    {`[{"container":"a","kind":"health","timeoutSeconds":1,"tcp":{"port":1}}]`, "kind is"},
		"no target":       {`[{"container":"a","kind":"liveness","timeoutSeconds":1}]`, "exactly one of"},
		"two targets":     {`[{"container":"a","kind":"liveness","timeoutSeconds":1,"tcp":{"port":1},"grpc":{"port":1}}]`, "exactly one of"},
		"port 0":          {`[{"container":"a","kind":"liveness","timeoutSeconds":1,"tcp":{"port":0}}]`, "not the app's"},
		"admin port":      {`[{"container":"a","kind":"liveness","timeoutSeconds":1,"tcp":{"port":15991}}]`, "not the app's"},
		"check untimed":   {`[{"container":"a","kind":"liveness","tcp":{"port":1}}]`, "timeoutSeconds"},
		"check and token": {`[{"container":"a","kind":"liveness","token":"t","timeoutSeconds":1,"tcp":{"port":1}}]`, "token goes with hooks"},
		"hook, no token":  {`[{"container":"a","kind":"preStop","http":{"port":1,"scheme":"HTTP"}}]`, "token goes with hooks"},
		"hook over TCP":   {`[{"container":"a","kind":"preStop","token":"t","tcp":{"port":1}}]`, "a hook is HTTP"},
		"scheme":          {`[{"container":"a","kind":"liveness","timeoutSeconds":1,"http":{"port":1,"scheme":"FTP"}}]`, "http.scheme"},
		"HTTP/2 over TLS": {`[{"container":"a","kind":"liveness","timeoutSeconds":1,"http":{"port":1,"scheme":"HTTPS","http2":true}}]`, "scheme HTTP"},
		"nameless header": {`[{"container":"a","kind":"liveness","timeoutSeconds":1,"http":{"port":1,"scheme":"HTTP","headers":[{"name":"","value":"x"}]}}]`, "name is needed"},
		"twice": {`[{"container":"a","kind":"liveness","timeoutSeconds":1,"tcp":{"port":1}},
			{"container":"a","kind":"liveness","timeoutSeconds":1,"tcp":{"port":2}}]`, "named twice"},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := DecodeProbes(tc.in); err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("got error %v, want one that says %q", err, tc.want)
			}
		})
	}
}

func TestEncodeProbesRefuses(t *testing.T) {
	large := Probe{Container: "a", Kind: ProbeLiveness, TimeoutSeconds: 1,
		HTTP: &ProbeHTTP{Port: 1, Scheme: "HTTP", Path: strings.Repeat("x", MaxProbesSize)}}
	if _, err := EncodeProbes([]Probe{large}); err == nil || !strings.Contains(err.Error(), "is more than") {
		t.Errorf("got error %v for a probe that is too large", err)
	}
	if _, err := EncodeProbes([]Probe{{}}); err == nil {
		t.Error("an empty probe was encoded")
	}
}

func FuzzDecodeProbes(f *testing.F) {
	f.Add(`[{"container":"app","kind":"liveness","timeoutSeconds":1,"http":{"port":80,"scheme":"HTTP","path":"/"}}]`)
	f.Add(`[{"container":"app","kind":"preStop","token":"x","http":{"port":80,"scheme":"HTTP"}}]`)
	f.Fuzz(func(t *testing.T, s string) {
		probes, err := DecodeProbes(s)
		if err != nil || len(probes) == 0 {
			return
		}
		encoded, err := EncodeProbes(probes)
		if err != nil {
			t.Skip() // escaping may take it over the bound
		}
		again, err := DecodeProbes(encoded)
		if err != nil {
			t.Fatalf("%q cannot be read back: %v", encoded, err)
		}
		if second, err := EncodeProbes(again); err != nil || second != encoded {
			t.Errorf("%q came back as %q, %v", encoded, second, err)
		}
	})
}
