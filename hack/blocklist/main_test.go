package main

import (
	"os"
	"strings"
	"testing"
)

// TestNotice: NOTICE names the source of the list, and has the copyright notices and the permission that its licences want in copies.
func TestNotice(t *testing.T) {
	b, err := os.ReadFile("../../NOTICE")
	if err != nil {
		t.Fatal(err)
	}
	notice := string(b)
	for _, want := range []string{
		strings.Replace(source, "@", " ", 1), file, "github.com/dropbox/zxcvbn",
		"Copyright (c) 2012-2016 Dan Wheeler and Dropbox, Inc.", "Copyright (c) 2018 Vincent Vanackere and Trustelem",
	} {
		if !strings.Contains(notice, want) {
			t.Errorf("NOTICE does not have %q", want)
		}
	}
	for _, part := range []string{"The above copyright notice and this permission notice shall be", `THE SOFTWARE IS PROVIDED "AS IS"`} {
		if n := strings.Count(notice, part); n != 2 {
			t.Errorf("NOTICE has %q %d times; want it for both licences", part, n)
		}
	}
}
