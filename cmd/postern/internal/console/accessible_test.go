package console

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/net/html"
)

// TestAccessible checks the structure of the golden pages, which is what screen readers and keyboards use (WCAG 2.2: 1.3.1, 2.4.1, 2.4.6, 3.3.2, 4.1.2).
func TestAccessible(t *testing.T) {
	files, err := filepath.Glob(filepath.Join("testdata", "*.html"))
	if err != nil || len(files) < 10 {
		t.Fatal(files, err)
	}
	for _, file := range files {
		content, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, fault := range faults(t, string(content)) {
			t.Errorf("%s: %s", file, fault)
		}
	}
}

// TestAccessibleFaults: each rule finds what breaks it.
func TestAccessibleFaults(t *testing.T) {
	const frame = `<!doctype html><html lang="en"><head><title>x</title></head><body><a href="#main">Skip</a><header><nav aria-label="Pages"></nav></header><main id="main"><h1>x</h1>%</main><footer></footer></body></html>`
	for want, body := range map[string]string{
		"":                             `<h2 id="a">x</h2><section aria-labelledby="a"></section>`,
		"heading h3 after h1":          `<h3>x</h3>`,
		"2 elements h1":                `<h1>y</h1>`,
		"a table has no caption":       `<table><tr><th scope="col">x</th></tr></table>`,
		"a th has no scope":            `<table><caption>x</caption><tr><th>x</th></tr></table>`,
		"input n has no label":         `<input id="n" name="n">`,
		"select n has no label":        `<select name="n"></select>`,
		"a button has no text":         `<button></button>`,
		"nothing has the id b":         `<section aria-labelledby="b"></section>`,
		"the id c is used twice":       `<p id="c"></p><p id="c"></p>`,
		"an img has no alt":            `<img src="/x">`,
		"a link has no text":           `<a href="/"></a>`,
		"a positive tabindex":          `<p tabindex="1"></p>`,
		"a region scrolls by no key":   `<div class="scroll"></div>`,
		"a status is not announced":    `<p id="headline" data-live></p>`,
		"a badge has no text":          `<span class="badge bad"><span class="sign" aria-hidden="true">x</span> </span>`,
		"a sign is read out":           `<span class="badge bad"><span class="sign">x</span> bad</span>`,
		"a style depends on an inline": `<p style="color: red"></p>`,
	} {
		got := strings.Join(faults(t, strings.Replace(frame, "%", body, 1)), ", ")
		if got != want {
			t.Errorf("%s: %q, want %q", body, got, want)
		}
	}
	if got := faults(t, `<!doctype html><html><body><p>x</p></body></html>`); len(got) < 5 {
		t.Errorf("an empty page: %q", got)
	}
}

// faults returns what a page lacks.
func faults(t *testing.T, page string) []string {
	t.Helper()
	root, err := html.Parse(strings.NewReader(page))
	if err != nil {
		t.Fatal(err)
	}
	d := &document{ids: map[string]int{}, labels: map[string]bool{}, count: map[string]int{}}
	for n := range root.Descendants() {
		if n.Type == html.ElementNode {
			d.count[n.Data]++
			if id := attribute(n, "id"); id != "" {
				d.ids[id]++
			}
			if n.Data == "label" {
				d.labels[attribute(n, "for")] = true
			}
		}
	}
	for n := range root.Descendants() {
		if n.Type == html.ElementNode {
			d.element(n)
		}
	}
	d.landmarks()
	return d.found
}

// document is a page that is checked.
type document struct {
	found  []string
	ids    map[string]int
	labels map[string]bool
	count  map[string]int
	level  string
}

func (d *document) fault(found bool, text string) {
	if found && !slices.Contains(d.found, text) {
		d.found = append(d.found, text)
	}
}

func (d *document) landmarks() {
	for _, name := range []string{"header", "nav", "main", "footer", "h1", "title"} {
		n := d.count[name]
		d.fault(n != 1, map[bool]string{true: "no", false: "2"}[n == 0]+" elements "+name)
	}
}

func (d *document) element(n *html.Node) {
	name := attribute(n, "name")
	switch n.Data {
	case "html":
		d.fault(attribute(n, "lang") == "", "the page has no language")
	case "h1", "h2", "h3", "h4":
		d.fault(d.level != "" && n.Data > d.level && n.Data[1] > d.level[1]+1, "heading "+n.Data+" after "+d.level)
		d.level = n.Data
	case "table":
		d.fault(n.FirstChild == nil || first(n) != "caption", "a table has no caption")
	case "th":
		d.fault(attribute(n, "scope") == "", "a th has no scope")
	case "input", "select":
		inLabel := n.Parent != nil && n.Parent.Data == "label" && textOf(n.Parent) != ""
		d.fault(attribute(n, "type") != "hidden" && !inLabel && !d.labels[attribute(n, "id")], n.Data+" "+name+" has no label")
	case "button":
		d.fault(textOf(n) == "", "a button has no text")
	case "a":
		d.fault(textOf(n) == "", "a link has no text")
	case "img":
		d.fault(!has(n, "alt"), "an img has no alt")
	}
	for _, reference := range []string{"aria-labelledby", "aria-describedby", "for"} {
		if id := attribute(n, reference); id != "" {
			d.fault(d.ids[id] == 0, "nothing has the id "+id)
		}
	}
	if id := attribute(n, "id"); id != "" {
		d.fault(d.ids[id] > 1, "the id "+id+" is used twice")
	}
	classes := strings.Fields(attribute(n, "class"))
	d.fault(has(n, "tabindex") && attribute(n, "tabindex") > "0", "a positive tabindex")
	d.fault(slices.Contains(classes, "scroll") && (attribute(n, "tabindex") != "0" || attribute(n, "role") != "region" || attribute(n, "aria-labelledby") == ""), "a region scrolls by no key")
	d.fault(attribute(n, "id") == "headline" && attribute(n, "aria-live") != "polite", "a status is not announced")
	d.fault(slices.Contains(classes, "badge") && strings.TrimSpace(strings.ReplaceAll(textOf(n), textOf(n.FirstChild), "")) == "", "a badge has no text")
	d.fault(slices.Contains(classes, "sign") && attribute(n, "aria-hidden") != "true", "a sign is read out")
	d.fault(has(n, "style"), "a style depends on an inline")
}

func first(n *html.Node) string {
	for c := range n.ChildNodes() {
		if c.Type == html.ElementNode {
			return c.Data
		}
	}
	return ""
}

func attribute(n *html.Node, name string) string {
	for _, a := range n.Attr {
		if a.Key == name {
			return a.Val
		}
	}
	return ""
}

func has(n *html.Node, name string) bool {
	return slices.ContainsFunc(n.Attr, func(a html.Attribute) bool { return a.Key == name })
}

func textOf(n *html.Node) string {
	var b strings.Builder
	for c := range n.Descendants() {
		if c.Type == html.TextNode {
			b.WriteString(c.Data)
		}
	}
	return strings.TrimSpace(b.String())
}
