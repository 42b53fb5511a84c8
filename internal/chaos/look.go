package chaos

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/gatewarden/gatewarden"
)

// Builds lists the builds of a job that carry the id of an action, by Jenkins' own API.
func Builds(ctx context.Context, base, job, user, token string) ([]Build, error) {
	path := "/job/" + strings.ReplaceAll(job, "/", "/job/") + "/api/json?tree=builds%5Bnumber,actions%5Bparameters%5Bname,value%5D%5D%5D%7B0,100%7D"
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, base+path, nil)
	if err != nil {
		return nil, err
	}
	req.SetBasicAuth(user, token)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("GET %s: %s", path, resp.Status)
	}
	var list struct {
		Builds []struct {
			Number  int
			Actions []struct {
				Parameters []struct{ Name, Value string }
			}
		}
	}
	if err := json.NewDecoder(resp.Body).Decode(&list); err != nil {
		return nil, err
	}
	var builds []Build
	for _, b := range list.Builds {
		for _, a := range b.Actions {
			for _, p := range a.Parameters {
				if p.Name == "GATEWARDEN_ACTION" && p.Value != "" {
					builds = append(builds, Build{b.Number, p.Value})
				}
			}
		}
	}
	return builds, nil
}

// NoteBegun notes the events by which actions began: clocks are set back, the journal's order stays.
func NoteBegun(begun map[string]uint64, events []gatewarden.Event) {
	for _, e := range events {
		if e.Action != nil && e.Action.Status == gatewarden.ActionStarted && begun[e.Name] == 0 {
			begun[e.Name] = e.Seq
		}
	}
}

// InOrder sorts actions by when they were begun: where two set the same, the later one
// lies above. The moves of a canary lie below all others.
func InOrder(list []gatewarden.Action, begun map[string]uint64) []gatewarden.Action {
	slices.SortStableFunc(list, func(a, b gatewarden.Action) int {
		if a.Spec.Share != nil != (b.Spec.Share != nil) {
			if a.Spec.Share != nil {
				return -1
			}
			return 1
		}
		return cmp.Compare(begun[a.ID], begun[b.ID])
	})
	return list
}

// LeaseRanOut reports whether an event is the intent to take something back because its
// lease has run out, and when that was, to the second.
func LeaseRanOut(e *gatewarden.Event) (end time.Time, ran bool) {
	_, rest, ok := strings.Cut(e.Reason, "its lease ran out at ")
	text, _, _ := strings.Cut(rest, " ")
	end, err := time.Parse(time.RFC3339, text)
	return end, ok && err == nil
}
