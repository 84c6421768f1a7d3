//go:build !nocluster

package main

import (
	"fmt"
	"html/template"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"sync"
)

// links prints the links of the console, and opens the first one in the browser if that is asked for.
type links struct {
	out  io.Writer
	open bool

	mu sync.Mutex
	// folder has the file that leads the browser to the link; empty if there is none.
	folder string
	first  bool
	// start starts the browser with a file.
	start func(file string) error
}

func newLinks(out io.Writer, open bool) *links {
	return &links{out: out, open: open, first: true, start: startBrowser}
}

// issued prints a link. The first one is opened in the browser.
func (l *links) issued(link string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.first {
		l.remove()
		fmt.Fprintf(l.out, "A browser signed in. Link for another one:\n  %s\n", link)
		return
	}
	l.first = false
	fmt.Fprintf(l.out, "Open this link in your browser. It works once. Ctrl-C ends the console.\n  %s\n", link)
	if !l.open {
		return
	}
	if err := l.launch(link); err != nil {
		fmt.Fprintf(l.out, "The browser was not opened (%v): open the link yourself.\n", err)
	}
}

// leadOn is a page that goes to the link.
var leadOn = template.Must(template.New("").Parse(`<!doctype html><meta charset="utf-8"><meta name="referrer" content="no-referrer"><title>Postern console</title><meta http-equiv="refresh" content="0; url={{.}}"><a href="{{.}}">Postern console</a>`))

// launch opens the browser with a file that only this user can read, and that leads on to the link: other users of the machine see the
// arguments of processes.
func (l *links) launch(link string) error {
	folder, err := os.MkdirTemp("", "postern-console-")
	if err != nil {
		return err
	}
	l.folder = folder
	name := filepath.Join(folder, "console.html")
	file, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	err = leadOn.Execute(file, link)
	if closed := file.Close(); err == nil {
		err = closed
	}
	if err != nil {
		return err
	}
	return l.start(name)
}

// close removes the file.
func (l *links) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.remove()
}

func (l *links) remove() {
	if l.folder != "" {
		_ = os.RemoveAll(l.folder)
		l.folder = ""
	}
}

// startBrowser starts the browser of the desktop, and does not wait for it.
func startBrowser(file string) error {
	program, args := "xdg-open", []string{file}
	switch runtime.GOOS {
	case "darwin":
		program = "open"
	case "windows":
		program, args = "rundll32", []string{"url.dll,FileProtocolHandler", file}
	}
	cmd := exec.Command(program, args...)
	if err := cmd.Start(); err != nil {
		return err
	}
	go func() { _ = cmd.Wait() }()
	return nil
}
