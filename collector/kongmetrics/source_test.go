package kongmetrics

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/gatewarden/gatewarden"
	"github.com/gatewarden/gatewarden/collector"
)

// ledger is a sink and a gateway that keep what they are told.
type ledger struct {
	mu      sync.Mutex
	fails   bool
	calls   int
	records map[string]uint64 // by service and status
	looks   map[string]collector.Look
	grown   map[string]uint64 // by service
	gone    []string
	saw     func(collector.Look) // nil when nobody asks; of looks that had an answer
}

func newLedger() *ledger {
	return &ledger{records: map[string]uint64{}, looks: map[string]collector.Look{}, grown: map[string]uint64{}}
}

func (l *ledger) Accept(_ context.Context, _ string, records []gatewarden.Record) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.fails {
		return errors.New("no room")
	}
	l.calls++
	for _, r := range records {
		l.records[fmt.Sprint(r.Service, " ", r.Status)] += uint64(r.Weight)
	}
	return nil
}

func (l *ledger) Saw(_ string, look collector.Look) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.looks[look.Node.Address] = look
	if l.saw != nil && look.Node.Problem == "" {
		l.saw(look)
	}
	for service, n := range look.Requests {
		l.grown[service] += n
	}
}

func (l *ledger) Gone(_, address string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.gone = append(l.gone, address)
}

// problem returns what is wrong with a node, "" when nothing is.
func (l *ledger) problem(t *testing.T, address string) string {
	t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	look, ok := l.looks[address]
	if !ok {
		t.Fatalf("%s was never looked at, only %v", address, l.looks)
	}
	return look.Node.Problem
}

// tries are the answers of a round tripper, in place of a network.
type tries func(r *http.Request) (*http.Response, error)

func (f tries) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func says(body string) *http.Response {
	return &http.Response{
		Status: "200 OK", StatusCode: http.StatusOK, Header: http.Header{"Content-Type": {kongsType}}, Body: io.NopCloser(strings.NewReader(body)),
	}
}

func newSource(t *testing.T, l *ledger, logged bool, change func(*Settings)) *Source {
	t.Helper()
	settings := DefaultSettings()
	change(&settings)
	if err := settings.Validate(); err != nil {
		t.Fatal(err)
	}
	s, err := New(collector.Env{
		Name: "kongmetrics", Sink: l, Gateway: l, Logged: logged, Log: slog.New(slog.DiscardHandler), Metrics: prometheus.NewPedanticRegistry(),
	}, settings)
	if err != nil {
		t.Fatal(err)
	}
	return s.(*Source)
}

// kong is a node that counts.
type kong struct {
	id     string
	mu     sync.Mutex
	counts map[int]int // by status
	answer func() (*http.Response, error)
}

func (k *kong) serve(status, n int) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.counts[status] += n
}

func (k *kong) restart() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.counts = map[int]int{}
}

// suffer makes it answer otherwise; nil makes it well again.
func (k *kong) suffer(answer func() (*http.Response, error)) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.answer = answer
}

func (k *kong) say() (*http.Response, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.answer != nil {
		return k.answer()
	}
	var b strings.Builder
	sum := 0
	for status, n := range k.counts {
		sum += n
		fmt.Fprintf(&b, "kong_http_requests_total{service=\"orders\",route=\"r\",code=\"%d\",source=\"service\",workspace=\"default\",consumer=\"\"} %d\n", status, n)
	}
	fmt.Fprintf(&b, "kong_node_info{node_id=%q,version=\"3.9.1\"} 1\nkong_nginx_requests_total{subsystem=\"http\"} %d\n", k.id, sum)
	return says(b.String()), nil
}

// gatewayOf makes the source see these nodes at their addresses.
func gatewayOf(s *Source, nodes map[string]*kong) {
	s.client = func(address) *http.Client {
		return &http.Client{Transport: tries(func(r *http.Request) (*http.Response, error) {
			k, ok := nodes[r.URL.Host]
			if !ok {
				return nil, errors.New("connection refused")
			}
			return k.say()
		})}
	}
}

