package app

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/gatewarden/gatewarden"
	"github.com/gatewarden/gatewarden/state"
	"github.com/gatewarden/gatewarden/store"
)

// keep opens a keeper over the state in dir with an empty store. Its log goes to log.
func keep(t *testing.T, dir string, log *bytes.Buffer) (*keeper, *state.State) {
	t.Helper()
	logger := slog.New(slog.NewTextHandler(log, nil))
	s, err := state.Open(t.Context(), state.Config{Dir: dir}, logger)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	cells, err := s.Cells(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	snapshots, err := s.Snapshots(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return &keeper{store: store.New(store.Config{KeepDeltas: true}, prometheus.NewRegistry()), cells: cells, snapshots: snapshots, logger: logger, now: func() time.Time { return noon.Add(time.Hour) }}, s
}

var noon = time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)

// add counts n requests of orders, in the seconds from second on.
func add(k *keeper, second, n int) {
	for i := range n {
		at := noon.Add(time.Duration(second+i) * time.Second)
		k.store.Add([]gatewarden.Record{{ID: fmt.Sprint(second, i), At: at, Service: "orders", Status: 200, Weight: 1}}, at, nil)
	}
}

func counted(k *keeper) uint64 {
	sli := gatewarden.SLI{Kind: gatewarden.SLIAvailability}
	return k.store.Count(gatewarden.Series{Service: "orders"}, &sli, noon, noon.Add(time.Hour)).Total()
}

func TestCountsSurviveARestart(t *testing.T) {
	for sentence, c := range map[string]struct {
		life func(ctx context.Context, k *keeper)
		want uint64
	}{
		"from the log of cells alone": {func(ctx context.Context, k *keeper) {
			add(k, 0, 5)
			k.drain(ctx)
		}, 5},
		"from the snapshot alone": {func(ctx context.Context, k *keeper) {
			add(k, 0, 5)
			k.finish(ctx)
		}, 5},
		"from the snapshot and what came after it": {func(ctx context.Context, k *keeper) {
			add(k, 0, 5)
			k.finish(ctx)
			add(k, 10, 3)
			k.drain(ctx)
		}, 8},
		"from a snapshot whose messages were not dropped before the crash": {func(ctx context.Context, k *keeper) {
			add(k, 0, 5)
			k.drain(ctx)
			blob, err := k.store.Snapshot()
			if err == nil {
				err = k.snapshots.Put(ctx, snapshotName, blob)
			}
			if err != nil {
				k.logger.Error("the snapshot failed", "error", err)
			}
		}, 5},
		"but not what was never drained": {func(ctx context.Context, k *keeper) {
			add(k, 0, 5)
			k.drain(ctx)
			add(k, 10, 3)
		}, 5},
	} {
		t.Run(sentence, func(t *testing.T) {
			dir, log := t.TempDir(), &bytes.Buffer{}
			k, s := keep(t, dir, log)
			c.life(t.Context(), k)
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			again, _ := keep(t, dir, log)
			if err := again.restore(t.Context()); err != nil {
				t.Fatal(err)
			}
			if got := counted(again); got != c.want {
				t.Errorf("%d requests are there after the restart, want %d\n%s", got, c.want, log)
			}
		})
	}
}

func TestADamagedSnapshotIsPutAside(t *testing.T) {
	log := &bytes.Buffer{}
	k, _ := keep(t, t.TempDir(), log)
	if err := k.snapshots.Put(t.Context(), snapshotName, []byte("not a snapshot")); err != nil {
		t.Fatal(err)
	}
	if err := k.restore(t.Context()); err != nil {
		t.Fatal(err)
	}
	aside, err := k.snapshots.Get(t.Context(), damagedName)
	if err != nil || string(aside) != "not a snapshot" {
		t.Errorf("aside: %q, %v", aside, err)
	}
	if !strings.Contains(log.String(), "the snapshot of the counts is damaged") {
		t.Errorf("nobody was told: %s", log)
	}
}
