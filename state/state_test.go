package state

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/gatewarden/gatewarden"
)

func open(t *testing.T, cfg Config) *State {
	t.Helper()
	s, err := Open(t.Context(), cfg, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil && !strings.Contains(err.Error(), "already closed") {
			t.Error(err)
		}
	})
	return s
}

func TestOpenRefuses(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	foreign := filepath.Join(dir, "foreign")
	newer := filepath.Join(dir, "newer")
	for path, content := range map[string]string{
		file:                              "not a folder",
		filepath.Join(foreign, "tax.ods"): "somebody's",
		filepath.Join(newer, lockFile):    "gatewarden state, format 9\n",
	} {
		if err := os.MkdirAll(filepath.Dir(path), 0o750); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for name, c := range map[string]struct {
		cfg  Config
		code gatewarden.Code
		says string
	}{
		"nothing at all":                    {Config{}, gatewarden.Invalid, "neither"},
		"a folder and a server":             {Config{Dir: dir, URL: "nats://127.0.0.1:1"}, gatewarden.Invalid, "both"},
		"a server that is not there":        {Config{URL: "nats://127.0.0.1:1"}, gatewarden.Unavailable, "state.nats"},
		"a file for a folder":               {Config{Dir: file}, gatewarden.Invalid, "not a folder"},
		"a folder below a file":             {Config{Dir: filepath.Join(file, "data")}, gatewarden.Invalid, "not a folder"},
		"a folder with somebody's files":    {Config{Dir: foreign}, gatewarden.Conflict, "tax.ods"},
		"a folder of a newer version":       {Config{Dir: newer}, gatewarden.Conflict, "format 9"},
		"a file system that takes no files": {Config{Dir: "/proc/gatewarden"}, "", "state folder"},
	} {
		t.Run(name, func(t *testing.T) {
			s, err := Open(t.Context(), c.cfg, nil)
			if err == nil {
				t.Fatal("it opened", s.Close())
			}
			if !strings.Contains(err.Error(), c.says) || (c.code != "" && gatewarden.ErrorCode(err) != c.code) {
				t.Errorf("got %s: %v", gatewarden.ErrorCode(err), err)
			}
		})
	}
}

func TestASecondGuardIsRefusedUntilTheFirstIsGone(t *testing.T) {
	dir := t.TempDir()
	first := open(t, Config{Dir: dir})
	_, err := Open(t.Context(), Config{Dir: dir}, nil)
	if gatewarden.ErrorCode(err) != gatewarden.Conflict || !strings.Contains(err.Error(), fmt.Sprintf("process %d", os.Getpid())) {
		t.Fatalf("the second got %v", err)
	}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	open(t, Config{Dir: dir})
}

func TestNothingListens(t *testing.T) {
	s := open(t, Config{Dir: t.TempDir()})
	if addr := s.embedded.server.Addr(); addr != nil {
		t.Errorf("the embedded server listens on %s", addr)
	}
}

func TestSnapshots(t *testing.T) {
	dir := t.TempDir()
	s := open(t, Config{Dir: dir})
	snapshots, err := s.Snapshots(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := snapshots.Get(t.Context(), "store"); gatewarden.ErrorCode(err) != gatewarden.NotFound {
		t.Errorf("a snapshot that never was: %v", err)
	}
	var last []byte
	for _, size := range []int{0, 1, chunkSize, 5*chunkSize + 7, 20 << 20} {
		last = make([]byte, size)
		if _, err := rand.Read(last); err != nil {
			t.Fatal(err)
		}
		if err := snapshots.Put(t.Context(), "store", last); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if snapshots, err = open(t, Config{Dir: dir}).Snapshots(t.Context()); err != nil {
		t.Fatal(err)
	}
	got, err := snapshots.Get(t.Context(), "store")
	if err != nil || !bytes.Equal(got, last) {
		t.Errorf("after a restart: %d bytes, want %d; %v", len(got), len(last), err)
	}
}

// TestABlobMayTakeAsLongToReadAlone: within the five seconds of the client a busy machine did
// not read 20 MB, and a guard that cannot read its snapshot does not start.
func TestABlobMayTakeAsLongToReadAlone(t *testing.T) {
	s := open(t, Config{Dir: t.TempDir()})
	begun := time.Now()
	err := s.patiently(t.Context(), "store", blobTimeout, func(ctx context.Context) error {
		if end, ok := ctx.Deadline(); !ok || end.Sub(begun) < blobTimeout {
			t.Errorf("it ends after %s (%t)", end.Sub(begun), ok)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}

func TestRunsAreListedAndForgotten(t *testing.T) {
	ctx := t.Context()
	runs, err := open(t, Config{Dir: t.TempDir()}).Runs(ctx)
	if err != nil {
		t.Fatal(err)
	}
	names := func(want ...string) {
		t.Helper()
		var got []string
		err := runs.All(ctx, func(name string, blob []byte) error {
			if string(blob) != name {
				t.Errorf("%s holds %q", name, blob)
			}
			got = append(got, name)
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got, cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("-want +got:\n%s", diff)
		}
	}
	names()
	for _, name := range []string{"orders-2", "orders-1"} {
		if err := runs.Put(ctx, name, []byte(name)); err != nil {
			t.Fatal(err)
		}
	}
	names("orders-1", "orders-2")
	for range 2 {
		if err := runs.Delete(ctx, "orders-1"); err != nil {
			t.Error("deleting what is gone already must be no error:", err)
		}
	}
	names("orders-2")
	if _, err := runs.Get(ctx, "orders-1"); gatewarden.ErrorCode(err) != gatewarden.NotFound {
		t.Error("a forgotten run is still there:", err)
	}
}

func TestChunksOfASnapshotThatWasCutShortAreSwept(t *testing.T) {
	s := open(t, Config{Dir: t.TempDir()})
	snapshots, err := s.Snapshots(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := snapshots.Put(t.Context(), "store", []byte("whole")); err != nil {
		t.Fatal(err)
	}
	if _, err := s.js.Publish(t.Context(), "$O."+"gatewarden_snapshots"+".C.left-by-a-crash", []byte("half")); err != nil {
		t.Fatal(err)
	}
	snapshots.now = func() time.Time { return time.Now().Add(2 * remnantAfter) }
	if err := snapshots.Sweep(t.Context()); err != nil {
		t.Fatal(err)
	}
	stream, err := s.js.Stream(t.Context(), "OBJ_"+"gatewarden_snapshots")
	if err != nil {
		t.Fatal(err)
	}
	info, err := stream.Info(t.Context(), jetstream.WithSubjectFilter("$O."+"gatewarden_snapshots"+".C.>"))
	if err != nil || len(info.State.Subjects) != 1 {
		t.Errorf("chunks left: %v, %v", info.State.Subjects, err)
	}
	if got, err := snapshots.Get(t.Context(), "store"); string(got) != "whole" {
		t.Errorf("got %q, %v", got, err)
	}
}

// TestABlobThatIsBeingWrittenIsNotSwept: who leads sweeps, and who led until just now does
// not know yet that it does not.
func TestABlobThatIsBeingWrittenIsNotSwept(t *testing.T) {
	s := open(t, Config{Dir: t.TempDir()})
	snapshots, err := s.Snapshots(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	want := bytes.Repeat([]byte("whole"), chunkSize/4)
	half := bytes.NewReader(want[:chunkSize])
	rest := readerFunc(func(b []byte) (int, error) { // between one chunk and the next
		stream, err := s.js.Stream(t.Context(), "OBJ_gatewarden_snapshots")
		if err != nil {
			return 0, err
		}
		for { // the chunk is published without waiting for it
			info, err := stream.Info(t.Context())
			if err != nil {
				return 0, err
			}
			if info.State.Msgs > 0 {
				break
			}
		}
		if err := snapshots.Sweep(t.Context()); err != nil {
			t.Error(err)
		}
		return 0, io.EOF
	})
	meta := jetstream.ObjectMeta{Name: "store", Opts: &jetstream.ObjectMetaOptions{ChunkSize: chunkSize}}
	if _, err := snapshots.bucket.Put(t.Context(), meta, io.MultiReader(half, rest, bytes.NewReader(want[chunkSize:]))); err != nil {
		t.Fatal(err)
	}
	if got, err := snapshots.Get(t.Context(), "store"); err != nil || !bytes.Equal(got, want) {
		t.Errorf("%d bytes of %d are there, %v", len(got), len(want), err)
	}
}

type readerFunc func(b []byte) (int, error)

func (f readerFunc) Read(b []byte) (int, error) { return f(b) }

// TestABlobThatLostParts: it is told apart from a server that does not answer, and keeps
// nobody from the others.
func TestABlobThatLostParts(t *testing.T) {
	for sentence, lost := range map[string][]uint64{"one of two": {2}, "all of them": {1, 2}} {
		t.Run(sentence, func(t *testing.T) {
			s := open(t, Config{Dir: t.TempDir()})
			runs, err := s.Runs(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if err := errors.Join(runs.Put(t.Context(), "a", make([]byte, chunkSize+1)), runs.Put(t.Context(), "b", []byte("whole"))); err != nil {
				t.Fatal(err)
			}
			stream, err := s.js.Stream(t.Context(), "OBJ_gatewarden_runs")
			if err != nil {
				t.Fatal(err)
			}
			for _, seq := range lost {
				if err := stream.DeleteMsg(t.Context(), seq); err != nil {
					t.Fatal(err)
				}
			}
			if _, err := runs.Get(t.Context(), "a"); gatewarden.ErrorCode(err) != gatewarden.Internal {
				t.Errorf("reading it says %v", err)
			}
			got := map[string]string{}
			err = runs.All(t.Context(), func(name string, blob []byte) error { got[name] = string(blob); return nil })
			if diff := cmp.Diff(map[string]string{"a": "", "b": "whole"}, got); err != nil || diff != "" {
				t.Errorf("%v, (-want +got):\n%s", err, diff)
			}
		})
	}
}

func TestCells(t *testing.T) {
	dir := t.TempDir()
	s := open(t, Config{Dir: dir})
	cells, err := s.Cells(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if got := readCells(t, cells, 0); len(got) != 0 {
		t.Errorf("an empty stream has %v", got)
	}
	for i := range 600 {
		if seq, err := cells.Append(t.Context(), fmt.Append(nil, i+1)); err != nil || seq != uint64(i+1) {
			t.Fatalf("message %d: %d, %v", i+1, seq, err)
		}
	}
	if err := cells.Trim(t.Context(), 590); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if cells, err = open(t, Config{Dir: dir}).Cells(t.Context()); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[uint64]string{597: "597", 598: "598", 599: "599", 600: "600"}, readCells(t, cells, 596)); diff != "" {
		t.Error(diff)
	}
	if got := readCells(t, cells, 0); len(got) != 10 {
		t.Errorf("after the trim: %v", got)
	}
	if err := cells.Trim(t.Context(), 600); err != nil {
		t.Fatal(err)
	}
	if got := readCells(t, cells, 0); len(got) != 0 {
		t.Errorf("after trimming everything: %v", got)
	}
	if seq, err := cells.Append(t.Context(), []byte("next")); seq != 601 || err != nil {
		t.Errorf("positions start over after a trim: %d, %v", seq, err)
	}
}

func TestReadingCellsStopsWithTheVisitor(t *testing.T) {
	cells, err := open(t, Config{Dir: t.TempDir()}).Cells(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if _, err := cells.Append(t.Context(), []byte("x")); err != nil {
			t.Fatal(err)
		}
	}
	visits, stop := 0, fmt.Errorf("enough")
	if err := cells.Read(t.Context(), 0, func(uint64, []byte) error { visits++; return stop }); !errors.Is(err, stop) || visits != 1 {
		t.Errorf("%d visits, %v", visits, err)
	}
}

func readCells(t *testing.T, cells *Log, after uint64) map[uint64]string {
	t.Helper()
	got := make(map[uint64]string)
	err := cells.Read(t.Context(), after, func(seq uint64, data []byte) error {
		got[seq] = string(data)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func TestLeases(t *testing.T) {
	dir := t.TempDir()
	s := open(t, Config{Dir: dir})
	leases, err := s.Leases(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	noon := time.Date(2026, 11, 21, 12, 0, 0, 5, time.UTC)
	for id, until := range map[string]time.Time{"a-1": noon, "a-2": noon, "b-1": noon} {
		if err := leases.Put(t.Context(), id, until); err != nil {
			t.Fatal(err)
		}
	}
	if err := leases.Put(t.Context(), "a-1", noon.Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	for _, id := range []string{"b-1", "b-1", "never-was"} {
		if err := leases.Delete(t.Context(), id); err != nil {
			t.Error(err)
		}
	}
	if _, err := leases.bucket.PutString(t.Context(), "a-3", "not a time"); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if leases, err = open(t, Config{Dir: dir}).Leases(t.Context()); err != nil {
		t.Fatal(err)
	}
	got, err := leases.All(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[string]time.Time{"a-1": noon.Add(time.Minute), "a-2": noon}, got); diff != "" {
		t.Error(diff)
	}
}

func TestAFullStoreIsAClearErrorAndNotTheEnd(t *testing.T) {
	s := open(t, Config{Dir: t.TempDir(), MaxBytes: 1 << 20})
	snapshots, err := s.Snapshots(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	noise := make([]byte, 8<<20)
	if _, err := rand.Read(noise); err != nil {
		t.Fatal(err)
	}
	if err := snapshots.Put(ctx, "store", noise); gatewarden.ErrorCode(err) != gatewarden.Unavailable {
		t.Errorf("eight times what fits: %v", err)
	}
	if err := snapshots.Put(ctx, "store", []byte("small")); err != nil {
		t.Errorf("afterwards: %v", err)
	}
}

func TestAServerOfOnesOwn(t *testing.T) {
	srv, err := server.NewServer(&server.Options{Host: "127.0.0.1", Port: -1, NoSigs: true, JetStream: true, StoreDir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	srv.Start()
	defer srv.WaitForShutdown()
	defer srv.Shutdown()
	if !srv.ReadyForConnections(giveUpAfter) {
		t.Fatal("the test's server does not start")
	}
	leases, err := open(t, Config{URL: srv.ClientURL()}).Leases(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := leases.Put(t.Context(), "a-1", time.Now()); err != nil {
		t.Error(err)
	}
}
