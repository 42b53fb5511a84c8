package app

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/gatewarden/gatewarden"
)

func TestAReloadTellsOfActionsWithAnotherMode(t *testing.T) {
	policies := func(modes ...gatewarden.Mode) (list []gatewarden.ActionPolicy) {
		for i, m := range modes {
			list = append(list, gatewarden.ActionPolicy{Name: string(rune('a' + i)), Mode: m})
		}
		return list
	}
	got := changedModes(
		policies(gatewarden.ModeObserve, gatewarden.ModeEnforce, gatewarden.ModeApprove),
		policies(gatewarden.ModeEnforce, gatewarden.ModeEnforce, gatewarden.ModeObserve, gatewarden.ModeEnforce), // the last is new
	)
	want := []changedMode{{"a", gatewarden.ModeObserve, gatewarden.ModeEnforce}, {"c", gatewarden.ModeApprove, gatewarden.ModeObserve}}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(changedMode{})); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
