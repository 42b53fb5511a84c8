package demo

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/gatewarden/gatewarden/internal/fakejenkins"
	"github.com/gatewarden/gatewarden/internal/fakekong"
)

// world is everything around the guard: the shop, the gateway in front of it, the
// Jenkins behind it. Only the last two are stand-ins; all traffic is real.
type world struct {
	shop    *shop
	kong    *fakekong.Kong
	jenkins *fakejenkins.Server
	traffic *traffic

	admin, proxy, jenkinsURL string

	ends []func()
}

func (w *world) close() {
	for _, end := range slices.Backward(w.ends) {
		end()
	}
}

// openWorld starts the shop, the gateway and Jenkins.
func openWorld(ctx context.Context) (*world, error) {
	w := &world{}
	var err error
	if w.shop, err = openShop(ctx); err != nil {
		return nil, err
	}
	w.ends = append(w.ends, w.shop.close)
	if err := w.openKong(ctx); err != nil {
		w.close()
		return nil, err
	}
	if err := w.openJenkins(ctx); err != nil {
		w.close()
		return nil, err
	}
	w.traffic = newTraffic(w.proxy)
	return w, nil
}

func (w *world) openKong(ctx context.Context) error {
	w.kong = fakekong.New(fakekong.Config{})
	w.ends = append(w.ends, w.kong.Close)
	if err := w.kong.Load(w.gateway()); err != nil {
		return fmt.Errorf("setting up the gateway: %w", err)
	}
	var err error
	if w.admin, err = w.serve(ctx, w.kong.Admin()); err != nil {
		return err
	}
	w.proxy, err = w.serve(ctx, w.kong.Proxy())
	return err
}

// gateway is the shop's gateway as one would declare it with decK.
func (w *world) gateway() fakekong.Setup {
	var setup fakekong.Setup
	targets := map[string][]fakekong.Target{}
	for _, slot := range []string{"orders/v1", "orders/v2", "payments/v1", "inventory/v1", "recommendations/v1"} {
		b := w.shop.backends[slot]
		version := *b.version.Load()
		weight := 100
		if slot == "orders/v2" {
			weight = 0 // deployed, and without traffic yet
		}
		targets[b.service] = append(targets[b.service], fakekong.Target{Target: b.addr, Weight: weight, Tags: []string{"version:" + version}})
	}
	for _, s := range perSecond {
		setup.Upstreams = append(setup.Upstreams, fakekong.Upstream{Name: s.service, Targets: targets[s.service]})
		setup.Services = append(setup.Services, fakekong.Service{
			Name: s.service, Host: s.service, Tags: []string{"shop"},
			Routes: []fakekong.Route{{Name: s.service, Paths: []string{"/" + s.service}}},
		})
	}
	return setup
}

// logTo makes the gateway post its log to the guard, as the http-log plugin does.
func (w *world) logTo(endpoint string) error {
	return w.kong.Load(fakekong.Setup{Plugins: []fakekong.Plugin{{Name: "http-log", Config: map[string]any{
		"http_endpoint": endpoint,
		"queue":         map[string]any{"max_batch_size": 100, "max_coalescing_delay": 0.5},
	}}}})
}

func (w *world) openJenkins(ctx context.Context) error {
	w.jenkins = fakejenkins.New(fakejenkins.Config{
		QuietPeriod: time.Second,
		Users:       []fakejenkins.User{{Name: jenkinsUser, Tokens: []string{jenkinsToken}, Permissions: fakejenkins.Operator()}},
	})
	w.ends = append(w.ends, w.jenkins.Close)
	w.jenkins.SetJob(fakejenkins.Job{
		Name: job, Serial: true, Parameters: []fakejenkins.Parameter{{Name: "SERVICE"}, {Name: "TO"}, {Name: "GATEWARDEN_ACTION"}},
		Pipeline: w.rollBack,
	})
	var err error
	w.jenkinsURL, err = w.serve(ctx, w.jenkins)
	return err
}

// rollBack is the pipeline of the rollback job: it puts the old version back where
// the new one runs.
func (w *world) rollBack(ctx context.Context, b *fakejenkins.Build) error {
	fmt.Fprintf(b, "Rolling %s back to %s\n", b.Parameter("SERVICE"), b.Parameter("TO"))
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(3 * time.Second): // pulling the old image
	}
	v2 := w.shop.backends["orders/v2"]
	old := b.Parameter("TO")
	v2.version.Store(&old)
	v2.broken.Store(false)
	fmt.Fprintln(b, "Done.")
	return nil
}

// serve serves h on a port of its own and returns its URL.
func (w *world) serve(ctx context.Context, h http.Handler) (string, error) {
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	w.ends = append(w.ends, serveOn(l, h))
	return "http://" + l.Addr().String(), nil
}

// serveOn serves h on l and returns how to stop it.
func serveOn(l net.Listener, h http.Handler) (stop func()) {
	server := &http.Server{Handler: h, ReadHeaderTimeout: 5 * time.Second}
	var serving sync.WaitGroup
	serving.Go(func() {
		_ = server.Serve(l) // ErrServerClosed, at stop
	})
	return func() {
		server.Close()
		serving.Wait()
	}
}
