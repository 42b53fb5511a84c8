package store

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"pgregory.net/rapid"

	"github.com/gatewarden/gatewarden"
)

// filled is a store with some of everything, and what it drained.
func filled() (s *Store, message []byte) {
	s = newModelStore()
	shop := newShop(2, 5)
	for age := 30 * time.Hour; age >= 0; age -= 47 * time.Minute {
		at := noon.Add(-age)
		s.Add(shop.batch(5, at, time.Minute), at, nil)
		s.Watched(at.Add(-time.Minute), at)
	}
	s.SetSheds([]gatewarden.Shed{{Status: 503}})
	s.Add([]gatewarden.Record{{At: noon, Service: "orders", Status: 503, Origin: gatewarden.OriginKong, Weight: 5}}, noon, nil)
	s.Add([]gatewarden.Record{{At: noon, Service: "orders", Route: "list", Method: "GET", Status: 500, Weight: 1 << 31}}, noon, nil)
	return s, s.Drain()
}

// answers is what a store says about everything it keeps.
func answers(s *Store) []string {
	var all []string
	for _, info := range s.List() {
		for _, age := range []time.Duration{10 * time.Second, 20 * time.Minute, 7 * time.Hour, 40 * time.Hour} {
			w := s.Window(info.Series, noon.Add(-age), noon.Add(time.Second))
			all = append(all, fmt.Sprint(info, w.ByClass, w.Shed, w.Latency.Count(), w.Latency.Quantile(0.5), w.Coverage))
		}
		for _, m := range modelMeters() {
			all = append(all, fmt.Sprint(s.Count(info.Series, &m.SLI, noon.Add(-40*time.Hour), noon.Add(time.Second))))
		}
	}
	return all
}

func TestADamagedSnapshotIsRefusedAndChangesNothing(t *testing.T) {
	from, _ := filled()
	snapshot, err := from.Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	s, _ := filled()
	want := answers(s)
	damage := map[string][]byte{"nothing": nil, "another format": []byte("not a snapshot of the store")}
	for _, n := range []int{4, snapshotHead - 1, snapshotHead, len(snapshot) / 2, len(snapshot) - 1} {
		damage[fmt.Sprintf("cut after %d bytes", n)] = snapshot[:n]
	}
	for _, at := range []int{0, 7, 9, 13, 30, len(snapshot) - 2} {
		flipped := bytes.Clone(snapshot)
		flipped[at] ^= 0x10
		damage[fmt.Sprintf("byte %d flipped", at)] = flipped
	}
	for name, b := range damage {
		if err := s.Restore(b, ever); gatewarden.ErrorCode(err) != gatewarden.Invalid {
			t.Errorf("%s: %v, want an error of code invalid", name, err)
		}
	}
	if diff := cmp.Diff(want, answers(s)); diff != "" {
		t.Errorf("the store has changed, -want +got:\n%s", diff)
	}
	if err := s.Restore(snapshot, ever); err != nil {
		t.Errorf("the snapshot itself: %v", err)
	}
}

// What the version before this one has kept is not lost.
func TestASnapshotOfTheOlderVersionIsRead(t *testing.T) {
	older, err := os.ReadFile("testdata/snapshot.2") // of little, by commit d8c8799
	if err != nil {
		t.Fatal(err)
	}
	s, _ := little()
	again := New(Config{}, prometheus.NewRegistry())
	again.Configure(s.meters)
	if err := again.Restore(older, noon); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(answers(s), answers(again)); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	if diff := cmp.Diff(answers(s), answers(restarted(t, snapshotOf(t, again), nil, noon))); diff != "" {
		t.Errorf("once more, -want +got:\n%s", diff)
	}
}

func TestADamagedMessageIsRefusedAndChangesNothing(t *testing.T) {
	_, message := filled()
	_, second := filled()
	s := newModelStore()
	for name, b := range map[string][]byte{
		"no frame":                    []byte("hello"),
		"cut short":                   message[:len(message)-1],
		"a byte flipped":              append(append(bytes.Clone(message[:50]), message[50]^1), message[51:]...),
		"a good frame and a bad one":  append(bytes.Clone(message), second[:len(second)-5]...),
		"a frame of another version":  append([]byte{frameVersion + 1}, message[1:]...),
		"a good frame and some bytes": append(bytes.Clone(message), 1, 2, 3),
	} {
		if err := s.Apply(b, ever); gatewarden.ErrorCode(err) != gatewarden.Invalid {
			t.Errorf("%s: %v, want an error of code invalid", name, err)
		}
	}
	if got := s.Window(gatewarden.Series{}, noon.Add(-80*24*time.Hour), noon); got.Requests() != 0 {
		t.Errorf("%d requests were counted from damaged messages", got.Requests())
	}
	if err := s.Apply(append(bytes.Clone(message), second...), ever); err != nil {
		t.Errorf("two messages in one: %v", err)
	}
	if err := s.Apply(nil, ever); err != nil {
		t.Errorf("an empty message: %v", err)
	}
}

