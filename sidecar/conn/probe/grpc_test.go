package probe

import (
	"bytes"
	"testing"

	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/protobuf/proto"
)

// TestHealthRequest: the handwritten encoding equals the library's.
func TestHealthRequest(t *testing.T) {
	for _, service := range []string{"", "shop", string(make([]byte, 300))} {
		want, err := proto.Marshal(&healthpb.HealthCheckRequest{Service: service})
		if err != nil {
			t.Fatal(err)
		}
		if got := healthRequest(service); !bytes.Equal(got[frameHeader:], want) || int(got[3])<<8+int(got[4]) != len(want) {
			t.Errorf("service of %d bytes: %x, want %x", len(service), got, want)
		}
	}
}

func TestParseHealthResponse(t *testing.T) {
	tests := map[string]struct {
		frame   string
		want    uint64
		wantErr bool
	}{
		"serving":                {frame: "\x00\x00\x00\x00\x02\x08\x01", want: 1},
		"empty is unknown":       {frame: "\x00\x00\x00\x00\x00", want: 0},
		"last one wins":          {frame: "\x00\x00\x00\x00\x04\x08\x01\x08\x02", want: 2},
		"unknown fields skipped": {frame: "\x00\x00\x00\x00\x16\x12\x02ab\x19\x01\x02\x03\x04\x05\x06\x07\x08\x25\x01\x02\x03\x04\x30\x05\x08\x01", want: 1},
		"nothing":                {wantErr: true},
		"compressed":             {frame: "\x01\x00\x00\x00\x02\x08\x01", wantErr: true},
		"short":                  {frame: "\x00\x00\x00\x00\x03\x08\x01", wantErr: true},
		"two messages":           {frame: "\x00\x00\x00\x00\x02\x08\x01\x00\x00\x00\x00\x02\x08\x01", wantErr: true},
		"no value":               {frame: "\x00\x00\x00\x00\x01\x08", wantErr: true},
		"field number zero":      {frame: "\x00\x00\x00\x00\x02\x00\x01", wantErr: true},
		"string past the end":    {frame: "\x00\x00\x00\x00\x03\x12\x05a", wantErr: true},
		"fixed past the end":     {frame: "\x00\x00\x00\x00\x03\x19\x05a", wantErr: true},
		"a group":                {frame: "\x00\x00\x00\x00\x01\x13", wantErr: true},
		"varint too long":        {frame: "\x00\x00\x00\x00\x0c\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", wantErr: true},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			got, err := parseHealthResponse([]byte(tt.frame))
			if (err != nil) != tt.wantErr || got != tt.want {
				t.Errorf("%d, %v; want %d, error %v", got, err, tt.want, tt.wantErr)
			}
		})
	}
}

func FuzzParseHealthResponse(f *testing.F) {
	f.Add([]byte("\x00\x00\x00\x00\x02\x08\x01"))
	f.Add([]byte("\x00\x00\x00\x00\x0c\x12\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01a"))
	f.Fuzz(func(t *testing.T, b []byte) {
		got, err := parseHealthResponse(b)
		if err != nil {
			return
		}
		var m healthpb.HealthCheckResponse
		if proto.Unmarshal(b[frameHeader:], &m) == nil && uint64(uint32(got)) != uint64(uint32(m.Status)) {
			t.Errorf("%d, the library reads %d", got, m.Status)
		}
	})
}