// begin runs the source, and returns how to stop it.
func begin(t *testing.T, s *Source) (stop func()) {
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() {
		if err := s.Run(ctx); err != nil {
			t.Error(err)
		}
	})
	return func() { cancel(); running.Wait() }
}

// pass lets seconds pass.
func pass(n int) {
	time.Sleep(time.Duration(n) * time.Second)
	synctest.Wait()
}

func TestANodeThatRestartsOfMany(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLedger()
		s := newSource(t, l, false, func(s *Settings) { s.Targets = []string{"http://a:8100/metrics", "http://b:8100/metrics"} })
		a, b := &kong{id: "a", counts: map[int]int{200: 5000}}, &kong{id: "b", counts: map[int]int{200: 7000}}
		gatewayOf(s, map[string]*kong{"a:8100": a, "b:8100": b})
		stop := begin(t, s)
		pass(3)
		a.serve(200, 10)
		b.serve(200, 20)
		b.serve(502, 3)
		pass(2)
		b.restart()
		b.serve(200, 4)
		a.serve(200, 1)
		pass(2)
		stop()
		if diff := cmp.Diff(map[string]uint64{"orders 200": 35, "orders 502": 3}, l.records); diff != "" {
			t.Errorf("counted (-want +got)\n%s", diff)
		}
		if n := testutil.ToFloat64(s.metrics.resets); n != 1 {
			t.Errorf("%v restarts were seen", n)
		}
	})
}

// With a log, the counters tell and do not count.
func TestWithALogNothingIsCountedTwice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLedger()
		s := newSource(t, l, true, func(s *Settings) { s.Targets = []string{"http://a:8100/metrics"} })
		a := &kong{id: "a", counts: map[int]int{200: 5}}
		gatewayOf(s, map[string]*kong{"a:8100": a})
		stop := begin(t, s)
		pass(2)
		a.serve(200, 7)
		pass(2)
		stop()
		if l.calls != 0 || l.grown["orders"] != 7 {
			t.Errorf("%d batches, %v told", l.calls, l.grown)
		}
		if _, ok := s.Completeness(); !ok {
			t.Error("it does not check the log")
		}
	})
}

// An idle gateway that is looked at is not silent, and one that is not, is.
func TestAnIdleGatewayIsNotSilent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLedger()
		s := newSource(t, l, false, func(s *Settings) { s.Targets = []string{"http://a:8100/metrics"} })
		a := &kong{id: "a", counts: map[int]int{200: 5}}
		gatewayOf(s, map[string]*kong{"a:8100": a})
		stop := begin(t, s)
		pass(10)
		before := l.calls
		if before < 9 || len(l.records) != 0 {
			t.Errorf("%d words in ten seconds, and %v", before, l.records)
		}
		a.suffer(func() (*http.Response, error) { return nil, errors.New("connection refused") })
		pass(10)
		stop()
		if l.calls > before+1 {
			t.Errorf("%d words of a node that says nothing", l.calls-before)
		}
	})
}

func TestSeveralNodesBehindOneAddress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLedger()
		s := newSource(t, l, false, func(s *Settings) { s.Targets = []string{"http://lb:8100/metrics"} })
		a, b := &kong{id: "a", counts: map[int]int{200: 100}}, &kong{id: "b", counts: map[int]int{200: 9000}}
		turn := 0
		gatewayOf(s, map[string]*kong{"lb:8100": {answer: func() (*http.Response, error) {
			if turn++; turn%2 == 0 {
				return a.say()
			}
			return b.say()
		}}})
		stop := begin(t, s)
		pass(4)
		a.serve(200, 5)
		b.serve(200, 6)
		pass(4)
		stop()
		if diff := cmp.Diff(map[string]uint64{"orders 200": 11}, l.records); diff != "" {
			t.Errorf("counted (-want +got)\n%s", diff)
		}
	})
}

