package kongmetrics

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"os"
	"sync"
	"time"

	"github.com/gatewarden/gatewarden"
	"github.com/gatewarden/gatewarden/collector"
)

// Source looks at nodes.
type Source struct {
	settings  Settings
	name      string
	sink      collector.Sink
	gateway   collector.Gateway
	counts    bool // there is no log: the counters are what counts
	log       *slog.Logger
	metrics   *metrics
	quiet     collector.Quiet
	gaps      collector.Quiet
	discovery discovery
	reader    reader
	client    func(address) *http.Client
	now       func() time.Time

	mu     sync.Mutex
	states map[string]*state
}

// New makes a source.
func New(env collector.Env, settings Settings) (collector.Source, error) {
	m, err := newMetrics(env.Metrics)
	if err != nil {
		return nil, gatewarden.Errorf(gatewarden.Internal, "kongmetrics: cannot register metrics: %w", err)
	}
	roots, err := authorities(env, settings.CAFile)
	if err != nil {
		return nil, err
	}
	s := &Source{
		settings: settings, name: env.Name, sink: env.Sink, gateway: env.Gateway, counts: !env.Logged,
		log: env.Log.With("source", env.Name), metrics: m, now: time.Now, states: map[string]*state{},
	}
	if s.gateway == nil {
		s.gateway = nobody{}
	}
	s.reader = reader{maxBody: int64(settings.MaxBody), maxSeries: settings.MaxSeries, latencies: s.counts}
	s.discovery = discovery{settings: &s.settings, names: net.DefaultResolver, failed: s.unresolved}
	s.client = func(a address) *http.Client { return newClient(a, roots) }
	return s, nil
}

// Completeness returns how the log is to be checked by this source, and false when it is
// not: without a log, or because it is switched off.
func (s *Source) Completeness() (c Completeness, ok bool) {
	return s.settings.Completeness, !s.counts && s.settings.Completeness.Limit > 0
}

// nobody is a Gateway that does not listen.
type nobody struct{}

func (nobody) Saw(string, collector.Look) {}
func (nobody) Gone(string, string)        {}

func authorities(env collector.Env, file string) (*x509.CertPool, error) {
	if file == "" {
		return nil, nil
	}
	pem, err := os.ReadFile(env.Path(file))
	if err != nil {
		return nil, gatewarden.Errorf(gatewarden.Invalid, "kongmetrics: reading ca_file: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, gatewarden.Errorf(gatewarden.Invalid, "kongmetrics: ca_file %s has no certificate in PEM", file)
	}
	return pool, nil
}

// newClient returns a client for one node. Each has its own, so that one that hangs
// takes no connection from another.
func newClient(a address, roots *x509.CertPool) *http.Client {
	name, _, err := net.SplitHostPort(a.host)
	if err != nil {
		name = a.host // it has no port
	}
	return &http.Client{
		Transport: &http.Transport{
			Proxy: http.ProxyFromEnvironment, MaxIdleConns: 1, MaxConnsPerHost: 1, IdleConnTimeout: time.Minute, MaxResponseHeaderBytes: 64 << 10,
			TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: roots, ServerName: name},
		},
		// A page to log in at is no metrics: where it leads does not matter.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// Run looks at the nodes until ctx is done.
func (s *Source) Run(ctx context.Context) error {
	var looking sync.WaitGroup
	defer looking.Wait()
	stops := map[address]context.CancelFunc{}
	refresh := time.NewTicker(time.Duration(s.settings.Refresh))
	defer refresh.Stop()
	for {
		s.follow(ctx, &looking, stops)
		select {
		case <-ctx.Done():
			return nil
		case <-refresh.C:
		}
	}
}

// follow begins to look at nodes that are new, and stops looking at those that are gone.
func (s *Source) follow(ctx context.Context, looking *sync.WaitGroup, stops map[address]context.CancelFunc) {
	resolving, cancel := context.WithTimeout(ctx, time.Duration(max(s.settings.Timeout, s.settings.Refresh)))
	list := s.discovery.nodes(resolving)
	cancel()
	if ctx.Err() != nil {
		return
	}
	s.metrics.leftOut.Set(float64(max(len(list)-s.settings.MaxNodes, 0)))
	if over := len(list) - s.settings.MaxNodes; over > 0 {
		if due, held := s.quiet.Due(s.now()); due {
			s.log.Warn("there are more nodes than max_nodes; the rest is not looked at", "nodes", len(list), "max_nodes", s.settings.MaxNodes, "times_before_unlogged", held)
		}
		list = list[:s.settings.MaxNodes]
	}
	s.metrics.nodes.Set(float64(len(list)))
	there := map[address]bool{}
	for _, a := range list {
		there[a] = true
		if stops[a] != nil {
			continue
		}
		nodeCtx, stop := context.WithCancel(ctx)
		stops[a] = stop
		looking.Go(func() { s.look(nodeCtx, a) })
	}
	for a, stop := range stops {
		if !there[a] {
			stop()
			delete(stops, a)
		}
	}
	s.forgetGone()
}

// state returns that of a node, which is looked at now.
func (s *Source) state(key string, at time.Time) *state {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.states[key] == nil {
		s.states[key] = &state{}
	}
	s.states[key].looked = at
	return s.states[key]
}

// forget begins a node anew.
func (s *Source) forget(key string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.states, key)
}

// forgetAfter is how long the counters of a node that gives no answer are remembered.
const forgetAfter = time.Hour

// forgetGone begins nodes anew that have not answered for long, so that those that come and
// go take no room.
func (s *Source) forgetGone() {
	s.mu.Lock()
	defer s.mu.Unlock()
	maps.DeleteFunc(s.states, func(_ string, of *state) bool { return s.now().Sub(of.looked) > forgetAfter })
}

// look looks at one node until ctx is done.
func (s *Source) look(ctx context.Context, a address) {
	n := &node{address: a, name: cmp.Or(nameOf(a), a.url), client: s.client(a), source: s, seen: map[string]sight{}}
	defer func() {
		n.client.CloseIdleConnections()
		s.gateway.Gone(s.name, n.name)
	}()
	every := time.NewTicker(time.Duration(s.settings.Interval))
	defer every.Stop()
	for {
		n.look(ctx)
		select {
		case <-ctx.Done():
			return
		case <-every.C:
		}
	}
}

func (s *Source) unresolved(name string, err error) {
	s.metrics.failures.Inc()
	if due, held := s.quiet.Due(s.now()); due {
		s.log.Warn("the nodes behind a name cannot be found; those known before are looked at", "name", name, "err", err, "times_before_unlogged", held)
	}
}
