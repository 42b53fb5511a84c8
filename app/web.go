package app

import (
	"log/slog"
	"net"
	"net/http"

	"github.com/prometheus/exporter-toolkit/web"
)

// serveWeb serves with TLS and basic authentication as the Prometheus ecosystem's
// web configuration says, or plainly when there is none.
func serveWeb(l net.Listener, server *http.Server, configFile string, logger *slog.Logger) error {
	if configFile == "" {
		return server.Serve(l)
	}
	return web.Serve(l, server, &web.FlagConfig{WebConfigFile: &configFile}, logger)
}
