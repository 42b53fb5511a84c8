package app

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/gatewarden/gatewarden"
)

// storeSink counts what it is given in a keeper's store.
type storeSink struct{ k *keeper }

func (s storeSink) Accept(_ context.Context, _ string, records []gatewarden.Record) error {
	s.k.store.Add(records, noon.Add(time.Hour), nil)
	return nil
}

// keepMarks is keep with checkpoints.
func keepMarks(t *testing.T, dir string, log *bytes.Buffer) (*keeper, io.Closer) {
	t.Helper()
	k, s := keep(t, dir, log)
	k.checkpoints = newCheckpoints()
	k.checkpoints.sink = storeSink{k}
	return k, s
}

// take counts the n-th request and keeps n, as a source does that has read so far.
func take(t *testing.T, k *keeper, n int) {
	t.Helper()
	r := gatewarden.Record{At: noon.Add(time.Duration(n%3000) * time.Second), Service: "orders", Status: 200, Weight: 1}
	err := k.checkpoints.of("").Accept(t.Context(), "test", []gatewarden.Record{r}, map[string][]byte{"at": fmt.Append(nil, n)})
	if err != nil {
		t.Error(err)
	}
}

// read returns how far the source has read, by what is kept.
func read(k *keeper) (n int) {
	_, _ = fmt.Sscan(string(k.checkpoints.of("").Load("")["at"]), &n) // 0 when there is nothing
	return n
}

// TestCheckpointsAndCountsAgreeAfterACrash ends a life at many points: whatever was
// lost, what is counted must be what was read.
func TestCheckpointsAndCountsAgreeAfterACrash(t *testing.T) {
	for sentence, c := range map[string]struct {
		life func(k *keeper)
		want int
	}{
		"before anything was written": {func(k *keeper) { take(t, k, 1) }, 0},
		"after a message":             {func(k *keeper) { take(t, k, 1); k.drain(t.Context()); take(t, k, 2) }, 1},
		"after a snapshot and before a message": {func(k *keeper) {
			take(t, k, 1)
			k.drain(t.Context())
			take(t, k, 2)
			k.snapshot(t.Context())
			take(t, k, 3)
		}, 2},
		"after a snapshot and messages": {func(k *keeper) {
			take(t, k, 1)
			k.snapshot(t.Context())
			take(t, k, 2)
			k.drain(t.Context())
			take(t, k, 3)
			k.drain(t.Context())
		}, 3},
		"between a snapshot and the trimming of the messages before it": {func(k *keeper) {
			take(t, k, 1)
			k.drain(t.Context())
			take(t, k, 2)
			blob, err := k.checkpoints.snapshot(k.store.Snapshot)
			if err == nil {
				err = k.snapshots.Put(t.Context(), snapshotName, blob)
			}
			if err != nil {
				t.Error(err)
			}
		}, 2},
		"after a snapshot that could not be written": {func(k *keeper) {
			take(t, k, 1)
			if _, err := k.checkpoints.snapshot(k.store.Snapshot); err != nil {
				t.Error(err)
			}
			k.drain(t.Context())
		}, 1},
		"after a message that came twice, and late": {func(k *keeper) {
			take(t, k, 1)
			first := k.checkpoints.drain(k.store.Drain)
			take(t, k, 2)
			second := k.checkpoints.drain(k.store.Drain)
			for _, message := range [][]byte{first, second, first} {
				if _, err := k.cells.Append(t.Context(), message); err != nil {
					t.Error(err)
				}
			}
		}, 2},
		"after a clean stop": {func(k *keeper) { take(t, k, 1); take(t, k, 2); k.finish(t.Context()) }, 2},
	} {
		t.Run(sentence, func(t *testing.T) {
			dir, log := t.TempDir(), &bytes.Buffer{}
			k, s := keepMarks(t, dir, log)
			c.life(k)
			for range 2 { // and the life after that knows no less
				if err := s.Close(); err != nil {
					t.Fatal(err)
				}
				k, s = keepMarks(t, dir, log)
				if err := k.restore(t.Context()); err != nil {
					t.Fatal(err)
				}
				if n := int(counted(k)); n != c.want || read(k) != n {
					t.Errorf("%d requests are counted and %d were read, want %d\n%s", n, read(k), c.want, log)
				}
				k.snapshot(t.Context())
			}
		})
	}
}

