package state

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

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

// freeAddress returns an address of loopback that nobody listens on.
func freeAddress(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	return listener.Addr().String()
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
	var mu sync.Mutex
	var opening sync.WaitGroup
	for _, name := range names {
		opening.Go(func() {
			s, err := Open(g.t.Context(), g.config[name], slog.New(slog.NewTextHandler(g.log, nil)).With("guard", name))
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

// eventually waits until a condition holds, and returns how long that took.
func eventually(t *testing.T, within time.Duration, what string, holds func() bool) time.Duration {
	t.Helper()
	begun := time.Now()
	for !holds() {
		if time.Since(begun) > within {
			t.Fatalf("%s: not in %s", what, within)
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
	ctx := t.Context()
	g := newGuards(t, "a", "b", "c")
	begun := time.Now()
	g.start("a", "b", "c")
	t.Logf("three opened in %s", time.Since(begun))
	for name, s := range g.open {
		if !s.Shared() || s.Replicas() != 3 {
			t.Errorf("%s: shared %t, %d replicas", name, s.Shared(), s.Replicas())
		}
	}
	cells := make(map[string]*Log)
	followers := make(map[string]*followed)
	for name, s := range g.open {
		l, err := s.Cells(ctx)
		if err != nil {
			t.Fatal(err)
		}
		cells[name], followers[name] = l, follow(ctx, l, 0)
	}
	t.Logf("streams after %s", time.Since(begun))
	var want []string
	add := func(by string, n int) {
		t.Helper()
		begun := time.Now()
		for range n {
			want = append(want, fmt.Sprint(len(want)))
			if _, err := cells[by].Append(ctx, []byte(want[len(want)-1])); err != nil {
				t.Fatal(err)
			}
		}
		t.Logf("%d appended by %s, %s each", n, by, time.Since(begun)/time.Duration(n))
	}
	seen := func(by string) {
		t.Helper()
		took := eventually(t, 20*time.Second, by+" follows", func() bool { return followers[by].has(len(want)) })
		if diff := cmp.Diff(want, followers[by].all()); diff != "" {
			t.Errorf("%s: -want +got:\n%s", by, diff)
		}
		t.Logf("%s has all after %s", by, took)
	}
	for by := range g.open {
		add(by, 50)
	}
	for by := range g.open {
		seen(by)
		got := readCells(t, cells[by], 0)
		if len(got) != len(want) {
			t.Errorf("%s reads %d, want %d", by, len(got), len(want))
		}
	}
	g.stop("c")
	var err error
	took := eventually(t, 30*time.Second, "two go on", func() bool {
		want = append(want, fmt.Sprint(len(want)))
		if _, err = cells["a"].Append(ctx, []byte(want[len(want)-1])); err != nil {
			want = want[:len(want)-1]
		}
		return err == nil
	})
	t.Logf("two go on after %s", took)
	add("b", 20)
	begun = time.Now()
	g.start("c")
	if cells["c"], err = g.open["c"].Cells(ctx); err != nil {
		t.Fatal(err)
	}
	t.Logf("back after %s", time.Since(begun))
	followers["c"] = follow(ctx, cells["c"], 0)
	add("c", 5)
	for by := range g.open {
		if by != "c" {
			got := followers[by].all()
			t.Logf("%s: %d of %d", by, len(got), len(want))
		}
		seen(by)
	}
	_ = gatewarden.Conflict
}
