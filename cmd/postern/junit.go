package main

import (
	"encoding/xml"
	"fmt"
	"strings"
	"time"
)

// The elements of a JUnit report that CI systems read.
type junitSuites struct {
	XMLName  xml.Name     `xml:"testsuites"`
	Tests    int          `xml:"tests,attr"`
	Failures int          `xml:"failures,attr"`
	Errors   int          `xml:"errors,attr"`
	Suites   []junitSuite `xml:"testsuite"`
}

type junitSuite struct {
	Name     string      `xml:"name,attr"`
	Tests    int         `xml:"tests,attr"`
	Failures int         `xml:"failures,attr"`
	Errors   int         `xml:"errors,attr"`
	Time     string      `xml:"time,attr"`
	Cases    []junitCase `xml:"testcase"`

	took time.Duration
}

type junitCase struct {
	Name    string        `xml:"name,attr"`
	Class   string        `xml:"classname,attr"`
	File    string        `xml:"file,attr"`
	Line    int           `xml:"line,attr"`
	Time    string        `xml:"time,attr"`
	Failure *junitProblem `xml:"failure,omitempty"`
	// Error says that the case could not be run.
	Error *junitProblem `xml:"error,omitempty"`
}

type junitProblem struct {
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
		c := junitCase{Name: o.test.Name, Class: o.file, File: o.file, Line: o.test.Line, Time: seconds(o.took)}
		if o.failed() {
			lines := o.lines()
			problem := &junitProblem{Message: strings.TrimSpace(lines[1]), Text: strings.Join(lines[1:], "\n")}
			if o.err != nil {
				c.Error = problem
				suite.Errors++
				all.Errors++
			} else {
				c.Failure = problem
				suite.Failures++
				all.Failures++
			}
		}
		suite.took += o.took
		suite.Time = seconds(suite.took)
		suite.Tests++
		all.Tests++
		suite.Cases = append(suite.Cases, c)
	}
	b, err := xml.MarshalIndent(all, "", "  ")
	return append([]byte(xml.Header), append(b, '\n')...), err
}

func seconds(d time.Duration) string { return fmt.Sprintf("%.3f", d.Seconds()) }
