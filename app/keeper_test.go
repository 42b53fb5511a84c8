package app

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/gatewarden/gatewarden"
	"github.com/gatewarden/gatewarden/gates"
	"github.com/gatewarden/gatewarden/journal"
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
	return &keeper{store: store.New(store.Config{KeepDeltas: true}, prometheus.NewRegistry()), cells: cells, snapshots: snapshots, logger: logger, metrics: newKeeperMetrics(prometheus.NewRegistry()), now: func() time.Time { return noon.Add(time.Hour) }}, s
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

// TestWhoWaitsForCountsWaitsOnWhileTheyCannotBeWritten: whoever was told that nothing came
// would bring it to another guard, where it would count again.
func TestWhoWaitsForCountsWaitsOnWhileTheyCannotBeWritten(t *testing.T) {
	for sentence, c := range map[string]struct {
		broken time.Duration
		fails  bool
	}{
		"until they are written":         {7 * time.Second, false},
		"for as long as its sender does": {time.Hour, true},
	} {
		t.Run(sentence, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				log := &brokenLog{until: time.Now().Add(c.broken)}
				k := &keeper{
					store: store.New(store.Config{KeepDeltas: true}, prometheus.NewRegistry()), cells: log, logger: slog.New(slog.DiscardHandler),
					now: func() time.Time { return noon.Add(time.Hour) }, kick: make(chan struct{}, 1), metrics: newKeeperMetrics(prometheus.NewRegistry()),
				}
				go func() { _ = k.Run(t.Context()) }()
				add(k, 0, 5)
				began := time.Now()
				ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
				defer cancel()
				err := k.settle(ctx)
				took := time.Since(began)
				k.mu.Lock()
				defer k.mu.Unlock()
				if !c.fails && (err != nil || took < c.broken || len(log.messages) != 1) {
					t.Errorf("after %s: %v, with %d messages written", took, err, len(log.messages))
				}
				if c.fails && (gatewarden.ErrorCode(err) != gatewarden.Unavailable || took != 10*time.Second || k.ready() == nil || len(k.waiting) != 0) {
					t.Errorf("after %s: %v, and %d wait; ready: %v", took, err, len(k.waiting), k.ready())
				}
			})
		})
	}
}

// brokenLog is a log of cells in memory that cannot be written until an instant.
type brokenLog struct {
	cellLog
	until    time.Time
	messages [][]byte
}

func (l *brokenLog) Append(_ context.Context, data []byte) (uint64, error) {
	if time.Now().Before(l.until) {
		return 0, gatewarden.Errorf(gatewarden.Unavailable, "nobody answers")
	}
	l.messages = append(l.messages, data)
	return uint64(len(l.messages)), nil
}

// TestCountsWaitTenMinutesForTheState has a guard among others count for nine minutes in
// which nothing can be written.
func TestCountsWaitTenMinutesForTheState(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		cells := &brokenLog{until: began.Add(9 * time.Minute)}
		k := &keeper{
			store: store.New(store.Config{KeepDeltas: true}, prometheus.NewRegistry()), cells: cells,
			reports: &reports{}, metrics: newKeeperMetrics(prometheus.NewRegistry()), logger: slog.New(slog.DiscardHandler), kick: make(chan struct{}, 1),
		}
		other := store.New(store.Config{}, prometheus.NewRegistry())
		sli := gatewarden.SLI{Kind: gatewarden.SLIAvailability}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- k.Run(ctx) }()
		n := uint64(0)
		for ; time.Since(began) < 9*time.Minute+5*time.Second; n++ {
			now := time.Now()
			k.store.Add([]gatewarden.Record{{At: now, Service: "orders", Status: 200, Weight: 1}}, now, nil)
			time.Sleep(tellEvery)
			if time.Since(began) == time.Minute && k.ready() == nil {
				t.Error("nothing can be written, and it does not say so")
			}
		}
		if err := k.ready(); err != nil {
			t.Error(err)
		}
		cancel()
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		for _, m := range cells.messages {
			if err := other.Apply(m, time.Now()); err != nil {
				t.Fatal(err)
			}
		}
		if got := other.Count(gatewarden.Series{Service: "orders"}, &sli, began.Add(-time.Minute), time.Now()).Total(); got < n-1 {
			t.Errorf("%d requests came of %d", got, n)
		}
	})
}

