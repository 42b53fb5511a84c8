package chaos

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestASeedDrawsThePlanThatItDrewBefore(t *testing.T) {
	t.Parallel()
	for seed := range uint64(50) {
		if diff := cmp.Diff(Draw(seed), Draw(seed)); diff != "" {
			t.Fatalf("seed %d draws two plans:\n%s", seed, diff)
		}
	}
	if cmp.Equal(Draw(1).Incidents, Draw(2).Incidents) {
		t.Error("two seeds draw the same plan")
	}
}

// TestTwoHundredSeedsDrawEverything holds that `make chaos` leaves no kind of incident, no
// trouble and no edit out.
func TestTwoHundredSeedsDrawEverything(t *testing.T) {
	t.Parallel()
	missing := map[string]bool{"Kong after it was handled": true, "Jenkins after it was handled": true, "a strike once the change is made": true}
	for _, world := range []string{"no database", "approvals", "a canary that moves", "moves by hand", "a worse canary", "a canary apart"} {
		missing[world] = true
	}
	for _, k := range []Kind{Kill, Strike, Stop, Pause, Silence, Clock, Stamps, Kong, Jenkins, Someone, Asking, Waiting} {
		missing[string(k)] = true
	}
	for _, trouble := range []Trouble{Slow, Reset, HalfOpen, Cut, Error500, Error503, DatabaseDown, LostItem, Duplicate} {
		missing[string(trouble)] = true
	}
	for _, e := range []Edit{EditOwn, EditChange, EditDelete, EditWeight, EditRoute, EditService, EditBeside} {
		missing[string(e)] = true
	}
	for seed := uint64(1); seed <= 200; seed++ {
		p := Draw(seed)
		if len(p.Incidents) < 2 || len(p.Incidents) > 8 {
			t.Fatalf("seed %d draws %d incidents", seed, len(p.Incidents))
		}
		for what, is := range map[string]bool{
			"no database": p.DBLess, "approvals": p.Approve, "a canary that moves": p.Moves, "moves by hand": p.ByHand, "a worse canary": p.Worse, "a canary apart": p.Apart,
		} {
			if is {
				delete(missing, what)
			}
		}
		edits := map[Edit]bool{}
		for _, i := range p.Incidents {
			if edits[i.Edit] && i.Edit != "" {
				t.Errorf("seed %d draws the edit %q twice", seed, i.Edit)
			}
			edits[i.Edit] = true
			delete(missing, string(i.Kind))
			delete(missing, string(i.Fault.Trouble))
			delete(missing, string(i.Edit))
			if i.Fault.Handled {
				delete(missing, string(i.Kind)+" after it was handled")
			}
			if i.Kind == Strike && i.Handled {
				delete(missing, "a strike once the change is made")
			}
		}
	}
	for what := range missing {
		t.Errorf("200 seeds never draw %q", what)
	}
}
