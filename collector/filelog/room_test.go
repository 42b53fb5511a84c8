package filelog

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
)

// copyTo copies the first n bytes of the log, all of it when n is negative.
func (w *world) copyTo(suffix string, n int) {
	w.t.Helper()
	whole, err := os.ReadFile(w.path(""))
	w.must(err)
	if n >= 0 {
		whole = whole[:n]
	}
	w.must(os.WriteFile(w.path(suffix), whole, 0o600))
}

// written gives files times of their last change, the oldest first.
func (w *world) written(suffixes ...string) {
	w.t.Helper()
	for i, suffix := range suffixes {
		w.must(os.Chtimes(w.path(suffix), w.now, time.Unix(int64(1000+i), 0)))
	}
}

// twoHalfRead begins a life with two logs that hold more than was read of them.
func (w *world) twoHalfRead() {
	w.write(3)
	w.turn()
	w.rename()
	w.write(3)
	w.settle()
	w.kept.flush()
	w.write(3)
	w.must(appendTo(w.path(".1"), line(w.lines)))
	w.lines++
	w.crash()
}

// TestLittleRoom tells how logs came to be lost, or counted twice, when there were more than
// may be followed, or copies that were not whole.
func TestLittleRoom(t *testing.T) {
	for name, c := range map[string]struct {
		files int
		life  func(w *world)
	}{
		"a copy in the making is let go, and its log holds more": {1, func(w *world) {
			w.write(9)
			w.copyTo(".1", 3*len(line(0)))
			w.written("", ".1")
			w.turn() // reads the copy, as the newest
		}},
		"a copy in the making is let go in the last life, and its log holds more": {1, func(w *world) {
			w.write(9)
			w.copyTo(".1", 3*len(line(0)))
			w.written("", ".1")
			w.turn()
			w.kept.flush()
			w.crash()
		}},
		"a log is let go, and a backup of it made by hand is found": {1, func(w *world) {
			w.write(9)
			w.turn()
			w.copyTo("-backup", -1)
			w.turn()
			w.write(3)
			w.turn()
			w.turn()
		}},
		"a log is at rest in a copy of it made by hand, and is written to": {1, func(w *world) {
			w.write(9)
			w.copyTo("-backup", -1)
			w.written("-backup", "") // the first of two that are equally long
			w.turn()
			w.must(os.WriteFile(w.path("-other"), []byte(line(9)), 0o600))
			w.lines++
			for range 4 { // lets the copy go, and finds that it stays as it is
				w.turn()
				w.now = w.now.Add(settleAfter)
			}
			w.write(3)
		}},
		"what is written between copying and truncating is read": {256, func(w *world) {
			w.write(9)
			w.copyTo(".1", -1)
			w.write(3)
			w.turn()
			w.must(w.out.Truncate(0))
			w.write(2)
		}},
		"what is written between copying and truncating is read, and days go by": {256, func(w *world) {
			w.write(9)
			w.copyTo(".1", -1)
			w.write(3)
			w.turn()
			w.must(w.out.Truncate(0))
			for range 4 {
				w.turn()
				w.now = w.now.Add(25 * time.Hour)
			}
		}},
		"what is written between copying and truncating is read in the last life": {256, func(w *world) {
			w.write(9)
			w.copyTo(".1", -1)
			w.write(30)
			w.turn()
			w.kept.flush()
			w.must(w.out.Truncate(0))
			w.crash()
			w.write(2)
		}},
		"a log that was let go is truncated, and written to the same size in the same instant": {1, func(w *world) {
			w.write(10) // lines of /0 to /9 are equally long
			w.turn()
			w.rename()
			w.write(20)
			w.stamp()
			w.settle() // lets kong.log.1 go
			w.must(os.WriteFile(w.path(".1"), []byte(strings.Repeat(line(99_999_999), 9)), 0o600))
			w.must(os.Truncate(w.path(".1"), 0))
			same := ""
			for n := range 10 {
				same += strings.Replace(line(n), "1795293551908", "1795293551909", 1)
				w.kept.counts[fmt.Sprintf("/%d", n)]-- // they count twice, being others
			}
			w.must(os.WriteFile(w.path(".1"), []byte(same), 0o600))
			w.stamp()
		}},
		"a log waits for longer than a missing one is waited for": {1, func(w *world) {
			w.twoHalfRead()
			for range 50 { // one is followed, and not read
				w.source.look(w.t.Context())
				w.now = w.now.Add(time.Hour)
			}
		}},
		"two logs were begun in the last life, and neither was read to its end": {1, (*world).twoHalfRead},
		"what is followed has no end of a line": {1, func(w *world) {
			w.must(os.WriteFile(w.path(".1"), []byte(line(98)[:50]), 0o600))
			w.written(".1")
			w.turn()
			w.write(3)
			w.turn()
			w.turn()
		}},
		"a line is ended after its log was let go": {1, func(w *world) {
			w.text(line(0)[:50])
			w.lines++
			w.must(os.Rename(w.path(""), w.path(".1")))
			end := w.out
			w.create()
			w.turn()
			w.write(3)
			w.turn()
			w.turn()
			_, err := end.WriteString(line(0)[50:])
			w.must(err)
			w.must(end.Close())
		}},
		"a log is copied and truncated while it waits": {1, func(w *world) {
			w.write(3)
			w.rename()
			w.write(3)
			w.written("", ".1")
			w.source.look(w.t.Context()) // kong.log waits
			w.shift()
			w.copyTo(".1", -1)
			w.must(w.out.Truncate(0))
			w.write(3)
		}},
		"a log is copied and truncated twice while it is at rest": {1, func(w *world) {
			w.write(3)
			w.turn()
			w.rename()
			w.write(3)
			w.turn()
			w.turn()
			for range 2 {
				w.write(3)
				w.shift()
				w.copyTo(".1", -1)
				w.must(w.out.Truncate(0))
			}
			w.write(3)
		}},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, t.TempDir(), func(s *Settings) { s.MaxFiles = c.files })
			defer func() { w.source.close() }()
			c.life(w)
			w.settle()
			w.check()
			w.checkSource()
			w.kept.flush()
			w.crash()
			w.settle()
			w.check()
			w.checkSource()
		})
	}
}

