package app

import (
	"errors"
	"log/slog"
	"net"
	"net/http"
	"os"
	"sync"

	"github.com/prometheus/exporter-toolkit/web"
	"go.yaml.in/yaml/v3"

	"github.com/gatewarden/gatewarden"
	"github.com/gatewarden/gatewarden/api"
	"github.com/gatewarden/gatewarden/rules"
)

// serveWeb serves with TLS and basic authentication as the Prometheus ecosystem's
// web configuration says, or plainly when there is none. With tokens, who bears one is let
// in too, and who has neither a token nor a user is not.
func serveWeb(l net.Listener, server *http.Server, cfg rules.Web, logger *slog.Logger) error {
	if len(cfg.TokenFiles) > 0 {
		if _, err := readTokens(cfg.TokenFiles); err != nil {
			return err
		}
		inner := server.Handler
		l = &firstAccept{Listener: l, before: func() { // web.Serve has put its own handler around inner
			server.Handler = &api.Tokens{
				All: func() map[string]string {
					tokens, err := readTokens(cfg.TokenFiles)
					if err != nil {
						logger.Error("a token cannot be read, and is nobody's until it can", "error", err)
					}
					return tokens
				},
				Inner: inner, Others: server.Handler, Users: func() bool { return hasUsers(cfg.ConfigFile) },
			}
		}}
	}
	if cfg.ConfigFile == "" {
		return server.Serve(l)
	}
	return web.Serve(l, server, &web.FlagConfig{WebConfigFile: &cfg.ConfigFile}, logger)
}

// readTokens returns the tokens that can be read, by their names.
func readTokens(files map[string]string) (map[string]string, error) {
	tokens, errs := map[string]string{}, []error{}
	for name, file := range files {
		token, err := secret(gatewarden.Secret{}, file)
		tokens[name] = token
		errs = append(errs, err)
	}
	return tokens, errors.Join(errs...)
}

// hasUsers reports whether a web configuration has users. It is read anew, as web does; one
// that cannot be read lets nobody in.
func hasUsers(file string) bool {
	var c struct {
		Users map[string]string `yaml:"basic_auth_users"`
	}
	text, err := os.ReadFile(file)
	return err == nil && yaml.Unmarshal(text, &c) == nil && len(c.Users) > 0
}

// firstAccept is a listener that does something before it first accepts.
type firstAccept struct {
	net.Listener
	once   sync.Once
	before func()
}

// Accept accepts.
func (l *firstAccept) Accept() (net.Conn, error) {
	l.once.Do(l.before)
	return l.Listener.Accept()
}
