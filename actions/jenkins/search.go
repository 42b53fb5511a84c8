package jenkins

import (
	"context"
	"net/url"
	"time"

	"github.com/gatewarden/gatewarden"
)

// parameters are the actions of an item or a build; most entries are of kinds
// that were not asked for, and empty or null.
type parameters []struct {
	Parameters []struct {
		Name  string `json:"name"`
		Value any    `json:"value"`
	} `json:"parameters"`
}

// action returns the id of the action that the parameters carry, or "".
func (p parameters) action() string {
	for _, a := range p {
		for _, v := range a.Parameters {
			if id, ok := v.Value.(string); ok && v.Name == ActionParameter {
				return id
			}
		}
	}
	return ""
}

const (
	queueTree = "items[id,task[url],actions[parameters[name,value]]]"
	// buildsTree asks for the hundred newest builds, which is all that Jenkins shows
	// under this name.
	buildsTree = "nextBuildNumber,builds[number,queueId,actions[parameters[name,value]]]{0,100}"
)

type queueList struct {
	Items []struct {
		queueItem

		ID int64 `json:"id"`
	} `json:"items"`
}

type buildList struct {
	NextBuildNumber int `json:"nextBuildNumber"`
	Builds          []struct {
		Number  int        `json:"number"`
		QueueID int64      `json:"queueId"`
		Actions parameters `json:"actions"`
	} `json:"builds"`
}

// trace is what a look has found of an action; zero is nothing.
type trace struct {
	queueID int64
	build   int
}

// look searches Jenkins once for the action: the queue before the builds, because
// an item moves from the one to the other and never back. complete reports
// whether all builds that can be the action's are listed: a number that is
// missing is a build about to appear, or one whose record is gone.
func (r *run) look(ctx context.Context) (found trace, complete bool, err error) {
	var queue queueList
	if err := r.ask(ctx, "/queue/api/json", url.Values{"tree": {queueTree}}, &queue); err != nil {
		return trace{}, false, err
	}
	if queue.Items == nil {
		return trace{}, false, r.notJenkins("the queue")
	}
	for _, it := range queue.Items {
		if it.ID > 0 && it.isOf(r.step.Job, r.action.ID) {
			return trace{queueID: it.ID}, true, nil
		}
	}
	var list buildList
	if err := r.ask(ctx, jobPath(r.step.Job)+"/api/json", url.Values{"tree": {buildsTree}}, &list); err != nil {
		return trace{}, false, err
	}
	if list.Builds == nil || list.NextBuildNumber < 1 {
		return trace{}, false, r.notJenkins("the builds of " + r.step.Job)
	}
	listed := map[int]bool{}
	for _, b := range list.Builds {
		if b.Number > 0 && b.Actions.action() == r.action.ID {
			return trace{queueID: b.QueueID, build: b.Number}, true, nil
		}
		if b.Number >= r.memo.NextBuild {
			listed[b.Number] = true
		}
	}
	missing := r.memo.NextBuild > 0 && list.NextBuildNumber-r.memo.NextBuild > len(listed)
	return trace{}, !missing, nil
}

// notJenkins is for an answer of the right type without what it must have. To
// take it for an empty list would be to trigger again.
func (r *run) notJenkins(what string) error {
	return gatewarden.Errorf(gatewarden.Unavailable, "what answers at %s does not list %s as Jenkins does", r.client.base, what).
		WithHint("is there another program at this URL?")
}

// finding is what a search came to.
type finding int

const (
	nothing     finding = iota // the action was never seen by Jenkins
	something                  // it was, and the memo knows where
	unsure                     // builds are missing from the list, and one may be the action's
	unreachable                // Jenkins could not be asked before the deadline
)

// search looks for the action at least twice, a gap apart, and for at least the
// given time. It asks on while Jenkins is not available, until the deadline. Any
// other error ends it.
func (r *run) search(ctx context.Context, atLeast time.Duration) (finding, error) {
	var first time.Time
	for looks := 0; ; {
		found, complete, err := r.look(ctx)
		now := r.cfg.Now()
		switch {
		case ctx.Err() != nil:
			return nothing, ctx.Err()
		case gatewarden.ErrorCode(err) == gatewarden.Unavailable:
			if !now.Before(r.deadline()) {
				return unreachable, nil
			}
		case err != nil:
			return nothing, err
		case found != trace{}:
			r.memo.Build = found.build
			if found.queueID > 0 {
				r.memo.QueueID = found.queueID
			}
			return something, r.store()
		default:
			if looks++; looks == 1 {
				first = now
			}
			settled := looks > 1 && now.Sub(first) >= atLeast
			if settled && complete {
				return nothing, nil
			}
			if settled && now.Sub(first) >= r.cfg.Settle {
				return unsure, nil
			}
		}
		if err := sleep(ctx, r.cfg.LookGap); err != nil {
			return nothing, err
		}
	}
}
