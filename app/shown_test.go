package app

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/gatewarden/gatewarden"
	"github.com/gatewarden/gatewarden/api"
	"github.com/gatewarden/gatewarden/journal"
)

// TestPasswordsOfAUsersPluginLeaveTheGuardNowhere has a plugin of a user's that an action has
// changed: what it takes to put it back is in the journal and is shown to nobody.
func TestPasswordsOfAUsersPluginLeaveTheGuardNowhere(t *testing.T) {
	j := journal.NewMemory()

	memo := json.RawMessage(`{"plugin":"p","before":{"name":"rate-limiting","config":{"minute":600,"redis":{"password":"hunter2"}}}}`)
	a := gatewarden.Action{
		ID: "a-1", Ladder: "a", Step: 1, Status: gatewarden.ActionApplied, PlannedAt: noon, Memo: memo,
		Spec: gatewarden.Step{Kind: gatewarden.StepPlugin, Plugin: &gatewarden.PluginStep{Name: "rate-limiting"}},
	}
	if _, err := j.Append(t.Context(), gatewarden.Event{At: noon, Type: gatewarden.EventAction, Name: a.ID, State: "applied", Reason: "it is", Action: &a}); err != nil {
		t.Fatal(err)
	}
	v := &view{&term{App: &App{}, journal: j}}
	events, err := v.Events(t.Context(), api.EventQuery{})
	if err != nil {
		t.Fatal(err)
	}
	shown := map[string]any{"events": events, "actions": v.shown.actions([]gatewarden.Action{a})}
	for e, err := range v.Follow(t.Context(), api.EventQuery{}) {
		shown["followed"] = []any{e, err}
		break
	}
	for e, err := range (audited{j}).After(t.Context(), 0) {
		shown["audited"] = []any{e, err}
	}
	for where, what := range shown {
		b, err := json.Marshal(what)
		if text := string(b); err != nil || strings.Contains(text, "hunter2") || !strings.Contains(text, `"minute":600`) {
			t.Errorf("%s: %v, %s", where, err, text)
		}
	}
	raw, err := j.Events(t.Context(), journal.Query{})
	if err != nil || string(raw[len(raw)-1].Action.Memo) != string(memo) {
		t.Errorf("the journal has lost what it takes to put the plugin back: %v, %v", raw, err)
	}
}

// TestACurtainSeesThatAMemoIsAnother holds what is kept of actions to those that change.
func TestACurtainSeesThatAMemoIsAnother(t *testing.T) {
	var c curtain
	a := gatewarden.Action{ID: "a-1", Memo: json.RawMessage(`{"password":"x","n":1}`)}
	c.actions([]gatewarden.Action{a})
	a.Memo, a.Status = json.RawMessage(`{"password":"x","n":2}`), gatewarden.ActionApplied
	got := c.actions([]gatewarden.Action{a})[0]
	if !strings.Contains(string(got.Memo), `"n":2`) || got.Status != gatewarden.ActionApplied || strings.Contains(string(got.Memo), `"x"`) {
		t.Errorf("%s, %s", got.Memo, got.Status)
	}
	if c.actions(nil); len(c.was) != 0 {
		t.Errorf("what is gone is kept: %v", c.was)
	}
}
