package chaos

import (
	"strings"
	"testing"
	"time"

	"github.com/gatewarden/gatewarden"
)

// noon is when the runs of these tests begin.
var noon = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

const targetID = "c6b3468c-1770-4b61-8b04-6ed73970f9d0"

// happened makes events of a drain, a job, a drain that is asked for, and a move of a canary, one a
// second: "drain started", and by whom if a person did it.
func happened(script string) (events []gatewarden.Event) {
	for line := range strings.Lines(strings.TrimSpace(script)) {
		name, state, _ := strings.Cut(strings.TrimSpace(line), " ")
		state, by, _ := strings.Cut(state, " by ")
		n := len(events)
		e := gatewarden.Event{
			Seq: uint64(n + 1), At: noon.Add(time.Duration(n) * time.Second), Type: gatewarden.EventAction,
			Name: name + "-1", State: state, Reason: "because", By: by,
		}
		a := &gatewarden.Action{ID: name + "-1", Ladder: name, Status: gatewarden.ActionStatus(state)}
		switch {
		case state == gatewarden.LadderEnded, state == gatewarden.LadderClosed:
			e.Name = name
		case name == gatewarden.GuardName:
			e.Name = name
		case name == "job":
			a.Spec = gatewarden.Step{Kind: gatewarden.StepJenkins, Jenkins: &gatewarden.JenkinsStep{}}
			e.Action = a
		case name == "move":
			a.Spec = gatewarden.Step{Kind: gatewarden.StepShare, Share: &gatewarden.ShareStep{}}
			a.Trigger = gatewarden.Trigger{Kind: gatewarden.EventGate}
			e.Action = a
		default:
			if name == "asked" {
				a.Mode = gatewarden.ModeApprove
			}
			a.Spec = gatewarden.Step{Kind: gatewarden.StepDrain, Weight: &gatewarden.WeightStep{}}
			a.Memo = []byte(`{"targets":[{"id":"` + targetID + `"}]}`)
			e.Action = a
		}
		events = append(events, e)
	}
	return events
}

// setWeight is a call that sets the target's weight at a second.
func setWeight(second float64) Call {
	return Call{
		At: noon.Add(time.Duration(second * float64(time.Second))), Method: "PATCH", Changes: true, Status: 200,
		Path: "/upstreams/1e4d120b-4f00-421d-ae30-b0aefbd8323f/targets/" + targetID,
	}
}

// kept is a call that a fault kept for a while before that.
func kept(c Call, by time.Duration) Call {
	c.Kept = by
	return c
}

// declare is a call that sends a whole configuration, in which these entities differ.
func declare(second float64, touched ...string) Call {
	c := setWeight(second)
	c.Method, c.Path, c.Touched = "POST", "/config", touched
	return c
}

func trigger(second float64, status int, fault Trouble) Call {
	return Call{
		At: noon.Add(time.Duration(second * float64(time.Second))), Method: "POST", Changes: true, Status: status, Fault: string(fault),
		Path: "/job/shop/job/orders-rollback/buildWithParameters", Body: "GATEWARDEN_ACTION=job-1&SERVICE=orders",
	}
}

const (
	drained = "drain started\ndrain applied\ndrain reverting\ndrain reverted\ndrain ended"
	ranJob  = "job started\njob applied\njob ended"
	asked   = "asked started\nasked applied\nasked reverting\nasked reverted\nasked ended"
)