// With IPv4 and IPv6, or named twice, a node has two addresses and counts once.
func TestANodeWithTwoAddressesCountsOnce(t *testing.T) {
	for _, logged := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			l := newLedger()
			s := newSource(t, l, logged, func(s *Settings) {
				s.Targets = []string{"http://10.0.0.1:8100/metrics", "http://[fd00::1]:8100/metrics"}
			})
			a := &kong{id: "a", counts: map[int]int{200: 100}}
			gatewayOf(s, map[string]*kong{"10.0.0.1:8100": a, "[fd00::1]:8100": {answer: func() (*http.Response, error) {
				resp, err := a.say()
				time.Sleep(300 * time.Millisecond) // it is overtaken
				return resp, err
			}}})
			begun, last := map[string]int{}, map[string]time.Time{}
			l.saw = func(look collector.Look) { // as the check of the log sees it
				if at := last[look.Node.Address]; at.IsZero() || !at.Equal(look.Since) {
					begun[look.Node.Address]++
				}
				last[look.Node.Address] = look.Node.At
			}
			stop := begin(t, s)
			pass(3)
			for range 5 {
				a.serve(200, 1)
				pass(1)
			}
			pass(3)
			a.suffer(func() (*http.Response, error) { return nil, errors.New("connection refused") })
			pass(3)
			stop()
			counted := l.records["orders 200"]
			if logged {
				counted = l.grown["orders"]
			}
			if counted != 5 {
				t.Errorf("logged %v: 5 requests count as %d", logged, counted)
			}
			if diff := cmp.Diff(map[string]int{"10.0.0.1:8100": 1, "[fd00::1]:8100": 1}, begun); diff != "" {
				t.Errorf("logged %v: looks that are not joined to those before (-want +got)\n%s", logged, diff)
			}
		})
	}
}

// An image may have Kong's id in it, and a template node_id: two nodes then say that they are
// one. What one counted must never be taken from what the other did: of a restart all counts.
func TestTwoNodesThatSayTheSameID(t *testing.T) {
	for name, c := range map[string]struct {
		first, second map[int]int
		restart       bool   // of the second, in between
		lost          uint64 // at most, while they could be one as far as anybody can tell
	}{
		"neither is above the other":  {first: map[int]int{200: 1_000_000, 500: 7}, second: map[int]int{200: 800_000, 500: 90_000}},
		"the first is above":          {first: map[int]int{200: 1_000_000, 500: 90_000}, second: map[int]int{200: 800_000, 500: 7}},
		"the second is above":         {first: map[int]int{200: 800_000, 500: 7}, second: map[int]int{200: 1_000_000, 500: 90_000}},
		"one began just now":          {first: map[int]int{200: 1_000_000, 500: 7}, second: map[int]int{}},
		"both began just now":         {first: map[int]int{}, second: map[int]int{}, lost: 4},
		"one restarts":                {first: map[int]int{200: 800_000, 500: 7}, second: map[int]int{200: 1_000_000, 500: 90_000}, restart: true},
		"one restarts, and was below": {first: map[int]int{200: 1_000_000, 500: 90_000}, second: map[int]int{200: 800_000, 500: 7}, restart: true},
	} {
		for _, logged := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, logged %v", name, logged), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					l := newLedger()
					s := newSource(t, l, logged, func(s *Settings) {
						s.Targets = []string{"http://10.0.0.1:8100/metrics", "http://10.0.0.2:8100/metrics"}
					})
					a, b := &kong{id: "same", counts: c.first}, &kong{id: "same", counts: c.second}
					gatewayOf(s, map[string]*kong{"10.0.0.1:8100": a, "10.0.0.2:8100": b})
					stop := begin(t, s)
					pass(3)
					for i := range 20 {
						if c.restart && i == 10 {
							b.restart()
						}
						a.serve(200, 1)
						b.serve(200, 2)
						pass(1)
					}
					pass(5)
					stop()
					good := l.records["orders 200"]
					if logged {
						good = l.grown["orders"]
					}
					if good+c.lost < 60 || good > 60 || l.records["orders 500"] != 0 {
						t.Errorf("60 requests and no failure count as %d and %d", good, l.records["orders 500"])
					}
				})
			})
		}
	}
}

