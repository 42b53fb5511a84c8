// Package fakekong is a stand-in for a Kong 3.9 gateway, for tests and for the
// demo: an Admin API, a proxy that really routes requests to upstream targets, the
// http-log and rate-limiting and request-termination plugins, /metrics, and the
// faults that a real gateway and its database have.
//
// It stands at the two ends of the program's flow: its proxy emits the log lines
// that collectors read, its Admin API takes the changes that actions make. What it
// answers is held by contract tests to exchanges captured from a real Kong 3.9.1
// (testdata); where the captures and the documentation differ, the captures win.
// It imports nothing of the program.
//
// As in a real Kong, an answer of the Admin API does not mean that the change is
// in force: plugins, routes and services reach each worker at its next tick
// (Config.Tick), weights of targets at once.
package fakekong

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"sync"
	"time"
)

// Config says what kind of Kong to stand in for. The zero Config is a traditional
// Kong with two workers and the default delays.
type Config struct {
	DBLess  bool             // without a database: entities come by POST /config, writes are refused
	Workers int              // 2 unless set
	Tick    time.Duration    // how often a worker takes up changes; 5 s unless set
	Strict  bool             // worker_consistency=strict: changes are in force at once
	Now     func() time.Time // time.Now unless set
	Seed    uint64           // of the balancer's shuffling and of all ids; drawn when 0, so that no two gateways use the same ids
	Token   string           // when set, the Admin API wants it as Kong-Admin-Token, as an enterprise Kong does
	Logger  *slog.Logger     // discards unless set
	// Transport carries upstream requests and http-log posts; one of its own unless set.
	Transport http.RoundTripper
}

// Kong is one gateway. It is safe for concurrent use.
type Kong struct {
	cfg     Config
	started time.Time
	nodeID  string
	workspc string // id of the only workspace

	mu        sync.Mutex // guards what follows
	rng       *rand.Rand
	db        *database
	views     []*view // what has been in force, oldest first
	faults    Faults
	calls     []Call
	health    map[string]*targetHealth // by target id
	wheels    map[string]*wheel        // by worker and upstream
	limits    map[string]*limitCounter
	queues    map[string]*logQueue // by plugin id
	metrics   *trafficMetrics
	dbHash    string // of the last declarative configuration
	loading   bool   // a declaration is being loaded, which DB-less mode allows
	upserting bool   // a PUT is being saved

	requests  counter
	transport http.RoundTripper
	stop      context.CancelFunc
	ctx       context.Context
	senders   sync.WaitGroup
}

// New returns a Kong without any entities. Close it to stop its log queues.
func New(c Config) *Kong {
	if c.Workers <= 0 {
		c.Workers = 2
	}
	if c.Tick <= 0 {
		c.Tick = 5 * time.Second
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.Seed == 0 {
		c.Seed = rand.Uint64()
	}
	k := &Kong{cfg: c, rng: rand.New(rand.NewPCG(c.Seed, 0x6b6f6e67)), transport: c.Transport}
	if k.transport == nil {
		k.transport = &http.Transport{MaxIdleConnsPerHost: 64, DisableCompression: true}
	}
	k.ctx, k.stop = context.WithCancel(context.Background())
	k.started = c.Now()
	k.db = newDatabase()
	k.nodeID, k.workspc = k.newUUID(), k.newUUID()
	k.health = map[string]*targetHealth{}
	k.wheels = map[string]*wheel{}
	k.limits = map[string]*limitCounter{}
	k.queues = map[string]*logQueue{}
	k.metrics = newTrafficMetrics()
	k.views = []*view{k.db.view(k.started, true)}
	return k
}

// Close stops the log queues; what they had not sent is lost. Use Flush first.
func (k *Kong) Close() {
	k.stop()
	k.senders.Wait()
	if t, ok := k.transport.(*http.Transport); ok {
		t.CloseIdleConnections()
	}
}

// Serve listens on both addresses until ctx is done. It calls ready, unless nil,
// with the addresses it listens on, which differ from the given ones for port 0.
// The admin address also serves /metrics and, below /-/fakekong/, the control API.
func (k *Kong) Serve(ctx context.Context, adminAddr, proxyAddr string, ready func(admin, proxy net.Addr)) error {
	var listen net.ListenConfig
	admin, err := listen.Listen(ctx, "tcp", adminAddr)
	if err != nil {
		return err
	}
	proxy, err := listen.Listen(ctx, "tcp", proxyAddr)
	if err != nil {
		return errors.Join(err, admin.Close())
	}
	mux := http.NewServeMux()
	mux.Handle("/-/fakekong/", http.StripPrefix("/-/fakekong", k.Control()))
	mux.Handle("/", k.Admin())
	servers := []*http.Server{
		{Handler: mux, ReadHeaderTimeout: time.Minute},
		{Handler: k.Proxy(), ReadHeaderTimeout: time.Minute},
	}
	if ready != nil {
		ready(admin.Addr(), proxy.Addr())
	}
	failed := make(chan error, len(servers))
	var running sync.WaitGroup
	for i, l := range []net.Listener{admin, proxy} {
		running.Go(func() { failed <- servers[i].Serve(l) })
	}
	select {
	case <-ctx.Done():
	case err = <-failed:
	}
	for _, s := range servers {
		err = errors.Join(err, s.Close())
	}
	running.Wait()
	if ctx.Err() == nil {
		return err
	}
	return nil
}