func TestAudit(t *testing.T) {
	t.Parallel()
	for sentence, c := range map[string]struct {
		events        string
		kong, jenkins []Call
		builds        []Build
		skew          time.Duration
		want          string // a problem has this; "" for none at all
	}{
		"a drain that is applied and reverted is fine": {events: drained, kong: []Call{setWeight(0.5), setWeight(2.5)}},
		"a job that runs once is fine":                 {events: ranJob, jenkins: []Call{trigger(0.5, 201, "")}, builds: []Build{{1, "job-1"}}},
		"a change before its intent is not explained": {
			events: drained, kong: []Call{setWeight(-1)}, want: "no intent in the journal covers it",
		},
		"a change before its intent, by a clock that was off by more than that, is": {
			events: drained, kong: []Call{setWeight(-1)}, skew: 2 * time.Second,
		},
		"a change of something that no action names is not explained": {
			events: drained, kong: []Call{{At: noon.Add(time.Hour), Method: "PATCH", Changes: true, Status: 200, Path: "/services/75c16135-95e7-47fc-ae63-84282f17c8de"}},
			want: "no intent in the journal covers it",
		},
		"a change that never reached its peer needs no intent": {events: ranJob, kong: []Call{{Changes: true, Path: "/plugins/x"}}},
		"what stays in place has not come to its end":          {events: "drain started\ndrain applied\ndrain ended", want: "drain-1 is still applied"},
		"a ladder has an end":                                  {events: "job started\njob applied", want: "ladder job has 0 ends"},
		"a ladder has one end":                                 {events: ranJob + "\njob ended", want: "ladder job has 2 ends"},
		"an end is an end":                                     {events: "drain started\ndrain applied\ndrain reverting\ndrain reverted\ndrain applied\ndrain ended", want: `from "reverted" to "applied"`},
		"two triggers that Jenkins took are two rollbacks":     {events: ranJob, jenkins: []Call{trigger(0.5, 201, ""), trigger(1, 303, "")}, want: "triggered its job 2 times"},
		"a trigger that was lost counts as taken":              {events: ranJob, jenkins: []Call{trigger(0.5, 0, LostItem), trigger(1, 201, "")}, want: "triggered its job 2 times"},
		"a trigger that Jenkins did not take may come again":   {events: ranJob, jenkins: []Call{trigger(0.5, 503, ""), trigger(1, 201, "")}},
		"two builds of one trigger are two rollbacks":          {events: ranJob, jenkins: []Call{trigger(0.5, 201, "")}, builds: []Build{{1, "job-1"}, {2, "job-1"}}, want: "job-1 has 2 builds"},
		"but not when the network made the copy":               {events: ranJob, jenkins: []Call{trigger(0.5, 201, Duplicate)}, builds: []Build{{1, "job-1"}, {2, "job-1"}}},
		"nothing is begun during a pause":                      {events: "guard paused\n" + ranJob, want: "was begun while guard had paused the guard"},
		"what was begun before may end in it":                  {events: "job started\nguard paused\njob applied\njob ended"},
		"a call that was on its way at the pause may come":     {events: "drain started\nguard paused\nguard resumed\ndrain applied\ndrain reverting\ndrain reverted\ndrain ended", kong: []Call{setWeight(1.5)}},
		"nor does it matter how long a fault kept it": {
			events: "drain started\nguard paused\ndrain started\ndrain started\nguard resumed\ndrain applied\ndrain reverting\ndrain reverted\ndrain ended",
			kong:   []Call{kept(setWeight(3.5), 2*time.Second)},
		},
		"but a fault does not explain one that was made during it": {
			events: "drain started\nguard paused\ndrain started\ndrain started\nguard resumed\ndrain applied\ndrain reverting\ndrain reverted\ndrain ended",
			kong:   []Call{kept(setWeight(3.9), time.Second/2)}, want: "made while the guard was paused",
		},
		"no call is made again during a pause": {
			events: "drain started\nguard paused\ndrain started\ndrain started\nguard resumed\ndrain applied\ndrain reverting\ndrain reverted\ndrain ended",
			kong:   []Call{setWeight(3.5)}, want: "made while the guard was paused",
		},
		"what is taken back may be in a pause":                           {events: "drain started\ndrain applied\nguard paused\ndrain reverting\ndrain reverted\ndrain ended", kong: []Call{setWeight(0.5), setWeight(3.5)}},
		"a whole configuration is explained by what it changes":          {events: drained, kong: []Call{declare(0.5, targetID), declare(2.5)}},
		"a whole configuration that changes something beside it is not":  {events: drained, kong: []Call{declare(0.5, targetID, "something-beside")}, want: "no intent in the journal covers it"},
		"nor is one that is sent in a pause, when it takes nothing back": {events: "drain started\nguard paused\nguard resumed\nguard paused\ndrain applied\ndrain reverting\ndrain reverted\ndrain ended", kong: []Call{declare(4.5, targetID)}, want: "made while the guard was paused"},
		"what a person approves is begun":                                {events: "asked waiting\nasked waiting by ada\n" + asked},
		"what nobody approves is not":                                    {events: "asked waiting\n" + asked, want: "no person had approved it"},
		"nor what is not even asked for":                                 {events: asked, want: "no person had approved it"},
		"nor what one rejects":                                           {events: "asked waiting\nasked skipped by ada\n" + asked, want: "no person had approved it"},
		"nor what has expired":                                           {events: "asked waiting\nasked waiting by ada\nasked expired\n" + asked, want: "no person had approved it"},
		"a move stays when a newer run begins":                           {events: "move started\nmove applied\nmove ended"},
		"a move does not stay when a person takes it back":               {events: "move started\nmove applied\nmove closed by ada\nmove ended", want: "move-1 is still applied"},
		"the next move takes the place of one":                           {events: "move started\nmove applied\nmove replaced\nmove ended"},
	} {
		t.Run(sentence, func(t *testing.T) {
			t.Parallel()
			a := &Audit{Events: happened(c.events), Kong: c.kong, Jenkins: c.jenkins, Builds: c.builds, Skew: c.skew}
			got := strings.Join(a.Problems(), "\n")
			if c.want == "" && got != "" {
				t.Errorf("problems: %s", got)
			}
			if !strings.Contains(got, c.want) {
				t.Errorf("problems: %q, want %q among them", got, c.want)
			}
		})
	}
}

func TestADecisionHasItsReason(t *testing.T) {
	t.Parallel()
	events := happened(ranJob)
	events[1].Reason = ""
	if got := (&Audit{Events: events}).Problems(); len(got) != 1 || !strings.Contains(got[0], "without a reason") {
		t.Errorf("problems: %q, want that there is no reason", got)
	}
}
