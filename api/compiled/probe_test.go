package compiled

import (
	"reflect"
	"strconv"
	"strings"
	"testing"
	"time"
)

const (
	second = Duration(time.Second)
	token  = "0123456789abcdef0123456789abcdef"
)

func TestProbesRoundTrip(t *testing.T) {
	want := []Probe{
		{Name: "app/liveness", Timeout: second, HTTP: &ProbeHTTP{
			Port: 8080, Scheme: "HTTP", Path: "/healthz?full=$(HOME)", Headers: []HeaderField{{Name: "Host", Value: "$$x"}}}},
		{Name: "app/readiness", Timeout: second, TCP: &ProbeTCP{Port: 8080}},
		{Name: "app/startup", Timeout: second, GRPC: &ProbeGRPC{Port: 9000, Service: "orders"}},
		{Name: "app/preStop", Timeout: second, Token: token, HTTP: &ProbeHTTP{Port: 8080, Scheme: "HTTPS"}},
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
		"unknown field":         {`[{"name":"a/liveness","timeout":"1s","tcp":{"port":1},"x":1}]`, "unknown field"},
		"trailing data":         {`[] []`, "after the end of the list"},
		"not a list":            {`{}`, "cannot unmarshal"},
		"too large":             {`["` + strings.Repeat("x", MaxProbesSize) + `"]`, "is more than"},
		"no container":          {`[{"name":"/liveness","timeout":"1s","tcp":{"port":1}}]`, "container's name"},
		"slash in name":         {`[{"name":"a/b/liveness","timeout":"1s","tcp":{"port":1}}]`, "kind is"},
		"unknown kind":          {`[{"name":"a/health","timeout":"1s","tcp":{"port":1}}]`, "kind is"},
		"no target":             {`[{"name":"a/liveness","timeout":"1s"}]`, "exactly one of"},
		"two targets":           {`[{"name":"a/liveness","timeout":"1s","tcp":{"port":1},"grpc":{"port":1}}]`, "exactly one of"},
		"port 0":                {`[{"name":"a/liveness","timeout":"1s","tcp":{"port":0}}]`, "is 0 or a port of the sidecar"},
		"admin port":            {`[{"name":"a/liveness","timeout":"1s","tcp":{"port":15991}}]`, "is 0 or a port of the sidecar"},
		"check without timeout": {`[{"name":"a/liveness","tcp":{"port":1}}]`, "timeout 0s"},
		"check with token":      {`[{"name":"a/liveness","token":"t","timeout":"1s","tcp":{"port":1}}]`, "a hook needs a token, and a check has none"},
		"hook, no token":        {`[{"name":"a/preStop","timeout":"1s","http":{"port":1,"scheme":"HTTP"}}]`, "a hook needs a token, and a check has none"},
		"hook over TCP":         {`[{"name":"a/preStop","timeout":"1s","token":"` + token + `","tcp":{"port":1}}]`, "a hook needs http"},
		"scheme":                {`[{"name":"a/liveness","timeout":"1s","http":{"port":1,"scheme":"FTP"}}]`, "http: scheme"},
		"timeout of days":       {`[{"name":"a/liveness","timeout":"48h","tcp":{"port":1}}]`, "timeout 48h"},
		"short token":           {`[{"name":"a/preStop","timeout":"1s","token":"t","http":{"port":1,"scheme":"HTTP"}}]`, "token has 1"},
		"long name":             {`[{"name":"` + strings.Repeat("a", 64) + `/liveness","timeout":"1s","tcp":{"port":1}}]`, "container's name"},
		"leading dash":          {`[{"name":"-a/liveness","timeout":"1s","tcp":{"port":1}}]`, "container's name"},
		"long path": {`[{"name":"a/liveness","timeout":"1s","http":{"port":1,"scheme":"HTTP","path":"/` +
			strings.Repeat("x", maxProbeText) + `"}}]`, "4097 bytes, more than 4096"},
		"long service": {`[{"name":"a/liveness","timeout":"1s","grpc":{"port":1,"service":"` +
			strings.Repeat("x", maxProbeText+1) + `"}}]`, "grpc.service is longer"},
		"many headers": {`[{"name":"a/liveness","timeout":"1s","http":{"port":1,"scheme":"HTTP","headers":[` +
			strings.Repeat(`{"name":"x","value":""},`, maxProbeHeaders) + `{"name":"x","value":""}]}}]`, "headers, more than 100"},
		"line in header":      {`[{"name":"a/liveness","timeout":"1s","http":{"port":1,"scheme":"HTTP","headers":[{"name":"x","value":"a\nb"}]}}]`, "cannot be sent"},
		"non-ASCII letter":    {`[{"name":"a/liveness","timeout":"1s","http":{"port":1,"scheme":"HTTP","headers":[{"name":"K","value":""}]}}]`, "cannot be sent"},
		"many probes":         {`[` + strings.Repeat(`{},`, MaxProbes) + `{}]`, "are more than 256"},
		"header without name": {`[{"name":"a/liveness","timeout":"1s","http":{"port":1,"scheme":"HTTP","headers":[{"name":"","value":"x"}]}}]`, "cannot be sent"},
		"twice": {`[{"name":"a/liveness","timeout":"1s","tcp":{"port":1}},
			{"name":"a/liveness","timeout":"1s","tcp":{"port":2}}]`, "named twice"},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := DecodeProbes(tc.in); err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("got error %v, want one that says %q", err, tc.want)
			}
		})
	}
}

func TestEncodeProbesRefuses(t *testing.T) {
	var large []Probe
	for i := range MaxProbesSize / maxProbeText {
		large = append(large, Probe{Name: "a" + strconv.Itoa(i) + "/liveness", Timeout: second,
			HTTP: &ProbeHTTP{Port: 1, Scheme: "HTTP", Path: strings.Repeat("x", maxProbeText)}})
	}
	if _, err := EncodeProbes(large); err == nil || !strings.Contains(err.Error(), "is more than") {
		t.Errorf("got error %v for probes that are too large", err)
	}
	if _, err := EncodeProbes([]Probe{{}}); err == nil {
		t.Error("an empty probe was encoded")
	}
}

func FuzzDecodeProbes(f *testing.F) {
	f.Add(`[{"name":"app/liveness","timeout":"1s","http":{"port":80,"scheme":"HTTP","path":"/"}}]`)
	f.Add(`[{"name":"app/preStop","timeout":"1s","token":"0123456789abcdef0123456789abcdef","http":{"port":80,"scheme":"HTTP"}}]`)
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
