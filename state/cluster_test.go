package state

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/gatewarden/gatewarden"
)

// guards are the states of guards that share a cluster, on loopback.
type guards struct {
	t      *testing.T
	config map[string]Config
	open   map[string]*State
	links  map[[2]string]*link // from one to another
	log    *lines
}

// lines keeps what is logged.
type lines struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// freeAddress returns an address of loopback that nobody listens on, below the ports
// that systems give to whoever asks for any.
func freeAddress(t *testing.T) string {
	t.Helper()
	for range 100 {
		address := fmt.Sprint("127.0.0.1:", 20000+rand.IntN(12000))
		if listener, err := net.Listen("tcp", address); err == nil {
			listener.Close()
			return address
		}
	}
	t.Fatal("no port is free")
	return ""
}

// newGuards gives guards with these names each a folder and an address.
func newGuards(t *testing.T, names ...string) *guards {
	t.Helper()
	g := &guards{t: t, config: make(map[string]Config), open: make(map[string]*State), log: new(lines)}
	g.links = make(map[[2]string]*link)
	for _, name := range names {
		listen := freeAddress(t)
		// What the others are told to connect to leads nowhere: they have links.
		g.config[name] = Config{Dir: t.TempDir(), Cluster: &Cluster{
			Name: name, Listen: listen, Peers: map[string]string{name: freeAddress(t)}, Secret: "of the test",
		}}
		for _, from := range names {
			if from != name {
				g.links[[2]string{from, name}] = newLink(t, listen)
			}
		}
	}
	for pair, l := range g.links {
		g.config[pair[0]].Cluster.Peers[pair[1]] = l.listener.Addr().String()
	}
	t.Cleanup(func() {
		var closing sync.WaitGroup
		for _, s := range g.open {
			closing.Go(func() { _ = s.Close() })
		}
		closing.Wait()
		for _, l := range g.links {
			l.close()
		}
	})
	return g
}

// cut parts a guard from the others.
func (g *guards) cut(name string) { g.setCut(name, true) }

// heal joins it with them again.
func (g *guards) heal(name string) { g.setCut(name, false) }

func (g *guards) setCut(name string, isCut bool) {
	for pair, l := range g.links {
		if pair[0] == name || pair[1] == name {
			l.cut(isCut)
		}
	}
}

// start opens the states of these guards at the same time.
func (g *guards) start(names ...string) {
	g.t.Helper()
	ctx, cancel := context.WithTimeout(g.t.Context(), giveUpAfter)
	defer cancel()
	var mu sync.Mutex
	var opening sync.WaitGroup
	for _, name := range names {
		opening.Go(func() {
			s, err := Open(ctx, g.config[name], slog.New(slog.NewTextHandler(g.log, nil)).With("guard", name))
			if err != nil {
				g.t.Error(err)
				return
			}
			mu.Lock()
			g.open[name] = s
			mu.Unlock()
		})
	}
	opening.Wait()
	if g.t.Failed() {
		g.t.Fatal(g.log)
	}
}

// stop closes the state of a guard.
func (g *guards) stop(name string) {
	g.t.Helper()
	if err := g.open[name].Close(); err != nil {
		g.t.Error(err)
	}
	delete(g.open, name)
}

// giveUpAfter bounds every wait for several servers. It says nothing about how long things
// should take, which is for tests with a clock of their own: it only ends a test that would
// never end.
const giveUpAfter = 3 * time.Minute

// eventually waits until a condition holds, and returns how long that took.
func eventually(t *testing.T, what string, holds func() bool) time.Duration {
	t.Helper()
	begun := time.Now()
	for !holds() {
		if time.Since(begun) > giveUpAfter {
			t.Fatalf("%s: not in %s", what, giveUpAfter)
		}
		time.Sleep(10 * time.Millisecond)
	}
	return time.Since(begun)
}

// followed gathers what a follower visits.
type followed struct {
	mu   sync.Mutex
	got  []string
	err  error
	done chan struct{}
}

func follow(ctx context.Context, l *Log, after uint64) *followed {
	f := &followed{done: make(chan struct{})}
	go func() {
		err := l.Follow(ctx, after, func(_ uint64, data []byte) error {
			f.mu.Lock()
			defer f.mu.Unlock()
			f.got = append(f.got, string(data))
			return nil
		})
		f.mu.Lock()
		f.err = err
		f.mu.Unlock()
		close(f.done)
	}()
	return f
}

