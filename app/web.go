package app

import (
	"errors"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/exporter-toolkit/web"
	"go.yaml.in/yaml/v3"

	"github.com/gatewarden/gatewarden"
	"github.com/gatewarden/gatewarden/api"
	"github.com/gatewarden/gatewarden/collector"
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
		inner, quiet := server.Handler, &collector.Quiet{}
		l = &firstAccept{Listener: l, before: func() { // web.Serve has put its own handler around inner
			server.Handler = &api.Tokens{
				All: func() (map[string]string, error) {
					tokens, err := readTokens(cfg.TokenFiles)
					if err != nil { // whoever is not let in may ask for it, as often as they like
						if due, held := quiet.Due(time.Now()); due {
							logger.Error("a token cannot be read, and is nobody's until it can", "error", err, "times_before_unlogged", held)
						}
					}
					return tokens, err
				},
				Inner: inner, Others: server.Handler, Users: func() bool { return hasUsers(cfg.ConfigFile) },
			}
		}}
	}
	if cfg.ConfigFile == "" {
		return server.Serve(l)
	}
	if err := checkWeb(cfg.ConfigFile); err != nil {
		return err
	}
	return web.Serve(l, server, &web.FlagConfig{WebConfigFile: &cfg.ConfigFile}, logger)
}

// checkWeb says what is wrong with a web configuration, and of which file it speaks: the
// library's errors do not, as "hashedSecret too short to be a bcrypted password".
func checkWeb(file string) error {
	err := web.Validate(file)
	if err == nil {
		return nil
	}
	return gatewarden.Errorf(gatewarden.Invalid, "web.config_file: %s can't be used: %w", file, err).
		WithHint("of basic_auth_users each value is a hash that `htpasswd -nBC 10 NAME` prints; cert_file and key_file are PEM, from the folder of that file")
}

// readTokens returns the tokens that can be read, by their names. One that two names have is
// the first one's, and an error.
func readTokens(files map[string]string) (map[string]string, error) {
	tokens, names, errs := map[string]string{}, map[string]string{}, []error{}
	for _, name := range slices.Sorted(maps.Keys(files)) {
		token, err := secret(gatewarden.Secret{}, files[name])
		if err == nil && token == "" { // it may be in the middle of being written
			err = gatewarden.Errorf(gatewarden.Invalid, "web.token_files: %s: %s is empty", name, files[name]).WithHint("openssl rand -hex 32 > %s", files[name])
		}
		if first, taken := names[token]; taken && token != "" {
			errs = append(errs, gatewarden.Errorf(gatewarden.Invalid, "web.token_files: %s and %s have the same token: whose order it was could not be told", first, name).
				WithHint("give each its own: openssl rand -hex 32"))
			continue
		}
		tokens[name], names[token] = token, name
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