func TestAStoreIgnoresItsOwnMessages(t *testing.T) {
	s, message := filled()
	want := answers(s)
	if err := s.Apply(message, ever); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, answers(s)); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func TestAFollowerJudgesLatenciesThatTheSenderDidNot(t *testing.T) {
	sender := New(Config{KeepDeltas: true}, prometheus.NewRegistry())
	fast, late := request("", "orders", "", noon), request("", "orders", "", noon)
	late.Latency.Request, late.Weight = 100*time.Millisecond, 3
	sender.Add([]gatewarden.Record{fast, late}, noon, nil)
	follower := New(Config{}, prometheus.NewRegistry())
	orders, sli := gatewarden.Series{Service: "orders"}, slow(50*time.Millisecond)
	upstream := gatewarden.SLI{Kind: gatewarden.SLILatency, Of: gatewarden.OfUpstream, Threshold: time.Second}
	follower.Configure([]Meter{{Series: orders, SLI: sli}, {Series: orders, SLI: upstream}})
	follower.Watched(noon.Add(-time.Minute), noon.Add(time.Minute))
	if err := follower.Apply(sender.Drain(), ever); err != nil {
		t.Fatal(err)
	}
	want := gatewarden.Count{Good: 1, Bad: 3, Coverage: 1}
	if got := follower.Count(orders, &sli, noon.Add(-time.Minute), noon.Add(time.Minute)); got != want {
		t.Errorf("a latency of the request: %+v, want %+v", got, want)
	}
	want = gatewarden.Count{Coverage: 59.0 / 120}
	if got := follower.Count(orders, &upstream, noon.Add(-time.Minute), noon.Add(time.Minute)); got != want {
		t.Errorf("a latency of the upstream: %+v, want %+v: that second was not judged by it", got, want)
	}
}

func TestFramesCountOnceInAnyOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p, seen := progress{}, map[uint64]bool{}
		for range rapid.IntRange(1, 200).Draw(t, "frames") {
			n := rapid.Uint64Range(1, 40).Draw(t, "number")
			if got := p.note(7, n, 0); got == seen[n] {
				t.Fatalf("frame %d is new: %v", n, got)
			}
			seen[n] = true
		}
	})
}

func TestAGapThatNeverClosesIsGivenUp(t *testing.T) {
	p := progress{}
	for n := uint64(2); n < 2*maxBeyond; n++ { // the first is lost
		if !p.note(7, n, 0) {
			t.Fatalf("frame %d is not new", n)
		}
	}
	if got := len(p[7].beyond); got != 0 {
		t.Errorf("%d frames are remembered one by one, want none", got)
	}
	for origin := range uint64(2 * maxOrigins) {
		p.note(origin+100, 1, int64(origin))
	}
	if got := len(p); got > maxOrigins {
		t.Errorf("%d origins are remembered, want at most %d", got, maxOrigins)
	}
}

// little is a store with little in it: seeds must be small for the fuzzer to be fast.
func little() (s *Store, message []byte) {
	s = New(Config{KeepDeltas: true}, prometheus.NewRegistry())
	s.Configure([]Meter{{Series: gatewarden.Series{Service: "orders"}, SLI: slow(time.Second)}})
	s.Add([]gatewarden.Record{request("", "orders", "list", noon.Add(-20*time.Hour)), request("", "orders", "", noon)}, noon, nil)
	s.Watched(noon.Add(-time.Minute), noon)
	return s, s.Drain()
}

func FuzzApply(f *testing.F) {
	_, message := little()
	f.Add(message[frameHead : len(message)-frameTail])
	f.Add([]byte{1, 0, 0, 0, 1, 0, 1, 'a', 0, 0, 0, 0, 0, 1, 0, 1, 5, 0, 0})
	f.Fuzz(func(t *testing.T, payload []byte) {
		s := newModelStore()
		if err := s.Apply(payload, ever); err == nil && len(payload) > 0 {
			t.Fatal("a payload without its frame was taken")
		}
		framed := binary.LittleEndian.AppendUint32(append([]byte{frameVersion}, "eight by"...), uint32(len(payload)))
		e := encoder{b: append(framed, payload...)}
		e.seal(0)
		if err := s.Apply(e.b, ever); err != nil {
			return
		}
		answers(s)
		hold(s, noon)
		s.Add([]gatewarden.Record{request("", "orders", "list", noon)}, noon, nil)
		snapshot, err := s.Snapshot()
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Restore(snapshot, ever); err != nil {
			t.Fatalf("what was applied cannot be restored: %v", err)
		}
	})
}

func FuzzRestore(f *testing.F) {
	s, _ := little()
	snapshot, err := s.Snapshot()
	if err != nil {
		f.Fatal(err)
	}
	content, _, err := unpack(snapshot)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(content)
	f.Fuzz(func(t *testing.T, content []byte) {
		s := newModelStore()
		if err := s.Restore(content, ever); err == nil {
			t.Fatal("content without its mark was taken")
		}
		packed, err := pack(slices.Clone(content))
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Restore(packed, ever); err != nil {
			return
		}
		answers(s)
		hold(s, noon)
		s.Add([]gatewarden.Record{request("", "orders", "list", noon)}, noon, nil)
		hold(s, noon.Add(50*time.Hour))
		answers(s)
		if s.Drain() == nil {
			t.Error("nothing to drain after Add")
		}
	})
}