// noise is n bytes that cannot be packed.
func noise(n int) []byte {
	b := make([]byte, n)
	rand.NewChaCha8([32]byte{}).Read(b)
	return b
}

// TestCheckpointsTooLargeForOneMessageAreWrittenInParts, and no snapshot is taken for them.
func TestCheckpointsTooLargeForOneMessageAreWrittenInParts(t *testing.T) {
	dir, log := t.TempDir(), &bytes.Buffer{}
	k, s := keepMarks(t, dir, log)
	ctx := t.Context()
	k.cells = &shortLog{k.cells, 1 << 20, 1000}
	value := noise(1 << 20)
	for i := range 3 {
		value[0] = byte(i)
		if err := k.checkpoints.of("").Accept(ctx, "test", nil, map[string][]byte{"at": bytes.Clone(value)}); err != nil {
			t.Fatal(err)
		}
		add(k, 10*i, 1)
		if err := k.drain(ctx); err != nil || k.ready() != nil {
			t.Errorf("too much for one message: %v, %v", err, k.ready())
		}
	}
	if _, err := k.snapshots.Get(ctx, snapshotName); gatewarden.ErrorCode(err) != gatewarden.NotFound {
		t.Errorf("a snapshot was taken: %v", err)
	}
	if got := testutil.ToFloat64(k.metrics.split); got != 3 {
		t.Errorf("%v messages were split", got)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	again, _ := keepMarks(t, dir, log)
	if err := again.restore(ctx); err != nil {
		t.Fatal(err)
	}
	if n, got := counted(again), again.checkpoints.of("").Load("")["at"]; n != 3 || !bytes.Equal(got, value) {
		t.Errorf("after a crash there are %d requests, want 3, and a value of %d bytes", n, len(got))
	}
}

// TestAReportThatIsTooLargeKeepsNothingBack has a guard that does not lead see more of a
// canary in one post than a message holds: until it was restarted it refused every post.
func TestAReportThatIsTooLargeKeepsNothingBack(t *testing.T) {
	log := &bytes.Buffer{}
	k, s := keepMarks(t, t.TempDir(), log)
	defer s.Close()
	var err error
	if k.reports, err = newReports(t.Context(), s.(*state.State), time.Now); err != nil {
		t.Fatal(err)
	}
	k.leads = func() bool { return false }
	k.reports.add([]byte("before"))
	k.reports.add(noise(9 << 20))
	k.reports.add([]byte("after"))
	if err := k.drain(t.Context()); err != nil || k.ready() != nil {
		t.Errorf("it fails: %v, %v", err, k.ready())
	}
	var got []string
	if err := k.reports.log.Read(t.Context(), 0, func(_ uint64, data []byte) error {
		list, err := split(data)
		for _, report := range list {
			got = append(got, string(report))
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"before", "after"}, got); diff != "" {
		t.Errorf("the guard that leads is told (-want +got):\n%s", diff)
	}
	if n := testutil.ToFloat64(k.metrics.unreported); n != 1 || !strings.Contains(log.String(), "will not have it") {
		t.Errorf("%v were left out, and the log says:\n%s", n, log)
	}
}

// shortLog is a log of cells that takes no messages longer than most, and only so many.
type shortLog struct {
	cellLog
	most, left int
}

func (l *shortLog) Append(ctx context.Context, data []byte) (uint64, error) {
	if len(data) > l.most {
		return 0, gatewarden.Errorf(gatewarden.Invalid, "too long")
	}
	if l.left--; l.left < 0 {
		return 0, gatewarden.Errorf(gatewarden.Unavailable, "nobody answers")
	}
	return l.cellLog.Append(ctx, data)
}

// TestWhatIsTooLargeForTheLogKeepsNothingBack has a log that does not take parts either: a
// snapshot has it instead, one for all parts.
func TestWhatIsTooLargeForTheLogKeepsNothingBack(t *testing.T) {
	dir, log := t.TempDir(), &bytes.Buffer{}
	k, s := keepMarks(t, dir, log)
	ctx := t.Context()
	k.cells = &shortLog{k.cells, 100 << 10, 1000}
	if err := k.checkpoints.of("").Accept(ctx, "test", nil, map[string][]byte{"at": noise(1 << 20)}); err != nil {
		t.Fatal(err)
	}
	add(k, 0, 1)
	if err := k.drain(ctx); err != nil || k.ready() != nil || len(k.pending) != 0 {
		t.Errorf("too much for one message: %v, %v", err, k.ready())
	}
	add(k, 10, 3)
	if err := k.drain(ctx); err != nil {
		t.Error(err)
	}
	if !strings.Contains(log.String(), "too much for one message") || testutil.ToFloat64(k.metrics.leftOut) != 1 {
		t.Errorf("nobody was told: %s", log)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	again, _ := keepMarks(t, dir, log)
	if err := again.restore(ctx); err != nil {
		t.Fatal(err)
	}
	if n, value := counted(again), again.checkpoints.of("").Load("")["at"]; n != 4 || len(value) != 1<<20 {
		t.Errorf("after a crash there are %d requests, want 4, and a value of %d bytes", n, len(value))
	}
}

// TestACrashBetweenPartsLosesAllOfTheMessage: what is counted must be what was read.
func TestACrashBetweenPartsLosesAllOfTheMessage(t *testing.T) {
	for _, parts := range []int{0, 1, 2, 3} {
		dir, log := t.TempDir(), &bytes.Buffer{}
		k, s := keepMarks(t, dir, log)
		ctx := t.Context()
		take(t, k, 1)
		if err := k.drain(ctx); err != nil {
			t.Fatal(err)
		}
		k.cells = &shortLog{k.cells, 1 << 20, parts}
		if err := k.checkpoints.of("").Accept(ctx, "test", nil, map[string][]byte{"more": noise(1 << 20)}); err != nil {
			t.Fatal(err)
		}
		take(t, k, 2)
		_ = k.drain(ctx) // which the crash cuts short
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		again, _ := keepMarks(t, dir, log)
		if err := again.restore(ctx); err != nil {
			t.Fatal(err)
		}
		want := 1
		if parts == 3 { // all of them
			want = 2
		}
		if n := int(counted(again)); n != want || read(again) != n || strings.Contains(log.String(), "damaged") {
			t.Errorf("after %d parts %d requests are counted and %d were read\n%s", parts, n, read(again), log)
		}
	}
}

// TestALostPartOfASnapshotKeepsNoGuardFromStarting, nor a part of a run's from leading.
func TestALostPartOfASnapshotKeepsNoGuardFromStarting(t *testing.T) {
	log := &bytes.Buffer{}
	k, s := keep(t, t.TempDir(), log)
	runs, err := s.Runs(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for bucket, put := range map[string]func() error{
		"gatewarden_snapshots": func() error { return k.snapshots.Put(t.Context(), snapshotName, make([]byte, 600<<10)) },
		"gatewarden_runs":      func() error { return runs.Put(t.Context(), "orders-1", make([]byte, 600<<10)) },
	} {
		if err := put(); err != nil {
			t.Fatal(err)
		}
		stream, err := s.JetStream().Stream(t.Context(), "OBJ_"+bucket)
		if err != nil {
			t.Fatal(err)
		}
		if err := stream.DeleteMsg(t.Context(), 1); err != nil { // the first of two chunks
			t.Fatal(err)
		}
	}
	if err := k.restore(t.Context()); err != nil {
		t.Errorf("the guard does not start: %v", err)
	}
	if !strings.Contains(log.String(), "parts of the snapshot of the counts are lost") {
		t.Errorf("nobody was told: %s", log)
	}
	j := journal.NewMemory()
	book, err := gates.New(gates.Config{NewJudge: newJudge, LoadJudge: loadJudge, Journal: j, Runs: runs, Log: noMessages{}, Logger: slog.New(slog.NewTextHandler(log, nil))})
	if err != nil {
		t.Fatal(err)
	}
	defer book.Abandon()
	if err := book.Restore(t.Context(), noon); err != nil {
		t.Errorf("the guard does not lead: %v", err)
	}
	if !strings.Contains(log.String(), "runs of canaries are damaged and left out") {
		t.Errorf("nobody was told: %s", log)
	}
}

type noMessages struct{ gates.ObservationLog }

func (noMessages) Read(context.Context, uint64, func(uint64, []byte) error) error { return nil }
