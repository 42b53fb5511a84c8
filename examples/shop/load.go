package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"
)

// request is one thing that customers do.
type request struct {
	method, path string
	weight       int // how often, against the others
}

// customers are what people do in a shop: they look more often than they buy.
func customers() []request {
	return []request{
		{http.MethodGet, "/orders", 40},
		{http.MethodPost, "/orders", 25},
		{http.MethodGet, "/recommendations", 15},
		{http.MethodGet, "/inventory", 10},
		{http.MethodPost, "/payments", 10},
	}
}

// sale is a flash sale that comes again and again.
type sale struct {
	Every, For time.Duration // Every 0: never
	Times      float64       // so many times the usual traffic
}

// factor returns how many times the usual traffic there is so long after the start.
func (s sale) factor(since time.Duration) float64 {
	if s.Every <= 0 || since%s.Every < s.Every-s.For {
		return 1
	}
	return s.Times
}

// load is the customers of the shop. They come at a rate, whether or not those before
// them were served: a slow shop does not make them fewer.
type load struct {
	Gateway string
	Rate    float64 // requests a second
	Sale    sale
	Most    int // requests under way at one time; who comes beyond it is turned away, and counted
	Client  *http.Client

	mu     sync.Mutex
	counts map[string]*served // since the last take, by service
}

// served counts what the customers of one service got.
type served struct{ OK, Failed, Shed, Away int }

// newLoad is the verb that sends customers.
func newLoad(env environment, logger *slog.Logger) *cobra.Command {
	l := &load{}
	var every time.Duration
	cmd := &cobra.Command{
		Use: "load", Short: "Send customers through the gateway, at a rate, with flash sales", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if l.Rate <= 0 || l.Rate > 10_000 || l.Most < 1 || l.Sale.Times < 0 || l.Sale.Times > 100 || every <= 0 {
				return fmt.Errorf("--rate is from 1 to 10000, --most at least 1, --sale-times from 0 to 100, --report above 0")
			}
			if err := l.await(cmd.Context()); err != nil {
				return err
			}
			var reporting sync.WaitGroup
			defer reporting.Wait()
			reporting.Go(func() {
				for pause(cmd.Context(), every) == nil {
					logger.Info("customers", "served", describe(l.take()))
				}
			})
			l.run(cmd.Context())
			return nil
		},
	}
	cmd.Flags().StringVar(&l.Gateway, "gateway", env.or("SHOP_GATEWAY", "http://127.0.0.1:8000"), "`URL` of Kong's proxy")
	cmd.Flags().Float64Var(&l.Rate, "rate", 60, "`REQUESTS` a second")
	cmd.Flags().IntVar(&l.Most, "most", 500, "`REQUESTS` under way at one time")
	cmd.Flags().DurationVar(&l.Sale.Every, "sale-every", 15*time.Minute, "`TIME` from one flash sale to the next; 0 for none")
	cmd.Flags().DurationVar(&l.Sale.For, "sale-for", time.Minute, "`TIME` that one lasts")
	cmd.Flags().Float64Var(&l.Sale.Times, "sale-times", 3, "how many `TIMES` the traffic then")
	cmd.Flags().DurationVar(&every, "report", 10*time.Second, "`TIME` between two lines")
	return cmd
}

// await returns when the shop is open: a new route or a new service reaches every
// worker of Kong only after some seconds.
func (l *load) await(ctx context.Context) error {
	const inARow = 20
	// A connection stays with one worker: each look takes a new one.
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	var last error
	for good := 0; good < inARow; {
		for _, name := range services() {
			if _, err := call(ctx, client, http.MethodGet, l.Gateway+"/"+name, nil, nil); err != nil {
				good, last = 0, err
			} else {
				good++
			}
		}
		if good > 0 {
			continue
		}
		if pause(ctx, 500*time.Millisecond) != nil {
			return fmt.Errorf("waited for the shop to open: %w", last)
		}
	}
	return nil
}

