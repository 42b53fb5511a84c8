package filelog

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"pgregory.net/rapid"
)

// cutTo truncates the log to a beginning of itself.
func (w *world) cutTo(size int64) {
	w.t.Helper()
	w.must(w.out.Truncate(size))
}

func (w *world) size(suffix string) int64 {
	w.t.Helper()
	info, err := os.Stat(w.path(suffix))
	w.must(err)
	return info.Size()
}

// wait lets the source look now and then for longer than a file may grow back.
func (w *world) wait() {
	for begun := w.now; w.now.Sub(begun) <= time.Minute; w.now = w.now.Add(7 * time.Second) {
		w.turn()
	}
	w.settle()
}

func TestCutToABeginning(t *testing.T) {
	lines := func(n int) int64 {
		size := 0
		for i := range n {
			size += len(line(i))
		}
		return int64(size)
	}
	for name, life := range map[string]func(w *world){
		"at the end of a line": func(w *world) { w.cutTo(lines(100)) },
		"within a line":        func(w *world) { w.cutTo(lines(100) + 50) },
		"within the bytes that it is known by": func(w *world) {
			w.cutTo(lines(7))
			w.turn()
		},
		"and then more of it": func(w *world) {
			w.cutTo(lines(100))
			w.turn()
			w.cutTo(lines(50) + 50)
		},
		"after what was written since is read": func(w *world) {
			w.cutTo(lines(100))
			w.turn()
			w.write(50)
			w.wait()
			w.cutTo(lines(20))
		},
		"while the guard is down": func(w *world) {
			w.kept.flush()
			w.cutTo(lines(100) + 50)
			w.crash()
		},
		"and it outgrows what was read at once": func(w *world) {
			w.cutTo(lines(195) + 50)
			w.turn()
			w.write(20)
		},
		"and it is renamed": func(w *world) {
			w.cutTo(lines(100))
			w.rename()
		},
		"and a copy of that is made": func(w *world) {
			w.cutTo(lines(100))
			w.turn()
			w.copyTo("-copy", -1)
		},
		"and a copy that is longer is removed": func(w *world) {
			w.copyTo(".1", int(lines(150)))
			w.cutTo(lines(100))
			w.wait()
			w.must(os.Remove(w.path(".1")))
		},
	} {
		for _, files := range []int{1, 256} {
			t.Run(fmt.Sprintf("%s, of %d", name, files), func(t *testing.T) {
				w := newWorld(t, t.TempDir(), func(s *Settings) { s.MaxFiles = files })
				defer func() { w.source.close() }()
				w.write(200)
				w.settle()
				life(w)
				w.turn()
				w.write(20)
				w.wait()
				w.check()
				if !strings.Contains(w.log.String(), "level=WARN") {
					t.Errorf("nothing is said:\n%s", &w.log)
				}
				w.write(20)
				w.turn()
				w.kept.flush()
				w.crash()
				w.write(20)
				w.wait()
				w.check()
				if n := testutil.ToFloat64(w.source.metrics.lost); n != 0 {
					t.Errorf("%v files are said to be lost\n%s", n, &w.log)
				}
			})
		}
	}
}

// TestCutAgainAndAgain draws what happens to a log, with cuts.
func TestCutAgainAndAgain(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		w := newWorld(t, t.TempDir(), func(s *Settings) { s.MaxFiles = rapid.SampledFrom([]int{1, 2, 256}).Draw(rt, "files") })
		w.errorf = rt.Fatalf
		defer func() { w.source.close() }()
		was := int64(0)      // as long, before it was cut
		var waited time.Time // since when it may be longer than that
		rt.Repeat(map[string]func(*rapid.T){
			"": func(*rapid.T) { w.checkSource() },
			"write": func(rt *rapid.T) {
				n := rapid.IntRange(1, 60).Draw(rt, "lines")
				if w.now.Before(waited) && w.size("")+int64(n*len(line(10_000))) >= was {
					rt.Skip("lines that are equally long look like those that were cut off")
				}
				w.write(n)
			},
			"look":     func(*rapid.T) { w.source.look(t.Context()) },
			"read":     func(*rapid.T) { w.source.read(t.Context()) },
			"a second": func(*rapid.T) { w.now = w.now.Add(time.Second); w.turn() },
			"a minute": func(*rapid.T) {
				w.now = w.now.Add(time.Minute)
				w.settle()
			},
			"cut": func(rt *rapid.T) {
				size := w.size("")
				if size < 2*headSize || w.now.Before(waited) {
					rt.Skip("it is too short, or what was written since the last cut would be cut off unread")
				}
				w.settle()
				w.cutTo(rapid.Int64Range(headSize, size).Draw(rt, "size"))
				w.turn()
				was, waited = size, w.now.Add(time.Minute)
			},
			"rename": func(*rapid.T) {
				w.rename()
				was = 0
			},
			"flush": func(*rapid.T) { w.kept.flush() },
			"crash": func(rt *rapid.T) {
				if w.now.Before(waited) {
					rt.Skip("what was cut is not known in the next life")
				}
				w.settle()
				w.kept.flush()
				w.crash()
			},
		})
		w.wait()
		w.check()
	})
}

// TestWhatIsCutIsLost cuts off what was not read.
func TestWhatIsCutIsLost(t *testing.T) {
	w := newWorld(t, t.TempDir(), nil)
	defer func() { w.source.close() }()
	w.write(200)
	w.turn()
	w.write(100)
	w.source.look(t.Context())
	_, err := w.source.files[0].same(nil) // as a poll does
	w.must(err)
	w.cutTo(w.size("") / 2)
	w.turn()
	if n := testutil.ToFloat64(w.source.metrics.lost); n != 1 {
		t.Errorf("%v files are said to be lost\n%s", n, &w.log)
	}
}

// TestCopiedAnew has a file written again in its place, as a copy of what is longer by now, and
// looks at parts of it.
func TestCopiedAnew(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		w := newWorld(t, t.TempDir(), nil)
		w.errorf = rt.Fatalf
		defer func() { w.source.close() }()
		whole := ""
		for range rapid.IntRange(2, 4).Draw(rt, "copies") {
			for range rapid.IntRange(0, 100).Draw(rt, "lines") {
				whole += line(w.lines)
				w.lines++
			}
			w.must(w.out.Truncate(0))
			for begun, rest := w.now, whole; rest != ""; {
				part := min(rapid.IntRange(200, 5000).Draw(rt, "bytes"), len(rest)) // a first line tells what it is
				w.text(rest[:part])
				rest = rest[part:]
				if rest != "" && w.now.Sub(begun) < 50*time.Second && rapid.Bool().Draw(rt, "look") {
					w.turn()
					w.now = w.now.Add(time.Second)
				}
				if rapid.IntRange(0, 9).Draw(rt, "crash") == 0 {
					w.kept.flush()
					w.crash()
				}
			}
			w.settle()
			w.check()
			if rapid.Bool().Draw(rt, "minutes") {
				w.now = w.now.Add(10 * time.Minute)
			}
		}
		w.wait()
		w.check()
		w.checkSource()
	})
}