// TestCheckpointsAndCountsAreCutTogether takes and cuts at the same time; every message
// and every snapshot, alone, must have as many counts as it says was read.
func TestCheckpointsAndCountsAreCutTogether(t *testing.T) {
	k, _ := keepMarks(t, t.TempDir(), &bytes.Buffer{})
	again, _ := keepMarks(t, t.TempDir(), &bytes.Buffer{})
	var taking sync.WaitGroup
	taking.Go(func() {
		for n := range 2000 {
			take(t, k, n+1)
		}
	})
	check := func(message []byte) {
		t.Helper()
		if message == nil {
			return
		}
		if err := again.checkpoints.open(message, slog.New(slog.DiscardHandler), again.apply); err != nil {
			t.Fatal(err)
		}
		if n := int(counted(again)); read(again) != n {
			t.Fatalf("%d requests are counted and %d were read", n, read(again))
		}
	}
	for i := range 50 {
		check(k.checkpoints.drain(k.store.Drain))
		if i%10 != 0 {
			continue
		}
		blob, err := k.checkpoints.snapshot(k.store.Snapshot)
		if err != nil {
			t.Fatal(err)
		}
		other, _ := keepMarks(t, t.TempDir(), &bytes.Buffer{})
		if err := other.checkpoints.open(blob, slog.New(slog.DiscardHandler), other.replace); err != nil {
			t.Fatal(err)
		}
		if n := int(counted(other)); read(other) != n {
			t.Fatalf("a snapshot has %d requests, and %d were read", n, read(other))
		}
	}
	taking.Wait()
	check(k.checkpoints.drain(k.store.Drain))
	if n := counted(again); n != 2000 {
		t.Errorf("%d requests are counted at the end", n)
	}
}

func TestCheckpoints(t *testing.T) {
	k, _ := keepMarks(t, t.TempDir(), &bytes.Buffer{})
	c := k.checkpoints
	set := func(values map[string][]byte) {
		t.Helper()
		if err := c.of("").Accept(t.Context(), "test", nil, values); err != nil {
			t.Fatal(err)
		}
	}
	set(map[string][]byte{"a/1": []byte("x"), "a/2": []byte("y"), "b/1": []byte("z")})
	set(map[string][]byte{"a/1": nil, "a/3": {}})
	if diff := cmp.Diff(map[string][]byte{"a/2": []byte("y"), "a/3": {}}, c.of("").Load("a/")); diff != "" {
		t.Error(diff)
	}
	if message := c.drain(k.store.Drain); message == nil {
		t.Error("values without counts are no message")
	}
	if message := c.drain(k.store.Drain); message != nil {
		t.Errorf("nothing new is the message %q", message)
	}
	c.sink = failing{}
	if err := c.of("").Accept(t.Context(), "test", make([]gatewarden.Record, 1), map[string][]byte{"a/2": nil}); err == nil || len(c.of("").Load("a/2")) != 1 {
		t.Errorf("values were kept without their records (%v)", err)
	}
	// What an older version wrote has no values.
	plain := []byte("as it was")
	var used []byte
	err := c.open(plain, slog.New(slog.DiscardHandler), func(counts []byte) error { used = counts; return nil })
	if err != nil || !bytes.Equal(used, plain) {
		t.Errorf("used %q, %v", used, err)
	}
}

// TestCheckpointsOfSeveralGuards has two guards read each other's messages: each keeps its
// own values whatever the other says, and both those of the one that asks others.
func TestCheckpointsOfSeveralGuards(t *testing.T) {
	one, _ := keepMarks(t, t.TempDir(), &bytes.Buffer{})
	two, _ := keepMarks(t, t.TempDir(), &bytes.Buffer{})
	say := func(from *keeper, writer, value string) {
		t.Helper()
		if err := from.checkpoints.of(writer).Accept(t.Context(), "test", nil, map[string][]byte{"at": []byte(value)}); err != nil {
			t.Fatal(err)
		}
		message := from.checkpoints.drain(from.store.Drain)
		for _, k := range []*keeper{one, two} { // who wrote it reads it too
			if err := k.checkpoints.open(message, slog.New(slog.DiscardHandler), k.apply); err != nil {
				t.Fatal(err)
			}
		}
	}
	say(one, "", "alone")
	if got := two.checkpoints.of("two").Load("")["at"]; string(got) != "alone" {
		t.Errorf("who has kept nothing yet finds %q", got)
	}
	say(one, "one", "1")
	say(two, "two", "2")
	say(one, "", "one asked")
	say(two, "", "two asked, after it was elected")
	say(one, "one", "11")
	for _, k := range []*keeper{one, two} {
		got := map[string]string{}
		for _, writer := range []string{"", "one", "two"} {
			got[writer] = string(k.checkpoints.of(writer).Load("")["at"])
		}
		if diff := cmp.Diff(map[string]string{"": "two asked, after it was elected", "one": "11", "two": "2"}, got); diff != "" {
			t.Error(diff)
		}
	}
}

type failing struct{}

func (failing) Accept(context.Context, string, []gatewarden.Record) error {
	return errors.New("not now")
}

func FuzzOpenCheckpoints(f *testing.F) {
	f.Add([]byte(sealMark + "{\"number\":1,\"values\":{\"a\":\"eA==\"}}\ncounts"))
	f.Add([]byte(sealMark + "{"))
	f.Add([]byte("counts"))
	f.Fuzz(func(t *testing.T, message []byte) {
		c := newCheckpoints()
		err := c.open(message, slog.New(slog.DiscardHandler), func(counts []byte) error {
			if !bytes.HasSuffix(message, counts) {
				t.Errorf("%q has the counts %q", message, counts)
			}
			return nil
		})
		if err != nil {
			t.Error(err)
		}
		for writer, m := range c.by {
			if m.values == nil {
				t.Errorf("the values of %q are none", writer)
			}
		}
	})
}
