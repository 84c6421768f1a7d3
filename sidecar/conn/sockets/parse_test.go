package sockets

import (
	"encoding/binary"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const heading = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"

// row returns a line as a kernel with this machine's byte order prints it.
func row(addr, st string) string {
	a := netip.MustParseAddrPort(addr)
	raw := a.Addr().AsSlice()
	var b strings.Builder
	b.WriteString("   0: ")
	for ; len(raw) > 0; raw = raw[4:] {
		b.WriteString(strings.ToUpper(hex32(binary.NativeEndian.Uint32(raw))))
	}
	b.WriteString(":" + strings.ToUpper(hex32(uint32(a.Port()))[4:]))
	b.WriteString(" 00000000:0000 " + st + " 00000000:00000000 00:00000000 00000000  1000        0 12345 1 0000000000000000 100 0 0 10 0\n")
	return b.String()
}

func hex32(v uint32) string {
	const digits = "0123456789abcdef"
	var out [8]byte
	for i := range out {
		out[7-i] = digits[v>>(4*i)&15]
	}
	return string(out[:])
}

func TestParse(t *testing.T) {
	tests := map[string]struct {
		input   string
		want    []string
		wantErr string
	}{
		"none":                   {input: heading},
		"empty file":             {},
		"IPv4":                   {input: heading + row("127.0.0.1:8080", "0A") + row("0.0.0.0:15990", "0A"), want: []string{"127.0.0.1:8080", "0.0.0.0:15990"}},
		"IPv6":                   {input: heading + row("[::]:443", "0A") + row("[2001:db8::1]:80", "0A") + row("[::1]:1", "0A"), want: []string{"[::]:443", "[2001:db8::1]:80", "[::1]:1"}},
		"mapped":                 {input: heading + row("[::ffff:127.0.0.1]:9", "0A"), want: []string{"127.0.0.1:9"}},
		"established is skipped": {input: heading + row("10.0.0.1:8080", "01") + row("10.0.0.1:8081", "06"), want: nil},
		"short line":             {input: heading + "   0: 0100007F:1F90\n", wantErr: "line 2: fewer than four fields"},
		"no port":                {input: heading + "   0: 0100007F 0 0A x\n", wantErr: "without a port"},
		"long port":              {input: heading + "   0: 0100007F:11F90 0 0A x\n", wantErr: "without a port"},
		"bad port":               {input: heading + "   0: 0100007F:XXXX 0 0A x\n", wantErr: "reading a port"},
		"bad address":            {input: heading + "   0: 0100007X:1F90 0 0A x\n", wantErr: "reading an address"},
		"address of odd length":  {input: heading + "   0: 0100007F00:1F90 0 0A x\n", wantErr: "an address of 10 digits"},
		"line too long":          {input: heading + strings.Repeat("x", 2*maxLine), wantErr: "too long"},
		"too many":               {input: heading + strings.Repeat(row("10.0.0.1:1", "0A"), maxListeners+1), wantErr: "more than"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			got, err := Parse(strings.NewReader(tt.input))
			if (err != nil) != (tt.wantErr != "") || err != nil && !strings.Contains(err.Error(), tt.wantErr) {
				t.Fatalf("error %v, want %q", err, tt.wantErr)
			}
			if !slices.Equal(texts(got), tt.want) {
				t.Errorf("got %v, want %v", got, tt.want)
			}
		})
	}
}

func texts(addrs []netip.AddrPort) []string {
	var out []string
	for _, a := range addrs {
		out = append(out, a.String())
	}
	return out
}

func TestListening(t *testing.T) {
	dir := t.TempDir()
	if _, err := Listening(dir); err == nil {
		t.Error("no error without tcp")
	}
	write(t, dir, "tcp", heading+row("127.0.0.1:1", "0A"))
	if got, err := Listening(dir); err != nil || len(got) != 1 {
		t.Errorf("without tcp6: %v, %v", got, err)
	}
	write(t, dir, "tcp6", heading+row("[::]:2", "0A"))
	if got, err := Listening(dir); err != nil || !slices.Equal(texts(got), []string{"127.0.0.1:1", "[::]:2"}) {
		t.Errorf("with both: %v, %v", got, err)
	}
	write(t, dir, "tcp6", heading+"garbage\n")
	if _, err := Listening(dir); err == nil {
		t.Error("no error for a broken tcp6")
	}
}

func write(t *testing.T, dir, name, content string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestListeningOfThisMachine(t *testing.T) {
	for _, addr := range []string{"127.0.0.1:0", "[::1]:0"} {
		l, err := net.Listen("tcp", addr)
		if err != nil {
			t.Skipf("no listener on %s here: %v", addr, err)
		}
		defer l.Close()
		got, err := Listening("/proc/net")
		if err != nil {
			t.Fatal(err)
		}
		if want := netip.MustParseAddrPort(l.Addr().String()); !slices.Contains(got, want) {
			t.Errorf("%s is not among %v", want, got)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(heading + row("127.0.0.1:8080", "0A") + row("[::]:1", "0A")))
	f.Add([]byte(heading + "   0: :1F90 0 0A x\n"))
	f.Fuzz(func(t *testing.T, input []byte) {
		got, err := Parse(strings.NewReader(string(input)))
		if err == nil && len(got) > strings.Count(string(input), "0A") {
			t.Errorf("%d listeners of %q", len(got), input)
		}
		for _, addr := range got {
			if !addr.IsValid() {
				t.Errorf("an invalid address of %q", input)
			}
		}
	})
}
