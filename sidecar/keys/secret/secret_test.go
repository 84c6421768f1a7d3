package secret

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestValueIsRedactedEverywhere(t *testing.T) {
	v := New([]byte("hunter2"))
	holder := struct{ Password Value }{v}
	js, err := json.Marshal(holder)
	if err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	slog.New(slog.NewJSONHandler(&log, nil)).Info("x", "password", v, "holder", holder)
	for _, seen := range []string{
		fmt.Sprint(v), fmt.Sprintf("%s %q %x %d %#v %+v", v, v, v, v, v, v), fmt.Sprintf("%v %+v", holder, &holder), string(js), log.String(),
	} {
		if strings.Contains(seen, "hunter2") || strings.Contains(seen, "68756e74") || strings.Contains(seen, "104 117") {
			t.Errorf("the secret is visible in %q", seen)
		}
	}
}

func TestFile(t *testing.T) {
	dir := t.TempDir()
	write := func(name string, b []byte) File {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		return File(path)
	}
	tests := map[string]struct {
		file    File
		want    string
		wantErr string
	}{
		"plain":         {file: write("plain", []byte("s3cret")), want: "s3cret"},
		"newline":       {file: write("newline", []byte("s3cret\n")), want: "s3cret"},
		"two newlines":  {file: write("two", []byte("s3cret\n\n")), want: "s3cret\n"},
		"absent":        {file: File(filepath.Join(dir, "absent")), wantErr: "no such file"},
		"empty":         {file: write("empty", nil), wantErr: "empty"},
		"only newline":  {file: write("nl", []byte("\n")), wantErr: "empty"},
		"too large":     {file: write("large", make([]byte, maxFileSize+1)), wantErr: "larger than"},
		"a directory":   {file: File(dir), wantErr: "directory"},
		"at the bound ": {file: write("bound", bytes.Repeat([]byte("x"), maxFileSize)), want: strings.Repeat("x", maxFileSize)},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			got, err := tt.file.Read(t.Context())
			if tt.wantErr != "" {
				if err == nil || !strings.Contains(err.Error(), tt.wantErr) {
					t.Fatalf("error = %v; want one with %q", err, tt.wantErr)
				}
				return
			}
			if err != nil || string(got.Reveal()) != tt.want {
				t.Errorf("got %d bytes, %v; want %d", len(got.Reveal()), err, len(tt.want))
			}
		})
	}
}
