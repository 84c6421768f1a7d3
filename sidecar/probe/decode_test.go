package probe

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

func TestDecode(t *testing.T) {
	got, err := Decode([]byte(`[
		{"name":"app/liveness","http":{"scheme":"HTTPS","port":8080,"path":"/h","headers":[{"name":"A","value":"b"}],"host":"x"},"timeout":"1s","token":"` + token + `"},
		{"name":"app/startup","tcp":{"port":5432},"timeout":"500ms"},
		{"name":"app/readiness","grpc":{"port":9000,"service":"shop"},"timeout":"1s"}]`))
	if err != nil {
		t.Fatal(err)
	}
	if len(got) != 3 || got[0].HTTP.Headers[0] != (Field{"A", "b"}) || got[1].TCP.Port != 5432 || got[2].GRPC.Service != "shop" || got[1].Timeout != 500*time.Millisecond {
		t.Errorf("%+v", got)
	}
	if text := fmt.Sprintf("%+v", got); strings.Contains(text, token) {
		t.Errorf("the token is printed: %s", text)
	}
	if got, err := Decode(nil); err != nil || got != nil {
		t.Errorf("empty text: %v, %v", got, err)
	}
}

func TestDecodeRefuses(t *testing.T) {
	entry := func(s string) string { return `[{"name":"app/liveness","timeout":"1s",` + s + `}]` }
	hook := func(s string) string { return `[{"name":"app/preStop","timeout":"1s",` + s + `}]` }
	tests := map[string]struct{ text, wantErr string }{
		"not JSON":              {text: "x", wantErr: "decoding"},
		"not a list":            {text: "{}", wantErr: "decoding"},
		"more after it":         {text: "[] []", wantErr: "more after"},
		"too long":              {text: strings.Repeat(" ", maxDocument+1), wantErr: "more than"},
		"unknown field":         {text: entry(`"tcp":{"port":1},"exec":{}`), wantErr: "unknown field"},
		"unknown inner field":   {text: entry(`"tcp":{"port":1,"host":"x"}`), wantErr: "unknown field"},
		"no action":             {text: entry(`"token":""`), wantErr: "exactly one"},
		"two actions":           {text: entry(`"tcp":{"port":1},"grpc":{"port":1}`), wantErr: "exactly one"},
		"no port":               {text: entry(`"tcp":{}`), wantErr: "port is missing"},
		"port too large":        {text: entry(`"tcp":{"port":65536}`), wantErr: "decoding"},
		"bad scheme":            {text: entry(`"http":{"port":1,"scheme":"ftp"}`), wantErr: "scheme"},
		"bad header name":       {text: entry(`"http":{"port":1,"headers":[{"name":"a b","value":""}]}`), wantErr: "header"},
		"bad header value":      {text: entry(`"http":{"port":1,"headers":[{"name":"a","value":"x\r\ny"}]}`), wantErr: "header"},
		"bad host":              {text: entry(`"http":{"port":1,"host":"a\nb"}`), wantErr: "header"},
		"too many headers":      {text: entry(`"http":{"port":1,"headers":[` + strings.Repeat(`{"name":"a","value":""},`, 100) + `{"name":"a","value":""}]}`), wantErr: "100"},
		"long path":             {text: entry(`"http":{"port":1,"path":"` + strings.Repeat("x", maxText+1) + `"}`), wantErr: "path"},
		"long service":          {text: entry(`"grpc":{"port":1,"service":"` + strings.Repeat("x", maxText+1) + `"}`), wantErr: "service"},
		"short token":           {text: entry(`"tcp":{"port":1},"token":"abc"`), wantErr: "token"},
		"hook without token":    {text: hook(`"http":{"port":1}`), wantErr: "needs a token"},
		"hook that is not HTTP": {text: hook(`"tcp":{"port":1},"token":"` + token + `"`), wantErr: "must be HTTP"},
		"no timeout":            {text: `[{"name":"app/liveness","tcp":{"port":1}}]`, wantErr: "duration"},
		"zero timeout":          {text: `[{"name":"app/liveness","tcp":{"port":1},"timeout":"0s"}]`, wantErr: "timeout"},
		"endless timeout":       {text: `[{"name":"app/liveness","tcp":{"port":1},"timeout":"2h"}]`, wantErr: "timeout"},
		"no container":          {text: `[{"name":"/liveness","tcp":{"port":1},"timeout":"1s"}]`, wantErr: "container"},
		"container with dots":   {text: `[{"name":"../liveness","tcp":{"port":1},"timeout":"1s"}]`, wantErr: "container"},
		"unknown kind":          {text: `[{"name":"app/exec","tcp":{"port":1},"timeout":"1s"}]`, wantErr: "end in"},
		"the same name twice":   {text: `[{"name":"a/startup","tcp":{"port":1},"timeout":"1s"},{"name":"a/startup","tcp":{"port":1},"timeout":"1s"}]`, wantErr: "twice"},
		"too many":              {text: "[" + strings.Repeat(`{"name":"a/startup","timeout":"1s"},`, MaxProbes) + `{"name":"a/startup","timeout":"1s"}]`, wantErr: "more than"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			_, err := Decode([]byte(tt.text))
			if err == nil || !strings.Contains(err.Error(), tt.wantErr) {
				t.Errorf("error %v, want one with %q", err, tt.wantErr)
			}
		})
	}
}

func FuzzDecode(f *testing.F) {
	f.Add([]byte(`[{"name":"app/liveness","http":{"port":1,"path":"/%zz","headers":[{"name":"a","value":"b"}]},"timeout":"1s"}]`))
	f.Add([]byte(`[{"name":"app/preStop","http":{"port":1,"path":"http:x"},"timeout":"1s","token":"0123456789abcdefghijkl"}]`))
	f.Fuzz(func(t *testing.T, text []byte) {
		probes, err := Decode(text)
		if err != nil {
			return
		}
		for _, p := range probes {
			if p.Hook() && p.Token.IsZero() {
				t.Errorf("hook %q without a token", p.Name)
			}
			if p.HTTP == nil {
				continue
			}
			if u := p.HTTP.url("127.0.0.1:1"); u.Host != "127.0.0.1:1" || !strings.HasPrefix(u.RequestURI(), "/") {
				t.Errorf("path %q leads to %q", p.HTTP.Path, u)
			}
		}
	})
}
