package journal

import (
	"fmt"
	"math/rand/v2"
	"net"
	"net/url"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/gatewarden/gatewarden"
)

// three are servers on loopback that hold the journal together.
type three struct {
	t       *testing.T
	options [3]*server.Options
	servers [3]*server.Server
}

func newThree(t *testing.T) *three {
	t.Helper()
	c := &three{t: t}
	var routes []*url.URL
	for i := range c.options {
		port := freePort(t)
		routes = append(routes, &url.URL{Scheme: "nats-route", Host: fmt.Sprint("127.0.0.1:", port)})
		c.options[i] = &server.Options{
			ServerName: fmt.Sprint("s", i), Host: "127.0.0.1", Port: -1, NoSigs: true, NoLog: true, JetStream: true, StoreDir: t.TempDir(),
			SyncAlways: true, JetStreamMaxStore: 64 << 20,
			Cluster: server.ClusterOpts{Name: "test", Host: "127.0.0.1", Port: port},
		}
	}
	for i := range c.options {
		c.options[i].Routes = routes
		c.start(i)
	}
	t.Cleanup(func() {
		var stopping sync.WaitGroup
		for i := range c.servers {
			stopping.Go(func() { c.stop(i) })
		}
		stopping.Wait()
	})
	return c
}

// freePort returns one that nobody listens on, below those that systems give to whoever
// asks for any.
func freePort(t *testing.T) int {
	t.Helper()
	for range 100 {
		port := 20000 + rand.IntN(12000)
		if listener, err := net.Listen("tcp", fmt.Sprint("127.0.0.1:", port)); err == nil {
			listener.Close()
			return port
		}
	}
	t.Fatal("no port is free")
	return 0
}

func (c *three) start(i int) {
	c.t.Helper()
	srv, err := server.NewServer(c.options[i].Clone())
	if err != nil {
		c.t.Fatal(err)
	}
	srv.Start()
	if !srv.ReadyForConnections(10 * time.Second) {
		c.t.Fatal("a server does not start")
	}
	c.servers[i] = srv
}

func (c *three) stop(i int) {
	c.servers[i].Shutdown()
	c.servers[i].WaitForShutdown()
}

// at returns JetStream as the server with this number shows it.
func (c *three) at(i int) jetstream.JetStream {
	c.t.Helper()
	conn, err := nats.Connect("", nats.InProcessServer(c.servers[i]))
	if err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(conn.Close)
	js, err := jetstream.New(conn)
	if err != nil {
		c.t.Fatal(err)
	}
	return js
}

// lead makes the server with this number the one of the three that takes appends.
func (c *three) lead(i int) {
	c.t.Helper()
	for deadline := time.Now().Add(60 * time.Second); !c.servers[i].JetStreamIsStreamLeader("$G", streamName); time.Sleep(200 * time.Millisecond) {
		if time.Now().After(deadline) {
			c.t.Fatal("it does not become the leader")
		}
		for _, srv := range c.servers {
			if srv.JetStreamIsStreamLeader("$G", streamName) {
				_ = srv.JetStreamStepdownStream("$G", streamName)
			}
		}
	}
}

// names returns the events that a fresh reader finds, in order.
func (c *three) names(at int) []string {
	c.t.Helper()
	events, err := openJournal(c.t, c.at(at), Config{Replicas: 3}).Events(c.t.Context(), Query{})
	if err != nil {
		c.t.Fatal(err)
	}
	var names []string
	for _, e := range events {
		names = append(names, e.Name)
	}
	return names
}

// persist appends until that succeeds.
func persist(t *testing.T, j *Journal, name string) {
	t.Helper()
	deadline := time.Now().Add(60 * time.Second)
	for {
		_, err := j.Append(t.Context(), gatewarden.Event{Type: gatewarden.EventSLO, Name: name, State: "breach", At: noon})
		if err == nil {
			return
		}
		if gatewarden.ErrorCode(err) != gatewarden.Unavailable || time.Now().After(deadline) {
			t.Fatal(name, err)
		}
	}
}

func TestThreeServersHoldTheJournal(t *testing.T) {
	c := newThree(t)
	first := openJournal(t, c.at(0), Config{Replicas: 3})
	persist(t, first, "1")
	persist(t, first, "2")

	// With one of three left nothing is durable. That one still takes what it is told, and
	// expects the next one after it: what is under way must not be passed over as lost.
	c.lead(0)
	c.stop(1)
	c.stop(2)
	for _, name := range []string{"under way", "after it"} {
		_, err := first.Append(t.Context(), gatewarden.Event{Type: gatewarden.EventSLO, Name: name, State: "breach", At: noon})
		if gatewarden.ErrorCode(err) != gatewarden.Unavailable {
			t.Fatalf("%s: %v", name, err)
		}
	}
	if first.Last() != 2 {
		t.Errorf("the journal passes over what is under way: it is at %d", first.Last())
	}
	c.start(1)
	c.start(2)
	persist(t, first, "3")
	persist(t, first, "4")
	got := c.names(1)
	if kept := without(got, "under way", "after it"); !cmp.Equal(kept, []string{"1", "2", "3", "4"}) {
		t.Errorf("another server has %q", got)
	}

	// Another guard takes over: the first is told so with its next event.
	second := openJournal(t, c.at(2), Config{Replicas: 3})
	persist(t, second, "5")
	_, err := first.Append(t.Context(), gatewarden.Event{Type: gatewarden.EventSLO, Name: "too late", State: "breach", At: noon})
	if gatewarden.ErrorCode(err) != gatewarden.Conflict || !first.Deposed() {
		t.Errorf("a guard that was deposed: %v", err)
	}
	c.stop(0)
	persist(t, second, "6")
	if kept := without(c.names(1), "under way", "after it"); !cmp.Equal(kept, []string{"1", "2", "3", "4", "5", "6"}) {
		t.Errorf("in the end: %q", kept)
	}
}

func without(names []string, drop ...string) []string {
	var kept []string
	for _, name := range names {
		if name != drop[0] && name != drop[1] {
			kept = append(kept, name)
		}
	}
	return kept
}
