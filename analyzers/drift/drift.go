package drift

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/gatewarden/gatewarden"
)

// View is what is known of the gateway at one instant.
type View struct {
	Nodes []gatewarden.Node
	// Missing is what actions and canaries rely on and the peer does not have, as of the
	// last time it could be asked.
	Missing []gatewarden.MissingEntity
	// Asked reports whether the gateway has said of late which of it are there. Without that,
	// and without a node that answers, there is nothing to judge by.
	Asked bool
	// Early reports whether whoever looks has not asked everybody once yet: what is not
	// known is then not known to be otherwise.
	Early bool
}

// Judge remembers since when what differs. Its methods must not be called concurrently.
type Judge struct {
	policy   gatewarden.DriftPolicy
	standing map[key]*difference
	breach   time.Time // since when it is a breach; zero when it is none

	// awaited are nodes that differences of before a restart are about and that were not
	// heard of since. Until it is clear that they are gone they count as silent.
	awaited map[string]bool
	until   time.Time
}

// awaitFor is how long a node is awaited after a restart.
const awaitFor = time.Minute

// key is what a difference is known by from one instant to the next.
type key struct {
	kind    gatewarden.DriftKind
	subject string
}

// difference is one that was seen at the instant that is judged, or that stands because
// the nodes that it is about are silent.
type difference struct {
	key
	since  time.Time
	reason string
	nodes  []string // addresses of the nodes that it was seen at
}

// New returns a Judge that has seen nothing.
func New(policy gatewarden.DriftPolicy) *Judge {
	return &Judge{policy: policy, standing: map[key]*difference{}}
}

// SetPolicy changes what counts. Since when what differs stays known.
func (j *Judge) SetPolicy(policy gatewarden.DriftPolicy) { j.policy = policy }

// Resume takes up a breach that was announced before a restart and not announced as over:
// it began then, and its differences have had their grace.
func (j *Judge) Resume(standing gatewarden.Drift) {
	if standing.State != gatewarden.Breach || standing.Since == nil {
		return
	}
	j.breach, j.awaited = *standing.Since, map[string]bool{}
	for _, f := range standing.Findings {
		k := key{f.Kind, f.Subject}
		j.standing[k] = &difference{key: k, since: f.Since, reason: f.Reason, nodes: f.Nodes}
		for _, node := range f.Nodes {
			j.awaited[node] = true
		}
	}
}

// Judge says how alike the parts of the gateway are. Instants do not go back.
func (j *Judge) Judge(at time.Time, v View) gatewarden.Drift {
	silent := silentNodes(v.Nodes)
	switch {
	case v.Early:
		return gatewarden.Drift{At: at, State: gatewarden.Inconclusive, Reason: "not all of Kong's nodes have been asked yet"}
	case len(silent) == len(v.Nodes) && !v.Asked && len(v.Missing) == 0:
		return j.unknown(at, len(v.Nodes))
	}
	j.take(at, differences(&v), j.unheard(at, v.Nodes, silent))
	d := gatewarden.Drift{At: at, State: gatewarden.Healthy, Findings: j.findings(at)}
	counting := slices.DeleteFunc(slices.Clone(d.Findings), func(f gatewarden.DriftFinding) bool { return !f.Counts })
	if len(counting) == 0 {
		j.breach = time.Time{}
		d.Reason = calm(d.Findings, len(v.Nodes), len(silent), j.policy.Grace)
		return d
	}
	if j.breach.IsZero() {
		j.breach = at
	}
	since := j.breach
	d.State, d.Since, d.Reason = gatewarden.Breach, &since, counting[0].Reason
	if n := len(counting) - 1; n > 0 {
		d.Reason += fmt.Sprintf("; and %d more", n)
	}
	return d
}

// unknown is the verdict while nobody says anything. Since when what differs is kept: it
// may still be so.
func (j *Judge) unknown(at time.Time, nodes int) gatewarden.Drift {
	reason := "nothing says how Kong's nodes are"
	if nodes > 0 {
		reason = fmt.Sprintf("none of %d nodes of Kong's gives an answer", nodes)
	}
	return gatewarden.Drift{At: at, State: gatewarden.Inconclusive, Reason: reason}
}

// unheard are the silent nodes, and those that are awaited.
func (j *Judge) unheard(at time.Time, nodes []gatewarden.Node, silent map[string]bool) map[string]bool {
	if len(j.awaited) == 0 {
		return silent
	}
	if j.until.IsZero() {
		j.until = at.Add(awaitFor)
	}
	for i := range nodes {
		delete(j.awaited, nodes[i].Address)
	}
	if !at.Before(j.until) {
		j.awaited = nil
	}
	all := maps.Clone(silent)
	maps.Copy(all, j.awaited)
	return all
}

// take makes what was seen at an instant what stands.
func (j *Judge) take(at time.Time, seen []difference, silent map[string]bool) {
	now := make(map[key]*difference, len(seen))
	for _, d := range seen {
		d.since = at
		if before := j.standing[d.key]; before != nil {
			d.since = before.since
		}
		now[d.key] = &d
	}
	for k, before := range j.standing {
		about := func(node string) bool { return silent[node] }
		if now[k] == nil && slices.ContainsFunc(before.nodes, about) {
			now[k] = before
		}
	}
	j.standing = now
}

// findings are the differences that stand, those that count first.
func (j *Judge) findings(at time.Time) []gatewarden.DriftFinding {
	var list []gatewarden.DriftFinding
	for k, d := range j.standing {
		list = append(list, gatewarden.DriftFinding{
			Kind: k.kind, Subject: k.subject, Since: d.since, Reason: d.reason, Nodes: d.nodes,
			Counts: at.Sub(d.since) >= j.policy.Grace && !slices.Contains(j.policy.Ignore, k.kind),
		})
	}
	kinds := gatewarden.DriftKinds()
	slices.SortFunc(list, func(a, b gatewarden.DriftFinding) int {
		if a.Counts != b.Counts {
			if a.Counts {
				return -1
			}
			return 1
		}
		return cmp.Or(cmp.Compare(slices.Index(kinds, a.Kind), slices.Index(kinds, b.Kind)), strings.Compare(a.Subject, b.Subject))
	})
	return list
}

// calm says why it is no breach.
func calm(findings []gatewarden.DriftFinding, nodes, silent int, grace time.Duration) string {
	reason := fmt.Sprintf("%s alike", many(nodes-silent, "node of Kong's is", "nodes of Kong's are"))
	switch {
	case len(findings) > 0:
		reason = fmt.Sprintf("%s, and none that counts has lasted for %s", many(len(findings), "difference", "differences"), gatewarden.Duration(grace))
	case nodes == silent:
		reason = "what actions rely on is there"
	case nodes-silent == 1:
		reason = "Kong's node is as it is to be"
	}
	if silent > 0 {
		reason += "; " + many(silent, "node gives", "nodes give") + " no answer"
	}
	return reason
}

func many(n int, one, more string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, more)
}

// silentNodes are the addresses of those that gave no answer.
func silentNodes(nodes []gatewarden.Node) map[string]bool {
	silent := map[string]bool{}
	for i := range nodes {
		if nodes[i].Problem != "" {
			silent[nodes[i].Address] = true
		}
	}
	return silent
}
