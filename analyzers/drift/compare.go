package drift

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/gatewarden/gatewarden"
)

// outOfTouch is after how long a data plane that its control plane has not heard of is
// taken to be gone. It reports every 30 s; Kong lists one that was shut down for 14 days
// unless told otherwise (cluster_data_plane_purge_delay).
const outOfTouch = 2 * time.Minute

// mostNames bounds the names in a sentence.
const mostNames = 5

// differences returns what differs at an instant.
func differences(v *View) []difference {
	var all []difference
	for _, group := range groups(v.Nodes) {
		all = append(all, group.differences()...)
	}
	all = append(all, targets(v.Nodes)...)
	for _, m := range v.Missing {
		all = append(all, difference{
			key:    key{gatewarden.DriftEntities, m.Entity},
			reason: fmt.Sprintf("%s is gone, and %s on it", m.Entity, relies(m.For)),
		})
	}
	return all
}

func relies(who []string) string {
	if len(who) == 1 {
		return who[0] + " relies"
	}
	return listed(who) + " rely"
}

// member is one of those that are compared with each other.
type member struct {
	name    string
	node    string // the address of the node that says it
	facts   map[gatewarden.DriftKind]string
	plugins []string
}

// group is those that are to be alike.
type group struct {
	subject string // of its differences
	what    string // what they are called: "nodes"
	members []member
}

// groups divides the nodes that answer, and the data planes that they know of.
func groups(nodes []gatewarden.Node) []group {
	plain := group{subject: "nodes", what: "nodes"}
	control := group{subject: "control planes", what: "control planes"}
	var all []group
	for i := range nodes {
		n := &nodes[i]
		if n.Problem != "" {
			continue
		}
		m := member{name: n.Address, node: n.Address, plugins: n.Plugins, facts: map[gatewarden.DriftKind]string{
			gatewarden.DriftVersion: n.Version, gatewarden.DriftConfiguration: n.ConfigHash, gatewarden.DriftPlugins: strings.Join(n.Plugins, " "),
		}}
		if len(n.DataPlanes) == 0 {
			plain.members = append(plain.members, m)
			continue
		}
		control.members = append(control.members, m)
		all = append(all, planes(n))
	}
	return append(all, plain, control)
}

// planes are the data planes that a control plane is in touch with.
func planes(n *gatewarden.Node) group {
	g := group{subject: "data planes of " + n.Address, what: "data planes of " + n.Address}
	for _, p := range n.DataPlanes {
		if !p.Seen.IsZero() && n.At.Sub(p.Seen) > outOfTouch {
			continue
		}
		name := p.Hostname
		if name == "" {
			name = p.ID
		}
		g.members = append(g.members, member{name: name, node: n.Address, facts: map[gatewarden.DriftKind]string{
			gatewarden.DriftVersion: p.Version, gatewarden.DriftConfiguration: p.ConfigHash,
		}})
	}
	return g
}

// differences returns in what the members differ. One that does not say is like any other.
func (g *group) differences() []difference {
	var all []difference
	for _, kind := range []gatewarden.DriftKind{gatewarden.DriftConfiguration, gatewarden.DriftVersion, gatewarden.DriftPlugins} {
		by := map[string][]string{} // names, by what they say
		var nodes []string
		for _, m := range g.members {
			if fact := m.facts[kind]; fact != "" {
				by[fact] = append(by[fact], m.name)
				nodes = append(nodes, m.node)
			}
		}
		if len(by) < 2 {
			continue
		}
		slices.Sort(nodes)
		all = append(all, difference{
			key: key{kind, g.subject}, nodes: slices.Compact(nodes), reason: g.sentence(kind, by),
		})
	}
	return all
}

// sentence says who differs from whom.
func (g *group) sentence(kind gatewarden.DriftKind, by map[string][]string) string {
	facts := make([]string, 0, len(by))
	for fact := range by {
		facts = append(facts, fact)
	}
	slices.SortFunc(facts, func(a, b string) int { // the many before the few
		if n := len(by[b]) - len(by[a]); n != 0 {
			return n
		}
		return strings.Compare(a, b)
	})
	parts := make([]string, len(facts))
	for i, fact := range facts {
		slices.Sort(by[fact])
		parts[i] = listed(by[fact])
		if kind == gatewarden.DriftVersion {
			parts[i] = fact + " (" + parts[i] + ")"
		}
	}
	switch kind {
	case gatewarden.DriftVersion:
		return fmt.Sprintf("the %s are of different versions: %s", g.what, strings.Join(parts, ", "))
	case gatewarden.DriftPlugins:
		return fmt.Sprintf("the %s have different plugins to run: %s", g.what, g.lacking(facts[0], by))
	default:
		return fmt.Sprintf("the %s run %d different configurations: %s", g.what, len(facts), strings.Join(parts, " against "))
	}
}

// lacking says who lacks which plugins that others have. common is the set that most
// members have.
func (g *group) lacking(common string, by map[string][]string) string {
	every := map[string]bool{}
	for fact := range by {
		for p := range strings.FieldsSeq(fact) {
			every[p] = true
		}
	}
	var parts []string
	for fact, names := range by {
		have := strings.Fields(fact)
		var lacks []string
		for p := range every {
			if !slices.Contains(have, p) {
				lacks = append(lacks, p)
			}
		}
		if len(lacks) > 0 {
			slices.Sort(lacks)
			parts = append(parts, fmt.Sprintf("%s without %s", listed(names), listed(lacks)))
		}
	}
	slices.Sort(parts)
	return strings.Join(parts, "; ")
}

// targets returns the targets that nodes find unhealthy, or whose names lead nowhere. One
// that any node says so of counts: requests go through all of them.
func targets(nodes []gatewarden.Node) []difference {
	type finding struct {
		state string
		nodes []string
	}
	found := map[string]*finding{}
	for i := range nodes {
		n := &nodes[i]
		if n.Problem != "" {
			continue
		}
		for _, t := range n.Targets {
			if t.State != gatewarden.TargetUnhealthy && t.State != gatewarden.TargetDNSError {
				continue
			}
			subject := t.Upstream + "/" + t.Target
			f := found[subject]
			if f == nil {
				f = &finding{state: t.State}
				found[subject] = f
			}
			if !slices.Contains(f.nodes, n.Address) { // a target can have several addresses
				f.nodes = append(f.nodes, n.Address)
			}
		}
	}
	all := make([]difference, 0, len(found))
	for subject, f := range found {
		upstream, target, _ := strings.Cut(subject, "/")
		says := "is unhealthy"
		if f.state == gatewarden.TargetDNSError {
			says = "has a name that leads nowhere"
		}
		slices.Sort(f.nodes)
		all = append(all, difference{
			key: key{gatewarden.DriftTargets, subject}, nodes: f.nodes,
			reason: fmt.Sprintf("the target %s of the upstream %s %s, says %s", target, upstream, says, listed(f.nodes)),
		})
	}
	return all
}

// listed writes names, not too many of them.
func listed(names []string) string {
	if n := len(names) - mostNames; n > 1 {
		return strings.Join(names[:mostNames], ", ") + fmt.Sprintf(" and %d more", n)
	}
	return strings.Join(names, ", ")
}
