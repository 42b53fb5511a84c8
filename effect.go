package gatewarden

import (
	"fmt"
	"time"
)

// ActionUnverified is a change that is in place, as the gateway's own answers say, and that
// the traffic does not show: the next step is due at once. It becomes applied when the
// traffic shows it after all, and is taken back like one that is applied.
const ActionUnverified ActionStatus = "unverified"

// Sign is how a change at the gateway shows in the requests once it is in force. The answer
// of an admin API does not mean that it is.
type Sign struct {
	Text   string        // what is looked for, in words: "responses 503 made by Kong"
	Within time.Duration // by then it must be in force
	Scope  Series        // the requests that it bears on; of no meaning with Targets

	// One of these says which requests show it; without any it is those outside of Scope,
	// as of a service that is to get none.
	Shed    bool     // responses that changes of the guard make
	Shows   *Series  // those of this series
	Targets []string // "ip:port": none of these gets a first try any more
	Others  []string // "ip:port": these do instead

	// Every is whether a request in scope that does not show it speaks against it. Without,
	// only those do that are more a second than Limit, on each node, if there is one.
	Every bool
	Limit float64
}

// Effect is how many requests showed a sign, and how many should have and did not.
type Effect struct {
	For     uint64 `json:"for"`
	Against uint64 `json:"against"`
}

// String says it in words.
func (e Effect) String() string {
	return fmt.Sprintf("%d of %d requests show it", e.For, e.For+e.Against)
}

// Sign returns how a step shows in the traffic, as far as the step itself tells, and false
// when it does not.
func (s *Step) Sign() (Sign, bool) {
	switch p := s.Puts(); {
	case p != nil:
		shed, ok := p.Sheds()
		if !ok {
			return Sign{}, false
		}
		return Sign{
			Text: fmt.Sprintf("responses %d made by Kong", shed.Status), Scope: shed.Scope, Shed: true,
			Every: p.Name == "request-termination" && p.Config["trigger"] == nil && p.Consumer == "", Limit: p.limit(),
		}, true
	case s.Divert != nil:
		return Sign{
			Text: "requests of the route that go to service " + s.Divert.To, Every: true,
			Scope: Series{Route: s.Divert.Route}, Shows: &Series{Service: s.Divert.To, Route: s.Divert.Route},
		}, true
	case s.Service != nil && !s.Service.Enabled:
		return Sign{Text: "no more requests of the service", Every: true, Scope: Series{Service: s.Service.Name}}, true
	default:
		return Sign{}, false
	}
}

// limit returns how many requests a second each node lets through by the plugin, 0 when
// that cannot be said: it may count each client for itself.
func (p *PluginStep) limit() float64 {
	if p.Name != "rate-limiting" || p.Config["limit_by"] != "service" || p.Consumer != "" {
		return 0
	}
	switch v := p.Config["second"].(type) {
	case int:
		return float64(v)
	case float64:
		return v
	default:
		return 0
	}
}
