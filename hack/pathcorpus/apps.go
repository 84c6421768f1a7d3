package main

// An app is a server that serves the protected resource. command starts it in a folder of its own, with $PORT and $DIR; it listens on
// 127.0.0.1. files are written into the folder before; @PORT@ and @DIR@ in them are replaced.
type app struct {
	name string
	// version is a shell command that prints the version.
	version string
	files   map[string]string
	command string
}

// page is the protected resource as a file.
func page(root string) map[string]string {
	return map[string]string{root + protected: secret, root + "/index.html": "home\n"}
}

func with(files map[string]string, name, content string) map[string]string {
	files[name] = content
	return files
}

const nginxHead = "daemon off; pid @DIR@/pid; error_log stderr; worker_processes 1; events {} http { access_log off; client_body_temp_path @DIR@/b; proxy_temp_path @DIR@/p; fastcgi_temp_path @DIR@/f; uwsgi_temp_path @DIR@/u; scgi_temp_path @DIR@/s; server { listen 127.0.0.1:@PORT@; "

const apacheHead = "ServerName localhost\nPidFile @DIR@/pid\nErrorLog @DIR@/error.log\nMutex posixsem\nListen 127.0.0.1:@PORT@\nLoadModule mpm_event_module /usr/lib/apache2/modules/mod_mpm_event.so\nLoadModule authz_core_module /usr/lib/apache2/modules/mod_authz_core.so\nLoadModule dir_module /usr/lib/apache2/modules/mod_dir.so\nDocumentRoot @DIR@/www\n"

const apacheCommand = "exec apache2 -X -f $DIR/httpd.conf"

const tomcatServer = `<Server port="-1"><Service name="Catalina"><Connector port="@PORT@" address="127.0.0.1" @MORE@/><Engine name="Catalina" defaultHost="localhost"><Host name="localhost" appBase="webapps"/></Engine></Service></Server>`

const tomcatCommand = "cp -r /etc/tomcat10/web.xml $DIR/conf/ && mkdir -p $DIR/logs $DIR/temp $DIR/work && CATALINA_BASE=$DIR CATALINA_HOME=/usr/share/tomcat10 exec /usr/share/tomcat10/bin/catalina.sh run"

const expressApp = `const express = require('express'); const app = express(); app.get('/admin/secret', (q, s) => s.send('the secret\n')); app.listen(+process.env.PORT, '127.0.0.1');`

const nodeApp = `require('http').createServer((q, s) => { let p; try { p = @READ@ } catch (e) { s.statusCode = 400; return s.end() } s.statusCode = p === '/admin/secret' ? 200 : 404; s.end(p === '/admin/secret' ? 'the secret\n' : 'no\n') }).listen(+process.env.PORT, '127.0.0.1');`

const flaskApp = "from flask import Flask\napp = Flask(__name__)\n@app.get('/admin/secret')\ndef secret(): return 'the secret\\n'\n"

const djangoApp = `from django.conf import settings
settings.configure(ROOT_URLCONF=__name__, ALLOWED_HOSTS=['*'], SECRET_KEY='x', DEBUG=False)
from django.http import HttpResponse
from django.urls import path
urlpatterns = [path('admin/secret', lambda r: HttpResponse('the secret\n'))]
from django.core.wsgi import get_wsgi_application
app = get_wsgi_application()
`

const starletteApp = "from starlette.applications import Starlette\nfrom starlette.routing import Route\nfrom starlette.responses import PlainTextResponse\nasync def secret(r): return PlainTextResponse('the secret\\n')\napp = Starlette(routes=[Route('/admin/secret', secret)])\n"

const phpRouter = `<?php if (@READ@ === '/admin/secret') { echo "the secret\n"; } else { http_response_code(404); }`

