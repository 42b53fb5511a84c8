package store

import (
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/gatewarden/gatewarden"
)

// Hours that are caught up with at once do not pile up in memory, and nothing of them
// is missing in the message.
func TestManyPendingSecondsAreWrittenDown(t *testing.T) {
	const seconds = 3*maxWaiting/2 + 7
	s, follower := New(Config{KeepDeltas: true}, prometheus.NewRegistry()), New(Config{}, prometheus.NewRegistry())
	now := noon.Add(seconds * time.Second)
	for i := range seconds {
		s.Add([]gatewarden.Record{request("", "orders", "", noon.Add(time.Duration(i)*time.Second))}, now, nil)
		if s.waiting > maxWaiting+2 {
			t.Fatalf("%d cells wait after %d seconds", s.waiting, i)
		}
	}
	if err := follower.Apply(s.Drain(), ever); err != nil {
		t.Fatal(err)
	}
	sli := gatewarden.SLI{}
	if n := follower.Count(gatewarden.Series{Service: "orders"}, &sli, noon.Add(-time.Hour), now.Add(time.Second)); n.Good != seconds {
		t.Errorf("%d requests arrived, want %d", n.Good, seconds)
	}
	if s.waiting != 0 || s.Drain() != nil {
		t.Error("something waits after the Drain")
	}
}
