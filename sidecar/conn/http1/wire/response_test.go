package wire

import (
	"fmt"
	"strings"
	"testing"
)

func TestParseResponse(t *testing.T) {
	tests := map[string]struct {
		head    string
		want    string
		wantErr bool
	}{
		"ordinary":             {head: "HTTP/1.1 200 OK\r\ncontent-type:  a/b \r\nX-A:\r\n\r\n", want: "200 1 [{Content-Type a/b} {X-A }]"},
		"HTTP/1.0 and LF":      {head: "HTTP/1.0 404\nA: b\n\n", want: "404 0 [{A b}]"},
		"folded":               {head: "HTTP/1.1 200 OK\r\nA: b\r\n  c\r\n\r\n", want: "200 1 [{A b c}]"},
		"folded first line":    {head: "HTTP/1.1 200 OK\r\n A: b\r\n\r\n", wantErr: true},
		"version 2":            {head: "HTTP/2.0 200 OK\r\n\r\n", wantErr: true},
		"lower-case version":   {head: "http/1.1 200 OK\r\n\r\n", wantErr: true},
		"no status":            {head: "HTTP/1.1\r\n\r\n", wantErr: true},
		"status of 2 digits":   {head: "HTTP/1.1 20 OK\r\n\r\n", wantErr: true},
		"status of 4 digits":   {head: "HTTP/1.1 2000 OK\r\n\r\n", wantErr: true},
		"status below 100":     {head: "HTTP/1.1 099 OK\r\n\r\n", wantErr: true},
		"sign":                 {head: "HTTP/1.1 +20 OK\r\n\r\n", wantErr: true},
		"no colon":             {head: "HTTP/1.1 200 OK\r\nA b\r\n\r\n", wantErr: true},
		"space before colon":   {head: "HTTP/1.1 200 OK\r\nA : b\r\n\r\n", wantErr: true},
		"no name":              {head: "HTTP/1.1 200 OK\r\n: b\r\n\r\n", wantErr: true},
		"CR in a value":        {head: "HTTP/1.1 200 OK\r\nA: b\rc\r\n\r\n", wantErr: true},
		"NUL in a folded line": {head: "HTTP/1.1 200 OK\r\nA: b\r\n c\x00\r\n\r\n", wantErr: true},
		"too many fields":      {head: "HTTP/1.1 200 OK\r\n" + strings.Repeat("A: b\r\n", maxFields+1) + "\r\n", wantErr: true},
	}
	for name, tt := range tests {
		status, minor, fields, err := ParseResponse(tt.head, nil)
		if got := fmt.Sprint(status, minor, fields); (err != nil) != tt.wantErr || err == nil && got != tt.want {
			t.Errorf("%s: %s, %v; want %s", name, got, err, tt.want)
		}
	}
}

func TestResponseLength(t *testing.T) {
	length := func(values ...string) (fields []Field) {
		for _, v := range values {
			fields = append(fields, Field{"Content-Length", v})
		}
		return fields
	}
	coding := func(value string) Field { return Field{"Transfer-Encoding", value} }
	tests := map[string]struct {
		method        string
		status, minor int
		fields        []Field
		want          int64
		wantErr       bool
	}{
		"length":                {status: 200, minor: 1, fields: length("5"), want: 5},
		"the same length twice": {status: 200, minor: 1, fields: length("5", "5"), want: 5},
		"two lengths":           {status: 200, minor: 1, fields: length("5", "6"), wantErr: true},
		"list of lengths":       {status: 200, minor: 1, fields: length("5, 5"), wantErr: true},
		"sign":                  {status: 200, minor: 1, fields: length("+5"), wantErr: true},
		"negative":              {status: 200, minor: 1, fields: length("-1"), wantErr: true},
		"empty":                 {status: 200, minor: 1, fields: length(""), wantErr: true},
		"too long":              {status: 200, minor: 1, fields: length("99999999999999999999"), wantErr: true},
		"chunked":               {status: 200, minor: 1, fields: []Field{coding("Chunked")}, want: Chunked},
		"chunked twice":         {status: 200, minor: 1, fields: []Field{coding("chunked"), coding("chunked")}, wantErr: true},
		"gzip":                  {status: 200, minor: 1, fields: []Field{coding("gzip, chunked")}, wantErr: true},
		"identity":              {status: 200, minor: 1, fields: []Field{coding("identity")}, wantErr: true},
		"both":                  {status: 200, minor: 1, fields: append(length("5"), coding("chunked")), wantErr: true},
		"chunked in HTTP/1.0":   {status: 200, fields: []Field{coding("chunked")}, wantErr: true},
		"HEAD":                  {method: "HEAD", status: 200, minor: 1, fields: length("5")},
		"204":                   {status: 204, minor: 1, fields: length("5")},
		"304":                   {status: 304, minor: 1, fields: []Field{coding("chunked")}},
		"neither":               {status: 200, minor: 1, want: UntilClose},
	}
	for name, tt := range tests {
		got, err := ResponseLength(tt.method, tt.status, tt.minor, tt.fields)
		if (err != nil) != tt.wantErr || got != tt.want {
			t.Errorf("%s: %d, %v; want %d", name, got, err, tt.want)
		}
	}
}