func (f *followed) has(n int) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.got) >= n
}

func (f *followed) all() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([]string(nil), f.got...)
}

func TestThreeGuards(t *testing.T) {
	g := newGuards(t, "a", "b", "c")
	begun := time.Now()
	g.start("a", "b", "c")
	t.Logf("three have opened after %s", time.Since(begun))
	for name, s := range g.open {
		if !s.Shared() || s.Replicas() != 3 {
			t.Errorf("%s: shared %t, %d replicas", name, s.Shared(), s.Replicas())
		}
	}
	g.each(t, map[string]func(*testing.T, *guards){
		"a stream of before gets replicas":           aStreamOfBeforeGetsReplicas,
		"what one tells all hear":                    whatOneTellsAllHear,
		"the board":                                  allSeeTheBoard,
		"snapshots and leases are everybody's":       blobsAndLeasesAreShared,
		"what is swept is what nobody writes":        openingSweepsNothing,
		"nobody but the process may be a client":     nobodyElseIsAClient,
		"a stranger with the secret is told of":      aStrangerIsToldOf,
		"a stranger without the secret stays out":    aStrangerWithoutTheSecret,
		"a name that another guard has is refused":   aSecondOfTheSameName,
		"trimmed by one guard, conflict for another": trimmedByAnother,
	})
	if !t.Failed() { // with one of three away
		g.each(t, map[string]func(*testing.T, *guards){"a member that is away": aMemberIsAway})
	}
}

// each runs what is to be shown of the same guards, one after the other.
func (g *guards) each(t *testing.T, subtests map[string]func(*testing.T, *guards)) {
	t.Helper()
	for name, subtest := range subtests {
		t.Run(name, func(t *testing.T) { subtest(t, g) })
	}
}

func aStreamOfBeforeGetsReplicas(t *testing.T, g *guards) {
	js := g.open["a"].js
	if _, err := js.CreateStream(t.Context(), jetstream.StreamConfig{
		Name: "GATEWARDEN_OBSERVED", Subjects: []string{"gatewarden.observed"}, Replicas: 1, MaxBytes: 1 << 20, Compression: jetstream.S2Compression,
	}); err != nil {
		t.Fatal(err)
	}
	if _, err := js.Publish(t.Context(), "gatewarden.observed", []byte("before")); err != nil {
		t.Fatal(err)
	}
	l, err := g.open["b"].Observed(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "three hold it", func() bool {
		info, err := l.stream.Info(t.Context())
		return err == nil && info.Config.Replicas == 3 && len(info.Cluster.Replicas) == 2
	})
	if got := readCells(t, l, 0); got[1] != "before" {
		t.Errorf("it has %v", got)
	}
}

func whatOneTellsAllHear(t *testing.T, g *guards) {
	var mu sync.Mutex
	heard := make(map[string]int)
	for name, s := range g.open {
		stop, err := s.Hear("news", func(data []byte) {
			mu.Lock()
			defer mu.Unlock()
			heard[name+" "+string(data)]++
		})
		if err != nil {
			t.Fatal(err)
		}
		defer stop()
	}
	// That somebody listens reaches the other servers a little later: what is told before is missed.
	eventually(t, "all have heard it", func() bool {
		if err := g.open["b"].Tell("news", []byte("shed")); err != nil {
			t.Fatal(err)
		}
		mu.Lock()
		defer mu.Unlock()
		return len(heard) == len(g.open)
	})
	for _, subject := range []string{"", "two words", "*", "a.>"} {
		if err := g.open["a"].Tell(subject, nil); gatewarden.ErrorCode(err) != gatewarden.Invalid {
			t.Errorf("telling %q: %v", subject, err)
		}
	}
}

// watched gathers what a watcher of the board sees.
type watched struct {
	mu   sync.Mutex
	last map[string]string
}

func watch(ctx context.Context, b *Board) *watched {
	w := &watched{last: make(map[string]string)}
	go func() {
		_ = b.Watch(ctx, func(key string, value []byte) {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.last[key] = string(value)
		})
	}()
	return w
}

