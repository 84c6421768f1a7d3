package main

import (
	"encoding/xml"
	"fmt"
	"strings"
)

// The elements of a JUnit report that CI systems read.
type junitSuites struct {
	XMLName xml.Name     `xml:"testsuites"`
	Suites  []junitSuite `xml:"testsuite"`
}

type junitSuite struct {
	Name     string      `xml:"name,attr"`
	Tests    int         `xml:"tests,attr"`
	Failures int         `xml:"failures,attr"`
	Cases    []junitCase `xml:"testcase"`
}

type junitCase struct {
	Name    string        `xml:"name,attr"`
	Class   string        `xml:"classname,attr"`
	File    string        `xml:"file,attr"`
	Line    int           `xml:"line,attr"`
	Time    string        `xml:"time,attr"`
	Failure *junitFailure `xml:"failure,omitempty"`
}

type junitFailure struct {
	Message string `xml:"message,attr"`
	Text    string `xml:",chardata"`
}

// junit returns a report with one suite per file.
func junit(outcomes []outcome) ([]byte, error) {
	var all junitSuites
	for i := range outcomes {
		o := &outcomes[i]
		if n := len(all.Suites); n == 0 || all.Suites[n-1].Name != o.file {
			all.Suites = append(all.Suites, junitSuite{Name: o.file})
		}
		suite := &all.Suites[len(all.Suites)-1]
		c := junitCase{Name: o.test.Name, Class: o.file, File: o.file, Line: o.test.Line, Time: fmt.Sprintf("%.3f", o.took.Seconds())}
		if o.failed() {
			lines := o.lines()
			c.Failure = &junitFailure{Message: strings.TrimSpace(lines[1]), Text: strings.Join(lines[1:], "\n")}
			suite.Failures++
		}
		suite.Tests++
		suite.Cases = append(suite.Cases, c)
	}
	b, err := xml.MarshalIndent(all, "", "  ")
	return append([]byte(xml.Header), append(b, '\n')...), err
}
