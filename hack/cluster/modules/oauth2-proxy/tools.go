//go:build tools

package oauth2proxy

import _ "github.com/oauth2-proxy/oauth2-proxy/v7"