// apps returns the servers, most of them from Debian.
func apps() []app {
	return []app{
		{name: "Go ServeMux", version: "go env GOVERSION", files: map[string]string{"go.mod": "module app\n", "main.go": goApp}, command: "go build -o app . && exec ./app"},
		{name: "nginx, static files", version: "nginx -v 2>&1", files: with(page("www"), "nginx.conf", nginxHead+"root @DIR@/www; } }"), command: "exec nginx -p $DIR -c $DIR/nginx.conf"},
		{name: "nginx, location", version: "nginx -v 2>&1", files: map[string]string{"nginx.conf": nginxHead + "merge_slashes off; location = /admin/secret { return 200 'the secret\n'; } location / { return 404; } } }"}, command: "exec nginx -p $DIR -c $DIR/nginx.conf"},
		{name: "Apache httpd, static files", version: "apache2 -v | head -n 1", files: with(page("www"), "httpd.conf", apacheHead), command: apacheCommand},
		{name: "Apache httpd, AllowEncodedSlashes On", version: "apache2 -v | head -n 1", files: with(page("www"), "httpd.conf", apacheHead+"AllowEncodedSlashes On\n"), command: apacheCommand},
		{name: "Node, URL", version: "node -v", files: map[string]string{"app.js": replaceRead(nodeApp, "decodeURIComponent(new URL(q.url, 'http://x').pathname)")}, command: "exec node app.js"},
		{name: "Node, split and decode", version: "node -v", files: map[string]string{"app.js": replaceRead(nodeApp, "q.url.split('?')[0].split('/').map(decodeURIComponent).join('/')")}, command: "exec node app.js"},
		{name: "Express", version: "node -p \"require('/usr/share/nodejs/express/package.json').version\"", files: map[string]string{"app.js": expressApp}, command: "NODE_PATH=/usr/share/nodejs:/usr/lib/nodejs exec node app.js"},
		{name: "Python http.server", version: "/usr/bin/python3 -V", files: page("www"), command: "exec /usr/bin/python3 -m http.server --bind 127.0.0.1 --directory www $PORT"},
		{name: "Flask in gunicorn", version: pythonVersion("flask"), files: map[string]string{"app.py": flaskApp}, command: "exec /usr/bin/python3 -m gunicorn -b 127.0.0.1:$PORT app:app"},
		{name: "Flask, development server", version: pythonVersion("werkzeug"), files: map[string]string{"app.py": flaskApp}, command: "exec /usr/bin/python3 -m flask run -p $PORT"},
		{name: "Django in gunicorn", version: pythonVersion("django"), files: map[string]string{"app.py": djangoApp}, command: "exec /usr/bin/python3 -m gunicorn -b 127.0.0.1:$PORT app:app"},
		{name: "Starlette in uvicorn", version: pythonVersion("starlette"), files: map[string]string{"app.py": starletteApp}, command: "exec /usr/bin/python3 -m uvicorn --host 127.0.0.1 --port $PORT app:app"},
		{name: "Sinatra in Puma", version: "ruby -e 'require \"sinatra/base\"; puts Sinatra::VERSION'", files: map[string]string{"config.ru": "require 'sinatra/base'\nclass App < Sinatra::Base\nset :protection, false\nget('/admin/secret') { \"the secret\\n\" }\nend\nrun App\n"}, command: "exec puma -q -b tcp://127.0.0.1:$PORT config.ru"},
		{name: "PHP, decoded path", version: "php -v | head -n 1", files: map[string]string{"app.php": replaceRead(phpRouter, "rawurldecode(explode('?', $_SERVER['REQUEST_URI'])[0])")}, command: "exec php -S 127.0.0.1:$PORT app.php"},
		{name: "PHP, static files", version: "php -v | head -n 1", files: page("www"), command: "exec php -S 127.0.0.1:$PORT -t www"},
		{name: "Tomcat, static files", version: tomcatVersion, files: with(page("webapps/ROOT"), "conf/server.xml", replaceMore(tomcatServer, "")), command: tomcatCommand},
		{name: "Tomcat, encodedSolidusHandling decode", version: tomcatVersion, files: with(page("webapps/ROOT"), "conf/server.xml", replaceMore(tomcatServer, `encodedSolidusHandling="decode" allowBackslash="true"`)), command: tomcatCommand},
	}
}

const tomcatVersion = "dpkg-query -W -f '${Version}' tomcat10"

const goApp = `package main

import (
	"fmt"
	"net/http"
	"os"
)

func main() {
	http.HandleFunc("/admin/secret", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "the secret") })
	panic(http.ListenAndServe("127.0.0.1:"+os.Getenv("PORT"), nil))
}
`

func pythonVersion(module string) string {
	return "/usr/bin/python3 -c \"import importlib.metadata as m; print(m.version('" + module + "'))\""
}
