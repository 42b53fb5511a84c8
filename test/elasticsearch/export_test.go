package elasticsearch_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/gatewarden/gatewarden"
	"github.com/gatewarden/gatewarden/journal"
	"github.com/gatewarden/gatewarden/journal/export"
)

func TestTheJournalIsInItsOwnStreamOnce(t *testing.T) {
	each(t, func(t *testing.T, url string) {
		stream := fmt.Sprintf("gatewarden-audit-%d", time.Now().UnixNano())
		j := journal.NewMemory()
		write := func(from, to int) {
			t.Helper()
			for n := from; n < to; n++ {
				if _, err := j.Append(t.Context(), gatewarden.Event{
					At: time.Now(), Type: gatewarden.EventAction, Name: fmt.Sprint("shed-", n), State: "applied", Reason: "10 % of 300 requests failed",
					Action: &gatewarden.Action{ID: fmt.Sprint("shed-", n), Ladder: "shed", Spec: gatewarden.Step{
						Kind: gatewarden.StepPlugin, Plugin: &gatewarden.PluginStep{Name: "request-termination", Config: map[string]any{fmt.Sprint("key-", n): n}},
					}},
				}); err != nil {
					t.Fatal(err)
				}
			}
		}
		run := func(guard string) {
			t.Helper()
			target, err := export.NewElasticsearch(export.ElasticsearchConfig{URLs: []string{url}, Stream: stream, Guard: guard})
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithCancel(t.Context())
			ended := make(chan error)
			go func() {
				ended <- export.New(export.Config{Name: guard, Batch: 50, Every: 50 * time.Millisecond}, j, target).Run(ctx)
			}()
			for deadline := time.Now().Add(patience); ; time.Sleep(50 * time.Millisecond) {
				if mark, err := target.Mark(ctx); err == nil && mark.Seq == j.Last() {
					break
				} else if time.Now().After(deadline) {
					t.Fatalf("the stream has got to %+v, the journal to %d (%v)", mark, j.Last(), err)
				}
			}
			cancel()
			<-ended
		}
		write(0, 120)
		run("a")
		write(120, 130)
		run("a") // goes on
		run("b") // another guard that tells of the same
		for query, want := range map[string]float64{
			`{"term":{"guard":"a"}}`: 130,
			`{"term":{"guard":"b"}}`: 130,
			`{"bool":{"filter":[{"term":{"guard":"a"}},{"term":{"action.id":"shed-7"}}]}}`: 1,
			`{"match":{"reason":"requests failed"}}`:                                       260,
		} {
			answer := call(t, "POST", url+"/"+stream+"/_search?track_total_hits=true", `{"size":0,"query":`+query+`}`)
			if got := answer["hits"].(map[string]any)["total"].(map[string]any)["value"]; got != want {
				t.Errorf("%s finds %v, want %v", query, got, want)
			}
		}
		if mapping := fmt.Sprint(call(t, "GET", url+"/"+stream+"/_mapping", "")); len(mapping) > 4000 {
			t.Errorf("the mapping has grown with the events: %d bytes", len(mapping))
		}
	})
}
