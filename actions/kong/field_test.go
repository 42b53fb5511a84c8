package kong

import (
	"os/exec"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/gatewarden/gatewarden"
	"github.com/gatewarden/gatewarden/internal/fakekong"
)

func divertAction(id string) *record {
	return &record{gatewarden.Action{ID: id, Spec: gatewarden.Step{Kind: gatewarden.StepDivert, Divert: &gatewarden.DivertStep{Route: "orders-list", To: "recommendations"}}}}
}

func serviceAction(id string, enabled bool) *record {
	return &record{gatewarden.Action{ID: id, Spec: gatewarden.Step{Kind: gatewarden.StepService, Service: &gatewarden.ServiceStep{Name: "recommendations", Enabled: enabled}}}}
}

func TestRoutesAndServicesAreChangedAndPutBack(t *testing.T) {
	for name, c := range map[string]struct {
		action *record
		path   string
		holds  string // while it is in place
		change string
	}{
		"a route is diverted":               {divertAction("a-1"), "/routes/orders-list/service", `"name":"recommendations"`, "the service of route orders-list: orders → recommendations"},
		"a service is disabled":             {serviceAction("a-1", false), "/services/recommendations", `"enabled":false`, "service recommendations: enabled → disabled"},
		"a service that is enabled already": {serviceAction("a-1", true), "/services/recommendations", `"enabled":true`, "service recommendations: enabled → enabled"},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, fakekong.Config{})
			before := b.get("/routes") + b.get("/services")
			for range 2 {
				out := b.mustRun(c.action)
				wantStatus(t, out, gatewarden.ActionApplied)
				if out.Change != c.change {
					t.Errorf("change %q, want %q", out.Change, c.change)
				}
				if got := b.get(c.path); !strings.Contains(got, c.holds) {
					t.Errorf("%s: %s", c.path, got)
				}
			}
			undo := b.mustRun(c.action).Undo
			for range 2 {
				wantStatus(t, b.mustRevert(c.action), gatewarden.ActionReverted)
				if diff := cmp.Diff(before, b.get("/routes")+b.get("/services")); diff != "" {
					t.Error(diff)
				}
			}
			b.mustRun(c.action)
			if out, err := exec.Command("sh", "-c", undo).CombinedOutput(); err != nil {
				t.Fatalf("%s: %v %s", undo, err, out)
			}
			if diff := cmp.Diff(before, b.get("/routes")+b.get("/services")); diff != "" {
				t.Errorf("undone by hand with %s:\n%s", undo, diff)
			}
		})
	}
}

func TestWhatSomebodyElseDidToARouteIsLeft(t *testing.T) {
	for name, c := range map[string]struct {
		meanwhile func(*bench)
		applied   bool // before it
		want      gatewarden.ActionStatus
	}{
		"led elsewhere since":          {func(b *bench) { b.send("PATCH", "/routes/orders-list", `{"service":null}`) }, true, gatewarden.ActionLeft},
		"led back by hand":             {func(b *bench) { b.send("PATCH", "/routes/orders-list", `{"service":{"name":"orders"}}`) }, true, gatewarden.ActionReverted},
		"deleted":                      {func(b *bench) { b.delete("/routes/orders-list") }, true, gatewarden.ActionLeft},
		"another field is no conflict": {func(b *bench) { b.send("PATCH", "/routes/orders-list", `{"preserve_host":true}`) }, true, gatewarden.ActionReverted},
		"led elsewhere before it":      {func(b *bench) { b.send("PATCH", "/routes/orders-list", `{"service":null}`) }, false, gatewarden.ActionReverted},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, fakekong.Config{})
			r := divertAction("a-1")
			memo, err := b.exec.Prepare(t.Context(), r.Action)
			if err != nil {
				t.Fatal(err)
			}
			r.Memo = memo
			if c.applied {
				b.mustRun(r)
			}
			c.meanwhile(b)
			var theirs string
			if !c.applied {
				theirs = b.get("/routes/orders-list")
				b.mustRun(r)
			}
			wantStatus(t, b.mustRevert(r), c.want)
			if !c.applied {
				if diff := cmp.Diff(theirs, b.get("/routes/orders-list")); diff != "" {
					t.Error(diff)
				}
			}
		})
	}
}

// delete removes an entity as somebody else would.
func (b *bench) delete(path string) { b.send("DELETE", path, "") }

func TestStepsOnWhatDoesNotExistAreRefusedBefore(t *testing.T) {
	b := newBench(t, fakekong.Config{})
	for _, step := range []gatewarden.Step{
		{Kind: gatewarden.StepDivert, Divert: &gatewarden.DivertStep{Route: "orders-lst", To: "recommendations"}},
		{Kind: gatewarden.StepDivert, Divert: &gatewarden.DivertStep{Route: "orders-list", To: "recomendations"}},
		{Kind: gatewarden.StepService, Service: &gatewarden.ServiceStep{Name: "recommendation"}},
	} {
		wantCode(t, b.exec.Preflight(t.Context(), step), gatewarden.NotFound, "did you mean")
	}
	if err := b.exec.Preflight(t.Context(), divertAction("").Spec); err != nil {
		t.Error(err)
	}
}
