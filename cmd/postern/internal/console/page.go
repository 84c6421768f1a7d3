package console

import (
	"bytes"
	"context"
	"embed"
	"errors"
	"fmt"
	"html/template"
	"io/fs"
	"net/http"
	"path"
	"time"
)

//go:embed templates
var templateFiles embed.FS

//go:embed assets
var assetFiles embed.FS

const (
	staticPath = "/static/"
	// partHeader is sent by the script, which wants only the live parts of a page. A page of another origin cannot send it without asking.
	partHeader = "Postern-Part"
	// refresh is how often the script reads the live parts.
	refresh = 5 * time.Second
	// readTimeout bounds all reads for a page.
	readTimeout = 20 * time.Second
)

// pages are the parsed templates by the name of the page.
type pages map[string]*template.Template

func parsePages() (pages, error) {
	base, err := template.New("").Funcs(functions).ParseFS(templateFiles, "templates/parts/*.html")
	if err != nil {
		return nil, fmt.Errorf("parsing templates: %w", err)
	}
	files, err := fs.Glob(templateFiles, "templates/*.html")
	if err != nil {
		return nil, fmt.Errorf("listing templates: %w", err)
	}
	out := pages{}
	for _, file := range files {
		clone, err := base.Clone()
		if err == nil {
			clone, err = clone.ParseFS(templateFiles, file)
		}
		if err != nil {
			return nil, fmt.Errorf("parsing templates: %w", err)
		}
		name := path.Base(file)
		out[name[:len(name)-len(".html")]] = clone
	}
	return out, nil
}

// frame is what the frame around all pages shows.
type frame struct {
	Title string
	// Section is the link of the navigation that is current.
	Section                  string
	Context, User, Namespace string
	CSRF                     string
	// Refresh is the time between two reads of the script, in milliseconds.
	Refresh int64
	Read    moment
	// Notice says what the last form did.
	Notice *notice
	// TrailKnown says that there is a database.
	TrailKnown bool
}

func (k *Console) frame(r *http.Request, title, section string) frame {
	return frame{
		Title: title, Section: section, Context: k.cfg.Context, User: k.cfg.User, Namespace: k.cfg.Namespace, CSRF: csrfOf(r.Context()), Refresh: k.cfg.Refresh.Milliseconds(),
		Read: momentOf(k.cfg.Now(), k.cfg.Now()), Notice: k.notices.take(r.URL.Query().Get("notice")), TrailKnown: k.cfg.Trail != nil,
	}
}

// refusedPage is a page without data.
type refusedPage struct{ Title, Why string }

// show writes a page, or only its live parts if the script wants these.
func (k *Console) show(w http.ResponseWriter, r *http.Request, page string, data any) error {
	if r.Header.Get(partHeader) != "" {
		return k.render(w, http.StatusOK, page, "live", data)
	}
	return k.render(w, http.StatusOK, page, "page", data)
}

// write writes a page that always can be rendered.
func (k *Console) write(w http.ResponseWriter, status int, page string, data any) {
	if err := k.render(w, status, page, "page", data); err != nil {
		k.cfg.Log.Error("page not rendered", "page", page, "error", err)
	}
}

// render writes nothing if the template fails, so that no half page is shown.
func (k *Console) render(w http.ResponseWriter, status int, page, part string, data any) error {
	var b bytes.Buffer
	if err := k.pages[page].ExecuteTemplate(&b, part, data); err != nil {
		return fmt.Errorf("rendering page %s: %w", page, err)
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(status)
	_, _ = w.Write(b.Bytes()) // the browser is gone
	return nil
}

// userError is an error that the person can correct, with its status.
type userError struct {
	status int
	text   string
}

func (e *userError) Error() string { return e.text }

type failedPage struct {
	frame
	Why string
}

// failed writes the page of an error.
func (k *Console) failed(w http.ResponseWriter, r *http.Request, err error) {
	status, title := http.StatusBadGateway, "Not read"
	var u *userError
	switch {
	case errors.As(err, &u):
		status, title = u.status, http.StatusText(u.status)
	case errors.Is(err, context.Canceled):
		return
	}
	k.cfg.Log.Warn("page failed", "path", shortened(r.URL.Path), "error", shortened(err.Error()))
	f := failedPage{k.frame(r, title, ""), err.Error()}
	if r.Header.Get(partHeader) != "" {
		http.Error(w, title, status)
		return
	}
	k.write(w, status, "failed", f)
}

func (k *Console) notFound(_ http.ResponseWriter, r *http.Request) error {
	return &userError{http.StatusNotFound, "There is no page " + shortened(r.URL.Path) + "."}
}

func serveStatic(w http.ResponseWriter, r *http.Request) {
	types := map[string]string{".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".svg": "image/svg+xml"}
	name := r.PathValue("file")
	content, err := assetFiles.ReadFile("assets/" + path.Base(name))
	if err != nil {
		http.NotFound(w, r)
		return
	}
	w.Header().Set("Content-Type", types[path.Ext(name)])
	_, _ = w.Write(content) // the browser is gone
}
