package state

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/gatewarden/gatewarden"
)

// numbered opens a log with so many messages in it.
func numbered(t *testing.T, n int) *Log {
	t.Helper()
	cells, err := open(t, Config{Dir: t.TempDir()}).Cells(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	more(t, cells, n)
	return cells
}

func more(t *testing.T, l *Log, n int) {
	t.Helper()
	for i := range n {
		if _, err := l.Append(t.Context(), fmt.Append(nil, i+1)); err != nil {
			t.Fatal(err)
		}
	}
}

func TestFollowGoesOnWithWhatIsAppendedUntilTheContextEnds(t *testing.T) {
	cells := numbered(t, 3)
	ctx, stop := context.WithCancel(t.Context())
	f := follow(ctx, cells, 1)
	eventually(t, "what was there", func() bool { return f.has(2) })
	more(t, cells, 2)
	eventually(t, "what came then", func() bool { return f.has(4) })
	stop()
	if <-f.done; f.err != nil {
		t.Error(f.err)
	}
	if got := strings.Join(f.all(), " "); got != "2 3 1 2" {
		t.Errorf("visited %s", got)
	}
}

func TestFollowReturnsTheErrorOfVisit(t *testing.T) {
	cells := numbered(t, 3)
	enough := errors.New("enough")
	visits := 0
	err := cells.Follow(t.Context(), 0, func(uint64, []byte) error {
		if visits++; visits == 2 {
			return fmt.Errorf("visit: %w", enough)
		}
		return nil
	})
	if !errors.Is(err, enough) || visits != 2 {
		t.Errorf("%d visits, %v", visits, err)
	}
}

func TestFollowOverWhatWasTrimmedIsAConflict(t *testing.T) {
	for name, c := range map[string]struct {
		trim, after uint64
		conflict    bool
	}{
		"the next one is gone":          {trim: 3, after: 2, conflict: true},
		"all are gone":                  {trim: 5, after: 2, conflict: true},
		"what was visited is gone":      {trim: 3, after: 3},
		"all that was visited are gone": {trim: 5, after: 5},
	} {
		t.Run(name, func(t *testing.T) {
			cells := numbered(t, 5)
			if err := cells.Trim(t.Context(), c.trim); err != nil {
				t.Fatal(err)
			}
			f := follow(t.Context(), cells, c.after)
			if c.conflict {
				<-f.done
				if gatewarden.ErrorCode(f.err) != gatewarden.Conflict || !strings.Contains(f.err.Error(), "restart") {
					t.Error(f.err)
				}
				return
			}
			more(t, cells, 1)
			eventually(t, "it goes on", func() bool { return f.has(6 - int(c.after)) })
		})
	}
}

func TestFollowNoticesThatItWasTrimmedWhileItVisited(t *testing.T) {
	t.Parallel()
	cells := numbered(t, 3*readBatch)
	visiting, trimmed := make(chan bool), make(chan bool)
	done := make(chan error)
	visits := 0
	go func() {
		done <- cells.Follow(t.Context(), 0, func(uint64, []byte) error {
			if visits++; visits == 1 {
				visiting <- true
				<-trimmed
			}
			return nil
		})
	}()
	<-visiting
	if err := cells.Trim(t.Context(), 3*readBatch); err != nil {
		t.Fatal(err)
	}
	trimmed <- true
	if err := <-done; gatewarden.ErrorCode(err) != gatewarden.Conflict || visits >= 3*readBatch {
		t.Errorf("%d visits, %v", visits, err)
	}
}

func TestFollowOfALogThatBeganAnewIsAConflict(t *testing.T) {
	cells := numbered(t, 2)
	at := time.Now()
	cells.now = func() time.Time { at = at.Add(shrunkFor); return at }
	err := cells.Follow(t.Context(), 7, func(uint64, []byte) error { return nil })
	if gatewarden.ErrorCode(err) != gatewarden.Conflict || !strings.Contains(err.Error(), "begun anew") {
		t.Error(err)
	}
}

func TestFollowAndReadOutliveTheirConsumer(t *testing.T) {
	t.Parallel()
	cells := numbered(t, 2)
	f := follow(t.Context(), cells, 0)
	eventually(t, "it follows", func() bool { return f.has(2) })
	removeConsumers(t, cells)
	more(t, cells, 1)
	eventually(t, "it goes on", func() bool { return f.has(3) })

	more(t, cells, 2*readBatch)
	visits := 0
	err := cells.Read(t.Context(), 0, func(seq uint64, _ []byte) error {
		if visits++; visits == 10 {
			removeConsumers(t, cells)
		}
		if int(seq) != visits {
			return fmt.Errorf("message %d came as %d", visits, seq)
		}
		return nil
	})
	if want := 3 + 2*readBatch; err != nil || visits != want {
		t.Errorf("%d visits, want %d: %v", visits, want, err)
	}
}

// removeConsumers does what the end of a server does to its consumers.
func removeConsumers(t *testing.T, l *Log) {
	t.Helper()
	names := l.stream.ConsumerNames(t.Context())
	for name := range names.Name() {
		if err := l.stream.DeleteConsumer(t.Context(), name); err != nil {
			t.Error(err)
		}
	}
	if err := names.Err(); err != nil {
		t.Error(err)
	}
}

func TestTrimBeforeDropsWhatIsOldAndNotNeeded(t *testing.T) {
	ctx := t.Context()
	cells := numbered(t, 10)
	time.Sleep(5 * time.Millisecond)
	between := time.Now()
	more(t, cells, 10)
	for _, c := range []struct {
		says  string
		t     time.Time
		upTo  uint64
		first uint64
	}{
		{"none is old", between.Add(-time.Hour), 20, 1},
		{"old, but few are not needed", between, 4, 5},
		{"none is needed, but some are young", between, 20, 11},
		{"again", between, 20, 11},
		{"all are old", between.Add(time.Hour), 15, 16},
		{"beyond the end", between.Add(time.Hour), 1000, 21},
		{"empty", between.Add(time.Hour), 1000, 21},
	} {
		if err := cells.TrimBefore(ctx, c.t, c.upTo); err != nil {
			t.Fatal(c.says, err)
		}
		info, err := cells.stream.Info(ctx)
		if err != nil || info.State.FirstSeq != c.first {
			t.Errorf("%s: begins at %d, want %d; %v", c.says, info.State.FirstSeq, c.first, err)
		}
	}
	if seq, err := cells.Append(ctx, nil); err != nil || seq != 21 {
		t.Errorf("the next is %d, want 21; %v", seq, err)
	}
}

func TestTheBoardAloneAndAKeyThatIsGone(t *testing.T) {
	board, err := open(t, Config{Dir: t.TempDir()}).Board(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if err := errors.Join(board.Put(t.Context(), "a", []byte("1")), board.Put(t.Context(), "b", []byte("2"))); err != nil {
			t.Fatal(err)
		}
	}
	if err := board.bucket.Delete(t.Context(), "b"); err != nil {
		t.Fatal(err)
	}
	w := watch(t.Context(), board)
	eventually(t, "the key that is there is seen, alone", func() bool { return w.has(map[string]string{"a": "1"}) })
	if err := board.Put(t.Context(), "a", nil); err != nil {
		t.Fatal(err)
	}
	eventually(t, "an empty value is one", func() bool { return w.has(map[string]string{"a": ""}) })
}
