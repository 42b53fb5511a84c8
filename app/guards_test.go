package app

import (
	"fmt"
	"net"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/gatewarden/gatewarden"
	"github.com/gatewarden/gatewarden/store"
)

// TestWhatOneGuardTellsAnother has a guard that gets no records judge by what another one
// gets.
func TestWhatOneGuardTellsAnother(t *testing.T) {
	at := noon
	guard := func() *intake {
		in := newIntake(store.New(store.Config{}, prometheus.NewRegistry()), func() time.Time { return at }, time.Minute, prometheus.NewRegistry())
		in.expect("httplog", "httplog", noon)
		in.witness.Store(newWitness(in.store, in))
		in.tellDeliveries()
		return in
	}
	leader, other := guard(), guard()
	slo := gatewarden.SLO{Series: gatewarden.Series{Service: "orders"}}
	record := func() {
		r := gatewarden.Record{At: at, Service: "orders", Status: 200, Weight: 1, Tries: []gatewarden.Try{{Target: "10.0.0.1:8080"}}}
		if err := other.Accept(t.Context(), "httplog", []gatewarden.Record{r}); err != nil {
			t.Fatal(err)
		}
	}
	tell := func() {
		leader.heed("other", other.sights(at), at)
		leader.witness.Load().heed("other", other.witness.Load().recent(at))
	}
	leader.witness.Load().want(true)
	other.witness.Load().want(true)
	for range 30 {
		at = at.Add(time.Second)
		record()
		tell()
		tell() // what is told twice is not counted twice
	}
	at = at.Add(time.Second)
	if blind, why := leader.BlindTo(&slo, at); blind {
		t.Errorf("the leader is blind: %s", why)
	}
	if got := leader.views(at)[0].Records; got != 30 {
		t.Errorf("the source has brought %d records, want 30", got)
	}
	if got := leader.sources["httplog"].cameBetween(noon, at); got != 30 {
		t.Errorf("%d completed, want 30", got)
	}
	sign := gatewarden.Sign{Targets: []string{"10.0.0.1:8080"}}
	if e, known := leader.witness.Load().Effect(&sign, at.Add(-10*time.Second), at); !known || e.Against != 9 {
		t.Errorf("of the last seconds the witness knows %+v, %v, want 9 against", e, known) // whole seconds within
	}
	other.witness.Load().want(false)
	if got := other.witness.Load().recent(at); got != nil {
		t.Errorf("nobody asks, and it counts %v", got)
	}
	at = at.Add(2 * time.Minute)
	tell()
	if blind, why := leader.BlindTo(&slo, at); !blind {
		t.Error("nobody has got a record for two minutes, and the leader is not blind")
	} else if why == "" {
		t.Error("it does not say why")
	}
}

// TestTheDoctorLooksAtTheCluster: one peer listens, one does not, and this guard is none of
// them.
func TestTheDoctorLooksAtTheCluster(t *testing.T) {
	up, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer up.Close()
	down, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	down.Close()
	said := examine(t, fmt.Sprintf("state: {name: four, cluster: {peers: {one: %q, two: %q, three: %q}, secret_file: none}}\n", up.Addr(), down.Addr(), up.Addr()), rulesOfOrders)
	wants(t, said, "state/name fail: this guard's name: four is none of the peers [state: {name: NAME}   # one of one, three, two]",
		"state/secret fail", "state/peer one ok", "state/peer two warn: two does not answer at")
}
