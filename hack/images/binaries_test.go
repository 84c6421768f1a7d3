package main

import (
	"slices"
	"testing"
)

func TestParseLibraries(t *testing.T) {
	for name, test := range map[string]struct {
		output  string
		want    []string
		wantErr bool
	}{
		"libraries and the loader": {
			output: "\tlinux-vdso.so.1 (0x00007fd5ade74000)\n" +
				"\tlibm.so.6 => /lib/x86_64-linux-gnu/libm.so.6 (0x00007fd5adb07000)\n" +
				"\t/lib64/ld-linux-x86-64.so.2 (0x00007fd5ade76000)\n",
			want: []string{"/lib/x86_64-linux-gnu/libm.so.6", "/lib64/ld-linux-x86-64.so.2"},
		},
		"a library is missing": {
			output:  "\tlibm.so.6 => /lib/libm.so.6 (0x00007fd5adb07000)\n\tliblzf.so.1 => not found\n",
			wantErr: true,
		},
		"a static program": {output: "\tstatically linked\n", wantErr: true},
		"nothing":          {wantErr: true},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := parseLibraries("program", []byte(test.output))
			if (err != nil) != test.wantErr || !slices.Equal(got, test.want) {
				t.Errorf("got %q, %v; want %q, error %t", got, err, test.want, test.wantErr)
			}
		})
	}
}
