package app

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"github.com/gatewarden/gatewarden"
	"github.com/gatewarden/gatewarden/api"
	"github.com/gatewarden/gatewarden/collector"
	"github.com/gatewarden/gatewarden/rules"
)

// shownPath is how much of a path goes into an answer and the log, in bytes.
const shownPath = 200

// ingest answers what comes to the ingest listener: by the source of that path, and where
// there is none it says so to the log as well. Kong tells its own log no more of a refusal
// than the status, so a mistyped http_endpoint would look like a guard that hears nothing.
type ingest struct {
	sources *http.ServeMux
	paths   []string // that sources take
	log     *slog.Logger
	now     func() time.Time
	quiet   collector.Quiet
}

func newIngest(sources *http.ServeMux, list []rules.Source, log *slog.Logger, now func() time.Time) *ingest {
	return &ingest{sources: sources, paths: ingestPaths(list), log: log, now: now}
}

// ingestPaths returns where sources take posts at the ingest listener.
func ingestPaths(sources []rules.Source) []string {
	var paths []string
	for _, s := range sources {
		if s.Kind == "httplog" || s.Kind == "zipkin" {
			paths = append(paths, settingsOf(s).text("path"))
		}
	}
	return paths
}

func (i *ingest) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if _, pattern := i.sources.Handler(r); pattern != "" {
		i.sources.ServeHTTP(w, r)
		return
	}
	err := gatewarden.Errorf(gatewarden.NotFound, "no source takes what is sent to %s", cutPath(r.URL.Path)).WithHint("%s", i.wayIn())
	if due, held := i.quiet.Due(i.now()); due {
		i.log.Warn("refused a body", "status", http.StatusNotFound, "client", r.RemoteAddr, "err", err, "refused_before_unlogged", held)
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusNotFound)
	var body api.ErrorBody
	body.Error.Code, body.Error.Message, body.Error.Hint = err.Code, err.Message, err.Hint
	_ = json.NewEncoder(w).Encode(body) // a client that is gone does not read it
}

// wayIn says where to send it.
func (i *ingest) wayIn() string {
	if len(i.paths) == 0 {
		return "no source of gatewarden.yaml listens here; httplog and zipkin do"
	}
	return fmt.Sprintf("the sources here take %s: http_endpoint of Kong's plugin, or path in gatewarden.yaml", strings.Join(i.paths, ", "))
}

func cutPath(p string) string {
	if len(p) > shownPath {
		return p[:shownPath] + "…"
	}
	return p
}