// A node with two addresses restarts as others do, and one of its addresses may go for good.
func TestANodeWithTwoAddressesRestarts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLedger()
		s := newSource(t, l, false, func(s *Settings) {
			s.Targets = []string{"http://10.0.0.1:8100/metrics", "http://[fd00::1]:8100/metrics"}
		})
		var logged strings.Builder
		s.log = slog.New(slog.NewTextHandler(&logged, nil))
		a := &kong{id: "a", counts: map[int]int{200: 100}}
		six := &kong{answer: a.say}
		gatewayOf(s, map[string]*kong{"10.0.0.1:8100": a, "[fd00::1]:8100": six})
		stop := begin(t, s)
		pass(3)
		for range 5 {
			a.serve(200, 10)
			pass(2)
			a.restart()
			a.serve(200, 1)
			pass(2)
		}
		six.suffer(func() (*http.Response, error) { return nil, errors.New("no route to host") })
		a.serve(200, 10)
		pass(2)
		a.restart()
		a.serve(200, 3)
		pass(30)
		six.suffer(a.say)
		a.serve(200, 4)
		pass(3)
		stop()
		if diff := cmp.Diff(map[string]uint64{"orders 200": 5*11 + 10 + 3 + 4}, l.records); diff != "" {
			t.Errorf("counted (-want +got)\n%s", diff)
		}
		if strings.Contains(logged.String(), "two nodes") || testutil.ToFloat64(s.metrics.resets) != 6 {
			t.Errorf("%v restarts were seen, and it says\n%s", testutil.ToFloat64(s.metrics.resets), logged.String())
		}
	})
}

// A balancer need not take turns: a node that was not hit for long was well all the while.
func TestABalancerThatPicksAtRandom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLedger()
		s := newSource(t, l, false, func(s *Settings) { s.Targets = []string{"http://lb:8100/metrics"} })
		nodes := make([]*kong, 8)
		for i := range nodes {
			nodes[i] = &kong{id: fmt.Sprint("n", i), counts: map[int]int{200: 1}}
		}
		rng := rand.New(rand.NewPCG(1, 1))
		gatewayOf(s, map[string]*kong{"lb:8100": {answer: func() (*http.Response, error) { return nodes[rng.IntN(len(nodes))].say() }}})
		stop := begin(t, s)
		pass(100) // each is known
		for range 500 {
			for _, k := range nodes {
				k.serve(200, 10)
			}
			pass(1)
		}
		pass(100)
		stop()
		if diff := cmp.Diff(map[string]uint64{"orders 200": 500 * 8 * 10}, l.records); diff != "" {
			t.Errorf("counted (-want +got)\n%s", diff)
		}
	})
}

// What was counted while a node could not be reached happened at any time since: counted at
// once it would look like an outage that is over.
func TestWhatWasCountedInALongGapIsNotCountedAtItsEnd(t *testing.T) {
	for name, c := range map[string]struct {
		logged bool
		gap    int
		want   uint64
	}{
		"a long gap, no log":  {false, 600, 1},
		"a short gap, no log": {false, 5, 401},
		"a long gap, a log":   {true, 600, 401},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := newLedger()
				s := newSource(t, l, c.logged, func(s *Settings) { s.Targets = []string{"http://a:8100/metrics"} })
				a := &kong{id: "a", counts: map[int]int{200: 5}}
				gatewayOf(s, map[string]*kong{"a:8100": a})
				stop := begin(t, s)
				pass(2)
				a.suffer(func() (*http.Response, error) { return nil, errors.New("no route to host") })
				a.serve(500, 400)
				pass(c.gap)
				a.suffer(nil)
				pass(2)
				a.serve(200, 1)
				pass(2)
				stop()
				got := l.records["orders 200"] + l.records["orders 500"]
				if c.logged {
					got = l.grown["orders"]
				}
				if got != c.want {
					t.Errorf("%d counted, want %d", got, c.want)
				}
			})
		})
	}
}