// run sends customers until ctx ends, and returns when the last one is served.
func (l *load) run(ctx context.Context) {
	if l.Client == nil {
		l.Client = &http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{MaxIdleConnsPerHost: 128}}
	}
	const beat = 10 * time.Millisecond
	var under sync.WaitGroup
	defer under.Wait()
	places := make(chan struct{}, l.Most)
	tick := time.NewTicker(beat)
	defer tick.Stop()
	began := time.Now()
	var sent, owed float64
	for last := began; ; {
		select {
		case <-ctx.Done():
			return
		case now := <-tick.C: // a late one owes what the earlier ones would have sent
			owed += l.Rate * l.Sale.factor(now.Sub(began)) * now.Sub(last).Seconds()
			last = now
		}
		for ; sent < owed; sent++ {
			what := choose(customers(), rand.IntN)
			select {
			case places <- struct{}{}:
				under.Go(func() {
					l.ask(ctx, what)
					<-places
				})
			default:
				l.count(what, func(s *served) { s.Away++ })
			}
		}
	}
}

// choose draws one of the requests by their weights.
func choose(all []request, draw func(int) int) request {
	total := 0
	for _, r := range all {
		total += r.weight
	}
	n := draw(total)
	for _, r := range all {
		if n -= r.weight; n < 0 {
			return r
		}
	}
	return all[len(all)-1]
}

func (l *load) ask(ctx context.Context, what request) {
	var body io.Reader
	if what.method == http.MethodPost {
		body = strings.NewReader(`{"basket": ["kettle", "two cups"]}`)
	}
	req, err := http.NewRequestWithContext(ctx, what.method, l.Gateway+what.path, body)
	if err != nil {
		l.count(what, func(s *served) { s.Failed++ })
		return
	}
	req.Header.Set("Content-Type", "application/json")
	// Customers come from many addresses. Kong trusts this header of ours (trusted_ips),
	// and the guard counts the failures of one address in a row as one.
	req.Header.Set("X-Real-IP", fmt.Sprintf("198.18.%d.%d", rand.IntN(256), rand.IntN(256)))
	resp, err := l.Client.Do(req)
	if ctx.Err() != nil {
		return
	}
	status := 0
	if err == nil {
		_, _ = io.Copy(io.Discard, io.LimitReader(resp.Body, 1<<20)) // so that the connection lives on
		resp.Body.Close()
		status = resp.StatusCode
	}
	l.count(what, func(s *served) {
		switch {
		case status >= 200 && status < 300:
			s.OK++
		case status == http.StatusServiceUnavailable && resp.Header.Get("X-Kong-Upstream-Latency") == "":
			s.Shed++ // Kong answered itself
		default:
			s.Failed++
		}
	})
}

func (l *load) count(what request, change func(*served)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	name := strings.TrimPrefix(what.path, "/")
	if l.counts == nil {
		l.counts = map[string]*served{}
	}
	if l.counts[name] == nil {
		l.counts[name] = &served{}
	}
	change(l.counts[name])
}

// take returns what customers got since the last call.
func (l *load) take() map[string]served {
	l.mu.Lock()
	defer l.mu.Unlock()
	out := map[string]served{}
	for name, s := range l.counts {
		out[name] = *s
	}
	clear(l.counts)
	return out
}

// describe says what customers got in a line, service by service.
func describe(counts map[string]served) string {
	var parts []string
	for _, name := range services() {
		s, seen := counts[name]
		if !seen {
			continue
		}
		part := []string{fmt.Sprintf("%s %d ok", name, s.OK)}
		for _, other := range []struct {
			n    int
			what string
		}{{s.Failed, "failed"}, {s.Shed, "shed"}, {s.Away, "turned away"}} {
			if other.n > 0 {
				part = append(part, fmt.Sprintf("%d %s", other.n, other.what))
			}
		}
		parts = append(parts, strings.Join(part, ", "))
	}
	return strings.Join(parts, "; ")
}