// TestTheNewestComeFirst writes to a log that waits behind a long one.
func TestTheNewestComeFirst(t *testing.T) {
	w := newWorld(t, t.TempDir(), func(s *Settings) { s.MaxFiles = 1 })
	defer func() { w.source.close() }()
	w.lines = 10_000 // more than a block
	w.must(os.WriteFile(w.path(".1"), []byte(strings.Repeat(line(3), 10_000)), 0o600))
	w.source.look(t.Context())
	w.source.read(t.Context())
	counted := w.kept.counts["/3"]
	if counted == 0 || counted == 10_000 {
		t.Fatalf("%d lines of the long log are read", counted)
	}
	w.write(1)
	w.written(".1", "")
	w.source.look(t.Context())
	w.source.read(t.Context())
	if w.kept.counts["/10000"] != 1 || w.kept.counts["/3"] != counted {
		t.Errorf("the new line is counted %d times, and %d lines of the long log\n%s", w.kept.counts["/10000"], w.kept.counts["/3"], &w.log)
	}
	w.settle()
	if got := w.kept.counts["/3"]; got != 10_000 {
		t.Errorf("%d lines of the long log are read in the end", got)
	}
	w.checkSource()
}

// TestWhatWasNeverReadIsLost removes what nobody had read.
func TestWhatWasNeverReadIsLost(t *testing.T) {
	for name, c := range map[string]struct {
		life func(w *world)
		lost float64
	}{
		"it waited and was removed":                            {func(w *world) { w.must(os.Remove(w.path(".1"))) }, 1},
		"it waited and was truncated":                          {func(w *world) { w.must(os.Truncate(w.path(".1"), 0)) }, 1},
		"it waited, was truncated, and its copy is in another": {func(w *world) { w.must(os.Rename(w.path(".1"), w.path(".2"))) }, 0},
		"it waited, was truncated, and its copy is shorter": {func(w *world) {
			whole, err := os.ReadFile(w.path(".1"))
			w.must(err)
			w.must(os.WriteFile(w.path(".2"), whole[:2*len(line(0))], 0o600))
			w.must(os.Truncate(w.path(".1"), 0))
		}, 1},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, t.TempDir(), func(s *Settings) { s.MaxFiles = 1 })
			defer func() { w.source.close() }()
			w.write(5)
			w.rename()
			w.write(5)
			w.written(".1", "")
			w.source.look(t.Context())
			if n := testutil.ToFloat64(w.source.metrics.failures); n != 1 {
				t.Errorf("%v files are said to wait", n)
			}
			c.life(w)
			w.settle()
			w.settle()
			if n := testutil.ToFloat64(w.source.metrics.lost); n != c.lost || strings.Contains(w.log.String(), "lost_bytes") != (c.lost > 0) {
				t.Errorf("%v are said to be lost, want %v\n%s", n, c.lost, &w.log)
			}
		})
	}
}

// TestAFewBytesAreNoCopyOfWhatIsGone begins a log as the one began that was removed before.
func TestAFewBytesAreNoCopyOfWhatIsGone(t *testing.T) {
	w := newWorld(t, t.TempDir(), func(s *Settings) { s.MaxFiles = 1 })
	defer func() { w.source.close() }()
	w.must(os.WriteFile(w.path("-other"), []byte("of another kind\n"), 0o600))
	w.write(3)
	w.written("", "-other")
	w.source.look(t.Context()) // kong.log waits
	w.must(os.Remove(w.path("")))
	w.must(os.WriteFile(w.path("-next"), []byte(line(3)[:50]), 0o600))
	w.settle()
	if n := testutil.ToFloat64(w.source.metrics.lost); n != 1 {
		t.Errorf("%v files are said to be lost\n%s", n, &w.log)
	}
	w.must(appendTo(w.path("-next"), line(3)[50:]))
	w.settle()
	if n := w.kept.counts["/3"]; n != 1 {
		t.Errorf("the line is counted %d times\n%s", n, &w.log)
	}
}