// What cannot be counted is offered again with what came since.
func TestWhatIsNotAcceptedComesAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLedger()
		s := newSource(t, l, false, func(s *Settings) { s.Targets = []string{"http://a:8100/metrics"} })
		a := &kong{id: "a", counts: map[int]int{200: 5}}
		gatewayOf(s, map[string]*kong{"a:8100": a})
		stop := begin(t, s)
		pass(2)
		l.fails = true
		a.serve(200, 7)
		pass(3)
		l.fails = false
		a.serve(200, 2)
		pass(2)
		stop()
		if diff := cmp.Diff(map[string]uint64{"orders 200": 9}, l.records); diff != "" {
			t.Errorf("counted (-want +got)\n%s", diff)
		}
	})
}

// phonebook is a name server.
type phonebook struct {
	mu    sync.Mutex
	hosts map[string][]netip.Addr
	srv   map[string][]*net.SRV
	down  bool
}

func (p *phonebook) LookupNetIP(_ context.Context, _, host string) ([]netip.Addr, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.down {
		return nil, errors.New("no answer")
	}
	return p.hosts[host], nil
}

func (p *phonebook) LookupSRV(_ context.Context, _, _, name string) (string, []*net.SRV, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.down {
		return "", nil, errors.New("no answer")
	}
	return name, p.srv[name], nil
}

func TestNodesAreFoundByName(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLedger()
		s := newSource(t, l, true, func(s *Settings) {
			s.DNS = []string{"http://kong:8100/metrics"}
			s.SRV = []string{"http://_metrics._tcp.kong.test/metrics"}
			s.MaxNodes = 4
		})
		book := &phonebook{
			hosts: map[string][]netip.Addr{"kong": {netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("::ffff:10.0.0.2")}},
			srv:   map[string][]*net.SRV{"_metrics._tcp.kong.test": {{Target: "kong-9.test.", Port: 8109}}},
		}
		s.discovery.names = book
		nodes := map[string]*kong{}
		for _, host := range []string{"10.0.0.1:8100", "10.0.0.2:8100", "10.0.0.3:8100", "[fd00::1]:8100", "[fd00::2]:8100", "kong-9.test:8109"} {
			nodes[host] = &kong{id: host, counts: map[int]int{200: 1}}
		}
		gatewayOf(s, nodes)
		stop := begin(t, s)
		seen := func() []string {
			l.mu.Lock()
			defer l.mu.Unlock()
			var list []string
			for address, look := range l.looks {
				if look.Node.Problem == "" && time.Since(look.Node.At) < 2*time.Second {
					list = append(list, address)
				}
			}
			slices.Sort(list)
			return list
		}
		pass(3)
		if diff := cmp.Diff([]string{"10.0.0.1:8100", "10.0.0.2:8100", "kong-9.test:8109"}, seen()); diff != "" {
			t.Errorf("at first (-want +got)\n%s", diff)
		}
		book.mu.Lock()
		book.hosts["kong"] = []netip.Addr{netip.MustParseAddr("10.0.0.2"), netip.MustParseAddr("10.0.0.3")}
		book.mu.Unlock()
		pass(13)
		want := []string{"10.0.0.2:8100", "10.0.0.3:8100", "kong-9.test:8109"}
		if diff := cmp.Diff(want, seen()); diff != "" {
			t.Errorf("after one went and one came (-want +got)\n%s", diff)
		}
		if diff := cmp.Diff([]string{"10.0.0.1:8100"}, l.gone); diff != "" {
			t.Errorf("gone (-want +got)\n%s", diff)
		}
		book.mu.Lock()
		book.down = true
		book.mu.Unlock()
		pass(30)
		if diff := cmp.Diff(want, seen()); diff != "" {
			t.Errorf("while names cannot be resolved (-want +got)\n%s", diff)
		}
		book.mu.Lock()
		book.down = false
		for i := range 5 {
			book.hosts["kong"] = append(book.hosts["kong"], netip.MustParseAddr(fmt.Sprintf("fd00::%d", i+1)))
		}
		book.mu.Unlock()
		pass(13)
		if n, out := len(seen()), testutil.ToFloat64(s.metrics.leftOut); n > 4 || out != 4 {
			t.Errorf("%d are looked at, and %v left out, of which max_nodes allows 4", n, out)
		}
		stop()
	})
}