func (w *watched) has(want map[string]string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return cmp.Equal(want, w.last)
}

func allSeeTheBoard(t *testing.T, g *guards) {
	boards := make(map[string]*Board)
	var watchers []*watched
	for name, s := range g.open {
		b, err := s.Board(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if boards[name] = b; name == "a" {
			if err := b.Put(t.Context(), "guards.a", []byte("before they watch")); err != nil {
				t.Fatal(err)
			}
		}
	}
	want := map[string]string{"guards.a": "before they watch"}
	for _, b := range boards {
		watchers = append(watchers, watch(t.Context(), b))
	}
	for range 3 {
		for name, b := range boards {
			want["guards."+name] += "+"
			if err := b.Put(t.Context(), "guards."+name, []byte(want["guards."+name])); err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, w := range watchers {
		eventually(t, "a watcher sees all", func() bool { return w.has(want) })
	}
	if err := boards["a"].Put(t.Context(), "no key", nil); gatewarden.ErrorCode(err) != gatewarden.Invalid {
		t.Error(err)
	}
}

func blobsAndLeasesAreShared(t *testing.T, g *guards) {
	ctx := t.Context()
	large := make([]byte, 3*chunkSize+1)
	for i := range large {
		large[i] = byte(i % 251)
	}
	for _, name := range []string{"a", "b"} {
		snapshots, err := g.open[name].Snapshots(ctx)
		if err != nil {
			t.Fatal(err)
		}
		leases, err := g.open[name].Leases(ctx)
		if err != nil {
			t.Fatal(err)
		}
		if name == "a" {
			if err := errors.Join(snapshots.Put(ctx, "store", large), leases.Put(ctx, "a-1", time.Unix(1e9, 0)), leases.Put(ctx, "a-2", time.Now()), leases.Delete(ctx, "a-2"), leases.Tidy(ctx)); err != nil {
				t.Fatal(err)
			}
			continue
		}
		eventually(t, "the other guard has them", func() bool {
			got, err := snapshots.Get(ctx, "store")
			all, leaseErr := leases.All(ctx)
			return err == nil && bytes.Equal(got, large) && leaseErr == nil && len(all) == 1 && all["a-1"].Equal(time.Unix(1e9, 0))
		})
	}
}

func openingSweepsNothing(t *testing.T, g *guards) {
	ctx := t.Context()
	if _, err := g.open["a"].Runs(ctx); err != nil {
		t.Fatal(err)
	}
	if _, err := g.open["a"].js.Publish(ctx, "$O.gatewarden_runs.C.being-written", []byte("half")); err != nil {
		t.Fatal(err)
	}
	chunks := func() int {
		stream, err := g.open["a"].js.Stream(ctx, "OBJ_gatewarden_runs")
		if err != nil {
			t.Fatal(err)
		}
		info, err := stream.Info(ctx, jetstream.WithSubjectFilter("$O.gatewarden_runs.C.>"))
		if err != nil {
			t.Fatal(err)
		}
		return len(info.State.Subjects)
	}
	runs, err := g.open["b"].Runs(ctx)
	if err != nil || chunks() != 1 {
		t.Fatalf("a follower that opens leaves %d chunks of what is being written, want 1; %v", chunks(), err)
	}
	runs.now = func() time.Time { return time.Now().Add(2 * remnantAfter) }
	if err := runs.Sweep(ctx); err != nil || chunks() != 0 {
		t.Errorf("sweeping leaves %d, %v", chunks(), err)
	}
}

func nobodyElseIsAClient(t *testing.T, g *guards) {
	url := g.open["a"].embedded.server.ClientURL()
	if !strings.Contains(url, "127.0.0.1") {
		t.Errorf("it listens on %s", url)
	}
	if conn, err := nats.Connect(url); err == nil {
		conn.Close()
		t.Error("anybody on this machine may be a client")
	}
}

// stranger starts a server that joins the cluster with a secret.
func stranger(t *testing.T, g *guards, name, secret string) {
	t.Helper()
	to := g.config["a"].Cluster.Listen
	srv, err := server.NewServer(&server.Options{
		ServerName: name, Host: "127.0.0.1", Port: -1, NoSigs: true, NoLog: true,
		Cluster: server.ClusterOpts{Name: clusterName, Host: "127.0.0.1", Port: -1, Username: clusterName, Password: secret},
		Routes:  []*url.URL{{Scheme: "nats-route", User: url.UserPassword(clusterName, secret), Host: to}},
	})
	if err != nil {
		t.Fatal(err)
	}
	srv.Start()
	t.Cleanup(func() { srv.Shutdown(); srv.WaitForShutdown() })
}

func (g *guards) wantLogged(t *testing.T, what string) {
	t.Helper()
	eventually(t, "the log says "+what, func() bool { return strings.Contains(g.log.String(), what) })
}

func aStrangerIsToldOf(t *testing.T, g *guards) {
	stranger(t, g, "mallory", "of the test")
	g.wantLogged(t, "not among the peers")
	g.wantLogged(t, "peer=mallory")
}

func aStrangerWithoutTheSecret(t *testing.T, g *guards) {
	stranger(t, g, "oscar", "a guess")
	g.wantLogged(t, "secret the same for all guards?")
	if strings.Contains(g.log.String(), "peer=oscar") {
		t.Error("it is in")
	}
	if strings.Contains(g.log.String(), "of the test") || strings.Contains(g.log.String(), "a guess") {
		t.Error("a secret is in the log")
	}
}

func aSecondOfTheSameName(t *testing.T, g *guards) {
	stranger(t, g, "a", "of the test")
	g.wantLogged(t, "two guards have the same state.cluster.name")
}

func trimmedByAnother(t *testing.T, g *guards) {
	mine, err := g.open["a"].Observations(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	others, err := g.open["b"].Observations(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for range 5 {
		if _, err := mine.Append(t.Context(), []byte("x")); err != nil {
			t.Fatal(err)
		}
	}
	if err := mine.Trim(t.Context(), 3); err != nil {
		t.Fatal(err)
	}
	f := follow(t.Context(), others, 2)
	<-f.done
	if gatewarden.ErrorCode(f.err) != gatewarden.Conflict {
		t.Error(f.err)
	}
	f = follow(t.Context(), others, 3)
	eventually(t, "what is there is followed", func() bool { return f.has(2) })
}

// aMemberIsAway ends with all three.
func aMemberIsAway(t *testing.T, g *guards) {
	ctx := t.Context()
	cells := make(map[string]*Log)
	followers := make(map[string]*followed)
	join := func(name string) {
		t.Helper()
		l, err := g.open[name].Cells(ctx)
		if err != nil {
			t.Fatal(err)
		}
		cells[name], followers[name] = l, follow(ctx, l, 0)
	}
	var want []string
	add := func(by string, n int) {
		t.Helper()
		for range n {
			data := fmt.Sprint(len(want))
			var err error
			eventually(t, "it is appended", func() bool {
				_, err = cells[by].Append(ctx, []byte(data))
				return err == nil
			})
			want = append(want, data)
		}
	}
	// An append that failed may have been made: what follows may come twice.
	once := slices.Compact[[]string]
	allFollow := func() {
		t.Helper()
		for by, f := range followers {
			took := eventually(t, by+" follows", func() bool { return len(once(f.all())) >= len(want) })
			if diff := cmp.Diff(want, once(f.all())); diff != "" {
				t.Errorf("%s: -want +got:\n%s", by, diff)
			}
			t.Logf("%s has all %d after %s", by, len(want), took.Round(time.Millisecond))
		}
	}
	for name := range g.open {
		join(name)
	}
	for name := range g.open {
		begun := time.Now()
		add(name, 50)
		t.Logf("%s appends in %s each", name, time.Since(begun)/50)
	}
	allFollow()
	if got := readCells(t, cells["b"], 100); len(got) != 50 {
		t.Errorf("read %d, want 50", len(got))
	}
	g.moveStream("GATEWARDEN_CELLS", "c")
	g.stop("c")
	delete(followers, "c")
	begun := time.Now()
	add("a", 1)
	t.Logf("two of three take an append %s after the stream's leader is gone", time.Since(begun).Round(time.Millisecond))
	add("b", 20)
	allFollow()
	g.start("c")
	join("c")
	add("c", 5)
	allFollow()
}
