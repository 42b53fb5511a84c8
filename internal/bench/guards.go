package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/gatewarden/gatewarden/app"
	"github.com/gatewarden/gatewarden/internal/loglines"
)

const (
	ackPosts   = 300 // of each kind
	ackRecords = 200 // in a batch
)

// guards prints how long Kong waits for an answer, by when it is given and by how many
// guards keep what came.
func guards(ctx context.Context) error {
	heading("How long a post waits for its answer", fmt.Sprintf(
		"%d posts one after the other on one connection, as each of Kong's queues sends them; guards in one process, each with a\nfolder of its own on the same disk.", ackPosts))
	for _, c := range []struct {
		name, state string
		guards      int
	}{
		{"one guard, counted", "state: {dir: DIR}", 1},
		{"one guard, durable", "state: {dir: DIR, acknowledge: durable}", 1},
		{"three guards, counted", "state: {dir: DIR, name: NAME, acknowledge: counted, cluster: {secret: bench, peers: {PEERS}}}", 3},
		{"three guards, durable", "state: {dir: DIR, name: NAME, cluster: {secret: bench, peers: {PEERS}}}", 3},
	} {
		if err := ackRound(ctx, c.name, c.state, c.guards); err != nil {
			return fmt.Errorf("%s: %w", c.name, err)
		}
	}
	return nil
}

// ackRound measures one kind, with posts of one record and of many.
func ackRound(ctx context.Context, name, state string, n int) (err error) {
	dir, err := os.MkdirTemp("", "gatewarden-bench-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	group, err := startGroup(ctx, dir, state, n)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, group.end()) }()
	for _, records := range []int{1, ackRecords} {
		took, err := acks(ctx, group.apps[0].Addr("ingest"), records)
		if err != nil {
			return err
		}
		slices.Sort(took)
		fmt.Printf("  %-24s posts of %3d   median %7.2f ms  p90 %7.2f ms  max %7.2f ms\n", name, records,
			millisOf(took[len(took)/2]), millisOf(took[len(took)*9/10]), millisOf(took[len(took)-1]))
	}
	return nil
}

func millisOf(d time.Duration) float64 { return d.Seconds() * 1000 }

// acks posts and returns how long each answer took.
func acks(ctx context.Context, ingest string, records int) (took []time.Duration, err error) {
	f := feeder{batch: records}
	lines, client := loglines.NewWriter(), &http.Client{Transport: &http.Transport{}}
	defer client.CloseIdleConnections()
	for i := range ackPosts {
		body := f.body(nil, lines, records*ackPosts+i)
		begun := time.Now()
		if err := post(ctx, client, "http://"+ingest+"/ingest/kong", body); err != nil {
			return nil, err
		}
		took = append(took, time.Since(begun))
	}
	return took, nil
}

// group is guards that share a state.
type group struct {
	apps    []*app.App
	stop    context.CancelFunc
	running sync.WaitGroup
	errs    []error
}

// startGroup starts n guards in folders below dir. None is up before most are.
func startGroup(ctx context.Context, dir, state string, n int) (*group, error) {
	g := &group{apps: make([]*app.App, n), errs: make([]error, n)}
	var peers []string
	for i := range n {
		address, err := freeAddress(ctx)
		if err != nil {
			return nil, err
		}
		peers = append(peers, fmt.Sprintf("guard-%d: %q", i, address))
	}
	if err := os.WriteFile(filepath.Join(dir, "rules.yaml"), []byte(guardRules()), 0o600); err != nil {
		return nil, err
	}
	var opening sync.WaitGroup
	for i := range n {
		config := filepath.Join(dir, fmt.Sprintf("guard-%d.yaml", i))
		text := "listen: {api: '127.0.0.1:0', ingest: '127.0.0.1:0'}\nrules: [rules.yaml]\n" +
			strings.NewReplacer("DIR", fmt.Sprintf("data-%d", i), "NAME", fmt.Sprintf("guard-%d", i), "PEERS", strings.Join(peers, ", ")).Replace(state) + "\n"
		if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
			return nil, err
		}
		opening.Go(func() {
			g.apps[i], g.errs[i] = app.New(ctx, app.Options{
				ConfigFile: config, Env: os.LookupEnv, Logger: slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelError})),
			})
		})
	}
	opening.Wait()
	if err := errors.Join(g.errs...); err != nil {
		return nil, err
	}
	ctx, g.stop = context.WithCancel(ctx)
	for i, a := range g.apps {
		g.running.Go(func() { g.errs[i] = a.Run(ctx) })
	}
	return g, g.awaitLeader(ctx)
}

// awaitLeader returns when the group answers for itself.
func (g *group) awaitLeader(ctx context.Context) error {
	for {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+g.apps[0].Addr("api")+"/-/ready", nil)
		if err != nil {
			return err
		}
		resp, err := http.DefaultClient.Do(req)
		if err == nil {
			_ = resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				return nil
			}
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// end stops the guards.
func (g *group) end() error {
	g.stop()
	g.running.Wait()
	return errors.Join(g.errs...)
}