func TestOldFilesThatAreRemovedAreNotLost(t *testing.T) {
	w := newWorld(t, t.TempDir(), func(s *Settings) { s.MaxFiles = 1 })
	defer func() { w.source.close() }()
	for range 5 {
		w.write(3)
		w.rename()
		w.settle()
		if err := os.Remove(w.path(".3")); err != nil && !os.IsNotExist(err) {
			t.Fatal(err)
		}
		w.settle()
	}
	w.kept.flush()
	w.crash()
	w.settle()
	w.check()
	w.checkSource()
	for range 2 {
		w.now = w.now.Add(25 * time.Hour)
		w.settle()
	}
	if n := len(w.kept.values); n != 2 {
		t.Errorf("%d marks are kept of 2 files", n)
	}
}

// TestFromTheEndOfManyFiles begins within the first line of a log: what is known of it then is
// how many others begin.
func TestFromTheEndOfManyFiles(t *testing.T) {
	for name, crash := range map[string]func(*world){
		"in one life": func(*world) {},
		"in two":      func(w *world) { w.kept.flush(); w.crash() },
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, t.TempDir(), func(s *Settings) { s.MaxFiles, s.From = 1, "end" })
			defer func() { w.source.close() }()
			first := line(0)
			w.text(first[:60])
			w.turn()
			crash(w)
			for n := 1; n <= 2; n++ {
				w.must(os.WriteFile(w.path(fmt.Sprintf("-%d", n)), []byte(line(n)), 0o600))
			}
			w.settle()
			w.text(first[60:] + line(3))
			w.must(appendTo(w.path("-1"), line(4)))
			w.settle()
			w.kept.flush()
			w.crash()
			w.must(appendTo(w.path(""), line(5)))
			w.settle()
			for n, want := range []int{0, 1, 1, 1, 1, 1} {
				if got := w.kept.counts[fmt.Sprintf("/%d", n)]; got != want {
					t.Errorf("line %d counts %d times, want %d\n%s", n, got, want, &w.log)
				}
			}
		})
	}
}

// TestTheEndsAreKeptTogether begins at the ends of files, in a first life that is short.
func TestTheEndsAreKeptTogether(t *testing.T) {
	for name, life := range map[string]func(w *world){
		"it ends as soon as something is kept": func(w *world) {
			w.kept.then = w.kept.flush
			w.turn()
			w.crash()
			w.turn()
		},
		"at first nothing can be kept": func(w *world) {
			w.kept.err = errors.New("the state is away")
			w.turn()
			if n := len(w.source.files) + len(w.kept.counts); n > 0 {
				w.errorf("%d files and lines are read before their ends are kept", n)
			}
			w.kept.err, w.kept.then = nil, w.kept.flush
			w.turn()
			w.crash()
			w.turn()
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, t.TempDir(), func(s *Settings) { s.From = fromEnd })
			defer func() { w.source.close() }()
			for n := range 5 {
				w.must(os.WriteFile(w.path(fmt.Sprintf("-%d", n)), []byte(line(100+n)), 0o600))
			}
			life(w)
			for n := range 5 {
				w.must(appendTo(w.path(fmt.Sprintf("-%d", n)), line(n)))
			}
			w.lines = 5
			w.settle()
			w.check()
		})
	}
}

// TestABackupOfWhatIsGone leaves a copy behind, when the log itself is rotated away.
func TestABackupOfWhatIsGone(t *testing.T) {
	w := newWorld(t, t.TempDir(), func(s *Settings) { s.Paths = []string{"kong.log", "kong.log-*"} })
	defer func() { w.source.close() }()
	w.write(5)
	w.turn()
	w.copyTo("-backup", -1)
	w.turn()
	w.rename()
	w.write(5)
	for range 5 {
		w.turn()
		w.now = w.now.Add(10 * time.Minute)
	}
	w.check()
	w.kept.flush()
	w.crash()
	w.settle()
	w.check()
	w.checkSource()
}

// BenchmarkLook looks at files that do not change:
//
//	go test -run '^$' -bench Look ./collector/filelog
func BenchmarkLook(b *testing.B) {
	for _, files := range []int{10, 250, 1000} {
		b.Run(fmt.Sprintf("files=%d", files), func(b *testing.B) {
			w := newWorld(b, b.TempDir(), nil)
			defer func() { w.source.close() }()
			for range files {
				w.write(2)
				w.must(os.Rename(w.path(""), w.path(fmt.Sprintf("-%d", w.lines))))
				w.must(w.out.Close())
				w.create()
			}
			for range 10 {
				w.turn()
				w.now = w.now.Add(time.Second)
			}
			w.check()
			for b.Loop() {
				w.source.look(b.Context())
			}
		})
	}
}
