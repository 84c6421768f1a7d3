// Command pathcorpus records for which request targets real apps serve a protected resource. The test beside it compares the record with
// what the sidecar's rules match, without these servers.
//
//	apt-get install nginx-light apache2 nodejs node-express python3-flask python3-django python3-uvicorn python3-starlette gunicorn puma ruby-sinatra php-cli tomcat10
//	go run ./hack/pathcorpus
package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

const recordFile = "hack/pathcorpus/testdata/served.txt"

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "pathcorpus:", err)
		os.Exit(1)
	}
}

func run() error {
	sent, err := forwarded()
	if err != nil {
		return err
	}
	r := record{digest: digest(sent)}
	for i, a := range apps() {
		found, err := a.ask(21000+i, sent)
		if err != nil {
			return fmt.Errorf("asking %s: %w", a.name, err)
		}
		fmt.Fprintf(os.Stderr, "%s: %d of %d targets\n", found.name, len(found.serves), len(sent))
		r.apps = append(r.apps, found)
	}
	return os.WriteFile(recordFile, []byte(r.format()), 0o644)
}

func replaceRead(text, read string) string { return strings.ReplaceAll(text, "@READ@", read) }

func replaceMore(text, more string) string { return strings.ReplaceAll(text, "@MORE@", more) }

// ask starts the app and sends it every target.
func (a app) ask(port int, sent []string) (served, error) {
	version, err := exec.Command("sh", "-c", a.version).Output()
	if err != nil {
		return served{}, fmt.Errorf("finding its version: %w", err)
	}
	stop, err := a.start(port)
	if err != nil {
		return served{}, err
	}
	defer stop()
	found := served{name: a.name + " (" + strings.TrimSpace(string(version)) + ")", serves: map[string]bool{}}
	var mu sync.Mutex
	var all sync.WaitGroup
	next := make(chan string)
	for range 8 {
		all.Go(func() {
			for target := range next {
				if serves(port, target) {
					mu.Lock()
					found.serves[target] = true
					mu.Unlock()
				}
			}
		})
	}
	for _, target := range sent {
		next <- target
	}
	close(next)
	all.Wait()
	found.ignoresCase = found.serves["/ADMIN/secret"]
	return found, nil
}

// start starts the app in a temporary folder, and waits until it serves the resource.
func (a app) start(port int) (stop func(), err error) {
	dir, err := os.MkdirTemp("", "pathcorpus")
	if err != nil {
		return nil, err
	}
	_ = os.Chmod(dir, 0o755)
	for name, content := range a.files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return nil, err
		}
		content = strings.NewReplacer("@PORT@", strconv.Itoa(port), "@DIR@", dir).Replace(content)
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			return nil, err
		}
	}
	log, err := os.Create(filepath.Join(dir, "log"))
	if err != nil {
		return nil, err
	}
	command := exec.Command("sh", "-c", a.command)
	command.Dir, command.Stdout, command.Stderr = dir, log, log
	command.Env = append(os.Environ(), "PORT="+strconv.Itoa(port), "DIR="+dir)
	command.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := command.Start(); err != nil {
		return nil, err
	}
	stop = func() {
		_ = syscall.Kill(-command.Process.Pid, syscall.SIGKILL)
		_ = command.Wait()
		_ = os.RemoveAll(dir)
	}
	for until := time.Now().Add(time.Minute); time.Now().Before(until); time.Sleep(200 * time.Millisecond) {
		if serves(port, protected) {
			return stop, nil
		}
	}
	text, _ := os.ReadFile(filepath.Join(dir, "log"))
	stop()
	return nil, errors.New("it does not serve the resource: " + string(text))
}

// serves reports whether the app responds to the target, byte for byte, with the protected resource. Redirects are not followed.
func serves(port int, target string) bool {
	conn, err := net.DialTimeout("tcp", "127.0.0.1:"+strconv.Itoa(port), 5*time.Second)
	if err != nil {
		return false
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(5 * time.Second))
	fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: app\r\nConnection: close\r\n\r\n", target)
	response, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		return false
	}
	defer response.Body.Close()
	body, _ := io.ReadAll(io.LimitReader(response.Body, 64<<10))
	return response.StatusCode == http.StatusOK && strings.Contains(string(body), strings.TrimSpace(secret))
}