// A peer can be down, slow, half-open or wrong: each says what is wrong, none touches
// the others, and it recovers alone.
func TestAPeerThatIsNotWell(t *testing.T) {
	l := newLedger()
	s := newSource(t, l, false, func(s *Settings) {
		s.Targets = []string{"http://unused"}
		s.Timeout = gatewarden.Duration(300 * time.Millisecond)
		s.MaxBody = 64 * collector.KiB
	})
	well := &kong{id: "a", counts: map[int]int{200: 5}}
	var mu sync.Mutex
	var ill http.HandlerFunc
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		h := ill
		mu.Unlock()
		if h != nil {
			h(w, r)
			return
		}
		w.Header().Set("Content-Type", kongsType)
		resp, _ := well.say()
		_, _ = io.Copy(w, resp.Body)
	}))
	defer server.Close()
	n := &node{address: address{url: server.URL + "/metrics"}, name: "kong", client: newClient(address{}, nil), source: s, seen: map[string]sight{}}
	head, body, _ := strings.Cut(captured(t, "metrics-db-down.txt"), "\r\n\r\n")
	if !strings.HasPrefix(head, "HTTP/1.1 500") {
		t.Fatalf("the captured answer is %q", head)
	}
	cases := []struct {
		name string
		ill  http.HandlerFunc
		want string
	}{
		{"a page", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "<html>welcome</html>") }, "no format of metrics"},
		{"a page to log in at", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/login", http.StatusFound) }, "302"},
		{"its database is away", func(w http.ResponseWriter, _ *http.Request) { http.Error(w, body, http.StatusInternalServerError) }, "database is away"},
		{"no metrics there", http.NotFound, "status_listen"},
		{"half-open", func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }, "no answer in time"},
		{"slow to the end", func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", kongsType)
			for r.Context().Err() == nil {
				fmt.Fprintln(w, "# on and on")
				_ = http.NewResponseController(w).Flush()
				select {
				case <-r.Context().Done():
				case <-time.After(20 * time.Millisecond):
				}
			}
		}, "deadline exceeded"},
		{"cut in the middle", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", kongsType)
			w.Header().Set("Content-Length", "5000")
			fmt.Fprintln(w, "kong_node_info{node_id=\"a\"} 1")
		}, "unexpected EOF"},
		{"without end", func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", kongsType)
			for r.Context().Err() == nil {
				if _, err := fmt.Fprintln(w, strings.Repeat("# on and on ", 100)); err != nil {
					return
				}
			}
		}, "more than max_body"},
		{"connections are cut", func(w http.ResponseWriter, _ *http.Request) {
			if conn, _, err := http.NewResponseController(w).Hijack(); err == nil {
				conn.Close()
			}
		}, "EOF"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			n.look(t.Context())
			if problem := l.problem(t, "kong"); problem != "" {
				t.Fatalf("while it is well: %s", problem)
			}
			l.records = map[string]uint64{}
			mu.Lock()
			ill = c.ill
			mu.Unlock()
			n.look(t.Context())
			if problem := l.problem(t, "kong"); !strings.Contains(problem, c.want) {
				t.Errorf("it says %q, want %q", problem, c.want)
			}
			well.serve(200, 3)
			mu.Lock()
			ill = nil
			mu.Unlock()
			n.look(t.Context())
			if problem := l.problem(t, "kong"); problem != "" {
				t.Errorf("after it is well again: %s", problem)
			}
			if diff := cmp.Diff(map[string]uint64{"orders 200": 3}, l.records); diff != "" {
				t.Errorf("counted over the gap (-want +got)\n%s", diff)
			}
		})
	}
	server.Close()
	n.look(t.Context())
	if problem := l.problem(t, "kong"); !strings.Contains(problem, "refused") {
		t.Errorf("a node that is down says %q", problem)
	}
}

