package api

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httputil"
	"net/url"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/gatewarden/gatewarden"
)

// Follower is a guard that another one leads.
type Follower interface {
	// Leader returns the name of the guard that leads and where its API is. It is an error
	// when there is none now, or when nothing can be passed on to it.
	Leader() (name string, api *url.URL, err error)
	Ready() error // why the guard is not ready
	Reload(ctx context.Context) error
}

// passedBy names the guard that has passed a request on. No request is passed on twice.
const passedBy = "Gatewarden-Passed-By"

// Passer answers the API at a guard that does not lead: what is about that guard itself by
// itself, and everything else by the guard that leads.
type Passer struct {
	name      string
	guard     Follower
	gatherer  prometheus.Gatherer
	transport http.RoundTripper
	logger    *slog.Logger
	within    time.Duration // each part of an answer must be read
}

// NewPasser returns the API of the guard of that name while it does not lead. Gatherer is
// as in New.
func NewPasser(name string, guard Follower, gatherer prometheus.Gatherer, transport http.RoundTripper, logger *slog.Logger) *Passer {
	return &Passer{name: name, guard: guard, gatherer: gatherer, transport: transport, logger: logger, within: writeWithin}
}

// Handler returns the routes.
func (p *Passer) Handler() http.Handler {
	own := &Server{logger: p.logger}
	mux := http.NewServeMux()
	mux.Handle("GET /-/healthy", own.answer(own.healthy))
	mux.Handle("GET /-/ready", own.answer(func(*http.Request) (any, error) {
		if err := p.guard.Ready(); err != nil {
			return nil, gatewarden.Errorf(gatewarden.Unavailable, "not ready: %w", err)
		}
		return map[string]string{"status": "ready"}, nil
	}))
	mux.Handle("POST /-/reload", own.answer(func(r *http.Request) (any, error) {
		return done{"reloaded"}, p.guard.Reload(r.Context())
	}))
	if p.gatherer != nil {
		mux.Handle("GET /metrics", exposed(p.gatherer))
	}
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) { p.pass(own, w, r) })
	return inTime(mux, p.within)
}

const tryAgain = "try again: after a guard is lost another one leads within seconds"

// lookAgain is how often a request that was passed on looks whether the guard it went to
// still leads.
const lookAgain = 500 * time.Millisecond

// pass hands a request to the guard that leads, for as long as it does: a machine that lost
// its power answers nothing and closes nothing.
func (p *Passer) pass(own *Server, w http.ResponseWriter, r *http.Request) {
	name, api, err := p.guard.Leader()
	if by := r.Header.Get(passedBy); err == nil && by != "" {
		err = gatewarden.Errorf(gatewarden.Unavailable, "%s took this guard for the one that leads; it is %s", by, name)
	}
	if err != nil {
		w.Header().Set("Retry-After", "1")
		own.fail(w, r, gatewarden.Errorf(gatewarden.Unavailable, "%w", err).WithHint(tryAgain))
		return
	}
	ctx, leave := context.WithCancelCause(r.Context())
	var looking sync.WaitGroup
	defer looking.Wait()
	defer leave(nil)
	looking.Go(func() { p.letGo(ctx, name, leave) })
	proxy := httputil.ReverseProxy{
		Transport: p.transport, FlushInterval: -1, ErrorLog: slog.NewLogLogger(p.logger.Handler(), slog.LevelDebug),
		Rewrite: func(out *httputil.ProxyRequest) {
			out.SetURL(api)
			out.Out.Host = out.In.Host // what the page is compared with when it changes something
			out.SetXForwarded()
			out.Out.Header.Set(passedBy, p.name)
		},
		ErrorHandler: func(w http.ResponseWriter, _ *http.Request, err error) {
			// Also when our own request is cancelled: if that is because this guard stops, who
			// asked still waits, and must not take an empty answer for done.
			hint := "if it is up, is state.api right, and may this guard reach it there?"
			if ctx.Err() != nil {
				err, hint = context.Cause(ctx), tryAgain
			}
			w.Header().Set("Retry-After", "1")
			own.fail(w, r, gatewarden.Errorf(gatewarden.Unavailable, "passing the request on to the guard %s at %s: %w", name, api.Host, err).WithHint("%s", hint))
		},
	}
	proxy.ServeHTTP(w, r.WithContext(ctx))
}

// letGo calls leave when the guard of that name leads no more, and returns when ctx ends.
func (p *Passer) letGo(ctx context.Context, name string, leave context.CancelCauseFunc) {
	for pause(ctx, lookAgain) {
		switch leader, _, err := p.guard.Leader(); {
		case err != nil:
			leave(fmt.Errorf("it leads no more: %w", err))
		case leader != name:
			leave(fmt.Errorf("it leads no more: %s does", leader))
		}
	}
}