// One that hangs keeps nobody waiting.
func TestOneThatHangsTouchesNoOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLedger()
		s := newSource(t, l, false, func(s *Settings) { s.Targets = []string{"http://a:8100/metrics", "http://b:8100/metrics"} })
		b := &kong{id: "b", counts: map[int]int{200: 1}}
		s.client = func(a address) *http.Client {
			return &http.Client{Transport: tries(func(r *http.Request) (*http.Response, error) {
				if r.URL.Host == "b:8100" {
					return b.say()
				}
				<-r.Context().Done()
				return nil, r.Context().Err()
			})}
		}
		stop := begin(t, s)
		pass(2)
		b.serve(200, 2)
		pass(20)
		stop()
		if l.records["orders 200"] != 2 || l.calls < 20 {
			t.Errorf("%v counted in %d batches", l.records, l.calls)
		}
		if problem := l.problem(t, "a:8100"); problem != "it gave no answer in time" {
			t.Errorf("the one that hangs says %q", problem)
		}
	})
}

func TestSettingsThatCannotWork(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*Settings)
		want   string
	}{
		"no node":               {func(s *Settings) { s.Targets = nil }, "no node is named"},
		"no address":            {func(s *Settings) { s.Targets = []string{"kong:8100"} }, "targets: an item is no address"},
		"a password in the url": {func(s *Settings) { s.DNS = []string{"http://me:secret@kong/metrics"} }, "dns: an item is no address"},
		"no interval":           {func(s *Settings) { s.Interval = 0 }, "interval"},
		"a window too short":    {func(s *Settings) { s.Completeness.Window = gatewarden.Duration(time.Second) }, "window"},
		"looks too far apart":   {func(s *Settings) { s.Interval = gatewarden.Duration(20 * time.Second) }, "four times"},
		"all must be there":     {func(s *Settings) { s.Completeness.Limit = 1 }, "at most 99%"},
	} {
		t.Run(name, func(t *testing.T) {
			s := DefaultSettings()
			s.Targets = []string{"http://kong:8100/metrics"}
			if err := s.Validate(); err != nil {
				t.Fatal(err)
			}
			c.change(&s)
			err := s.Validate()
			if err == nil || !strings.Contains(err.Error(), c.want) || gatewarden.ErrorCode(err) != gatewarden.Invalid || strings.Contains(err.Error(), "secret") {
				t.Errorf("%v", err)
			}
		})
	}
}

func TestSharesReadAsWritten(t *testing.T) {
	for text, want := range map[string]Share{"95%": 0.95, "0": 0, "0%": 0, "12.5 %": 0.125} {
		var s Share
		if err := s.UnmarshalText([]byte(text)); err != nil || s != want {
			t.Errorf("%q is read as %v, %v", text, s, err)
		}
	}
	for _, text := range []string{"", "95", "101%", "-1%", "NaN%", "much"} {
		var s Share
		if err := s.UnmarshalText([]byte(text)); err == nil {
			t.Errorf("%q is read as %v", text, s)
		}
	}
}
